"""Several objectives at once: fronts of candidates that nothing beats in all of them (NSGA-II, Deb et al. 2002)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onnxsurgeon.arrays import FloatArray, IntArray
from onnxsurgeon.search.fitness import WORST

Objectives = Sequence[Sequence[float]] | FloatArray  # of each candidate; higher is better in each


def dominates(a: Sequence[float], b: Sequence[float]) -> bool:
    """Whether `a` is as good as `b` in all objectives, and better in one."""
    return all(x >= y for x, y in zip(a, b, strict=True)) and any(x > y for x, y in zip(a, b, strict=True))


def fronts(objectives: Objectives) -> IntArray:
    """The front of each candidate, shape (candidates,): 0 for those that no other dominates, 1 for those that only
    these dominate, and so on."""
    values = np.asarray(objectives, np.float64)
    found = np.full(len(values), -1, np.int64)
    beaten = _beaten(values)
    left, number = np.arange(len(values)), 0
    while len(left):
        free = ~beaten[np.ix_(left, left)].any(axis=0)
        found[left[free]] = number
        left, number = left[~free], number + 1
    return found


def _beaten(values: FloatArray) -> np.ndarray:
    """Whether the row's candidate dominates the column's, shape (candidates, candidates)."""
    a, b = values[:, None, :], values[None, :, :]
    return np.asarray((a >= b).all(axis=2) & (a > b).any(axis=2))


def crowding(objectives: Objectives) -> FloatArray:
    """How far the neighbours of each candidate of a front are, shape (candidates,): infinite at the ends."""
    values = np.asarray(objectives, np.float64)
    found = np.zeros(len(values))
    for column in values.T:
        order = np.argsort(column, kind="stable")
        found[order[[0, -1]]] = np.inf
        spread = column[order[-1]] - column[order[0]]
        if len(order) > 2 and spread > 0:
            found[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / spread
    return found


def ranks(objectives: Objectives) -> list[float]:
    """A single number for each candidate, higher for better: by its front, within one by how alone it is there.

    A candidate with an objective that is not finite is the worst.
    """
    values = np.asarray(objectives, np.float64)
    good = np.isfinite(values).all(axis=1)
    found = np.full(len(values), WORST)
    if good.any():
        known = values[good]
        front, ranked = fronts(known), np.zeros(len(known))
        for number in range(int(front.max()) + 1):
            of = front == number
            gap = crowding(known[of])
            ranked[of] = -number + 0.5 * (1 - 1 / (1 + gap))
        found[good] = ranked
    return [float(value) for value in found]
