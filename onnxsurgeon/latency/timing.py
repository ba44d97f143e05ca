"""Times several callables in turn, so that whatever slows the machine slows all of them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil, floor, sqrt

import numpy as np

WARM_UP, LEAST, MOST = 2, 5, 1000  # untimed runs of each callable; the fewest and the most timed ones
KNOWN = 0.01  # the relative error of a time from which it counts as known
STRETCHES = 8  # parts of the runs whose medians say how well a time is known
BUSY = 0.05  # half the width of a confidence interval, relative to the median, from which a machine counts as busy
Interval = tuple[float, float]


@dataclass(frozen=True)
class Timing:
    """How long the runs of one callable took. seconds: of each run, in order."""

    seconds: tuple[float, ...]

    @cached_property
    def median(self) -> float:
        return float(np.median(self.seconds))

    @cached_property
    def p95(self) -> float:
        return float(np.quantile(self.seconds, 0.95))

    @cached_property
    def interval(self) -> Interval:
        """The 95 % confidence interval of the median."""
        return interval(self.seconds)

    @property
    def spread(self) -> float:
        """Half the width of `interval`, relative to the median."""
        low, high = self.interval
        return (high - low) / 2 / self.median if self.median else 0.0


@dataclass(frozen=True)
class Ratio:
    """How long one callable takes relative to another, from runs that followed each other; with the 95 % interval."""

    value: float
    low: float
    high: float


def interval(values: Sequence[float]) -> Interval:
    """The 95 % confidence interval of the median, by order statistics: it assumes no distribution."""
    ordered, n = sorted(values), len(values)
    reach = 1.96 * sqrt(n) / 2
    return ordered[max(0, floor(n / 2 - reach))], ordered[min(n - 1, ceil(n / 2 + reach))]


def ratio(before: Timing, after: Timing) -> Ratio:
    """`after` relative to `before`, which were timed in turn."""
    pairs = [b / a for a, b in zip(before.seconds, after.seconds, strict=True)]
    return Ratio(float(np.median(pairs)), *interval(pairs))


def joined(parts: Sequence[Sequence[Timing]]) -> list[Timing]:
    """By callable the timing of all its parts, with as many runs of each part as all callables have."""
    counts = [min(len(timing.seconds) for timing in part) for part in zip(*parts, strict=True)]
    return [Timing(tuple(s for part, n in zip(own, counts, strict=True) for s in part.seconds[:n])) for own in parts]


def in_turn(
    runs: Sequence[Callable[[], object]], *, seconds: float, until_known: float | None = None, most: int = MOST
) -> list[Timing]:
    """The timings of `runs`, which take turns, every second time in reverse.

    seconds: for all runs together, warm-up included; each has at least `LEAST` timed runs, and at most `most`.
    until_known: seconds after which it ends as soon as the times are `known`.
    """
    began, found = time.perf_counter(), [list[float]() for _ in runs]
    for _ in range(WARM_UP):
        for run in runs:
            run()
    turn = 0
    while turn < LEAST or (turn < most and time.perf_counter() - began < seconds):
        order = list(enumerate(runs))
        for index, run in reversed(order) if turn % 2 else order:
            start = time.perf_counter()
            run()
            found[index].append(time.perf_counter() - start)
        turn += 1
        if until_known is None or turn % STRETCHES or time.perf_counter() - began < until_known:
            continue
        if known(found):
            break
    return [Timing(tuple(times)) for times in found]


def known(times: Sequence[Sequence[float]]) -> bool:
    """Whether times that were taken in turn are known, relative to the first of each turn if there are several.

    A machine may be slow for seconds, and not alike for all callables. So runs in a row say less than as many that are
    far apart: the runs are split into stretches, and the standard error is that of the medians of these.
    """
    taken = np.array(times)
    if taken.shape[1] < 2 * STRETCHES:
        return False
    relative = taken[1:] / taken[0] if len(taken) > 1 else taken
    medians = np.array([np.median(part, axis=1) for part in np.array_split(relative, STRETCHES, axis=1)])
    error = medians.std(axis=0, ddof=1) / sqrt(STRETCHES)
    return bool((error < KNOWN * medians.mean(axis=0)).all())
