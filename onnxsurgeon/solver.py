"""Which counts to keep: a selection by local search, and a bound on all others by linear programs over boxes of counts."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from onnxsurgeon.branch import Optimum, Tree
from onnxsurgeon.errors import InfeasibleError, SurgeonError
from onnxsurgeon.merge import Merged, merge
from onnxsurgeon.problem import FloatArray, IntArray, Problem
from onnxsurgeon.program import Program, write_out
from onnxsurgeon.relax import Box, Relaxation, Rows
from onnxsurgeon.search import Search

Status = Literal["optimal", "time limit"]

_ROUNDS = 12  # of added tangents
_HIDDEN = 2e-4  # the share of a budget that tangents may leave hidden
_TINY = 1e-300


@dataclass(frozen=True)
class Progress:
    """How far a solve has come."""

    objective: float
    bound: float
    gap: float
    seconds: float


@dataclass(frozen=True)
class Solution:
    """The counts that stay, and how good they are: no selection has a utility above `bound`."""

    counts: IntArray  # shape (spaces,)
    objective: float
    bound: float
    gap: float  # (bound - objective) / |objective|
    status: Status  # optimal: the gap is what was asked for
    seconds: float
    costs: dict[str, float]


def solve(
    problem: Problem,
    *,
    time_limit: float = 30.0,
    gap: float = 1e-3,
    progress: Callable[[Progress], None] | None = None,
) -> Solution:
    """The counts of most utility within all budgets, proven to `gap` unless `time_limit` (seconds) ends the proof.

    Lower bounds of costs hold where the search finds a selection that meets them; elsewhere the costs come as near as it found.
    Raises InfeasibleError where even the least counts exceed a budget.
    """
    began = time.perf_counter()
    deadline = began + time_limit
    merged = merge(write_out(problem))
    search = Search(merged.program)
    floor = search.least()
    _check_reachable(problem, merged, floor)
    start = search.shrink(floor, merged.program.count[merged.program.start[1:] - 1].astype(np.float64))
    start = search.climb(start, began + time_limit / 2)
    # Where no selection was found that meets a lower bound, the nearest one is the lower bound.
    reached = np.minimum(merged.program.lower, merged.program.costs(search.counts(start)))
    search = Search(replace(merged.program, lower=reached))
    tree = Tree(search, floor, start, _Highs(deadline), gap=gap, deadline=deadline)
    last = (np.nan, np.nan)
    try:
        while not tree.closed:
            if progress and last != (last := (tree.value, tree.bound)):
                progress(Progress(*last, _gap(*last), time.perf_counter() - began))
            tree.advance()
    except TimeoutError:
        pass
    counts = _exact(problem, merged, search, floor, tree.best)
    objective = problem.utility(counts)
    bound = max(tree.bound, objective)
    lengths = problem.lengths(counts)
    return Solution(
        counts, objective, bound, _gap(objective, bound), "optimal" if tree.closed else "time limit",
        time.perf_counter() - began, {cost.name: cost.evaluate(lengths) for cost in problem.costs},
    )  # fmt: skip


def least(problem: Problem) -> IntArray:
    """The smallest counts that meet the minimum lengths, shape (spaces,).

    Where a minimum concerns several spaces, those grow that cost least. Raises InfeasibleError if all units are too few.
    """
    program = write_out(problem)
    return program.count[Search(program).least()]


def _gap(objective: float, bound: float) -> float:
    return max(bound - objective, 0.0) / max(abs(objective), _TINY)


def _fits(problem: Problem, counts: IntArray) -> bool:
    lengths = problem.lengths(counts)
    return all(cost.evaluate(lengths) <= cost.upper for cost in problem.costs) and bool(
        (lengths >= problem.minimum).all()
    )


def _check_reachable(problem: Problem, merged: Merged, floor: IntArray) -> None:
    lengths = problem.lengths(merged.counts(floor))
    for cost in problem.costs:
        value = cost.evaluate(lengths)
        if value > cost.upper:
            raise InfeasibleError(
                f"The budget of {cost.name} can't be met.",
                why=f"{cost.name} must be at most {cost.upper:,.0f}, the least that can be reached is {value:,.0f}",
                fix="Raise the budget, or lower the minimum lengths.",
            )


def _exact(problem: Problem, merged: Merged, search: Search, floor: IntArray, best: IntArray) -> IntArray:
    """The counts of `best`, or of what fits near it where sums that round differently exceed a budget."""
    counts = merged.counts(best)
    margin = 1e-15
    while not _fits(problem, counts):
        if margin > 1e-3:
            return merged.counts(floor)
        tight = Search(replace(search.program, upper=search.program.upper - margin * np.abs(search.program.upper)))
        counts = merged.counts(tight.shrink(floor, search.counts(best).astype(np.float64)))
        margin *= 10
    return counts


class _Highs:
    """Linear programs over boxes, solved by HiGHS' dual simplex; a parent's basis makes its children quick."""

    def __init__(self, deadline: float) -> None:
        import highspy  # lazily: most of the package needs no solver

        self._highspy, self._deadline = highspy, deadline

    def __call__(
        self, relaxation: Relaxation, box: Box, extra: tuple[IntArray, FloatArray], basis: Any, *, enough: float
    ) -> Optimum | None:
        highs = self._load(relaxation, *relaxation.restrict(box, extra))
        added_any = False
        if basis is not None:
            highs.setBasis(basis)
            highs.setOptionValue("simplex_dual_edge_weight_strategy",1)
        for _ in range(_ROUNDS):
            if not self._run(highs, basis or added_any):
                return None
            bound = highs.getInfo().objective_function_value
            if bound <= enough:
                return None
            solution = np.array(highs.getSolution().col_value)
            at, hidden = relaxation.missing(solution)
            added = np.flatnonzero(hidden > _HIDDEN / max(len(hidden), 1))
            if hidden.sum() < _HIDDEN or not len(added):
                break
            extra = np.append(extra[0], added), np.append(extra[1], at[added])
            added_any = True
            self._add(highs, relaxation.tangents(added, at[added]))
        final = highs.getSolution()
        price = np.abs(np.array(final.row_dual)[relaxation.budget_rows])
        return Optimum(bound, solution, np.array(final.col_dual), price, extra, highs.getBasis())

    def _run(self, highs: Any, basis: Any) -> bool:
        """Whether there is an optimum; False where nothing is feasible."""
        states = self._highspy.HighsModelStatus
        for presolve in (("off", "on") if basis else ("on", "off")):
            left = self._deadline - time.perf_counter()
            if left <= 0:
                raise TimeoutError
            # HiGHS counts the time of all runs of an instance.
            self._set(highs, "time_limit", highs.getRunTime() + left)
            self._set(highs, "presolve", presolve)
            highs.run()
            status = highs.getModelStatus()
            if status == states.kOptimal and highs.getSolution().value_valid:
                return True
            if status == states.kInfeasible:
                return False
            if status == states.kTimeLimit:
                raise TimeoutError
            highs.clearSolver()
        raise SurgeonError("The linear solver failed.", why=f"HiGHS says {status}", fix="Report this as a bug.")

    def _load(self, relaxation: Relaxation, lower: FloatArray, upper: FloatArray, rows: Rows) -> Any:
        highs = self._highspy.Highs()
        for option, value in {"output_flag": False, "random_seed": 1, "threads": 1, "solver": "simplex"}.items():
            self._set(highs, option, value)
        start, column, value = rows.sparse()
        status = highs.passModel(
            relaxation.columns, len(rows.lower), len(value), int(self._highspy.MatrixFormat.kRowwise),
            int(self._highspy.ObjSense.kMaximize), 0.0, relaxation.cost, lower, upper, rows.lower, rows.upper,
            start[:-1].astype(np.int32), column.astype(np.int32), value, np.zeros(relaxation.columns, np.int32),
        )  # fmt: skip
        self._check(status, "model")
        return highs

    def _add(self, highs: Any, rows: Rows) -> None:
        start, column, value = rows.sparse()
        status = highs.addRows(
            len(rows.lower), rows.lower, rows.upper, len(value), start[:-1].astype(np.int32), column.astype(np.int32), value
        )
        self._check(status, "rows")

    def _set(self, highs: Any, option: str, value: object) -> None:
        self._check(highs.setOptionValue(option, value), f"option {option}")

    def _check(self, status: Any, what: str) -> None:
        if status == self._highspy.HighsStatus.kError:
            raise SurgeonError("The linear solver failed.", why=f"HiGHS refused the {what}", fix="Report this as a bug.")
