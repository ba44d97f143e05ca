"""Fitness: the worked cases, and that what fails is the worst and no exception."""

from __future__ import annotations

import math

import numpy as np
import pytest

from onnxsurgeon.search import fitness as f
from onnxsurgeon.search.pareto import crowding, dominates, fronts, ranks


def of(score: float, params: float = 1.0, **more: object) -> f.Measured:
    return f.Measured(score, costs={"params": params}, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("score", "params", "digits", "found"),
    [(0.1234, 999, 2, 0.121), (0.1234, 100_000, 2, 0.12001), (0.1234, 2, 3, 0.1231)],
)
def test_accuracy_then_size(score: float, params: float, digits: int, found: float) -> None:
    assert f.rounded_then_size(digits)(of(score, params)) == pytest.approx(found, abs=2e-6)


def test_of_two_that_are_as_good_the_smaller_is_better_and_never_beats_a_better_one() -> None:
    rate = f.rounded_then_size(3)
    assert rate(of(0.9001, 50_000)) > rate(of(0.9002, 60_000))
    assert rate(of(0.901, 10**9)) > rate(of(0.900, 1))


@pytest.mark.parametrize("bad", [of(math.nan), of(math.inf), of(0.9, problem="it timed out"), f.Measured()])
def test_what_is_not_valid_is_the_worst(bad: f.Measured) -> None:
    assert f.valid(f.score)(bad) == f.WORST
    assert f.valid(f.mapped(f.score, math.log))(of(0.0)) == f.WORST


def test_fitness_composes() -> None:
    assert f.mapped(f.score, lambda x: 2 * x)(of(0.3)) == 0.6
    assert f.aggregate(sum, f.score, f.cheap("params"))(of(3.0, 2.0)) == 1.0
    assert f.train_score(of(1, train_score=0.5)) == 0.5
    assert f.quick(of(1, seconds=2.0)) == -2.0
    assert f.low_loss(f.Measured(loss=0.2)) == -0.2


def test_retain_is_the_share_that_stays() -> None:
    mean = f.ewma(f.score, retain=0.9)
    assert mean(of(1.0)) == 1.0
    assert mean(of(1.0, before=0.0)) == pytest.approx(0.1)
    assert mean(of(1.0, before=f.WORST)) == 1.0


def test_limits_are_exceeded_relatively() -> None:
    assert f.excess({"params": 150, "macs": 10}, {"params": 100, "macs": 20}) == 0.5


def test_fronts_are_peeled_off() -> None:
    points = [(1, 5), (2, 4), (3, 3), (1, 4), (2, 2), (0, 0)]
    assert list(fronts(points)) == [0, 0, 0, 1, 1, 2]
    for a, first in zip(points, fronts(points), strict=True):
        for b, second in zip(points, fronts(points), strict=True):
            assert not (dominates(a, b) and first >= second)


def test_the_ends_of_a_front_are_alone() -> None:
    gap = crowding([(0, 10), (1, 9), (2, 8), (10, 0)])
    assert np.isinf(gap[[0, 3]]).all()
    assert gap[1] < gap[2]


def test_ranks_go_by_front_then_by_room() -> None:
    found = ranks([(1, 5), (2, 4), (3, 3), (1, 4), (0, math.nan)])
    assert min(found[:3]) > found[3] > found[4] == f.WORST
    assert found[1] < found[0]
