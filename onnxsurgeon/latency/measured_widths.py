"""Which widths to measure: multiples of powers of two, and where times are not smooth, more of them.

Tables have more of them than were measured, at multiples of the blocks in which devices work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import lcm

import numpy as np

from onnxsurgeon.arrays import IntArray, Mask
from onnxsurgeon.dependency.spaces import Spaces
from onnxsurgeon.latency.kernels import Kernel
from onnxsurgeon.latency.time_tables import Lengths, Points

FEWEST, MOST = 8, 16  # lengths of an axis that are measured: at first, and when refined
FINE, BLOCK = 16, 8  # lengths of an axis of a table at least, if it is long enough; what those in between divide by


def levels(length: int, unit: int = 1, fewest: int = FEWEST) -> IntArray:
    """Up to twice `fewest` lengths up to `length`: multiples of a power of two and of `unit`, and `length` itself."""
    step = 1
    while length // (2 * step) >= fewest:
        step *= 2
    step = lcm(step, unit)
    return np.union1d(np.arange(step, length, step), [length]).astype(np.int64)


class Widths:
    """The counts of each space, and the lengths of the axes of kernels, that are measured."""

    def __init__(self, built: Spaces, kernels: Sequence[Kernel]) -> None:
        self._built, problem = built, built.problem
        self._most: IntArray = np.diff(built.starts)
        self._units = np.full(len(self._most), np.iinfo(np.int64).max)  # the least length that a count adds
        np.minimum.at(self._units, problem.space, problem.multiplicity)
        self.counts = [
            levels(int(most * unit), int(unit)) // int(unit) for most, unit in zip(self._most, self._units, strict=True)
        ]
        self._axes = {(k.name, n): built.axes.index(axis) for k in kernels for n, axis in enumerate(k.axes)}
        self._kinds: dict[str, list[Kernel]] = {}
        for kernel in kernels:
            self._kinds.setdefault(kernel.kind, []).append(kernel)

    def grid(self, kind: str, *, fine: bool = False) -> list[Lengths]:
        """The lengths of a table: per axis, all those of the kernels that share it. fine: more than are measured."""
        found: list[set[int]] = [set() for _ in self._kinds[kind][0].axes]
        for kernel in self._kinds[kind]:
            for which in range(len(kernel.axes)):
                found[which] |= set(self._lengths(kernel, which, fine=fine).tolist())
        return [tuple(sorted(one)) for one in found]

    def _lengths(self, kernel: Kernel, which: int, *, fine: bool = False) -> IntArray:
        axis = self._axes[kernel.name, which]
        space = self._space(axis)
        if space is None:
            return levels(len(kernel.axes[which]))
        problem = self._built.problem
        weight, counts = int(problem.multiplicity[problem.axis == axis][0]), self.counts[space]
        if fine:
            most, unit = int(self._most[space]), int(self._units[space])
            counts = np.union1d(counts, levels(most * unit, lcm(unit, BLOCK), FINE) // unit).astype(np.int64)
        found: IntArray = problem.constant[axis] + weight * counts
        return found

    def _space(self, axis: int) -> int | None:
        """The only space that an axis counts; None if there are more."""
        here = self._built.problem.axis == axis if axis >= 0 else np.zeros(0, np.bool_)
        return int(self._built.problem.space[here][0]) if here.sum() == 1 else None

    def missing(self, kernel: Kernel, points: Points) -> Mask:
        """Whether a table lacks each combination of the lengths of a kernel, shape (lengths of its axes)."""
        own = [self._lengths(kernel, which).tolist() for which in range(len(kernel.axes))]
        cells = np.stack(np.meshgrid(*own, indexing="ij"), -1).reshape(-1, len(own)).tolist()
        return np.array([tuple(cell) not in points for cell in cells]).reshape([len(n) for n in own])

    def draw(self, kernels: Sequence[Kernel], lacking: Mapping[str, Mask], rng: np.random.Generator) -> IntArray:
        """Random counts; where they can, those of what tables lack, for kernels in random order."""
        counts = np.array([rng.choice(of) for of in self.counts], np.int64)
        chosen: dict[int, int] = {}  # space -> the place of its count among those that are measured
        for number in rng.permutation(len(kernels)).tolist():
            kernel = kernels[number]
            some = [self._space(self._axes[kernel.name, which]) for which in range(len(kernel.axes))]
            if None in some:
                continue
            places = np.argwhere(lacking[kernel.name])
            for which, space in enumerate(some):
                if space in chosen:
                    places = places[places[:, which] == chosen[space]]
            if some[0] == some[-1]:
                places = places[places[:, 0] == places[:, -1]]
            if not len(places):
                continue
            place = places[rng.integers(len(places))]
            chosen |= {space: int(at) for space, at in zip(some, place, strict=True) if space is not None}
        for space, at in chosen.items():
            counts[space] = self.counts[space][at]
        return counts

    def refine(self, kernel: Kernel, rough: Sequence[Mask], grid: Sequence[Lengths]) -> None:
        """Adds the counts halfway where a time is rough between two lengths of its table."""
        for which, (steps, lengths) in enumerate(zip(rough, grid, strict=True)):
            space = self._space(self._axes[kernel.name, which])
            if space is None:
                continue
            problem, axis = self._built.problem, self._axes[kernel.name, which]
            weight, constant = problem.multiplicity[problem.axis == axis][0], problem.constant[axis]
            for at in np.flatnonzero(steps).tolist():
                middle = (lengths[at] + lengths[at + 1]) // 2
                count = int((middle - constant) // weight)
                if (middle - constant) % weight or not 0 < count < self._most[space]:
                    continue
                if len(self.counts[space]) < MOST:
                    self.counts[space] = np.union1d(self.counts[space], [count]).astype(np.int64)
