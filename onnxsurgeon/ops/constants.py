"""Operators made of sizes and numbers, with which exporters compute shapes: what comes out has no neurons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import ceil, prod

import numpy as np

from onnxsurgeon.neurons.relations import Axes
from onnxsurgeon.ops.call import Call, SizeCall
from onnxsurgeon.ops.registry import Operator, add, always
from onnxsurgeon.ops.signatures import signature
from onnxsurgeon.ops.size_arrays import Sizes, array_of, scalar
from onnxsurgeon.ops.size_expressions import larger, whole


def unlabelled(call: Call) -> Sequence[Axes | None]:
    return [call.blank(i) for i in range(len(call.outputs))]


NUMBERS = Operator(unlabelled, silence="none")
SIZES = replace(NUMBERS, ignores=(0,))


add("Shape", SIZES, from_shape=lambda a, shape: array_of(shape[a.get("start") or 0 : a.get("end")]))
add("Size", SIZES, from_shape=lambda attributes, shape: scalar(prod(shape)))


def _range_length(call: SizeCall) -> Sizes:
    start, limit, step = (np.asarray(i).item() for i in call.inputs)
    return (larger(whole((limit - start) / step, ceil), 0),)


add(
    "Range",
    NUMBERS,
    sizes=_range_length,
    value=lambda call: np.arange(*(np.asarray(i).item() for i in call.inputs), dtype=np.asarray(call.inputs[0]).dtype),
)
add(
    "Constant",
    NUMBERS,
    spells={"value_int": np.int64, "value_ints": np.int64, "value_float": np.float32, "value_floats": np.float32},
)
add("MelWeightMatrix HannWindow HammingWindow BlackmanWindow", NUMBERS)
add("RandomNormal RandomUniform", NUMBERS, random=always)
add("Bernoulli RandomNormalLike RandomUniformLike", signature("... -> ..."), silence="none", random=always)
