"""Which samples a candidate trains on: row numbers, a pure function of a seed and a place, so that nothing has to be
remembered. All candidates of a generation get the same, and a run that is resumed goes on at the right place.

Models: `onnxsurgeon.training` reads rows; nothing here holds samples.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import floor
from typing import TypeVar

import numpy as np

from onnxsurgeon.arrays import IntArray
from onnxsurgeon.errors import UsageError

T = TypeVar("T")


@dataclass(frozen=True)
class Stream:
    """All rows again and again, shuffled anew for each pass by `seed`; in order without one."""

    count: int
    seed: int | None = 0

    def rows(self, start: int, stop: int) -> IntArray:
        """Those at places start..stop of the stream, shape (stop - start,)."""
        first, last = start // self.count, (stop - 1) // self.count
        passes = np.concatenate([self._pass(number) for number in range(first, last + 1)] or [np.arange(0)])
        return passes[start - first * self.count : stop - first * self.count]

    def _pass(self, number: int) -> IntArray:
        if self.seed is None:
            return np.arange(self.count)
        return np.random.default_rng([self.seed, number]).permutation(self.count)


@dataclass(frozen=True)
class Partitions:
    """A stream in parts of `size` rows, one for each generation."""

    stream: Stream
    size: int

    def __getitem__(self, generation: int) -> IntArray:
        """The rows that every candidate of a generation trains on."""
        return self.stream.rows(generation * self.size, (generation + 1) * self.size)


def in_batches(rows: IntArray, size: int) -> list[IntArray]:
    """The rows, `size` at a time; the last batch may be smaller."""
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def held_out(count: int, share: float, seed: int) -> tuple[IntArray, IntArray]:
    """(rows to train on, rows that are held out), ascending. Raises UsageError if one of them would be empty."""
    few = round(count * share)
    if not 0 < few < count:
        raise UsageError(
            "no samples can be held out", why=f"`held_out` is {share:g} of {count} samples",
            fix="give more samples, or another share",
        )  # fmt: skip
    order = np.random.default_rng([seed, count]).permutation(count)
    return np.sort(order[few:]), np.sort(order[:few])


def for_seconds(
    items: Iterable[T], seconds: float, clock: Callable[[], float] = time.monotonic
) -> Iterator[T]:  # fmt: skip
    """Items until the time is over; the first one always comes."""
    end = clock() + seconds
    for item in items:
        yield item
        if clock() >= end:
            return


def batch_within(available: float, params: float, activations: float, *, trains: bool = True, multiple: int = 1) -> int:
    """The largest batch in `available` bytes; 0 if none fits.

    params: bytes of the weights. activations: bytes for each sample. Training keeps both once more, as gradients:
    (available - params) / (params + 2 activations); else (available - params) / activations. It is a multiple of
    `multiple`.
    """
    each = params + 2 * activations if trains else activations
    return max(0, floor((available - params) / each) // multiple * multiple)
