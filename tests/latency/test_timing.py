"""Callables take turns, and what is said of their times holds whatever the distribution."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxsurgeon.latency import timing
from onnxsurgeon.latency.timing import LEAST, STRETCHES, WARM_UP, Timing, in_turn, interval, joined, known, ratio


def test_callables_take_turns_and_every_second_turn_is_reversed() -> None:
    order: list[str] = []
    timings = in_turn([lambda: order.append("a"), lambda: order.append("b")], seconds=0)
    warm, timed = order[: 2 * WARM_UP], order[2 * WARM_UP :]
    assert warm == ["a", "b"] * WARM_UP
    assert timed == [name for turn in range(LEAST) for name in ("ba" if turn % 2 else "ab")]
    assert [len(t.seconds) for t in timings] == [LEAST, LEAST]


@given(st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=60))
def test_the_interval_holds_the_median(times: list[float]) -> None:
    low, high = interval(times)
    assert low <= np.median(times) <= high


def test_the_interval_holds_the_true_median_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        low, high = interval(np.exp(rng.standard_normal(25)).tolist())
        held += low <= 1.0 <= high
    assert held / 400 >= 0.93


@given(st.lists(st.floats(1e-3, 10.0), min_size=5, max_size=40), st.floats(0.25, 4.0))
def test_a_drift_of_the_machine_does_not_change_the_ratio(drift: list[float], factor: float) -> None:
    before, after = Timing(tuple(drift)), Timing(tuple(d * factor for d in drift))
    found = ratio(before, after)
    assert found.value == pytest.approx(factor)
    assert found.low == pytest.approx(factor) == found.high


def test_parts_are_joined_with_as_many_runs_of_each() -> None:
    parts = [[Timing((1.0, 2.0, 3.0)), Timing((4.0,))], [Timing((5.0, 6.0)), Timing((7.0, 8.0))]]
    assert joined(parts) == [Timing((1.0, 2.0, 4.0)), Timing((5.0, 6.0, 7.0))]


def test_runs_in_a_row_that_a_machine_slows_alike_say_little() -> None:
    """As many runs are known or not, by how long the machine stays as slow as it is."""
    rng = np.random.default_rng(0)
    first, slow = np.exp(0.05 * rng.standard_normal(320)), np.exp(0.1 * rng.standard_normal(16))
    assert known([first, first * np.tile(slow, 20)])
    assert not known([first, first * np.repeat(slow, 20)])
    assert known([first])
    assert not known([first[: 2 * STRETCHES - 1]])


def test_runs_end_when_times_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock[0])
    assert len(in_turn([partial(advance, clock)], seconds=1e6, until_known=0.0)[0].seconds) == 2 * STRETCHES
    assert len(in_turn([partial(advance, clock)], seconds=1e6, until_known=100.0)[0].seconds) == 104
    assert len(in_turn([partial(advance, clock)], seconds=50.0)[0].seconds) == 50 - WARM_UP


def advance(clock: list[float]) -> None:
    clock[0] += 1.0
