"""The selection problem as plain arrays: how many units of each space stay.

maximise    sum over spaces of table[s][n_s]
such that   n_s is one of sizes[s],
            length[a] = constant[a] + sum over spaces of multiplicity[a, s] * n_s  >=  minimum[a],
            for every cost: lower <= sum over terms of coefficient * product of its axes' lengths <= upper.

It knows neither graphs nor solvers. Lengths count neurons, costs are in the unit of their metric (parameters,
multiply-accumulates, bytes).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onnxsurgeon.arrays import FloatArray, IntArray


@dataclass(frozen=True)
class Cost:
    """One budgeted metric: a sum of terms, each a coefficient times a product of axis lengths."""

    name: str
    coefficient: FloatArray  # shape (terms,), positive
    axes: IntArray  # shape (terms, degree): axis indices, -1 where a term has fewer factors
    fixed: float  # what no selection changes
    upper: float
    lower: float = 0.0

    def evaluate(self, lengths: IntArray) -> float:
        """The cost at `lengths`, shape (axes,)."""
        padded = np.append(lengths, 1).astype(np.float64)
        return float(self.fixed + np.dot(self.coefficient, padded[self.axes].prod(axis=1)))


@dataclass(frozen=True)
class Problem:
    """See the module. All per-space tuples have one entry a space."""

    tables: tuple[FloatArray, ...]  # tables[s][n]: importance of the n best units of s, shape (units + 1,)
    sizes: tuple[IntArray, ...]  # sizes[s]: the counts that are allowed, ascending, at least one
    axis: IntArray  # shape (entries,), with `space` and `multiplicity`: which spaces an axis counts
    space: IntArray
    multiplicity: IntArray
    constant: IntArray  # shape (axes,): neurons of an axis that always stay
    minimum: IntArray  # shape (axes,): the least length that an axis may have
    costs: tuple[Cost, ...]

    def lengths(self, counts: IntArray) -> IntArray:
        """Axis lengths, shape (axes,), when `counts`, shape (spaces,), units stay."""
        lengths = self.constant.copy()
        np.add.at(lengths, self.axis, self.multiplicity * counts[self.space])
        return lengths

    def importance(self, counts: IntArray) -> float:
        return float(sum(table[count] for table, count in zip(self.tables, counts.tolist(), strict=True)))


@dataclass(frozen=True)
class Wish:
    """A length for an axis. exact: it, or nothing; else as near as possible, but a change where one is asked for."""

    axis: int
    length: int
    exact: bool
    multiple: int = 1  # the length is a multiple of this


@dataclass(frozen=True)
class Resizing:
    """How many units of each space stay, and how many are new, so that axes get the lengths that are asked for.

    In this order: the least distance from the wishes, the most importance, the least change of every axis.
    tables, axis, space, multiplicity, constant: as in `Problem`. least, most: units that may stay, shape (spaces,).
    new: new units at most, shape (spaces,). equal: pairs of axes that must end with one length.
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
        """Axis lengths, shape (axes,), when there are `counts`, shape (spaces,), units, old and new."""
        lengths = self.constant.copy()
        np.add.at(lengths, self.axis, self.multiplicity * counts[self.space])
        return lengths

    @property
    def present(self) -> IntArray:
        """The lengths before, shape (axes,)."""
        return self.lengths(np.array([len(table) - 1 for table in self.tables], np.int64))
