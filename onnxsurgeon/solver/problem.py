"""The selection problem as plain arrays: how many units of each space to keep.

maximise    sum over spaces of table[s][n_s]
such that   n_s is one of sizes[s],
            length[a] = constant[a] + sum over spaces of multiplicity[a, s] * n_s  >=  minimum[a],
            for every cost: lower <= sum over terms of coefficient * product of its axes' lengths
                                     + sum over tables of what they say of their axes' lengths <= upper.

Knows neither graphs nor solvers. Lengths count channels; costs are in parameters, multiply-accumulates, bytes, seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onnxsurgeon.arrays import FloatArray, IntArray


@dataclass(frozen=True)
class CostTable:
    """A part of a cost that was measured: its values at some lengths of one or two axes, in any form.

    Between two of these lengths, that of the larger one counts; above the largest one, that of the largest.
    """

    axes: tuple[int, ...]
    lengths: tuple[IntArray, ...]  # ascending, per axis
    values: FloatArray  # one axis of the array for each of `axes`

    def places(self, which: int, length: IntArray) -> IntArray:
        """Where `values` has each of these lengths of axis `which`."""
        known = self.lengths[which]
        return np.minimum(np.searchsorted(known, length), len(known) - 1)

    def at(self, lengths: IntArray) -> FloatArray:
        """What the table says, shape (...), at lengths of all axes of the problem, shape (..., axes)."""
        found: FloatArray = self.values[tuple(self.places(k, lengths[..., a]) for k, a in enumerate(self.axes))]
        return found


@dataclass(frozen=True)
class Cost:
    """A cost and its bounds: a sum of terms, each a coefficient times a product of axis lengths, and of tables."""

    name: str
    coefficient: FloatArray  # shape (terms,), positive
    axes: IntArray  # shape (terms, degree): axis indices, -1 if a term has fewer factors
    fixed: float  # the part that no selection changes
    upper: float
    lower: float = 0.0
    tables: tuple[CostTable, ...] = ()

    def evaluate(self, lengths: IntArray) -> float:
        """The cost at `lengths`, shape (axes,)."""
        looked_up = sum(float(table.at(lengths)) for table in self.tables)
        return float(self.fixed + _products(self.coefficient, self.axes, lengths).sum() + looked_up)

    @property
    def bounded(self) -> bool:
        """Whether it has a budget."""
        return self.upper < np.inf


@dataclass(frozen=True)
class Peak:
    """The largest sum of terms that count at one moment, which nothing bounds. Moments are numbered from 0."""

    name: str
    coefficient: FloatArray  # shape (terms,)
    axes: IntArray  # shape (terms, degree), as of `Cost`
    first: IntArray  # shape (terms,): the first and the last moment at which each term counts
    last: IntArray

    def evaluate(self, lengths: IntArray) -> float:
        """The peak at `lengths`, shape (axes,)."""
        terms = _products(self.coefficient, self.axes, lengths)
        change = np.zeros(int(self.last.max(initial=0)) + 2)
        np.add.at(change, self.first, terms)
        np.subtract.at(change, self.last + 1, terms)
        return float(change.cumsum().max())

    def moments(self) -> list[IntArray]:
        """The terms that count together, of each moment at which more do than before and after it."""
        begin, end = np.argsort(self.first, kind="stable"), np.argsort(self.last, kind="stable")
        upto = np.searchsorted(self.first[begin], self.last, side="right")
        found, held, begun = list[IntArray](), dict[int, None](), 0
        for term in end.tolist():
            if begun < upto[term]:
                held |= dict.fromkeys(begin[begun : upto[term]].tolist())
                begun = upto[term]
                found.append(np.array(sorted(held), np.int64))
            del held[term]
        return found


def _products(coefficient: FloatArray, axes: IntArray, lengths: IntArray) -> FloatArray:
    """Each coefficient times the product of its axes' lengths, shape (terms,)."""
    padded = np.append(lengths, 1).astype(np.float64)
    found: FloatArray = coefficient * padded[axes].prod(axis=1)
    return found


@dataclass(frozen=True)
class Problem:
    """The problem that the module's docstring states. `tables` and `sizes` have one entry per space.

    peaks: what else is known of a selection, beside its costs.
    """

    tables: tuple[FloatArray, ...]  # tables[s][n]: importance of the n best units of s, shape (units + 1,)
    sizes: tuple[IntArray, ...]  # sizes[s]: the allowed counts, ascending, at least one
    axis: IntArray  # shape (entries,), with `space` and `multiplicity`: the spaces that each axis counts
    space: IntArray
    multiplicity: IntArray
    constant: IntArray  # shape (axes,): neurons of each axis that always stay
    minimum: IntArray  # shape (axes,): the least allowed length of each axis
    costs: tuple[Cost, ...]
    peaks: tuple[Peak, ...] = ()

    def lengths(self, counts: IntArray) -> IntArray:
        """Axis lengths, shape (axes,), if `counts` units stay, shape (spaces,)."""
        lengths = self.constant.copy()
        np.add.at(lengths, self.axis, self.multiplicity * counts[self.space])
        return lengths

    def evaluate(self, lengths: IntArray) -> dict[str, float]:
        """The costs and peaks at `lengths`, shape (axes,), by name; of those with one name, the largest."""
        found: dict[str, float] = {}
        every: tuple[Cost | Peak, ...] = (*self.costs, *self.peaks)
        for cost in every:
            found[cost.name] = max(cost.evaluate(lengths), found.get(cost.name, -np.inf))
        return found

    def importance(self, counts: IntArray) -> float:
        return float(sum(table[count] for table, count in zip(self.tables, counts.tolist(), strict=True)))


@dataclass(frozen=True)
class Wish:
    """A requested length of an axis. If not exact, the nearest possible one that changes the axis in that direction."""

    axis: int
    length: int
    exact: bool
    multiple: int = 1  # the length must be a multiple of this


@dataclass(frozen=True)
class Resizing:
    """The problem of giving axes requested lengths: how many units of each space to keep, and how many to add.

    Objectives, in this order: least distance from the wishes, most importance, least change of each axis.
    tables, axis, space, multiplicity, constant: as in `Problem`. least, most: bounds on kept units, shape (spaces,).
    new: upper bounds on new units, shape (spaces,). equal: pairs of axes that must get the same length.
    """

    tables: tuple[FloatArray, ...]
    axis: IntArray
    space: IntArray
    multiplicity: IntArray
    constant: IntArray
    least: IntArray
    most: IntArray
    new: IntArray
    wishes: tuple[Wish, ...]
    equal: tuple[tuple[int, int], ...] = ()

    def lengths(self, counts: IntArray) -> IntArray:
        """Axis lengths, shape (axes,), if there are `counts` units, old and new, shape (spaces,)."""
        lengths = self.constant.copy()
        np.add.at(lengths, self.axis, self.multiplicity * counts[self.space])
        return lengths

    @property
    def present(self) -> IntArray:
        """The present axis lengths, shape (axes,)."""
        return self.lengths(np.array([len(table) - 1 for table in self.tables], np.int64))
