"""Solves the selection problem: local search finds a selection, branch and bound proves how good it is.

Costs that are sums of products have a branch and bound of their own, which knows all counts; those with tables become a
mixed-integer program (see `tabled`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from onnxsurgeon.arrays import FloatArray, IntArray
from onnxsurgeon.errors import InfeasibleError, SurgeonError
from onnxsurgeon.solver.branch import Optimum, Tree
from onnxsurgeon.solver.highs import highs as silent_highs
from onnxsurgeon.solver.local_search import Search
from onnxsurgeon.solver.merge import Merged, merge
from onnxsurgeon.solver.problem import Cost, Problem
from onnxsurgeon.solver.program import Box, Program, to_program
from onnxsurgeon.solver.relax import Constraints, Relaxation
from onnxsurgeon.solver.tabled import cheapest, is_tabled, solve_tabled

Status = Literal["optimal", "time limit"]

_ROUNDS = 12  # of adding tangents
_HIDDEN = 2e-4  # the share of a budget by which tangents may underestimate
_PATIENCE = 50  # boxes to explore for a selection that meets the lower bounds
_TINY = 1e-300
_REPORT = "this is a bug of onnxsurgeon: please report it"
_OPTIONS = {
    "output_flag": False,
    "random_seed": 1,
    "threads": 1,
    "solver": "simplex",
    "simplex_dual_edge_weight_strategy": 1,  # Devex: fastest from a parent's basis
}


@dataclass(frozen=True)
class SolveProgress:
    """The state of a running solve."""

    objective: float
    bound: float
    gap: float
    seconds: float


@dataclass(frozen=True)
class Solution:
    """The counts to keep, and how good they are: no selection has an importance above `bound`."""

    counts: IntArray  # shape (spaces,)
    objective: float
    bound: float
    gap: float  # (bound - objective) / |objective|
    status: Status  # optimal: the gap is at most the requested one
    seconds: float
    costs: dict[str, float]
    trace: tuple[SolveProgress, ...] = ()  # how objective and bound came together, the end included


def solve(
    problem: Problem,
    *,
    time_limit: float = 30.0,
    gap: float = 1e-3,
    progress: Callable[[SolveProgress], None] | None = None,
) -> Solution:
    """The most important counts within all budgets, proven to `gap` unless `time_limit` (seconds) ends the proof.

    Where a cost with a budget has tables, a selection is one of a few sizes of each space (see `tabled`). Otherwise
    lower bounds of costs are met if the search finds a selection that meets them, else the costs are the nearest ones
    found. Raises InfeasibleError if no selection is found that meets the budgets.
    """
    began = time.perf_counter()
    if is_tabled(problem):
        counts, bound, proven = solve_tabled(problem, gap=gap, deadline=began + time_limit)
        return _solution(problem, counts, bound, began, proven=proven)
    merged, trace = merge(to_program(problem)), list[SolveProgress]()

    def told(step: SolveProgress) -> None:
        trace.append(step)
        if progress is not None:
            progress(step)

    run = _Run(merged.program, began, time_limit, gap, told)
    _check_reachable(problem, merged.counts(run.floor), problem.costs)
    tree = run.solve_with_lower_bounds()
    counts = _exact(problem, merged, run.floor, tree.best)
    return _solution(problem, counts, tree.bound, began, trace, proven=tree.closed)


def _solution(
    problem: Problem, counts: IntArray, bound: float, began: float, trace: Sequence[SolveProgress] = (), *, proven: bool
) -> Solution:
    objective, lengths = problem.importance(counts), problem.lengths(counts)
    bound = max(bound, objective)
    gap, seconds = _gap(objective, bound), time.perf_counter() - began
    return Solution(
        counts, objective, bound, gap, "optimal" if proven else "time limit", seconds, problem.evaluate(lengths),
        (*trace, SolveProgress(objective, bound, gap, seconds)),
    )  # fmt: skip


def least(problem: Problem) -> IntArray:
    """The smallest counts that meet the minimum lengths, shape (spaces,); with tables, the cheapest ones found.

    If several spaces can meet a minimum, the cheapest ones grow. Raises InfeasibleError if keeping all is too few.
    """
    if is_tabled(problem):
        return cheapest(problem)
    program = to_program(problem)
    return program.count[Search(program).least()]


def _gap(objective: float, bound: float) -> float:
    return max(bound - objective, 0.0) / max(abs(objective), _TINY)


def _fits(problem: Problem, counts: IntArray) -> bool:
    lengths = problem.lengths(counts)
    return all(cost.evaluate(lengths) <= cost.upper for cost in problem.costs) and bool(
        (lengths >= problem.minimum).all()
    )


def _check_reachable(problem: Problem, counts: IntArray, costs: tuple[Cost, ...]) -> None:
    """Raise InfeasibleError if `counts`, the smallest ones, exceed a budget: costs never fall as counts grow."""
    lengths = problem.lengths(counts)
    for cost in costs:
        value = cost.evaluate(lengths)
        if value > cost.upper:
            raise InfeasibleError(
                f"the budget of {cost.name} can't be met",
                why=f"{cost.name} must be at most {cost.upper:,.0f}, but the least possible is {value:,.0f}",
                fix="raise the budget, or lower the minimum lengths",
            )


def _exact(problem: Problem, merged: Merged, floor: IntArray, best: IntArray) -> IntArray:
    """The counts of `best`, or nearby ones that fit if a differently rounded sum exceeds a budget."""
    counts, program, margin = merged.counts(best), merged.program, 1e-15
    wanted = program.count[best].astype(np.float64)
    while not _fits(problem, counts):
        if margin > 1e-3:
            return merged.counts(floor)
        tight = replace(program, upper=program.upper - margin * np.abs(program.upper))
        counts = merged.counts(Search(tight).shrink(floor, wanted))
        margin *= 10
    return counts


class _Run:
    """One solve of a program, with a deadline for all its trees together."""

    def __init__(
        self, program: Program, began: float, time_limit: float, gap: float, progress: Callable[[SolveProgress], None]
    ) -> None:
        self.program, self._began, self._limit, self._gap, self._progress = program, began, time_limit, gap, progress
        self.floor = Search(program).least()

    def solve_with_lower_bounds(self) -> Tree:
        """The solved tree, with all lower bounds met if the search finds a selection that meets them.

        If importances always grow with counts, the optimum uses up the upper bounds: lower bounds are added only if it
        misses them. Where lower bounds are out of reach, the costs come as near to them as the search finds, give or
        take the distance between the bounds; the most important such selection is solved for.
        """
        program = self.program
        bound = Search(program)
        free = Search(replace(program, lower=np.full(len(program.lower), -np.inf)))
        grows = bool((np.diff(program.value)[np.diff(program.owner) == 0] > 0).all())
        start = self._start(free if grows else bound)
        if grows:
            tree = self._solve(free, start)
            if bound.meets(tree.best):
                return tree
            start = tree.best
        constrained = self._solve(bound, bound.climb(start, self._half()), patience=_PATIENCE)
        if bound.meets(constrained.best):
            return constrained
        nearest = program.costs(bound.counts(constrained.best))
        slack = program.upper - program.lower
        reached = np.where(nearest < program.lower, nearest - slack, program.lower)
        return self._solve(Search(replace(program, lower=reached)), constrained.best)

    def _start(self, search: Search) -> IntArray:
        largest = self.program.count[self.program.start[1:] - 1].astype(np.float64)
        return search.climb(search.shrink(self.floor, largest), self._half())

    def _half(self) -> float:
        """The time halfway from now to the deadline."""
        now = time.perf_counter()
        return now + max(self._began + self._limit - now, 0.0) / 2

    def _solve(self, search: Search, start: IntArray, *, patience: float = np.inf) -> Tree:
        """The tree once it is closed, time is up, or `patience` boxes held nothing that meets the lower bounds."""
        deadline = self._began + self._limit
        tree = Tree(search, self.floor, start, _Highs(deadline), gap=self._gap, deadline=deadline)
        reported = (np.nan, np.nan)
        try:
            while not tree.closed and (np.isfinite(tree.value) or tree.seen < patience):
                now = tree.value, tree.bound
                if np.isfinite(tree.value) and now != reported:
                    reported = now
                    self._progress(SolveProgress(*now, _gap(*now), time.perf_counter() - self._began))
                tree.advance()
        except TimeoutError:
            pass
        return tree


class _Highs:
    """Solves linear programs over boxes with HiGHS' dual simplex; a parent's basis makes its children fast."""

    def __init__(self, deadline: float) -> None:
        import highspy  # lazily: most of the package needs no solver

        self._highspy, self._deadline = highspy, deadline

    def __call__(
        self, relaxation: Relaxation, box: Box, extra: tuple[IntArray, FloatArray], basis: Any, *, enough: float
    ) -> Optimum | None:
        highs = self._load(relaxation, *relaxation.restrict(box, extra))
        if basis is not None:
            self._check(highs.setBasis(basis), "basis")
        warm = basis is not None
        for _ in range(_ROUNDS):
            if not self._run(highs, warm=warm):
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
            self._add(highs, relaxation.tangents(added, at[added]))
            warm = True
        final = highs.getSolution()
        price = np.abs(np.array(final.row_dual)[relaxation.budget_rows])
        return Optimum(bound, solution, np.array(final.col_dual), price, extra, highs.getBasis())

    def _run(self, highs: Any, *, warm: bool) -> bool:
        """Whether there is an optimum; False if the program is infeasible. Raises TimeoutError."""
        states = self._highspy.HighsModelStatus
        for presolve in ("off", "on") if warm else ("on", "off"):
            left = self._deadline - time.perf_counter()
            if left <= 0:
                raise TimeoutError
            # HiGHS counts the time of all runs of an instance.
            self._set(highs, "time_limit", highs.getRunTime() + left)
            self._set(highs, "presolve", presolve)
            highs.run()
            status = highs.getModelStatus()
            if status == states.kOptimal and highs.getSolution().dual_valid:
                return True
            if status == states.kInfeasible:
                return False
            if status == states.kTimeLimit:
                raise TimeoutError
            highs.clearSolver()
        raise SurgeonError("the linear solver failed", why=f"HiGHS says {status}", fix=_REPORT)

    def _load(self, relaxation: Relaxation, lower: FloatArray, upper: FloatArray, rows: Constraints) -> Any:
        highs: Any = silent_highs()
        for option, value in _OPTIONS.items():
            self._set(highs, option, value)
        start, column, value = rows.sparse()
        status = highs.passModel(
            relaxation.columns, len(rows.lower), len(value), int(self._highspy.MatrixFormat.kRowwise),
            int(self._highspy.ObjSense.kMaximize), 0.0, relaxation.cost, lower, upper, rows.lower, rows.upper,
            start[:-1].astype(np.int32), column.astype(np.int32), value, np.zeros(relaxation.columns, np.int32),
        )  # fmt: skip
        self._check(status, "model")
        return highs

    def _add(self, highs: Any, rows: Constraints) -> None:
        start, column, value = rows.sparse()
        status = highs.addRows(
            len(rows.lower), rows.lower, rows.upper, len(value),
            start[:-1].astype(np.int32), column.astype(np.int32), value,
        )  # fmt: skip
        self._check(status, "rows")

    def _set(self, highs: Any, option: str, value: object) -> None:
        self._check(highs.setOptionValue(option, value), f"option {option}")

    def _check(self, status: Any, what: str) -> None:
        if status == self._highspy.HighsStatus.kError:
            raise SurgeonError("the linear solver failed", why=f"HiGHS refused the {what}", fix=_REPORT)
