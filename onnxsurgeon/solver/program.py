"""A selection problem with costs multiplied out to posynomials in the counts, and options in flat arrays.

An option is one allowed count of one space. All options are in two flat arrays (count and importance), grouped by
space; a selection is one option per space. A monomial is a product of counts;
a cost is a sum of monomials with coefficients.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from onnxsurgeon.arrays import FloatArray, IntArray
from onnxsurgeon.errors import InfeasibleError
from onnxsurgeon.solver.problem import Problem

ZERO_COUNT = 1e-3  # replaces a count of 0, which has no logarithm


@dataclass(frozen=True)
class Program:
    """See the module. `factor` is padded with `spaces` (one past the last space, count 1) to `degree` factors."""

    start: IntArray  # shape (spaces + 1,): the options of s are start[s]:start[s + 1], counts ascending
    count: IntArray  # shape (options,)
    value: FloatArray  # shape (options,): importance
    factor: IntArray  # shape (monomials, degree): space indices, ascending
    coefficient: FloatArray  # shape (costs, monomials), not negative
    constant: FloatArray  # shape (costs,)
    upper: FloatArray  # shape (costs,)
    lower: FloatArray  # shape (costs,)
    row: IntArray  # shape (entries,), with `row_space` and `row_weight`: sums of counts that have a lower bound
    row_space: IntArray
    row_weight: IntArray
    row_least: IntArray  # shape (rows,)

    @property
    def spaces(self) -> int:
        return len(self.start) - 1

    @property
    def owner(self) -> IntArray:
        """The space of each option, shape (options,)."""
        return np.repeat(np.arange(self.spaces), np.diff(self.start))

    def costs(self, counts: FloatArray | IntArray) -> FloatArray:
        """The costs at `counts`. (..., spaces) -> (..., costs)."""
        padded = np.concatenate([counts, np.ones((*counts.shape[:-1], 1))], axis=-1, dtype=np.float64)
        products: FloatArray = padded[..., self.factor].prod(axis=-1) @ self.coefficient.T + self.constant
        return products

    def row_sums(self, counts: IntArray) -> IntArray:
        return np.bincount(self.row, self.row_weight * counts[self.row_space], len(self.row_least)).astype(np.int64)

    def keep(self, mask: np.typing.NDArray[np.bool_]) -> Program:
        """The program with only the options in `mask`, shape (options,)."""
        kept = np.concatenate([[0], np.cumsum(mask)])
        return replace(self, start=kept[self.start], count=self.count[mask], value=self.value[mask])


@dataclass(frozen=True)
class Box:
    """A range of options per space: indices of the first and the last one, shapes (spaces,)."""

    low: IntArray
    high: IntArray

    def size(self, program: Program) -> float:
        """The sum over spaces of the width of the range of log counts."""
        return float((logs(program.count[self.high]) - logs(program.count[self.low])).sum())


def logs(count: FloatArray | IntArray) -> FloatArray:
    """Logarithms of counts."""
    return np.log(np.maximum(count, ZERO_COUNT))


def expand(problem: Problem) -> tuple[IntArray, FloatArray, FloatArray]:
    """(factor, coefficient, constant) of `Program`: the products of axis lengths, multiplied out."""
    spaces, axes = len(problem.tables), len(problem.constant)
    # Each axis is a sum of entries: its spaces and its constant (space `spaces`). One extra axis has length 1.
    fixed = np.flatnonzero(problem.constant)
    axis = np.concatenate([problem.axis, fixed, [axes]])
    order = np.argsort(axis, kind="stable")
    axis = axis[order]
    space = np.concatenate([problem.space, np.full(len(fixed) + 1, spaces)])[order]
    weight = np.concatenate([problem.multiplicity, problem.constant[fixed], [1]])[order].astype(np.float64)
    start = np.searchsorted(axis, np.arange(axes + 2))

    degree = max((cost.axes.shape[1] for cost in problem.costs), default=1)
    factors, values, owners = [], [], []
    for index, cost in enumerate(problem.costs):
        value = cost.coefficient
        factor = np.full((len(value), degree), spaces, dtype=np.int64)
        term = np.arange(len(value))
        for position in range(cost.axes.shape[1]):
            wanted = cost.axes[term, position]
            wanted = np.where(wanted < 0, axes, wanted)
            length = start[wanted + 1] - start[wanted]
            parent = np.repeat(np.arange(len(term)), length)
            entry = start[wanted][parent] + np.arange(len(parent)) - (np.cumsum(length) - length)[parent]
            term, value, factor = term[parent], value[parent] * weight[entry], factor[parent]
            factor[:, position] = space[entry]
        factors.append(np.sort(factor, axis=1))
        values.append(value)
        owners.append(np.full(len(value), index))
    if not factors:
        return np.zeros((0, degree), np.int64), np.zeros((0, 0)), np.zeros(0)
    unique, inverse = np.unique(np.concatenate(factors), axis=0, return_inverse=True)
    coefficient = np.zeros((len(problem.costs), len(unique)))
    np.add.at(coefficient, (np.concatenate(owners), inverse.reshape(-1)), np.concatenate(values))
    free = (unique < spaces).any(axis=1) & (coefficient != 0).any(axis=0)
    constant_only = ~(unique < spaces).any(axis=1)
    constant = np.array([cost.fixed for cost in problem.costs]) + coefficient[:, constant_only].sum(axis=1)
    return unique[free], coefficient[:, free], constant


def to_program(problem: Problem) -> Program:
    """`problem` as a program. Minimum lengths of one space restrict its options; all others become rows.

    Raises InfeasibleError if a space is smaller than its minimum.
    """
    spaces = len(problem.tables)
    lengths = np.array([len(sizes) for sizes in problem.sizes], dtype=np.int64)
    start = np.concatenate([[0], np.cumsum(lengths)])
    count = np.concatenate([*problem.sizes, np.zeros(0, np.int64)]).astype(np.int64)
    value = [table[sizes] for table, sizes in zip(problem.tables, problem.sizes, strict=True)]
    factor, coefficient, constant = expand(problem)

    needed = problem.minimum - problem.constant
    members = np.unique(np.stack([problem.axis, problem.space]), axis=1)
    several = np.bincount(members[0], minlength=len(needed)) != 1
    weight = np.zeros(len(needed), dtype=np.int64)
    np.add.at(weight, problem.axis, problem.multiplicity)
    least = np.zeros(spaces, dtype=np.int64)
    alone = ~several[members[0]]
    np.maximum.at(least, members[1][alone], -(-needed // np.maximum(weight, 1))[members[0][alone]])

    smallest = count[start[:-1]] if spaces else count
    reached = problem.lengths(np.maximum(smallest, least)) >= problem.minimum
    open_axes = np.flatnonzero(several & ~reached)
    in_rows = np.isin(problem.axis, open_axes)
    program = Program(
        start, count, np.concatenate([*value, np.zeros(0)]).astype(np.float64), factor, coefficient, constant,
        np.array([cost.upper for cost in problem.costs]), np.array([cost.lower for cost in problem.costs]),
        np.searchsorted(open_axes, problem.axis[in_rows]), problem.space[in_rows], problem.multiplicity[in_rows],
        needed[open_axes],
    )  # fmt: skip
    mask = count >= np.repeat(least, lengths)
    if spaces and not np.logical_or.reduceat(mask, start[:-1]).all():
        space = int(np.flatnonzero(~np.logical_or.reduceat(mask, start[:-1]))[0])
        raise InfeasibleError(
            "a minimum length can't be met",
            why=f"space {space} must keep {least[space]} units, but its largest size is {problem.sizes[space][-1]}",
            fix="lower the minimum length",
        )
    return program.keep(mask)
