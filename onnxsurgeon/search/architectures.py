"""Spaces of architectures: how draws of other spaces stand one after another, beside each other, or around each other.

Where weights start as the identity, what is drawn computes its input (if its layers can): the paths of a fork each pass
their share of the channels, and a residual halves its sum.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from onnxsurgeon.arrays import Shape
from onnxsurgeon.errors import UsageError
from onnxsurgeon.ops.making import joined, summed
from onnxsurgeon.search.drawing import Space, Spot
from onnxsurgeon.search.layer_spaces import IDENTITY, Numbers, pick


@dataclass(frozen=True)
class Named(Space):
    """What is drawn from `inside`, with names that begin with `name`."""

    name: str
    inside: Space

    @property
    def chooses(self) -> bool:
        return self.inside.chooses

    def grow(self, spot: Spot, rng: np.random.Generator, width: int | None = None) -> Spot:
        name = f"{spot.name}.{self.name}" if spot.name else self.name
        return replace(self.inside.grow(replace(spot, name=name), rng, width), name=spot.name)


@dataclass(frozen=True)
class OneOf(Space):
    """A draw of one of the spaces. weights: how likely each is; by default the same."""

    options: Sequence[Space]
    weights: Sequence[float] = ()

    @property
    def chooses(self) -> bool:
        return any(option.chooses for option in self.options)

    def grow(self, spot: Spot, rng: np.random.Generator, width: int | None = None) -> Spot:
        """Only spaces that choose their width are drawn where another one is wanted."""
        weights = np.array(self.weights or [1.0] * len(self.options), np.float64)
        if width not in (None, spot.width):
            weights = weights * [option.chooses for option in self.options]
        option = self.options[int(rng.choice(len(weights), p=weights / weights.sum()))]
        return option.grow(spot, rng, width)


@dataclass(frozen=True)
class Chain(Space):
    """Draws of the spaces, one after another."""

    parts: Sequence[Space]

    @property
    def chooses(self) -> bool:
        return any(part.chooses for part in self.parts)

    def grow(self, spot: Spot, rng: np.random.Generator, width: int | None = None) -> Spot:
        return chained(self.parts, spot, rng, width)


def chained(parts: Sequence[Space], spot: Spot, rng: np.random.Generator, width: int | None) -> Spot:
    """The last part that chooses its width obeys the given one, as do those behind it."""
    last = max((k for k, part in enumerate(parts) if part.chooses), default=0)
    offset = spot.offset
    for number, part in enumerate(parts):
        here = replace(spot, offset=offset if number == last else 0)
        spot = part.grow(here, rng, width if number >= last else None)
    return replace(spot, offset=offset)


@dataclass(frozen=True)
class Repeat(Space):
    """Several draws of a space, one after another. count: how many, to choose from."""

    inside: Space
    count: Numbers

    @property
    def chooses(self) -> bool:
        return self.inside.chooses

    def grow(self, spot: Spot, rng: np.random.Generator, width: int | None = None) -> Spot:
        """At least one draw where another width is wanted."""
        count = pick(self.count, rng)
        return chained([self.inside] * (count or int(width not in (None, spot.width))), spot, rng, width)


@dataclass(frozen=True)
class LargerThan:
    """Whether each spatial axis is longer than `size`."""

    size: int

    def __call__(self, shape: Shape) -> bool:
        return all(n > self.size for n in shape[2:])


@dataclass(frozen=True)
class Conditional(Space):
    """A draw of `inside` where `test` holds for the shape, like `LargerThan(4)`; else one of `otherwise`, if any."""

    test: Callable[[Shape], bool]
    inside: Space
    otherwise: Space | None = None

    @property
    def chooses(self) -> bool:
        return self.inside.chooses and self.otherwise is not None and self.otherwise.chooses

    def grow(self, spot: Spot, rng: np.random.Generator, width: int | None = None) -> Spot:
        space = self.inside if self.test(spot.shape) else self.otherwise
        return spot if space is None else space.grow(spot, rng, width)


@dataclass(frozen=True)
class Fork(Space):
    """Draws of a space beside each other, whose outputs are concatenated: together as wide as the input.

    count: how many, to choose from; never more than channels. widths: of the output, to choose from.
    init: how their weights start; by default as those around.
    """

    inside: Space
    count: Numbers = 2
    widths: Numbers | None = None
    init: str | None = None

    @property
    def chooses(self) -> bool:
        return self.inside.chooses

    def grow(self, spot: Spot, rng: np.random.Generator, width: int | None = None) -> Spot:
        drawn = spot.width if self.widths is None else pick(self.widths, rng)
        around, inner = spot, replace(spot, init=self.init or spot.init)
        if width is None:
            width = max(drawn, spot.width) if inner.init == IDENTITY else drawn
        start, ends = spot.offset, []
        for part in split(width, pick(self.count, rng)):
            ends.append(obeyed(self.inside, replace(inner, offset=start), rng, part))
            start += part
        if len(ends) < 2:
            return replace(ends[0], init=around.init, offset=around.offset)
        _require_alike([end.shape for end in ends], "paths of a fork", without=1)
        result = joined(around.called("concat"), [end.value for end in ends])
        return around.behind_of(result)


@dataclass(frozen=True)
class Residual(Space):
    """The sum of the input and a draw of a space that keeps its shape. init: how its weights start; by default as those
    around. Where they start as the identity, the sum is halved."""

    inside: Space
    init: str | None = None

    def grow(self, spot: Spot, rng: np.random.Generator, width: int | None = None) -> Spot:
        start = self.init or spot.init
        end = obeyed(self.inside, replace(spot, init=start, offset=0), rng, spot.width)
        _require_alike([spot.shape, end.shape], "two sides of a residual")
        share = 0.5 if start == IDENTITY else 1.0
        return spot.behind_of(summed(spot.called("add"), [spot.value, end.value], share))


def split(width: int, parts: int) -> list[int]:
    """The width in equal parts, the last ones larger, none of them 0: there may be fewer."""
    parts = max(1, min(parts, width))
    ends = [width * k // parts for k in range(parts + 1)]
    return [b - a for a, b in pairwise(ends)]


def obeyed(space: Space, spot: Spot, rng: np.random.Generator, width: int) -> Spot:
    """The spot behind a draw that is `width` wide. Raises UsageError where the space can't choose its width."""
    end = space.grow(spot, rng, width)
    if end.width != width:
        raise UsageError(
            f"{type(space).__name__} can't be {width} wide",
            why=f"it passes the {spot.width} channels that it reads",
            fix="put a layer in it, which chooses its width",
        )
    return end


def _require_alike(shapes: Sequence[Shape], what: str, *, without: int | None = None) -> None:
    """Raises UsageError unless the shapes agree. without: the axis that may differ."""
    seen = {tuple(n for a, n in enumerate(shape) if a != without) for shape in shapes}
    if len(seen) > 1:
        raise UsageError(
            f"the {what} differ in shape",
            why=" and ".join(str(list(shape)) for shape in shapes),
            fix="draw them from layers of stride 1",
        )
