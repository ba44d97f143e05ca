"""Operators of ai.onnx.ml, which prepare data before a network and name its results: elementwise ones pass channels.

What is left of that domain (trees, linear models, dictionaries) is frozen, but the shapes of its outputs are known, so
that a network behind it can be cut.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx

from onnxsurgeon.arrays import Shape
from onnxsurgeon.neurons.relations import Axes
from onnxsurgeon.ops.call import Call, Changes, Keep, unchanged
from onnxsurgeon.ops.registry import Operator, Resize, Rule, add
from onnxsurgeon.ops.shape_inference import Attributes, Infer, ShapeRule, Shapes, like
from onnxsurgeon.ops.signatures import frozen, read, signature

CLASSIC = "ai.onnx.ml"
FLOAT, INT64, STRING = (int(t) for t in (onnx.TensorProto.FLOAT, onnx.TensorProto.INT64, onnx.TensorProto.STRING))


def listed(call: Call, names: Sequence[str]) -> list[str]:
    """The attributes that hold one number per feature."""
    return [name for name in names if len(call.attributes.get(name) or ()) > 1]


def by_feature(*names: str) -> Rule:
    """Element by element; features lie along the last axis of a matrix, and only there if an attribute lists them."""

    def rule(call: Call) -> Sequence[Axes | None]:
        if len(call.known(0)) > 2 and listed(call, names):
            return call.freeze_all("it has a number for each feature, but its input is not a matrix")
        return read(call, "... -> ...")

    return rule


def features(*names: str) -> Resize:
    """The per-feature numbers of the features that stay."""

    def resize(call: Call, keep: Keep) -> Changes:
        labels = (call.axes(0) or (None,))[-1]
        if labels is None or unchanged(keep, labels):
            return {}
        return {name: np.repeat(call.attributes[name], keep(labels)).tolist() for name in listed(call, names)}

    return resize


def always(dtype: int) -> Callable[[Attributes], int]:
    return lambda attributes: dtype


def normalizer(call: Call) -> Sequence[Axes | None]:
    """Each row is scaled to length 1."""
    if len(call.known(0)) > 2:
        return call.freeze_all("its input is not a matrix")
    results = read(call, "... -> ...")
    call.normalises(0, [-1])
    return results


def label_type(attributes: Attributes) -> int:
    """The type of what labels are mapped to."""
    tensor: Any = attributes.get("values_tensor")
    if tensor is not None:
        return int(onnx.helper.np_dtype_to_tensor_dtype(np.asarray(tensor).dtype))
    types = {"values_floats": FLOAT, "values_int64s": INT64, "values_strings": STRING}
    return next((dtype for name, dtype in types.items() if attributes.get(name) is not None), 0)


MAPPED = Operator(signature("... -> ..."), silence="none", shape=ShapeRule(like(0), whole=False))
SCALED, IMPUTED = ("offset", "scale"), ("imputed_value_floats", "imputed_value_int64s")

add(
    "Scaler",
    Operator(by_feature(*SCALED), silence="none", resize=features(*SCALED)),
    shape=ShapeRule(like(0), cast=always(FLOAT), whole=False),
    domain=CLASSIC,
)
add("Imputer", MAPPED, rule=by_feature(*IMPUTED), resize=features(*IMPUTED), domain=CLASSIC)
add("Binarizer", MAPPED, domain=CLASSIC)
add("LabelEncoder", MAPPED, shape=ShapeRule(like(0), cast=label_type, whole=False), domain=CLASSIC)
add("Normalizer", normalizer, shape=ShapeRule(like(0), cast=always(FLOAT), whole=False), domain=CLASSIC)


def columns(count: Callable[[Attributes], int]) -> Infer:
    """A shape with so many numbers for each row of the input; a vector counts as one row."""

    def infer(attributes: Attributes, shapes: Shapes) -> Sequence[Shape]:
        rows = shapes[0][0] if len(shapes[0]) > 1 else 1
        return [(rows, count(attributes))]

    return infer


WHOLE = frozen("an operator of classic machine learning reads it whole")
REGRESSIONS: dict[str, Callable[[Attributes], int]] = {
    "LinearRegressor": lambda attributes: int(attributes.get("targets") or 1),
    "SVMRegressor": lambda attributes: 1,
    "TreeEnsembleRegressor": lambda attributes: int(attributes.get("n_targets") or 1),
    "FeatureVectorizer": lambda attributes: sum(attributes["inputdimensions"]),
}
for _name, _count in REGRESSIONS.items():
    add(_name, WHOLE, shape=ShapeRule(columns(_count), cast=always(FLOAT), whole=False), domain=CLASSIC)
