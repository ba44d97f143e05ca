"""Every gradient rule says what central differences say; an operator that has none is here with the reason."""

from __future__ import annotations

from itertools import chain

import pytest

import law_cases
import microsoft_cases
from gradient_law import Judged, examine
from law import shipped
from onnxsurgeon.ops import OPERATORS

# Operators on floats through which no gradient passes, by the reason; they end it, and are named.
WITHOUT_A_RULE = {
    "its numbers are integers with a scale: training works on what was quantised from": """
        DequantizeLinear DynamicQuantizeLinear DynamicQuantizeLSTM DynamicQuantizeMatMul MatMulIntegerToFloat
        MatMulNBits QAttention QGemm
    """,
    "what it returns does not depend on values, or not on how large they are": "EyeLike MelWeightMatrix",
    "how much it returns depends on data": "Compress Unique",
    "it is a learner of another kind": "Binarizer Imputer Normalizer Scaler",
    "onnxruntime has no kernel for it": "CumProd ParametricSoftplus ScaledTanh SwiGLU",
    "it samples at positions that are computed": "MaxRoiPool MaxUnpool RoiAlign",
    "it holds what was seen before, and serves to go on from it": """
        CausalConvWithState GroupQueryAttention LinearAttention TensorScatter
    """,
    "it makes positions, or rotates by them, and has no weights": "AffineGrid CenterCropPad Range RotaryEmbedding",
    "it is a transform of signals, or of matrices, that no layer is": "CDist Col2Im DFT Det Inverse STFT",
    "it is the loss of a model that is trained already": "NegativeLogLikelihoodLoss SoftmaxCrossEntropyLoss",
}
NAMES = {name for names in WITHOUT_A_RULE.values() for name in names.split()}


@pytest.fixture(scope="module")
def judged() -> dict[tuple[str, str], Judged]:
    return examine(chain(law_cases.cases(), microsoft_cases.cases(), shipped()))


@pytest.mark.slow
def test_gradients_are_those_of_central_differences(judged: dict[tuple[str, str], Judged]) -> None:
    broken = [line for found in judged.values() for line in found.broken]
    assert not broken, "\n".join(broken)


@pytest.mark.slow
def test_every_rule_is_checked(judged: dict[tuple[str, str], Judged]) -> None:
    ruled = {key for key, operator in OPERATORS.items() if operator.gradient}
    assert not {key for key in ruled if key not in judged or not judged[key].checks}


@pytest.mark.slow
def test_what_has_no_rule_has_a_reason(judged: dict[tuple[str, str], Judged]) -> None:
    ended = {key for key, found in judged.items() if found.lost and not found.checks}
    assert not {key for key in ended if key[1] not in NAMES}
    assert not {name for domain, name in OPERATORS if name in NAMES and OPERATORS[domain, name].gradient}
