"""New nodes to insert, or to replace others: what they take, where they fit, and their initial weights.

The output of a block with `init="identity"` equals its input.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from inspect import signature
from typing import Any, ClassVar, Protocol
from zlib import crc32

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import FloatArray, Shape
from onnxsurgeon.dependency.names import name_of
from onnxsurgeon.edit.inits import FRESH, INITS, SPLIT
from onnxsurgeon.errors import UsageError
from onnxsurgeon.ops.making import (
    ACTIVATIONS,
    Place,
    PoolKind,
    Slide,
    convolved,
    flattened,
    multiplied,
    normalised,
    pooled,
    pooled_whole,
)
from onnxsurgeon.options.parsing import unknown, wrong


@dataclass(frozen=True)
class Site(Place):
    """The place of a block. init: how its weights start. seed: random seed.

    offset: the input neuron that the first output neuron of an identity is.
    """

    init: str = "identity"
    seed: int = 0
    offset: int = 0

    @property
    def behind(self) -> str:
        """Name of the node or graph input that gives `value`."""
        producer = self.value.producer()
        return (self.value.name if producer is None else name_of(producer)) or ""

    def fresh(self, shape: Shape) -> FloatArray:
        """A layer's weight, shape (out, in, *kernel), initialised by `init`."""
        fresh = INITS[self.init].fresh
        assert fresh is not None, "`block` lets no other word through"
        array = fresh(shape, np.random.default_rng([self.seed, crc32(self.name.encode()), *shape]))
        return np.roll(array, self.offset, axis=1) if self.offset else array


Sizes = int | tuple[int, ...]  # along each spatial axis


@dataclass(frozen=True)
class Conv:
    """A convolution. kernel: size along each spatial axis; odd for the identity. width: by default its input's."""

    starts: ClassVar = FRESH
    kernel: Sizes = 3
    groups: int = 1
    bias: bool = True
    width: int | None = None
    stride: Sizes = 1
    dilation: Sizes = 1

    def build(self, site: Site) -> ir.Value:
        space = len(site.shape) - 2
        if space < 1 or site.axis != 1:
            raise UsageError(
                f"a Conv can't follow {site.behind}",
                why=f"its output has the shape {list(site.shape)}",
                fix="choose a node whose output has channels and spatial axes, or insert a Linear",
            )
        kernel, out = _each(self.kernel, space), self.width or site.width
        slide = Slide(kernel, _each(self.stride, space), _each(self.dilation, space))
        sizes = (*kernel, *slide.strides, *slide.dilations)
        if len(sizes) != 3 * space or any(k < 1 for k in sizes) or self.groups < 1 or math.gcd(
            site.width, out
        ) % self.groups:  # fmt: skip
            raise UsageError(
                f"a Conv of kernel {kernel} and {self.groups} groups does not fit",
                why=f"the input has {space} spatial axes and {site.width} channels",
                fix="give one size, or one for each spatial axis, and groups that divide the channels",
            )
        weight = site.weight("weight", site.fresh((out, site.width // self.groups, *kernel)))
        bias = site.weight("bias", np.zeros(out)) if self.bias else None
        return convolved(site, weight, bias, slide, self.groups)


def _each(size: Sizes, space: int) -> tuple[int, ...]:
    return (size,) * space if isinstance(size, int) else tuple(size)


@dataclass(frozen=True)
class Linear:
    """A matrix product and a bias along the axis of neurons, which must be the last. width: by default its input's."""

    starts: ClassVar = FRESH
    bias: bool = True
    width: int | None = None

    def build(self, site: Site) -> ir.Value:
        if site.axis != len(site.shape) - 1:
            raise UsageError(
                f"a Linear can't follow {site.behind}",
                why=f"its channels are on axis {site.axis} of {list(site.shape)}, not on the last",
                fix="choose a node with channels on the last axis, or insert a Conv",
            )
        return multiplied(site, site.fresh((self.width or site.width, site.width)), bias=self.bias)


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
        return normalised(site, self.epsilon)


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
    """A pooling that keeps the shape, or divides it by its stride."""

    kind: PoolKind = "Max"
    kernel: int = 3
    stride: int = 1

    def build(self, site: Site) -> ir.Value:
        space = len(site.shape) - 2
        if space < 1:
            raise UsageError(
                f"a pooling can't follow {site.behind}",
                why=f"its output has the shape {list(site.shape)}",
                fix="choose a node whose output has channels and spatial axes",
            )
        return pooled(site, f"{self.kind}Pool", Slide([self.kernel] * space, [self.stride] * space))


@dataclass(frozen=True)
class GlobalPool:
    """A pooling over all of space. flat: leave no spatial axes; else each is 1 long."""

    kind: PoolKind = "Average"
    flat: bool = True

    def build(self, site: Site) -> ir.Value:
        return pooled_whole(site, self.kind, flat=self.flat)


@dataclass(frozen=True)
class Flat:
    """All axes but the first as one."""

    def build(self, site: Site) -> ir.Value:
        return flattened(site)


@dataclass(frozen=True)
class Separable:
    """A depthwise and a pointwise convolution that replace a Conv with one group."""

    starts: ClassVar = SPLIT


class Builds(Protocol):
    """What adds nodes at a site, and returns their output."""

    def build(self, site: Site) -> ir.Value: ...


Block = Conv | Linear | BatchNorm | Activation | Pool


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
