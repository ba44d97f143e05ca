"""Law: what is worked out of sizes is what onnxruntime computes."""

from __future__ import annotations

from itertools import chain

import numpy as np
import onnx_ir as ir
import pytest

import law_cases
from law import equal, shipped
from law_cases import case, floats, ints
from onnxsurgeon.ops import OPERATORS
from onnxsurgeon.ops.call import ValueCall
from onnxsurgeon.ops.nodes import attributes
from operator_case import Case, NotRunnable, execute, model_of

KNOWN = {key for key, known in OPERATORS.items() if known.value or known.from_shape}


def found(given: Case) -> list[np.ndarray] | None:
    """What the table says; None where it can't tell."""
    node, inputs = given.node, [given.inputs.get(name) for name in given.node.input]
    model = ir.from_proto(model_of(node, given.inputs, given.imports, frozenset()))
    known = attributes(next(iter(model.graph)), given.version)
    operator = OPERATORS[given.key]
    if operator.from_shape is not None:
        assert inputs[0] is not None
        return [operator.from_shape(known, inputs[0].shape)]
    return operator.compute(ValueCall(known, inputs, len(node.output)))


@pytest.mark.slow
def test_values_are_those_of_onnxruntime() -> None:
    more = [
        case("OneHot", ints(1, -2, 7), np.array(5), ints(1, 64), axis=-1, opset=13),
        case("Range", np.array(2), np.array(9), np.array(3)),
        case("Size", (2, 3)),
        case("Identity", (2, 3)),
        case("Clip", ints(1, 5, 9), np.array(2), np.array(6)),
        case("Max", ints(1, 5), ints(2, 3)),
        case("Xor", ints(1, 0, dtype=np.bool_), ints(1, 1, dtype=np.bool_)),
        case("Round", floats(0.5, 1.5, -2.5)),
    ]
    seen, wrong = set(), []
    for given in chain(shipped(), law_cases.cases(), more):
        if given.key not in KNOWN or (given.node.input and not given.inputs):
            continue
        values = found(given)
        if values is None:
            continue
        try:
            expected = execute(given.node, dict(given.inputs), given.imports)
        except NotRunnable:
            continue
        seen.add(given.key)
        for a, b in zip(expected, values, strict=False):
            if a.shape != np.shape(b) or a.dtype != np.asarray(b).dtype or not equal(a, np.asarray(b)):
                wrong.append(f"{given.name}: {a.dtype} {a.shape}, not {np.asarray(b).dtype} {np.shape(b)}")
    assert not wrong, "\n".join(wrong)
    assert not KNOWN - seen


@pytest.mark.parametrize("operator", ["ScatterND", "Pad", "CumSum", "GatherND"])
def test_what_is_unusual_is_not_guessed(operator: str) -> None:
    unusual = {
        "ScatterND": case("ScatterND", (4, 2), ints([0], [1]), (2, 2), reduction="add", opset=16),
        "Pad": case("Pad", (3,), ints(1, 1), mode="reflect", opset=11),
        "CumSum": case("CumSum", (3,), np.array(0), reverse=1, opset=11),
        "GatherND": case("GatherND", (3, 4, 5, 6), ints([[0], [1]], [[2], [3]], [[1], [1]]), batch_dims=1, opset=13),
    }
    assert found(unusual[operator]) is None
