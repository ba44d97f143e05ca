"""Problems whose budgets have tables: local search, then HiGHS, over few sizes of each space."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from onnxsurgeon.arrays import IntArray
from onnxsurgeon.errors import InfeasibleError
from onnxsurgeon.solver.choice_search import ChoiceSearch
from onnxsurgeon.solver.milp import branch_and_cut
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
    costs are met if some selection meets them. Raises InfeasibleError if no selection fits.
    """
    sizes = _few(problem)
    search = ChoiceSearch(problem, sizes)
    start = search.best((time.perf_counter() + deadline) / 2)
    free = replace(problem, costs=tuple(replace(cost, lower=0.0) for cost in problem.costs))
    found = branch_and_cut(free, sizes, None if start is None else search.counts(start), gap=gap, deadline=deadline)
    if found.counts is None:
        least = search.spent(search.cheapest())
        raise InfeasibleError(
            "the budgets can't be met together",
            why=", ".join(
                f"{cost.name} can fall to {value:.4g}, and must to {cost.upper:.4g}"
                for cost, value in zip(search.costs, least.tolist(), strict=True)
            ),
            fix="raise a budget, or lower the minimum lengths",
        )
    # HiGHS leaves sizes within the gap that can grow within their steps.
    counts = search.counts(search.improved(search.chosen(found.counts), deadline))
    if not _meets(problem, counts):
        bounded = branch_and_cut(problem, sizes, None, gap=gap, deadline=deadline)
        if bounded.counts is not None:
            return bounded.counts, bounded.bound, bounded.proven
    return counts, found.bound, found.proven


def _meets(problem: Problem, counts: IntArray) -> bool:
    """Whether the lower bounds hold."""
    lengths = problem.lengths(counts)
    return all(cost.evaluate(lengths) >= cost.lower for cost in problem.costs if cost.bounded)


def _few(problem: Problem) -> tuple[IntArray, ...]:
    """The sizes of each space that are considered: the largest, the smallest, and some evenly between."""
    return tuple(
        size[np.unique(np.linspace(0, len(size) - 1, min(len(size), CHOICES)).round().astype(np.int64))]
        for size in problem.sizes
    )
