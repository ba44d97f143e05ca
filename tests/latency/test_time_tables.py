"""Tables hold what was measured: steps stay, noise does not, and gaps are filled by what is near."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from onnxsurgeon.latency.bench import Conditions
from onnxsurgeon.latency.measured_times import MeasuredTimes, place
from onnxsurgeon.latency.measured_widths import levels
from onnxsurgeon.latency.time_tables import TimeTable, covered, roughness, tabulated

HERE = Conditions("CPU", 2, 1, "1.0")
GRID = tuple(range(8, 129, 8))


def stairs(a: int, b: int, block: int) -> float:
    up = -(-a // block) * block, -(-b // block) * block
    return 1e-5 + 1e-8 * up[0] * up[1] + 2e-8 * up[0]


@pytest.mark.parametrize("block", [1, 8, 16, 32, 64])
def test_steps_are_kept_where_half_was_measured_with_noise(block: int) -> None:
    rng = np.random.default_rng(block)
    cells = [(a, b) for a in GRID for b in GRID]
    some = rng.choice(len(cells), len(cells) // 2, replace=False)
    points = {cells[n]: [stairs(*cells[n], block) * np.exp(0.03 * rng.standard_normal())] for n in some.tolist()}
    table = tabulated("Conv", points, (GRID, GRID))
    errors = [abs(table.at(cell) / stairs(*cell, block) - 1) for cell in cells]
    assert float(np.median(errors)) < 0.03
    assert covered(points, (GRID, GRID)) == 0.5


def test_between_two_lengths_the_larger_one_counts() -> None:
    table = TimeTable("Relu", ((8, 16),), (1.0, 2.0))
    assert [table.at((n,)) for n in (1, 8, 9, 16, 40)] == [1.0, 1.0, 2.0, 2.0, 2.0]


def test_one_measurement_makes_a_table() -> None:
    assert tabulated("Relu", {(16,): [3.0, 1.0, 2.0]}, ((8, 16),)).at((16,)) == pytest.approx(2.0, rel=0.05)


def test_a_step_is_rough_and_a_proportional_law_is_not() -> None:
    smooth, step = (
        TimeTable("Conv", ((8, 16, 24, 32),), times) for times in ((1.0, 2.0, 3.0, 4.0), (2.0, 2.0, 4.0, 4.0))
    )
    assert (roughness(smooth)[0] < 1e-9).all()
    assert roughness(step)[0].max() > 0.3


def test_what_was_measured_is_known_to_the_next_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first = MeasuredTimes(HERE)
    first.add("conv", (8, 16), 1e-3)
    first.add("conv", (8, 16), 3e-3)
    first.save()
    assert MeasuredTimes(HERE).of("conv") == {(8, 16): [1e-3, 3e-3]}
    assert MeasuredTimes(HERE, fresh=True).of("conv") == {}
    assert MeasuredTimes(HERE).of("pool") == {}
    for other in (Conditions("CUDA", 2, 1, "1.0"), Conditions("CPU", 1, 1, "1.0"), Conditions("CPU", 2, 1, "1.1")):
        assert MeasuredTimes(other).of("conv") == {}


@pytest.mark.parametrize("broken", ["", "{", "[]", '{"kind": 3}', '{"times": [[[1], [-1.0]]]}'])
def test_a_broken_cache_is_measured_again(broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first = MeasuredTimes(HERE)
    first.add("conv", (8,), 1e-3)
    first.save()
    (path,) = place().iterdir()
    whole = json.loads(path.read_text())
    path.write_text(json.dumps({**whole, **json.loads(broken)}) if broken.startswith('{"') else broken)
    assert MeasuredTimes(HERE).of("conv") == {}


def test_a_cache_that_cannot_be_written_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    times = MeasuredTimes(HERE)
    times.add("conv", (8,), 1e-3)
    times.save()
    assert times.of("conv") == {(8,): [1e-3]}


def test_what_was_measured_on_a_slower_day_counts_relative_to_what_both_runs_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    slow = MeasuredTimes(HERE)
    for kind, lengths, seconds in (("conv", (8,), 2e-3), ("conv", (4,), 1.2e-3), ("pool", (8,), 4e-3)):
        slow.add(kind, lengths, seconds)
    slow.save()
    fast = MeasuredTimes(HERE)
    fast.adjust([("conv", (8,), 1e-3), ("relu", (8,), 1e-5)])
    assert fast.of("conv") == {(8,): [1e-3], (4,): [0.6e-3]}
    assert fast.of("pool") == {(8,): [2e-3]}
    fast.add("conv", (2,), 0.3e-3)
    fast.save()
    again = MeasuredTimes(HERE).of("conv")
    assert again[(2,)] == pytest.approx([0.6e-3])
    assert again[(8,)] == pytest.approx([2e-3])


@pytest.mark.parametrize(("length", "unit"), [(512, 1), (96, 1), (100, 1), (12, 4), (7, 1), (1, 1)])
def test_lengths_are_multiples_and_the_whole(length: int, unit: int) -> None:
    few, more = levels(length, unit), levels(length, unit, 16)
    assert few[-1] == more[-1] == length
    assert len(few) <= 16
    assert len(more) <= 32
    assert set(few.tolist()) <= set(more.tolist())
    assert all(n % unit == 0 for n in more[:-1].tolist())
