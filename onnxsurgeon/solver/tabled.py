"""Problems whose budgets have tables: local search, then HiGHS, over few sizes of each space."""

from __future__ import annotations

import time

import numpy as np

from onnxsurgeon.arrays import IntArray
from onnxsurgeon.errors import InfeasibleError
from onnxsurgeon.solver.choice_search import ChoiceSearch
from onnxsurgeon.solver.milp import Milp, Outcome, branch_and_cut
from onnxsurgeon.solver.problem import Problem

CHOICES = 32  # sizes of a space that are considered


def is_tabled(problem: Problem) -> bool:
    """Whether a cost that has a budget has tables."""
    return any(cost.tables for cost in problem.costs if cost.bounded)


def cheapest(problem: Problem) -> IntArray:
    """Counts that are low in all budgets together, by local search. Raises InfeasibleError if none meet the minima."""
    search = ChoiceSearch(problem, _few(problem))
    found = search.cheapest()
    if np.isinf(search.spent(found)).any():
        raise InfeasibleError(
            "a minimum length can't be met", why="no sizes are large enough", fix="lower the minimum length"
        )
    return search.counts(found)


def solve_tabled(problem: Problem, *, gap: float, deadline: float) -> tuple[IntArray, float, bool]:
    """(counts, bound, proven): the most important counts within the budgets among `CHOICES` sizes of each space.

    No selection of these sizes is more important than `bound`, which is within `gap` if it is proven. Lower bounds of
    costs don't count: where the most important selection costs less than it may, none that costs more is better.
    Raises InfeasibleError if no selection fits.
    """
    sizes = _few(problem)
    search = ChoiceSearch(problem, sizes)
    start = search.best((time.perf_counter() + deadline) / 2)
    found = _solved(problem, sizes, None if start is None else search.counts(start), gap=gap, deadline=deadline)
    if found.counts is None:
        least = search.spent(search.cheapest())
        raise InfeasibleError(
            "the budgets can't be met together"
            if found.proven
            else "no selection within the budgets was found in time",
            why=", ".join(
                f"{cost.name} can fall to {value:.4g}, and must to {cost.upper:.4g}"
                for cost, value in zip(search.costs, least.tolist(), strict=True)
            ),
            fix="raise a budget, or lower the minimum lengths",
        )
    # HiGHS leaves sizes within the gap that can grow within their steps.
    counts = search.counts(search.improved(search.chosen(found.counts), deadline))
    most = sum(float(table[size].max()) for table, size in zip(problem.tables, sizes, strict=True))
    return counts, min(found.bound, most), found.proven


def _solved(
    problem: Problem, sizes: tuple[IntArray, ...], start: IntArray | None, *, gap: float, deadline: float
) -> Outcome:
    """The best counts of some sizes. Where most costs depend on one space, such as the stream of a transformer, HiGHS
    has a program for each of its sizes: for each the rest falls apart, which relaxations of all together don't see."""
    program = Milp(problem, sizes)
    hub = program.hub()
    if hub is None:
        return branch_and_cut(program, start, gap=gap, deadline=deadline)
    worth = -np.inf if start is None else problem.importance(start)
    best, bound, proven = start, worth, True
    options = sizes[hub] if start is None else sizes[hub][np.argsort(np.abs(sizes[hub] - start[hub]), kind="stable")]
    for number, count in enumerate(options.tolist()):
        few = (*sizes[:hub], np.array([count], np.int64), *sizes[hub + 1 :])
        now = time.perf_counter()
        until = now + (deadline - now) / (len(options) - number)
        # Only what is better by more than the gap is of interest.
        above = worth + gap * abs(worth) if best is not None else -np.inf
        found = branch_and_cut(Milp(problem, few), gap=gap, deadline=until, above=above)
        bound, proven = max(bound, found.bound, worth if best is None else above), proven and found.proven
        if found.counts is not None and (best is None or problem.importance(found.counts) > worth):
            best, worth = found.counts, problem.importance(found.counts)
    return Outcome(best, bound, proven)


def _few(problem: Problem) -> tuple[IntArray, ...]:
    """The sizes of each space that are considered: the largest, the smallest, and some evenly between."""
    return tuple(
        size[np.unique(np.linspace(0, len(size) - 1, min(len(size), CHOICES)).round().astype(np.int64))]
        for size in problem.sizes
    )
