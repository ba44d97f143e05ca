"""The selection problem with tables as a mixed-integer program, which HiGHS solves by its own branch and cut.

A binary column stands for each size of each space. A part of a cost that depends on one space is linear in its columns;
one that depends on two has a column for each pair of their sizes, whose sums over one space are the columns of the
other. The length of an axis that counts several spaces is linear, too: a table looks it up through binary columns of
its own, and products with it are split over the sizes of the other factor. All of this is exact for binary columns.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from onnxsurgeon.arrays import FloatArray, IntArray
from onnxsurgeon.errors import SurgeonError
from onnxsurgeon.solver.highs import highs as silent_highs
from onnxsurgeon.solver.problem import Cost, CostTable, Problem

HUB = 8  # pairs of spaces from which a hub is worth a program for each of its sizes
_INFINITY = float("inf")


@dataclass(frozen=True)
class Expression:
    """A linear expression: columns with their coefficients, and a constant; with bounds on its value."""

    columns: IntArray
    coefficients: FloatArray
    constant: float
    low: float
    high: float


@dataclass
class Milp:
    """The program of a problem for some sizes of its spaces. Costs without a budget are left out."""

    problem: Problem
    sizes: tuple[IntArray, ...]
    upper: list[float] = field(default_factory=list)  # of columns; all lower bounds are 0
    binary: list[bool] = field(default_factory=list)
    rows: list[tuple[IntArray, FloatArray, float, float]] = field(default_factory=list)
    _values: list[Callable[[FloatArray, IntArray], FloatArray]] = field(default_factory=list)  # of groups of columns
    _pairs: dict[tuple[int, int], IntArray] = field(default_factory=dict)  # columns, shape (options, options)
    _looked_up: dict[tuple[int, bytes], int] = field(default_factory=dict)  # the selector of an axis at some lengths
    _products: dict[tuple[int, ...], Expression] = field(default_factory=dict)

    def __post_init__(self) -> None:
        problem = self.problem
        self.selectors: list[IntArray] = []  # columns of which exactly one is 1: of each space, then of looked-up axes
        for space, size in enumerate(self.sizes):
            self._select(len(size), partial(_one_hot, space, size))
        self._spaces = [problem.space[problem.axis == a] for a in range(len(problem.constant))]
        self._weights = [problem.multiplicity[problem.axis == a] for a in range(len(problem.constant))]
        self._least = problem.lengths(np.array([size[0] for size in self.sizes], np.int64))
        self._most = problem.lengths(np.array([size[-1] for size in self.sizes], np.int64))
        for axis in np.flatnonzero(self._least < problem.minimum).tolist():
            self._bound(self._length(axis), float(problem.minimum[axis]), _INFINITY)
        for cost in problem.costs:
            if cost.bounded:
                self._budget(cost)
        self.objective = np.zeros(len(self.upper))
        for columns, table, size in zip(self.selectors, problem.tables, self.sizes, strict=False):
            self.objective[columns] = table[size]

    def values(self, counts: IntArray) -> FloatArray:
        """The values of all columns for counts of the spaces."""
        found = np.zeros(0)
        for of in self._values:
            found = np.concatenate([found, of(found, counts).reshape(-1)])
        return found

    def counts(self, values: FloatArray) -> IntArray:
        """The counts of the spaces that values of the columns stand for."""
        chosen = [size[int(np.argmax(values[c]))] for c, size in zip(self.selectors, self.sizes, strict=False)]
        return np.array(chosen, np.int64)

    def hub(self) -> int | None:
        """The space that most pairs have in common; None if no space is in most of them."""
        number = np.bincount([s for pair in self._pairs for s in pair if s < len(self.sizes)], minlength=1)
        hub = int(np.argmax(number))
        return hub if 2 * number[hub] > len(self._pairs) >= HUB else None

    # Columns and rows

    def _columns(
        self, shape: tuple[int, ...], values: Callable[[FloatArray, IntArray], FloatArray], *, binary: bool = False
    ) -> IntArray:
        first, number = len(self.upper), int(np.prod(shape))
        self.upper += [1.0] * number
        self.binary += [binary] * number
        self._values.append(values)
        return np.arange(first, first + number).reshape(shape)

    def _row(self, columns: IntArray, coefficients: FloatArray, low: float, high: float) -> None:
        self.rows.append((columns.reshape(-1), np.asarray(coefficients, np.float64).reshape(-1), low, high))

    def _bound(self, of: Expression, low: float, high: float) -> None:
        self._row(of.columns, of.coefficients, low - of.constant, high - of.constant)

    def _select(self, options: int, values: Callable[[FloatArray, IntArray], FloatArray]) -> int:
        columns = self._columns((options,), values, binary=True)
        self._row(columns, np.ones(options), 1.0, 1.0)
        self.selectors.append(columns)
        return len(self.selectors) - 1

    def _pair(self, a: int, b: int) -> IntArray:
        """The columns of all pairs of options of two selectors, a < b, shape (options of a, options of b)."""
        if (a, b) not in self._pairs:
            first, second = self.selectors[a], self.selectors[b]
            pair = self._columns(
                (len(first), len(second)), lambda known, _: np.outer(known[first], known[second]).astype(np.float64)
            )
            for lines, columns in ((pair, first), (pair.T, second)):
                for line, column in zip(lines, columns, strict=True):
                    self._row(np.append(line, column), np.append(np.ones(len(line)), -1.0), 0.0, 0.0)
            self._pairs[a, b] = pair
        return self._pairs[a, b]

    # Expressions

    def _length(self, axis: int) -> Expression:
        spaces, weights = self._spaces[axis], self._weights[axis]
        columns = np.concatenate([self.selectors[s] for s in spaces])
        coefficients = np.concatenate([w * self.sizes[s] for s, w in zip(spaces, weights, strict=True)])
        constant = float(self.problem.constant[axis])
        return Expression(
            columns, coefficients.astype(np.float64), constant, float(self._least[axis]), float(self._most[axis])
        )

    def _lengths(self, axis: int) -> tuple[int, FloatArray] | None:
        """(space, the length at each of its sizes) of an axis that counts one space; None if it counts several."""
        if len(self._spaces[axis]) != 1:
            return None
        space = int(self._spaces[axis][0])
        return space, (self.problem.constant[axis] + self._weights[axis][0] * self.sizes[space]).astype(np.float64)

    def _product(self, axes: tuple[int, ...]) -> Expression:
        """The product of the lengths of some axes."""
        if axes not in self._products:
            self._products[axes] = self._multiplied(axes)
        return self._products[axes]

    def _multiplied(self, axes: tuple[int, ...]) -> Expression:
        alone = [self._lengths(axis) for axis in axes]
        known = [found for found in alone if found is not None]
        spaces = sorted({space for space, _ in known})
        if len(known) == len(axes) and len(spaces) <= 2:
            functions = {space: np.prod([f for s, f in known if s == space], axis=0) for space in spaces}
            if len(spaces) == 1:
                return _ranged(self.selectors[spaces[0]], functions[spaces[0]])
            table = np.outer(functions[spaces[0]], functions[spaces[1]])
            return _ranged(self._pair(*spaces), table)
        # The axis with the most spaces stays whole, and is multiplied with the spaces of the others.
        order = sorted(axes, key=lambda axis: (-len(self._spaces[axis]), axis))
        if len(order) == 1:
            return self._length(order[0])
        rest, last = self._product(tuple(order[:-1])), order[-1]
        parts = [_scaled(rest, float(self.problem.constant[last]))]
        for space, weight in zip(self._spaces[last].tolist(), self._weights[last].tolist(), strict=True):
            parts.append(_scaled(self._times(rest, space), float(weight)))
        return _sum(parts)

    def _times(self, of: Expression, space: int) -> Expression:
        """`of` times the count of a space: a share of `of` for each of its sizes, which is 0 unless that is chosen."""
        chosen, size, scale = self.selectors[space], self.sizes[space], max(of.high, 1e-300)
        shares = self._columns(
            (len(size),),
            lambda known, _: (known[of.columns] @ of.coefficients + of.constant) / scale * known[chosen],
        )
        whole = np.append(np.ones(len(size)), -of.coefficients / scale)
        self._row(np.append(shares, of.columns), whole, of.constant / scale, of.constant / scale)
        for share, column in zip(shares, chosen, strict=True):
            self._row(np.array([share, column]), np.array([1.0, -1.0]), -_INFINITY, 0.0)
            self._row(np.array([share, column]), np.array([1.0, -of.low / scale]), 0.0, _INFINITY)
        low, high = of.low * float(size[0]), of.high * float(size[-1])
        return Expression(shares, (size * scale).astype(np.float64), 0.0, low, high)

    def _looked(self, table: CostTable, which: int) -> tuple[int, IntArray]:
        """(selector, the place in the table of each of its options) for an axis of a table."""
        axis, lengths = table.axes[which], table.lengths[which]
        alone = self._lengths(axis)
        if alone is not None:
            return alone[0], table.places(which, alone[1].astype(np.int64))
        key = axis, lengths.tobytes()
        if key not in self._looked_up:
            length, before = self._length(axis), np.append(0.0, lengths[:-1] + 1.0)
            most = np.append(lengths[:-1], max(float(lengths[-1]), length.high)).astype(np.float64)

            def values(known: FloatArray, _: IntArray) -> FloatArray:
                now = known[length.columns] @ length.coefficients + length.constant
                place = min(int(np.searchsorted(lengths, now - 1e-6)), len(lengths) - 1)
                found: FloatArray = np.eye(1, len(lengths), place)[0]
                return found

            selector = self._looked_up[key] = self._select(len(lengths), values)
            columns = np.append(length.columns, self.selectors[selector])
            self._row(columns, np.append(length.coefficients, -most), -_INFINITY, -length.constant)
            self._row(columns, np.append(length.coefficients, -before), -length.constant, _INFINITY)
        return self._looked_up[key], np.arange(len(lengths))

    def _table(self, table: CostTable) -> Expression:
        places = [self._looked(table, which) for which in range(len(table.axes))]
        if len(places) == 1:
            return _ranged(self.selectors[places[0][0]], table.values[places[0][1]])
        (a, p), (b, q) = places
        if a == b:
            return _ranged(self.selectors[a], table.values[p, q])
        values = table.values[np.ix_(p, q)]
        return _ranged(self._pair(min(a, b), max(a, b)), values if a < b else values.T)

    def _budget(self, cost: Cost) -> None:
        """The row of a budget, scaled to 1."""
        parts = [self._table(table) for table in cost.tables]
        for coefficient, axes in zip(cost.coefficient.tolist(), cost.axes.tolist(), strict=True):
            parts.append(_scaled(self._product(tuple(a for a in axes if a >= 0)), coefficient))
        total = np.zeros(len(self.upper))
        for part in parts:
            np.add.at(total, part.columns, part.coefficients)
        fixed = cost.fixed + sum(part.constant for part in parts)
        scale, columns = max(abs(cost.upper), 1e-300), np.flatnonzero(total)
        self._row(columns, total[columns] / scale, -_INFINITY, (cost.upper - fixed) / scale)


def _one_hot(space: int, sizes: IntArray, known: FloatArray, counts: IntArray) -> FloatArray:
    found: FloatArray = (sizes == counts[space]).astype(np.float64)
    return found


def _ranged(columns: IntArray, values: FloatArray) -> Expression:
    """The expression that has one of `values`: that of the column that is 1."""
    flat = np.asarray(values, np.float64).reshape(-1)
    return Expression(columns.reshape(-1), flat, 0.0, float(flat.min()), float(flat.max()))


def _scaled(of: Expression, by: float) -> Expression:
    return Expression(of.columns, of.coefficients * by, of.constant * by, of.low * by, of.high * by)


def _sum(parts: list[Expression]) -> Expression:
    return Expression(
        np.concatenate([part.columns for part in parts]), np.concatenate([part.coefficients for part in parts]),
        *(sum(getattr(part, of) for part in parts) for of in ("constant", "low", "high")),
    )  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """counts: None if no selection fits. bound: no selection is more important; inf if that is not known."""

    counts: IntArray | None
    bound: float
    proven: bool


def branch_and_cut(
    program: Milp, start: IntArray | None = None, *, gap: float, deadline: float, above: float = -_INFINITY
) -> Outcome:
    """The most important counts within all bounds. start: counts that fit. above: what they must be worth at least.

    Raises SurgeonError.
    """
    import highspy  # lazily: most of the package needs no solver

    highs: Any = silent_highs()
    options = {
        "output_flag": False, "random_seed": 1, "threads": 1, "mip_rel_gap": gap,
        "time_limit": max(deadline - time.perf_counter(), 0.0),
    }  # fmt: skip
    status = [highs.setOptionValue(*option) for option in options.items()]
    number = [len(columns) for columns, _, _, _ in program.rows]
    status.append(
        highs.passModel(
            len(program.upper), len(program.rows), sum(number), int(highspy.MatrixFormat.kRowwise),
            int(highspy.ObjSense.kMaximize), 0.0, program.objective, np.zeros(len(program.upper)),
            np.array(program.upper), np.array([low for _, _, low, _ in program.rows]),
            np.array([high for _, _, _, high in program.rows]),
            np.concatenate([[0], np.cumsum(number)[:-1]]).astype(np.int32),
            np.concatenate([columns for columns, _, _, _ in program.rows]).astype(np.int32),
            np.concatenate([coefficients for _, coefficients, _, _ in program.rows]),
            np.array(program.binary, np.int32),
        )
    )  # fmt: skip
    if highspy.HighsStatus.kError in status:
        raise SurgeonError("the solver failed", why="HiGHS refused the model", fix="report it, with the model")
    if above > -_INFINITY:
        worth = np.flatnonzero(program.objective).astype(np.int32)
        highs.addRow(above, _INFINITY, len(worth), worth, program.objective[worth])
    if start is not None:
        given = highspy.HighsSolution()
        given.col_value = program.values(start).tolist()
        highs.setSolution(given)
    highs.run()
    states, outcome, info = highspy.HighsModelStatus, highs.getModelStatus(), highs.getInfo()
    if outcome in (states.kInfeasible, states.kUnboundedOrInfeasible):
        return Outcome(None, -_INFINITY, True)
    solution = highs.getSolution()
    if not solution.value_valid or info.primal_solution_status != 2:
        return Outcome(start, info.mip_dual_bound, False)
    counts = program.counts(np.array(solution.col_value))
    return Outcome(counts, info.mip_dual_bound, outcome == states.kOptimal)
