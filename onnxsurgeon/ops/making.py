"""New nodes: their attributes and inputs, as the opset of a model has them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any, Literal

import numpy as np
import onnx
import onnx_ir as ir

from onnxsurgeon.arrays import FloatArray, Shape
from onnxsurgeon.errors import UsageError
from onnxsurgeon.model.editor import Editor, attribute
from onnxsurgeon.ops.nodes import schema
from onnxsurgeon.ops.registry import of_kind

Parameters = tuple[list[ir.Value], list[ir.Attr]]  # of a new node: inputs behind its data, and attributes


def along(axis: int) -> list[ir.Attr]:
    """The attribute of an operator that works along one axis."""
    return [attribute("axis", axis)]


def ordered(axes: Sequence[int]) -> list[ir.Attr]:
    """The attribute of a Transpose."""
    return [attribute("perm", axes)]


def split_into(editor: Editor, name: str, axis: int, sizes: Sequence[int]) -> Parameters:
    """The parameters of a Split called `name` into parts of these sizes."""
    inputs, attributes = _parameter(editor, "Split", name, "split", sizes)
    return inputs, [*along(axis), *attributes]


def new_axis(editor: Editor, name: str, axis: int) -> Parameters:
    """The parameters of an Unsqueeze called `name` that adds an axis, or of a Squeeze that removes it."""
    return _parameter(editor, "Unsqueeze", name, "axes", [axis])


def padding(editor: Editor, name: str, amounts: Sequence[int]) -> Parameters:
    """The parameters of a Pad called `name`. amounts: before each axis, then behind each; negative to crop."""
    return _parameter(editor, "Pad", name, "pads", amounts)


def _parameter(editor: Editor, operator: str, name: str, parameter: str, values: Sequence[int]) -> Parameters:
    """A parameter that is an input in newer opsets, and an attribute in older ones."""
    found = schema("", operator, editor.opset)
    if found is None or parameter not in [given.name for given in found.inputs]:
        return [], [attribute(parameter, values)]
    return [editor.weight(f"{name}.{parameter}", np.asarray(values, np.int64))], []


# --- layers -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """The place of new nodes: after `value`, of known shape and element type. axis: the axis of its neurons.

    opset: version of the standard operators. name: of the last node.
    """

    editor: Editor
    value: ir.Value
    shape: Shape
    axis: int
    dtype: ir.DataType
    opset: int
    name: str

    @property
    def width(self) -> int:
        return self.shape[self.axis]

    def add(self, operator: str, inputs: Sequence[ir.Value | None], *attributes: ir.Attr, part: str = "") -> ir.Value:
        """The output of a node that is added after the last one."""
        try:
            onnx.defs.get_schema(operator, self.opset)
        except onnx.defs.SchemaError:
            raise UsageError(
                f"{self.name} needs {operator}, which opset {self.opset} does not have",
                fix="convert the model with onnx.version_converter, or choose another operator",
            ) from None
        last = inputs[0].producer() if inputs and inputs[0] is not None else None
        name = f"{self.name}.{part}" if part else self.name
        return self.editor.node(operator, inputs, attributes, name=name, after=last)[0]

    def weight(self, name: str, array: Any) -> ir.Value:
        return self.editor.weight(f"{self.name}.{name}", np.atleast_1d(array).astype(self.dtype.numpy()), self.dtype)


@dataclass(frozen=True)
class Slide:
    """How a window slides over space: it is padded so that the shape is divided by the strides, rounded up.

    kernel, strides, dilations: along each spatial axis; the last two are 1 by default.
    """

    kernel: Sequence[int]
    strides: Sequence[int] = ()
    dilations: Sequence[int] = ()

    @property
    def attributes(self) -> list[ir.Attr]:
        spread = [d * (k - 1) for k, d in zip(self.kernel, self.dilations or [1] * len(self.kernel), strict=True)]
        given = {"strides": self.strides, "dilations": self.dilations}
        pads = [*(n // 2 for n in spread), *(n - n // 2 for n in spread)]
        return [
            attribute("kernel_shape", self.kernel),
            attribute("pads", pads),
            *(attribute(name, values) for name, values in given.items() if any(n != 1 for n in values)),
        ]


def convolved(place: Place, weight: ir.Value, bias: ir.Value | None, slide: Slide, groups: int) -> ir.Value:
    """The output of a Conv."""
    read = [place.value, weight] if bias is None else [place.value, weight, bias]
    return place.add("Conv", read, *slide.attributes, attribute("group", groups))


def pooled(place: Place, operator: str, slide: Slide) -> ir.Value:
    """The output of a pooling."""
    return place.add(operator, [place.value], *slide.attributes)


PoolKind = Literal["Max", "Average"]
GLOBAL_POOLS: dict[PoolKind, str] = {"Average": "GlobalAveragePool", "Max": "GlobalMaxPool"}


def pooled_whole(place: Place, kind: PoolKind, *, flat: bool) -> ir.Value:
    """The output of a pooling over all of space. flat: without spatial axes; else each is 1 long."""
    pool = place.add(GLOBAL_POOLS[kind], [place.value], part="pool" if flat else "")
    return flattened(place, pool) if flat else pool


def flattened(place: Place, value: ir.Value | None = None) -> ir.Value:
    """The output of a Flatten: all but the first axis of `value` (by default, of the place's) as one."""
    return place.add("Flatten", [place.value if value is None else value], *along(1))


def joined(place: Place, values: Sequence[ir.Value]) -> ir.Value:
    """The values side by side along the axis of neurons."""
    return place.add("Concat", values, *along(place.axis))


def summed(place: Place, values: Sequence[ir.Value], share: float = 1.0) -> ir.Value:
    """The sum of two values times `share`."""
    total = place.add("Add", values, part="" if share == 1 else "sum")
    return total if share == 1 else place.add("Mul", [total, place.weight("share", np.array(share))])


def multiplied(place: Place, array: FloatArray, *, bias: bool) -> ir.Value:
    """The product with a new weight, shape (out, in), and the sum with a bias of zeros."""
    zeros = [place.weight("bias", np.zeros(len(array)))] if bias else []
    if len(place.shape) == 2:
        return place.add("Gemm", [place.value, place.weight("weight", array), *zeros], attribute("transB", 1))
    result = place.add("MatMul", [place.value, place.weight("weight", array.T)], part="matmul" if bias else "")
    return place.add("Add", [result, *zeros]) if bias else result


def normalised(place: Place, epsilon: float) -> ir.Value:
    """The output of a BatchNormalization that starts as the identity."""
    ones, zeros = np.ones(place.width), np.zeros(place.width)
    parts = {"scale": ones, "shift": zeros, "mean": zeros, "var": ones - epsilon}
    inputs = [place.value, *(place.weight(name, array) for name, array in parts.items())]
    return place.add("BatchNormalization", inputs, attribute("epsilon", epsilon))


# --- activations, some of which take several nodes -------------------------------------------------------------------


def _plain(operator: str, **numbers: float) -> Callable[[Place], ir.Value]:
    return lambda place: place.add(operator, [place.value], *(ir.AttrFloat32(k, v) for k, v in numbers.items()))


def _silu(place: Place) -> ir.Value:
    gate = place.add("Sigmoid", [place.value], part="gate")
    return place.editor.node("Mul", [place.value, gate], name=place.name, after=gate.producer())[0]


def _gelu(place: Place) -> ir.Value:
    if place.opset >= 20:
        return place.add("Gelu", [place.value])
    scaled = place.add("Mul", [place.value, place.weight("root", np.array(sqrt(0.5)))], part="scaled")
    plus = place.add("Add", [place.add("Erf", [scaled], part="erf"), place.weight("one", np.array(1.0))], part="plus")
    gated = place.editor.node("Mul", [place.value, plus], name=f"{place.name}.gated", after=plus.producer())[0]
    return place.add("Mul", [gated, place.weight("half", np.array(0.5))])


def _hard_swish(place: Place) -> ir.Value:
    if place.opset >= 14:
        return place.add("HardSwish", [place.value])
    gate = place.add(
        "HardSigmoid", [place.value], ir.AttrFloat32("alpha", 1 / 6), ir.AttrFloat32("beta", 0.5), part="gate"
    )
    return place.editor.node("Mul", [place.value, gate], name=place.name, after=gate.producer())[0]


def _relu6(place: Place) -> ir.Value:
    low, high = place.weight("low", np.array(0.0)), place.weight("high", np.array(6.0))
    if place.opset < 11:
        return place.add("Clip", [place.value], ir.AttrFloat32("min", 0.0), ir.AttrFloat32("max", 6.0))
    return place.add("Clip", [place.value, low, high])


def _prelu(place: Place) -> ir.Value:
    shape = [place.width if a == place.axis else 1 for a in range(place.axis, len(place.shape))]
    return place.add("PRelu", [place.value, place.weight("slope", np.full(shape, 0.25))])


ACTIVATIONS: dict[str, Callable[[Place], ir.Value]] = {
    **{word: _plain(word) for word in of_kind("activation")},
    "LeakyRelu": _plain("LeakyRelu", alpha=0.01),
    "Relu6": _relu6,
    "PRelu": _prelu,
    "HardSwish": _hard_swish,
    "Silu": _silu,
    "Gelu": _gelu,
}
