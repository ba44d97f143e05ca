"""New nodes to insert, or to replace others: their operators and their initial weights.

The output of a block with `init="identity"` equals its input.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from inspect import signature
from math import sqrt
from typing import Any, ClassVar, Literal
from zlib import crc32

import numpy as np
import onnx
import onnx_ir as ir

from onnxsurgeon.arrays import Shape
from onnxsurgeon.dependency.names import name_of
from onnxsurgeon.edit.inits import FRESH, INITS, SPLIT
from onnxsurgeon.errors import UsageError
from onnxsurgeon.model.editor import Editor
from onnxsurgeon.ops.registry import of_kind
from onnxsurgeon.options.parsing import unknown, wrong


@dataclass(frozen=True)
class Site:
    """The place of a block: after `value`, of known shape and element type. axis: the axis of its neurons.

    opset: version of the standard operators. seed: random seed.
    """

    editor: Editor
    value: ir.Value
    shape: Shape
    axis: int
    dtype: ir.DataType
    opset: int
    name: str
    init: str = "identity"
    seed: int = 0

    @property
    def behind(self) -> str:
        """Name of the node or graph input that gives `value`."""
        producer = self.value.producer()
        return (self.value.name if producer is None else name_of(producer)) or ""

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

    def fresh(self, shape: Shape) -> ir.Value:
        """A layer's weight, shape (out, in, *kernel), initialised by `init`."""
        fresh = INITS[self.init].fresh
        assert fresh is not None, "`block` lets no other word through"
        return self.weight(
            "weight", fresh(shape, np.random.default_rng([self.seed, crc32(self.name.encode()), *shape]))
        )


