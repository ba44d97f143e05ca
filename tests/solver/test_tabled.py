"""Laws of budgets with tables: small problems are solved exactly, whatever form the tables have."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from onnxsurgeon.arrays import IntArray
from onnxsurgeon.errors import InfeasibleError
from onnxsurgeon.solver.choice_search import ChoiceSearch
from onnxsurgeon.solver.milp import Milp
from onnxsurgeon.solver.problem import Cost, CostTable, Problem
from onnxsurgeon.solver.solve import least, solve

SEEDS = range(60)


def drawn(seed: int) -> Problem:
    """Four spaces and six axes, of which one counts three spaces: tables that jump and fall, and products of axes."""
    rng = np.random.default_rng(seed)
    units = rng.integers(2, 7, 4)
    tables = tuple(np.concatenate([[0.0], np.cumsum(rng.exponential(1.0, n))]) for n in units)
    sizes = tuple(np.arange(rng.integers(0, 2), n + 1) for n in units)
    axis, space = np.array([0, 1, 2, 3, 4, 4, 4, 5]), np.array([0, 1, 2, 3, 0, 1, 2, 3])
    multiplicity = rng.integers(1, 3, len(axis))
    constant = np.array([0, 2, 0, 0, 1, 3])
    problem = Problem(tables, sizes, axis, space, multiplicity, constant, np.ones(6, np.int64), ())
    full = problem.lengths(units)

    def table(*axes: int) -> CostTable:
        lengths = tuple(np.unique(np.append(rng.integers(1, full[a] + 1, 3), full[a])) for a in axes)
        return CostTable(axes, lengths, rng.exponential(1.0, [len(n) for n in lengths]))

    latency = Cost(
        "latency", np.zeros(0), np.zeros((0, 1), np.int64), 0.1, np.inf,
        tables=(table(0), table(0, 1), table(2, 1), table(4, 3), table(4), table(3, 5)),
    )  # fmt: skip
    axes = np.array([[0, 1, -1], [4, 3, -1], [2, 2, -1], [4, 4, -1], [0, 1, 3], [4, 2, 5], [5, -1, -1]])
    params = Cost("params", rng.integers(1, 5, len(axes)).astype(float), axes, 3.0, np.inf)
    costs = [replace(cost, upper=rng.uniform(0.3, 0.9) * cost.evaluate(full)) for cost in (latency, params)]
    return replace(problem, costs=tuple(costs))


def feasible(problem: Problem) -> list[IntArray]:
    found = [np.array(counts) for counts in itertools.product(*(size.tolist() for size in problem.sizes))]
    return [
        counts
        for counts in found
        if all(cost.evaluate(problem.lengths(counts)) <= cost.upper for cost in problem.costs)
        and (problem.lengths(counts) >= problem.minimum).all()
    ]


@pytest.mark.parametrize("hub", [0, 8])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_solution_is_the_best_of_all(seed: int, hub: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a program for each size of the space in most pairs takes the place of one for all."""
    monkeypatch.setattr("onnxsurgeon.solver.milp.HUB", hub)
    problem = drawn(seed)
    assert (Milp(problem, problem.sizes).hub() is not None) == (hub == 0)
    everything = feasible(problem)
    if not everything:
        with pytest.raises(InfeasibleError):
            solve(problem, gap=0.0)
        return
    found = solve(problem, gap=0.0)
    best = max(problem.importance(counts) for counts in everything)
    assert problem.importance(found.counts) == pytest.approx(best)
    assert found.bound == pytest.approx(best, rel=1e-5)
    assert found.status == "optimal"
    assert any((found.counts == counts).all() for counts in everything)
    assert found.costs["latency"] == pytest.approx(problem.costs[0].evaluate(problem.lengths(found.counts)))


@pytest.mark.parametrize("seed", SEEDS)
def test_the_program_and_the_search_count_costs_as_the_problem_does(seed: int) -> None:
    """Counts are feasible in the program exactly where they are in the problem; the search evaluates many at once."""
    problem = drawn(seed)
    program, search = Milp(problem, problem.sizes), ChoiceSearch(problem, problem.sizes)
    rng = np.random.default_rng(seed)
    for _ in range(10):
        counts = np.array([rng.choice(size) for size in problem.sizes])
        lengths = problem.lengths(counts)
        values = program.values(counts)
        holds = all(low - 1e-7 <= values[c] @ w <= high + 1e-7 for c, w, low, high in program.rows)
        costs = np.array([cost.evaluate(lengths) for cost in problem.costs])
        enough = bool((lengths >= problem.minimum).all())
        assert holds == (enough and bool((costs <= [cost.upper for cost in problem.costs]).all()))
        assert (program.counts(values) == counts).all()
        assert program.objective @ values == pytest.approx(problem.importance(counts))
        if enough:
            assert search.spent(search.chosen(counts)) == pytest.approx(costs)


def test_what_buys_nothing_is_not_cut() -> None:
    """Time has steps of four channels: counts are the ends of steps, whatever the budget."""
    table = CostTable((0,), (np.array([4, 8, 12, 14]),), np.array([1.0, 2.0, 3.0, 3.5]))
    cost = Cost("latency", np.zeros(0), np.zeros((0, 1), np.int64), 0.0, 2.7, tables=(table,))
    one = np.array([0])
    problem = Problem(
        (np.arange(15.0),), (np.arange(15),), one, one, np.array([1]), np.array([0]), np.array([1]), (cost,)
    )
    assert solve(problem).counts.tolist() == [8]
    assert cost.evaluate(np.array([5])) == cost.evaluate(np.array([8])) == 2.0
    assert least(problem)[0] <= 4


def test_a_table_that_falls_is_no_trap() -> None:
    """7 channels take longer than 8: the smallest count is not the fastest."""
    table = CostTable((0,), (np.array([1, 7, 8, 9]),), np.array([3.0, 3.0, 1.0, 4.0]))
    cost = Cost("latency", np.zeros(0), np.zeros((0, 1), np.int64), 0.0, 1.5, tables=(table,))
    one = np.array([0])
    problem = Problem(
        (np.arange(10.0),), (np.array([1, 7, 8, 9]),), one, one, np.array([1]), np.array([0]), np.array([1]), (cost,)
    )
    assert solve(problem).counts.tolist() == [8]
    assert least(problem).tolist() == [8]
