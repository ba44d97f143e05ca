"""Laws of the solver: solutions are feasible, no selection beats the bound, and small problems are solved exactly."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from onnxsurgeon.arrays import FloatArray, IntArray
from onnxsurgeon.errors import InfeasibleError
from onnxsurgeon.solver.merge import merge
from onnxsurgeon.solver.problem import Cost, Problem
from onnxsurgeon.solver.program import to_program
from onnxsurgeon.solver.solve import Solution, SolveProgress, least, solve

SEEDS = range(120)


class Network:
    """A problem under construction: spaces, axes that count them, and layers that cost."""

    def __init__(self, seed: int = 0, *, step: int = 1, flat: bool = False) -> None:
        self._rng, self._step, self._flat = np.random.default_rng(seed), step, flat
        self._tables: list[FloatArray] = []
        self._sizes: list[IntArray] = []
        self._axes: list[tuple[int, ...]] = []
        self._constant: list[int] = []
        self._params: list[tuple[float, tuple[int, int]]] = []
        self._macs: list[tuple[float, tuple[int, int]]] = []

    def space(self, units: int) -> int:
        draw = self._rng.normal(size=units)
        importance = np.sort(np.abs(1 + 0.15 * draw if self._flat else draw))[::-1]
        self._tables.append(np.concatenate([[0.0], np.cumsum(importance / importance.mean())]))
        self._sizes.append(np.unique(np.append(np.arange(self._step, units + 1, self._step), units)))
        return len(self._tables) - 1

    def axis(self, *spaces: int, constant: int = 0) -> int:
        self._axes.append(spaces)
        self._constant.append(constant)
        return len(self._axes) - 1

    def new(self, units: int) -> int:
        return self.axis(self.space(units))

    def layer(self, source: int, target: int, *, kernel: int = 1, pixels: int = 1) -> None:
        self._params += [(kernel**2, (source, target)), (3.0, (target, -1))]
        self._macs.append((kernel**2 * pixels, (source, target)))

    def problem(self, share: float) -> Problem:
        """Both parameters and MACs at most `share` of the whole, and at least 95 % of that."""
        axis = np.array([axis for axis, spaces in enumerate(self._axes) for _ in spaces])
        space = np.array([space for spaces in self._axes for space in spaces])
        problem = Problem(
            tuple(self._tables), tuple(self._sizes), axis, space, np.ones(len(axis), np.int64),
            np.array(self._constant), np.zeros(len(self._axes), np.int64), (),
        )  # fmt: skip
        full = problem.lengths(np.array([len(table) - 1 for table in self._tables]))
        costs = []
        for name, terms in (("params", self._params), ("macs", self._macs)):
            cost = Cost(name, np.array([c for c, _ in terms], float), np.array([a for _, a in terms]), 0.0, np.inf)
            upper = share * cost.evaluate(full)
            costs.append(replace(cost, upper=upper, lower=0.95 * upper))
        return replace(problem, costs=tuple(costs))


def resnet(widths: tuple[int, ...] = (16, 32, 64), blocks: int = 3, *, step: int = 1, flat: bool = False) -> Network:
    """Bottlenecks on one trunk per stage: trunk -> a -> b -> trunk, and a convolution from trunk to trunk."""
    network = Network(step=step, flat=flat)
    source = network.new(widths[0])
    network.layer(network.axis(constant=3), source, kernel=7, pixels=4096)
    for stage, width in enumerate(widths):
        pixels = 1024 // 4**stage
        trunk = network.new(4 * width)
        for block in range(blocks):
            a, b = network.new(width), network.new(width)
            network.layer(trunk if block else source, a, pixels=pixels)
            network.layer(a, b, kernel=3, pixels=pixels)
            network.layer(b, trunk, pixels=pixels)
        network.layer(source, trunk, pixels=pixels)
        source = trunk
    network.layer(source, network.axis(constant=100))
    return network


def vgg(widths: tuple[int, ...] = (64, 64, 128, 128, 256, 256, 512)) -> Network:
    network = Network()
    source = network.axis(constant=3)
    for depth, width in enumerate(widths):
        target = network.new(width)
        network.layer(source, target, kernel=3, pixels=4096 // 4**depth + 1)
        source = target
    network.layer(source, network.axis(constant=1000))
    return network


def densenet(layers: int = 12, growth: int = 16) -> Network:
    """Each layer reads the concatenation of all layers before it: axes are sums of many spaces."""
    network = Network()
    joined = [network.space(2 * growth)]
    source = network.axis(*joined)
    network.layer(network.axis(constant=3), source, kernel=3)
    for _ in range(layers):
        hidden, added = network.new(4 * growth), network.space(growth)
        network.layer(source, hidden)
        network.layer(hidden, network.axis(added), kernel=3)
        joined.append(added)
        source = network.axis(*joined)
    network.layer(source, network.axis(constant=10))
    return network


def residual_chain(blocks: int) -> Network:
    network = Network()
    trunk = network.new(64)
    for _ in range(blocks):
        hidden = network.new(64)
        network.layer(trunk, hidden, kernel=3)
        network.layer(hidden, trunk, kernel=3)
    return network


def random_problem(seed: int) -> Problem:
    """A small random problem: any tables and scales, axes with several spaces, minimum lengths, up to four factors."""
    rng = np.random.default_rng(seed)
    spaces = int(rng.integers(1, 5))
    axes = spaces + int(rng.integers(0, 3))
    tables, sizes = [], []
    draw = int(rng.integers(5))
    scale = 10.0 ** rng.integers(-9, 10)
    for _ in range(spaces):
        units = int(rng.integers(1, 9))
        gain = np.sort(rng.normal(size=units))[::-1]
        table = [np.abs(gain), np.sort(np.abs(gain))[::-1], gain, 0 * gain, rng.permutation(gain)][draw]
        tables.append(scale * np.concatenate([[0.0], np.cumsum(table)]))
        start, step = int(rng.integers(0, 2)), int(rng.choice([1, 1, 2, 3]))
        sizes.append(np.unique(np.append(np.arange(start, units + 1, step), units)))
    members = [(a, s) for a in range(axes) for s in ([a] if a < spaces else rng.permutation(spaces)[: 1 + seed % 3])]
    axis, space = np.array(members).T
    multiplicity = rng.choice([1, 1, 2], len(axis))
    constant = np.where(rng.random(axes) < 0.3, rng.integers(0, 4, axes), 0)
    minimum = np.where(rng.random(axes) < 0.3, rng.integers(0, 4, axes), 0)
    problem = Problem(tuple(tables), tuple(sizes), axis, space, multiplicity, constant, minimum, ())
    full = problem.lengths(np.array([len(table) - 1 for table in tables]))
    costs = []
    for metric in range(int(rng.integers(1, 3))):
        shape = int(rng.integers(1, 6)), int(rng.choice([1, 2, 2, 3, 4]))
        coefficient = (rng.integers(1, 10, shape[0]) * 10.0 ** rng.integers(0, 9)).astype(float)
        cost = Cost(f"cost {metric}", coefficient, rng.integers(-1, axes, shape), float(rng.integers(0, 3)), 0.0)
        upper = float(rng.uniform(0.1, 1.05)) * cost.evaluate(full)
        costs.append(replace(cost, upper=upper, lower=float(rng.uniform(0, 1)) * upper * (seed % 3 == 0)))
    return replace(problem, costs=tuple(costs))


def feasible(problem: Problem, counts: IntArray, *, lower: bool = False) -> bool:
    lengths = problem.lengths(counts)
    within = all((cost.lower if lower else -np.inf) <= cost.evaluate(lengths) <= cost.upper for cost in problem.costs)
    return within and bool((lengths >= problem.minimum).all())


def selections(problem: Problem, *, lower: bool) -> Iterator[IntArray]:
    """All feasible selections."""
    every = (np.array(counts) for counts in itertools.product(*[sizes.tolist() for sizes in problem.sizes]))
    return (counts for counts in every if feasible(problem, counts, lower=lower))


def brute_force(problem: Problem, *, lower: bool) -> float | None:
    """The largest importance; None if no selection is feasible."""
    return max(map(problem.importance, selections(problem, lower=lower)), default=None)


def highest_cost(problem: Problem, cost: Cost) -> float:
    return max(cost.evaluate(problem.lengths(counts)) for counts in selections(problem, lower=False))


def check(problem: Problem, solution: Solution) -> None:
    """Assert what holds for every solution."""
    assert feasible(problem, solution.counts)
    assert all(count in sizes for count, sizes in zip(solution.counts, problem.sizes, strict=True))
    assert solution.objective == problem.importance(solution.counts)
    assert solution.bound >= solution.objective
    lengths = problem.lengths(solution.counts)
    assert solution.costs == {cost.name: cost.evaluate(lengths) for cost in problem.costs}


@pytest.mark.parametrize("seed", SEEDS)
def test_small_problems_are_solved(seed: int) -> None:
    problem = random_problem(seed)
    best = brute_force(problem, lower=True)
    if brute_force(problem, lower=False) is None:
        with pytest.raises(InfeasibleError):
            solve(problem)
        return
    solution = solve(problem, gap=1e-5)
    check(problem, solution)
    assert solution.status == "optimal"
    if best is not None:
        noise = 2e-5 * abs(best) + 1e-9 * max(np.abs(table).max() for table in problem.tables)
        assert feasible(problem, solution.counts, lower=True)
        assert abs(solution.objective - best) <= noise
        assert solution.bound >= best - 1e-12 * abs(best)
    elif len(problem.costs) == 1:  # the lower bound is out of reach: as near as possible, then important
        (cost,) = problem.costs
        nearest = highest_cost(problem, cost)
        assert cost.evaluate(problem.lengths(solution.counts)) >= nearest - (cost.upper - cost.lower) - 1e-9 * nearest


@pytest.mark.parametrize(
    "network",
    [
        pytest.param(resnet(), id="resnet"),
        pytest.param(resnet(flat=True), id="resnet, nearly equal importances"),
        pytest.param(resnet(step=8), id="resnet, multiples of 8"),
        pytest.param(vgg(), id="vgg"),
        pytest.param(densenet(), id="densenet"),
    ],
)
@pytest.mark.parametrize("share", [0.5, 0.7])
def test_networks_are_solved_to_a_small_gap(network: Network, share: float) -> None:
    problem = network.problem(share)
    solution = solve(problem, gap=5e-3)
    check(problem, solution)
    assert solution.gap <= 5e-3
    assert solution.status == "optimal"


def test_no_feasible_selection_beats_the_bound() -> None:
    problem = vgg().problem(0.5)
    bound = solve(problem, gap=1e-2).bound
    rng = np.random.default_rng(0)
    for _ in range(300):
        counts = np.array([rng.choice(sizes) for sizes in problem.sizes])
        assert not feasible(problem, counts) or problem.importance(counts) <= bound
    assert solve(problem, gap=1e-3).objective <= bound


def test_merging_spaces_changes_nothing() -> None:
    problem = residual_chain(4).problem(0.6)
    program = to_program(problem)
    merged = merge(program)
    assert merged.program.spaces == 2
    rng = np.random.default_rng(0)
    for _ in range(50):
        position = rng.integers(merged.program.start[:-1], merged.program.start[1:])
        counts = merged.counts(position)
        assert merged.program.value[position].sum() == pytest.approx(problem.importance(counts))
        costs = merged.program.costs(merged.program.count[position])
        assert costs == pytest.approx([cost.evaluate(problem.lengths(counts)) for cost in problem.costs])
    # A cost too small to matter tells the spaces apart, so that nothing merges.
    params, macs = problem.costs
    extra = np.array([[axis, -1] for axis in range(1, 5)])
    apart = replace(
        params,
        coefficient=np.append(params.coefficient, 1e-6 * np.arange(1, 5)),
        axes=np.concatenate([params.axes, extra]),
    )
    other = replace(problem, costs=(replace(apart, upper=params.upper + 1e-3), macs))
    assert merge(to_program(other)).program.spaces == 5
    assert solve(problem, gap=1e-4).objective == pytest.approx(solve(other, gap=1e-4).objective, rel=2e-4)


def test_ten_thousand_blocks_are_solved() -> None:
    problem = residual_chain(10_000).problem(0.5)
    solution = solve(problem)
    assert solution.status == "optimal"
    check(problem, solution)
    assert solution.gap <= 1e-3


@pytest.mark.slow
def test_a_million_units_are_solved() -> None:
    network = Network()
    wide = network.new(1_000_000)
    network.layer(network.axis(constant=100), wide)
    network.layer(wide, network.axis(constant=10))
    problem = network.problem(0.5)
    solution = solve(problem)
    assert solution.status == "optimal"
    assert feasible(problem, solution.counts)
    assert not feasible(problem, solution.counts + 1)


def test_the_same_problem_has_the_same_answer() -> None:
    problem = resnet().problem(0.5)
    first, second = solve(problem, gap=5e-3), solve(problem, gap=5e-3)
    assert (first.counts == second.counts).all()
    assert first.bound == second.bound


@pytest.mark.slow
def test_the_time_limit_holds_and_the_bound_stays_true() -> None:
    problem = resnet(flat=True, blocks=6).problem(0.5)
    solution = solve(problem, gap=0.0, time_limit=0.5)
    check(problem, solution)
    assert solution.status == "time limit"
    assert solution.gap > 0
    assert solution.bound >= solve(problem, gap=1e-2).objective


def test_progress_tells_better_and_better_bounds() -> None:
    told: list[SolveProgress] = []
    solution = solve(resnet().problem(0.5), gap=5e-3, progress=told.append)
    assert told
    objectives, bounds = [one.objective for one in told], [one.bound for one in told]
    assert objectives == sorted(objectives)
    assert bounds == sorted(bounds, reverse=True)
    assert solution.objective >= objectives[-1]


def test_importances_of_any_scale_give_the_same_counts() -> None:
    problem = vgg().problem(0.5)
    counts = solve(problem).counts
    for scale in (2.0**-30, 2.0**30):
        scaled = replace(problem, tables=tuple(scale * table for table in problem.tables))
        assert (solve(scaled).counts == counts).all()


def test_equal_importances_still_use_the_budget() -> None:
    problem = resnet().problem(0.7)
    problem = replace(problem, tables=tuple(0 * table for table in problem.tables))
    solution = solve(problem)
    assert feasible(problem, solution.counts, lower=True)
    assert solution.status == "optimal"


def test_units_of_negative_importance_go_unless_a_lower_bound_keeps_them() -> None:
    table = np.array([0.0, 3.0, 5.0, 4.0, 2.0])
    cost = Cost("params", np.array([2.0]), np.array([[0]]), 0.0, 8.0)
    one, none = np.array([0]), np.array([0])
    problem = Problem(
        (table,), (np.arange(5),), one, one, np.array([1]), none, none, (cost,)
    )  # fmt: skip
    assert solve(problem).counts.tolist() == [2]
    assert solve(replace(problem, costs=(replace(cost, lower=6.0),))).counts.tolist() == [3]


def test_a_lower_bound_out_of_reach_is_missed_by_as_little_as_possible() -> None:
    """Of two units that cost 45 and 30, one fits into 50. The more important one costs 30 and would leave 20 unused."""
    tables = (np.array([0.0, 1.0]), np.array([0.0, 5.0]))
    sizes = (np.array([0, 1]),) * 2
    each = np.arange(2)
    cost = Cost("params", np.array([45.0, 30.0]), each[:, None], 0.0, upper=50.0, lower=49.0)
    zero = np.zeros(2, np.int64)
    problem = Problem(tables, sizes, each, each, np.ones(2, np.int64), zero, zero, (cost,))
    assert solve(problem).counts.tolist() == [1, 0]


def test_an_infeasible_budget_is_named() -> None:
    problem = vgg().problem(0.5)
    params, macs = problem.costs
    smallest = macs.evaluate(problem.lengths(least(problem)))
    tight = replace(problem, costs=(params, replace(macs, upper=smallest - 1)))
    with pytest.raises(InfeasibleError, match=rf"macs[\s\S]*{smallest:,.0f}"):
        solve(tight)
    exact = replace(problem, costs=(params, replace(macs, upper=smallest)))
    assert (solve(exact).counts == least(problem)).all()


def test_minimum_lengths_hold() -> None:
    problem = densenet(layers=4).problem(0.4)
    minimum = problem.lengths(np.array([sizes[-1] for sizes in problem.sizes])) * 6 // 10
    problem = replace(problem, minimum=minimum)
    assert (problem.lengths(least(problem)) >= minimum).all()
    check(problem, solve(problem, gap=1e-2))
    with pytest.raises(InfeasibleError):
        least(replace(problem, minimum=2 * minimum))


def test_the_solver_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    solve(vgg().problem(0.5))
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")


def test_problems_need_no_solver() -> None:
    code = "import sys, onnxsurgeon.solver; sys.exit(not {'highspy', 'scipy'}.isdisjoint(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_costs_the_greatest_importances_stay() -> None:
    problem = replace(random_problem(2), costs=())
    best = sum(float(table[sizes].max()) for table, sizes in zip(problem.tables, problem.sizes, strict=True))
    assert solve(problem).objective == pytest.approx(best)
