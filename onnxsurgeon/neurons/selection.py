"""Selections: which neurons an edit keeps, and how many new ones follow each. Cutting and growing are one encoding.

A selection is defined on classes of neurons, so all axes that carry a class change alike. Along one axis it is the old
positions in their new order, with -1 for a new neuron. New neurons follow the neuron that they were added after, even
if that neuron is dropped.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from onnxsurgeon.arrays import Ids, Mask
from onnxsurgeon.neurons.relations import Axes, Axis, Classes

NEW = -1


@dataclass(frozen=True)
class Selection:
    """root: the class of each neuron. keep: which ones stay. new: how many new ones follow. Shapes (neurons,).

    keep and new are equal within a class. front: how many new ones come before; None if none do.
    """

    root: Ids
    keep: Mask
    new: Ids
    front: Ids | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing changes."""
        return bool(self.keep.all()) and not self.grows

    @cached_property
    def grows(self) -> bool:
        return bool(self.new.any()) or self.front is not None

    def __call__(self, axis: Ids, /) -> Ids:
        """How many neurons replace each neuron of `axis`, shape as `axis`."""
        counts = self.keep[axis] + self.new[axis]
        return counts if self.front is None else counts + self.front[axis]

    def changes(self, axis: Axis) -> bool:
        return axis is not None and bool((self(axis) != 1).any() or not self.keep[axis].all())

    def width(self, size: int, axis: Axis) -> int:
        """The new length of `axis`, which has `size` neurons now."""
        return size if axis is None else int(self(axis).sum())

    def shape(self, axes: Axes, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The new shape of a tensor with these axes."""
        return tuple(self.width(n, axis) for n, axis in zip(shape, axes, strict=True))

    def positions(self, axis: Axis) -> Ids | None:
        """Old positions in their new order, `NEW` for a new neuron; None if nothing changes."""
        if axis is None or not self.changes(axis):
            return None
        if not self.grows:
            return np.flatnonzero(self.keep[axis])
        old, copy = self.origins(axis)
        return np.where(copy == 0, old, NEW)

    def origins(self, axis: Ids) -> tuple[Ids, Ids]:
        """(old, copy) per new position: the old position that it comes from, and which copy it is (0: the original).

        New neurons are numbered 1, 2, ...; those in front -1, -2, ... A class with several adjacent positions is a
        block (a channel's pixels, a head's dims): new neurons follow the whole block, as a block of the same length.
        """
        front = np.zeros(len(axis), np.int64) if self.front is None else self.front[axis]
        kept, counts = self.keep[axis], self(axis)
        old = np.repeat(np.arange(len(axis)), counts)
        copy = np.arange(len(old)) - np.repeat(np.cumsum(counts) - counts + front, counts)
        copy += (copy >= 0) & ~kept[old]
        order = np.lexsort((old, copy, np.cumsum(self._starts(axis))[old]))
        return old[order], copy[order]

    def parts(self, axis: Ids, bounds: Ids) -> bool:
        """Whether one of `bounds` splits a block that grows, so that each side would get new neurons of its own."""
        inside = bounds[(bounds > 0) & (bounds < len(axis))]
        return bool((~self._starts(axis)[inside] & (self(axis) > 1)[inside]).any())

    def _starts(self, axis: Ids) -> Mask:
        """Mask of the positions at which a block starts."""
        root = self.root[axis]
        return np.asarray(np.r_[True, root[1:] != root[:-1]], np.bool_)

    def stays(self, axes: Axes) -> bool:
        """Whether a tensor with these axes stays unchanged."""
        return not any(self.changes(axis) for axis in axes)


def cutting(classes: Classes, keep: Mask) -> Selection:
    """The selection that keeps the neurons in `keep`, shape (neurons,), and drops all others."""
    return Selection(classes.root, keep, np.zeros(len(keep), np.int64))
