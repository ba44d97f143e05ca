"""Spaces of layers: a draw is a layer with its sizes, and what follows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from onnxsurgeon.errors import UsageError
from onnxsurgeon.ops.making import PoolKind
from onnxsurgeon.search.drawing import Space, Spot
from onnxsurgeon.surgery.blocks import (
    Activation,
    BatchNorm,
    Block,
    Conv,
    Flat,
    GlobalPool,
    Linear,
    Pool,
    Sizes,
)

IDENTITY = "identity"
COMMON = ("Relu", "LeakyRelu", "Elu", "Selu", "Silu", "Gelu")  # activations
Numbers = int | Sequence[int]  # one number, or those to choose from, like range(8, 65)
Layer = Block | GlobalPool | Flat


def pick(numbers: Numbers, rng: np.random.Generator) -> int:
    """One of the numbers, each as likely. Raises UsageError if there is none, or one below 0."""
    if not isinstance(numbers, int) and (not len(numbers) or min(numbers) < 0):
        raise UsageError(
            f"nothing can be drawn from {numbers}",
            why="it is empty, or has numbers below 0",
            fix="give others",
        )
    return numbers if isinstance(numbers, int) else int(numbers[int(rng.integers(len(numbers)))])


@dataclass(frozen=True)
class LayerSpace(Space):
    """A space whose draws are layers, one after another."""

    def draw(self, rng: np.random.Generator, *, space: int = 2) -> tuple[Layer, ...]:
        """The layers of a draw. space: how many spatial axes there are."""
        raise NotImplementedError

    def fitted(self, layer: Layer, spot: Spot, width: int | None) -> Layer:
        """`layer`, as wide as it is to be."""
        return layer

    def grow(self, spot: Spot, rng: np.random.Generator, width: int | None = None) -> Spot:
        first, *rest = (self.fitted(layer, spot, width) for layer in self.draw(rng, space=spot.space))
        name, site = spot.name, spot.called(_kind(first))
        here = spot.behind_of(first.build(site))
        for layer in rest:
            part = replace(here, name=f"{site.name}.{_kind(layer)}", offset=0)
            here = here.behind_of(layer.build(part.called(_kind(layer))))
        return replace(here, name=name)


def _kind(layer: Layer) -> str:
    return (layer.kind if isinstance(layer, Activation) else type(layer).__name__).lower()


@dataclass(frozen=True)
class WideSpace(LayerSpace):
    """A space of layers with weights. widths: to choose from. activations: words to choose from; none: linear."""

    widths: Numbers = range(8, 65)
    activations: Sequence[str] = ("Relu",)
    batch_norm: bool = False

    @property
    def chooses(self) -> bool:
        return True

    def layer(self, rng: np.random.Generator, space: int) -> Conv | Linear:
        raise NotImplementedError

    def draw(self, rng: np.random.Generator, *, space: int = 2) -> tuple[Layer, ...]:
        found: list[Layer] = [self.layer(rng, space)]
        found += [BatchNorm()] * self.batch_norm
        if self.activations:
            found.append(Activation(self.activations[int(rng.integers(len(self.activations)))]))
        return tuple(found)

    def fitted(self, layer: Layer, spot: Spot, width: int | None) -> Layer:
        """An identity is at least as wide as what it reads, unless its width is given."""
        if not isinstance(layer, Conv | Linear):
            return layer
        drawn = layer.width or spot.width
        return replace(layer, width=width or (max(drawn, spot.width) if spot.init == IDENTITY else drawn))


@dataclass(frozen=True)
class DenseSpace(WideSpace):
    """Matrix products along the last axis."""

    def layer(self, rng: np.random.Generator, space: int) -> Linear:
        return Linear(width=pick(self.widths, rng), bias=not self.batch_norm)


@dataclass(frozen=True)
class ConvSpace(WideSpace):
    """Convolutions over as many spatial axes as there are.

    kernels, strides, dilations: sizes to choose from. coupled: one draw for all axes, or one for each.
    """

    kernels: Numbers = (3,)
    strides: Numbers = 1
    dilations: Numbers = 1
    coupled: bool = True

    def layer(self, rng: np.random.Generator, space: int) -> Conv:
        width = pick(self.widths, rng)
        kernel, stride, dilation = (self._sizes(n, rng, space) for n in (self.kernels, self.strides, self.dilations))
        return Conv(kernel, width=width, stride=stride, dilation=dilation, bias=not self.batch_norm)

    def _sizes(self, numbers: Numbers, rng: np.random.Generator, space: int) -> Sizes:
        return pick(numbers, rng) if self.coupled else tuple(pick(numbers, rng) for _ in range(space))


@dataclass(frozen=True)
class BatchNormSpace(LayerSpace):
    """A normalisation by the statistics of batches, which starts as the identity."""

    def draw(self, rng: np.random.Generator, *, space: int = 2) -> tuple[Layer, ...]:
        return (BatchNorm(),)


@dataclass(frozen=True)
class ActivationSpace(LayerSpace):
    """Functions of each element. kinds: words to choose from."""

    kinds: Sequence[str] = ("Relu",)

    def draw(self, rng: np.random.Generator, *, space: int = 2) -> tuple[Layer, ...]:
        return (Activation(self.kinds[int(rng.integers(len(self.kinds)))]),)


@dataclass(frozen=True)
class PoolSpace(LayerSpace):
    """Poolings. kernels, strides: sizes to choose from."""

    kinds: Sequence[PoolKind] = ("Max", "Average")
    kernels: Numbers = 2
    strides: Numbers = 2

    def draw(self, rng: np.random.Generator, *, space: int = 2) -> tuple[Layer, ...]:
        kind = self.kinds[int(rng.integers(len(self.kinds)))]
        return (Pool(kind, pick(self.kernels, rng), pick(self.strides, rng)),)


@dataclass(frozen=True)
class GlobalPoolSpace(LayerSpace):
    """Poolings over all of space; nothing where there is no space."""

    kinds: Sequence[PoolKind] = ("Average", "Max")

    def draw(self, rng: np.random.Generator, *, space: int = 2) -> tuple[Layer, ...]:
        return (GlobalPool(self.kinds[int(rng.integers(len(self.kinds)))]),)

    def grow(self, spot: Spot, rng: np.random.Generator, width: int | None = None) -> Spot:
        return super().grow(spot, rng, width) if spot.space > 0 else spot


@dataclass(frozen=True)
class FlattenSpace(LayerSpace):
    """All axes but the batch as one; nothing where there is only one."""

    def draw(self, rng: np.random.Generator, *, space: int = 2) -> tuple[Layer, ...]:
        return (Flat(),)

    def grow(self, spot: Spot, rng: np.random.Generator, width: int | None = None) -> Spot:
        return super().grow(spot, rng, width) if spot.space > 0 else spot


@dataclass(frozen=True)
class NoOp(Space):
    """Nothing: the value as it is."""

    def grow(self, spot: Spot, rng: np.random.Generator, width: int | None = None) -> Spot:
        return spot