@dataclass(frozen=True)
class Conv:
    """A convolution as wide as its input. kernel: size along each spatial axis; odd for the identity."""

    starts: ClassVar = FRESH
    kernel: int | tuple[int, ...] = 3
    groups: int = 1
    bias: bool = True

    def build(self, site: Site) -> ir.Value:
        space = len(site.shape) - 2
        if space < 1 or site.axis != 1:
            raise UsageError(
                f"a Conv can't follow {site.behind}",
                why=f"its output has the shape {list(site.shape)}",
                fix="choose a node whose output has channels and spatial axes, or insert a Linear",
            )
        kernel = (self.kernel,) * space if isinstance(self.kernel, int) else tuple(self.kernel)
        if len(kernel) != space or any(k < 1 for k in kernel) or self.groups < 1 or site.width % self.groups:
            raise UsageError(
                f"a Conv of kernel {kernel} and {self.groups} groups does not fit",
                why=f"the input has {space} spatial axes and {site.width} channels",
                fix="give one size, or one for each spatial axis, and groups that divide the channels",
            )
        inputs = [site.value, site.fresh((site.width, site.width // self.groups, *kernel))]
        if self.bias:
            inputs.append(site.weight("bias", np.zeros(site.width)))
        pads = [*((k - 1) // 2 for k in kernel), *(k // 2 for k in kernel)]
        return site.add(
            "Conv", inputs, ir.AttrInt64s("kernel_shape", list(kernel)), ir.AttrInt64s("pads", pads),
            ir.AttrInt64("group", self.groups),
        )  # fmt: skip


@dataclass(frozen=True)
class Linear:
    """A matrix product and a bias along the axis of neurons, which must be the last; as wide as its input."""

    starts: ClassVar = FRESH
    bias: bool = True

    def build(self, site: Site) -> ir.Value:
        if site.axis != len(site.shape) - 1:
            raise UsageError(
                f"a Linear can't follow {site.behind}",
                why=f"its channels are on axis {site.axis} of {list(site.shape)}, not on the last",
                fix="choose a node with channels on the last axis, or insert a Conv",
            )
        weight = site.fresh((site.width, site.width))
        result = site.add("MatMul", [site.value, weight], part="matmul" if self.bias else "")
        return site.add("Add", [result, site.weight("bias", np.zeros(site.width))]) if self.bias else result


@dataclass(frozen=True)
class BatchNorm:
    """A BatchNormalization that starts as the identity."""

    epsilon: float = 1e-5

    def build(self, site: Site) -> ir.Value:
        if site.axis != 1:
            raise UsageError(
                f"a BatchNormalization can't follow {site.behind}",
                why=f"its channels are on axis {site.axis}, not on axis 1",
                fix="choose a node with channels on axis 1",
            )
        ones, zeros = np.ones(site.width), np.zeros(site.width)
        parts = {"scale": ones, "shift": zeros, "mean": zeros, "var": ones - self.epsilon}
        inputs = [site.value, *(site.weight(name, array) for name, array in parts.items())]
        return site.add("BatchNormalization", inputs, ir.AttrFloat32("epsilon", self.epsilon))


@dataclass(frozen=True)
class Activation:
    """An activation; see `ACTIVATIONS`."""

    kind: str = "Relu"

    def build(self, site: Site) -> ir.Value:
        if self.kind not in ACTIVATIONS:
            raise unknown(self.kind, ACTIVATIONS, "`kind`")
        return ACTIVATIONS[self.kind](site)


@dataclass(frozen=True)
class Pool:
    """A pooling that keeps the shape."""

    kind: Literal["Max", "Average"] = "Max"
    kernel: int = 3

    def build(self, site: Site) -> ir.Value:
        space = len(site.shape) - 2
        if space < 1:
            raise UsageError(
                f"a pooling can't follow {site.behind}",
                why=f"its output has the shape {list(site.shape)}",
                fix="choose a node whose output has channels and spatial axes",
            )
        k = self.kernel
        sizes = [ir.AttrInt64s("kernel_shape", [k] * space)]
        pads = [*[(k - 1) // 2] * space, *[k // 2] * space]
        return site.add(f"{self.kind}Pool", [site.value], *sizes, ir.AttrInt64s("pads", pads))


@dataclass(frozen=True)
class Separable:
    """A depthwise and a pointwise convolution that replace a Conv with one group."""

    starts: ClassVar = SPLIT


Block = Conv | Linear | BatchNorm | Activation | Pool


def _plain(operator: str, **numbers: float) -> Callable[[Site], ir.Value]:
    return lambda site: site.add(operator, [site.value], *(ir.AttrFloat32(k, v) for k, v in numbers.items()))


def _silu(site: Site) -> ir.Value:
    gate = site.add("Sigmoid", [site.value], part="gate")
    return site.editor.node("Mul", [site.value, gate], name=site.name, after=gate.producer())[0]


def _gelu(site: Site) -> ir.Value:
    if site.opset >= 20:
        return site.add("Gelu", [site.value])
    scaled = site.add("Mul", [site.value, site.weight("root", np.array(sqrt(0.5)))], part="scaled")
    plus = site.add("Add", [site.add("Erf", [scaled], part="erf"), site.weight("one", np.array(1.0))], part="plus")
    gated = site.editor.node("Mul", [site.value, plus], name=f"{site.name}.gated", after=plus.producer())[0]
    return site.add("Mul", [gated, site.weight("half", np.array(0.5))])


def _hard_swish(site: Site) -> ir.Value:
    if site.opset >= 14:
        return site.add("HardSwish", [site.value])
    gate = site.add(
        "HardSigmoid", [site.value], ir.AttrFloat32("alpha", 1 / 6), ir.AttrFloat32("beta", 0.5), part="gate"
    )
    return site.editor.node("Mul", [site.value, gate], name=site.name, after=gate.producer())[0]


def _relu6(site: Site) -> ir.Value:
    low, high = site.weight("low", np.array(0.0)), site.weight("high", np.array(6.0))
    if site.opset < 11:
        return site.add("Clip", [site.value], ir.AttrFloat32("min", 0.0), ir.AttrFloat32("max", 6.0))
    return site.add("Clip", [site.value, low, high])


def _prelu(site: Site) -> ir.Value:
    shape = [site.width if a == site.axis else 1 for a in range(site.axis, len(site.shape))]
    return site.add("PRelu", [site.value, site.weight("slope", np.full(shape, 0.25))])


ACTIVATIONS: dict[str, Callable[[Site], ir.Value]] = {
    **{word: _plain(word) for word in of_kind("activation")},
    "LeakyRelu": _plain("LeakyRelu", alpha=0.01),
    "Relu6": _relu6,
    "PRelu": _prelu,
    "HardSwish": _hard_swish,
    "Silu": _silu,
    "Gelu": _gelu,
}
BLOCKS: dict[str, Callable[..., Block | Separable]] = {
    "Conv": Conv,
    "Linear": Linear,
    "BatchNorm": BatchNorm,
    "MaxPool": partial(Pool, "Max"),
    "AveragePool": partial(Pool, "Average"),
    **{word: partial(Activation, word) for word in ACTIVATIONS},
    "Separable": Separable,
}


def block(op: str | Block | Separable, *, init: str | None = None, **options: Any) -> Block | Separable:
    """The block that `op` names, with the given options (None: by default).

    Raises UsageError if it does not take one of them, or not this `init`.
    """
    given = {key: value for key, value in options.items() if value is not None}
    takes = list(signature(BLOCKS[op]).parameters) if isinstance(op, str) else []
    extra = [key for key in given if key not in takes]
    made = op if not isinstance(op, str) else Conv() if extra else BLOCKS[op](**given)
    name = op if isinstance(op, str) else type(op).__name__
    starts: tuple[str, ...] = getattr(BLOCKS.get(name) or made, "starts", ())
    if extra or (init is not None and not starts):
        takes += ["init"] * bool(starts)
        raise UsageError(
            f"{name} has no option {(extra or ['init'])[0]}",
            why=f"it takes {', '.join(takes)}" if takes else "it has no options",
            fix="leave it out",
        )
    if not isinstance(made, Block | Separable):
        raise wrong(made, "`op`", ", ".join(BLOCKS), "choose one of these")
    if isinstance(made, Pool) and not isinstance(made.kernel, int):
        raise UsageError(f"the kernel of a {name} must be one number", fix="write 3 instead of 3x3")
    if init is not None and init not in starts:
        raise unknown(init, starts, f"`init` of {name}")
    return made
