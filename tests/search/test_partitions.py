"""Samples: every candidate of a generation gets the same, the next generation the next ones."""

from __future__ import annotations

import numpy as np
import pytest

from onnxsurgeon.errors import UsageError
from onnxsurgeon.search.partitions import Partitions, Stream, batch_within, for_seconds, held_out, in_batches


def test_partitions_follow_each_other() -> None:
    parts = Partitions(Stream(20, seed=None), size=4)  # 2 batches of 2
    assert [batch.tolist() for batch in in_batches(parts[0], 2)] == [[0, 1], [2, 3]]
    assert parts[0].tolist() == parts[0].tolist()
    assert parts[1].tolist() == [4, 5, 6, 7]
    assert parts[5].tolist() == [0, 1, 2, 3]  # the second pass


@pytest.mark.parametrize("size", [3, 7, 23])
def test_each_pass_has_every_sample_once(size: int) -> None:
    parts = Partitions(Stream(21, seed=5), size)
    rows = np.concatenate([parts[n] for n in range(21)])
    for number in range(size):
        assert sorted(rows[number * 21 : (number + 1) * 21]) == list(range(21))
    assert rows[:21].tolist() != rows[21:42].tolist()


def test_what_is_held_out_is_not_trained_on() -> None:
    train, val = held_out(100, 0.1, seed=3)
    assert len(val) == 10
    assert sorted([*train, *val]) == list(range(100))
    with pytest.raises(UsageError):
        held_out(3, 0.1, seed=0)


def test_time_ends_batches() -> None:
    ticks = iter([0.0, 0.4, 0.8, 1.2, 1.6])
    assert list(for_seconds(range(9), 1.0, lambda: next(ticks))) == [0, 1, 2]


def test_a_batch_fits_into_memory() -> None:
    assert batch_within(1000, 100, 50) == 4  # 900 / (100 + 100)
    assert batch_within(1000, 100, 50, trains=False) == 18
    assert batch_within(1000, 100, 50, trains=False, multiple=4) == 16
    assert batch_within(50, 100, 50) == 0
