"""Tables of kernel times over the lengths of their axes, made of scattered and noisy measurements.

A simple law (a constant, and products of lengths, at lengths rounded up to the blocks in which a device works) says how
times grow. What measurements nearby differ from it by stays: steps are what a device does, not noise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import prod
from typing import Any

import numpy as np

from onnxsurgeon.arrays import FloatArray, IntArray

BLOCKS = (1, 4, 8, 16, 32, 64)  # channels that a device may handle together
NEAR = 0.2  # how far a measurement tells of others, in logarithms of lengths
LAW = 0.3  # how much the law counts beside measurements nearby, each of which counts 1 at most
OWN = 8.0  # how much a measurement counts at its own lengths
Lengths = tuple[int, ...]
Points = Mapping[Lengths, Sequence[float]]  # seconds that were measured at lengths


@dataclass(frozen=True)
class TimeTable:
    """Seconds of a kernel at some lengths of its axes; between two of them, those of the larger one.

    lengths: ascending, per axis. seconds: nested, one level for each axis. operator: what the kernel computes.
    """

    operator: str
    lengths: tuple[Lengths, ...]
    seconds: Any

    @property
    def values(self) -> FloatArray:
        """The seconds, shape (lengths of the first axis, ...)."""
        return np.array(self.seconds, np.float64)

    def at(self, lengths: Lengths) -> float:
        """Seconds at these lengths."""
        return float(self.values[self.places(lengths)])

    def places(self, lengths: Lengths) -> tuple[int, ...]:
        """Where the values for these lengths are."""
        pairs = zip(self.lengths, lengths, strict=True)
        return tuple(min(int(np.searchsorted(known, n)), len(known) - 1) for known, n in pairs)

    def scaled(self, by: float | FloatArray) -> TimeTable:
        """The table with all times multiplied."""
        return TimeTable(self.operator, self.lengths, nested(self.values * by))


def nested(values: FloatArray) -> Any:
    """An array as nested tuples."""
    return tuple(nested(row) for row in values) if values.ndim > 1 else tuple(values.tolist())


def tabulated(operator: str, points: Points, lengths: Sequence[Lengths]) -> TimeTable:
    """The table of measurements, at all combinations of `lengths` of the axes. There is at least one measurement."""
    known = np.array(list(points), np.int64).reshape(len(points), -1)
    times = np.maximum(np.array([np.median(taken) for taken in points.values()]), 1e-9)
    number = np.array([len(taken) for taken in points.values()], np.float64)
    grid = np.stack(np.meshgrid(*map(np.array, lengths), indexing="ij"), -1).reshape(-1, known.shape[1])
    law, expected = _law(known, times, grid)
    differs = np.log(times / law)
    away = np.log(np.maximum(grid, 1))[:, None] - np.log(np.maximum(known, 1))[None]
    near = np.exp(-0.5 * (away**2).sum(axis=-1) / NEAR**2)
    own = (grid[:, None] == known[None]).all(axis=-1)
    weight = np.where(own, OWN, near) * number
    values = expected * np.exp((weight @ differs) / (weight.sum(axis=1) + LAW))
    return TimeTable(operator, tuple(map(tuple, lengths)), nested(values.reshape([len(n) for n in lengths])))


def covered(points: Points, lengths: Sequence[Lengths]) -> float:
    """The share of the table that was measured."""
    cells = [set(n) for n in lengths]
    hit = sum(all(n in cell for n, cell in zip(point, cells, strict=True)) for point in points)
    return hit / max(1, prod(len(n) for n in lengths))


def roughness(table: TimeTable) -> list[FloatArray]:
    """Per axis, how much the time changes from each length to the next beyond what the lengths say, relative.

    Shape (lengths - 1,): the share by which the larger step in time exceeds a proportional one, or falls short of it.
    """
    values, found = table.values, []
    for axis, lengths in enumerate(table.lengths):
        lines = np.moveaxis(values, axis, -1).reshape(-1, len(lengths))
        change = np.diff(np.log(lines), axis=1)
        usual = np.diff(np.log(np.array(lengths, np.float64)))
        slope = np.median(change / usual, axis=1, keepdims=True) if change.size else change
        found.append(np.abs(change - slope * usual).mean(axis=0) if change.size else np.zeros(0))
    return found


def _law(known: IntArray, times: FloatArray, grid: IntArray) -> tuple[FloatArray, FloatArray]:
    """What the best law says at the measured lengths, and at those of the grid."""
    best: tuple[float, FloatArray, FloatArray] | None = None
    for block in BLOCKS:
        features = _features(known, block)
        weights = least_squares(features / times[:, None], np.ones(len(times)))
        law = np.maximum(features @ weights, 1e-9)
        error = float(np.abs(np.log(times / law)).sum())
        if best is None or error < 0.98 * best[0]:
            best = error, law, np.maximum(_features(grid, block) @ weights, 1e-9)
    assert best is not None  # there are blocks
    return best[1], best[2]


def _features(lengths: IntArray, block: int) -> FloatArray:
    """(points, axes) -> (points, features): 1, each length, and products of two, at lengths rounded up to `block`."""
    up = (-(-lengths // block) * block).astype(np.float64)
    one = [np.ones(len(up)), *up.T]
    return np.stack([*one, up[:, 0] * up[:, -1]] if up.shape[1] else one, axis=1)


def least_squares(features: FloatArray, target: FloatArray) -> FloatArray:
    """Non-negative weights with the least squared error.

    The features are few: every subset of them is tried, and the best without a negative weight is kept.
    """
    count = features.shape[1]
    best, least = np.zeros(count), np.inf
    scale = np.maximum(np.abs(features).max(axis=0), 1e-30)
    for size in range(count + 1):
        for chosen in combinations(range(count), size):
            columns = list(chosen)
            part = features[:, columns] / scale[columns]
            weights = np.linalg.lstsq(part, target, rcond=None)[0] if columns else np.empty(0)
            error = float(((part @ weights - target) ** 2).sum())
            if (weights >= 0).all() and error < least * (1 - 1e-9):
                least = error
                best = np.zeros(count)
                best[columns] = weights / scale[columns]
    return best
