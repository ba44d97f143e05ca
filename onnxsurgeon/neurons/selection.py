"""What an edit does to neurons: which stay, and how many new ones follow each. Cutting and growing are one thing.

A selection speaks of classes of neurons, so every axis that carries a class changes alike. Along an axis it reads as
the old positions in their new order, -1 for a new neuron: the original positions are walked, and what is new follows
the neuron that it was added after, also where that one goes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onnxsurgeon.arrays import Ids, Mask
from onnxsurgeon.neurons.relations import Axes, Axis, Classes

NEW = -1


@dataclass(frozen=True)
class Selection:
    """root: the class of each neuron. keep: which stay. new: how many new ones follow. Shapes (neurons,).

    keep and new are alike over a class. front: how many new ones come before, where there are any.
    """

    root: Ids
    keep: Mask
    new: Ids
    front: Ids | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing changes."""
        return bool(self.keep.all()) and not self.grows

    @property
    def grows(self) -> bool:
        return bool(self.new.any()) or self.front is not None

    def __call__(self, axis: Ids, /) -> Ids:
        """How many neurons stand in each one's place afterwards, shape as `axis`."""
        counts = self.keep[axis] + self.new[axis]
        return counts if self.front is None else counts + self.front[axis]

    def changes(self, axis: Axis) -> bool:
        return axis is not None and bool((self(axis) != 1).any() or not self.keep[axis].all())

    def width(self, size: int, axis: Axis) -> int:
        """The length that `axis`, of `size` neurons, has afterwards."""
        return size if axis is None else int(self(axis).sum())

    def shape(self, axes: Axes, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape that a tensor with these axes has afterwards."""
        return tuple(self.width(n, axis) for n, axis in zip(shape, axes, strict=True))

    def positions(self, axis: Axis) -> Ids | None:
        """Old positions in their new order, `NEW` for a new neuron; None where nothing changes."""
        if axis is None or not self.changes(axis):
            return None
        if not self.grows:
            return np.flatnonzero(self.keep[axis])
        old, copy = self.origins(axis)
        return np.where(copy == 0, old, NEW)

    def origins(self, axis: Ids) -> tuple[Ids, Ids]:
        """Of each place afterwards, the old position that it comes from, and which copy of it: 0 is itself.

        A new neuron is a copy from 1 on, one of those in front from -1 down. A class that fills several places in a
        row is a block (a channel's pixels, a head's dims): what follows it follows the block, as a block of the same
        length.
        """
        front = np.zeros(len(axis), np.int64) if self.front is None else self.front[axis]
        kept, counts = self.keep[axis], self(axis)
        old = np.repeat(np.arange(len(axis)), counts)
        copy = np.arange(len(old)) - np.repeat(np.cumsum(counts) - counts + front, counts)
        copy += (copy >= 0) & ~kept[old]
        order = np.lexsort((old, copy, np.cumsum(self._starts(axis))[old]))
        return old[order], copy[order]

    def parts(self, axis: Ids, bounds: Ids) -> bool:
        """Whether a bound between two positions parts a block that grows: either side has its own new neurons."""
        inside = bounds[(bounds > 0) & (bounds < len(axis))]
        return bool((~self._starts(axis)[inside] & (self(axis) > 1)[inside]).any())

    def _starts(self, axis: Ids) -> Mask:
        """Where a block starts."""
        root = self.root[axis]
        return np.asarray(np.r_[True, root[1:] != root[:-1]], np.bool_)

    def stays(self, axes: Axes) -> bool:
        """Whether a tensor with these axes is as it was."""
        return not any(self.changes(axis) for axis in axes)


def cutting(classes: Classes, keep: Mask) -> Selection:
    """The selection that drops what `keep`, shape (neurons,), does not hold."""
    return Selection(classes.root, keep, np.zeros(len(keep), np.int64))
