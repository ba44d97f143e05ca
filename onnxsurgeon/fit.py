"""Least squares of many layers' kind: ridge towards the weights that are there, blind to what an activation clips.

The bounds are those of Zhang et al., Accelerating Very Deep Convolutional Networks (2016): where the target lies beyond
a bound, a prediction beyond it is as good. Each round replaces such targets by the prediction and solves again; the sum
of squares never grows (it is majorised at the current prediction).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxsurgeon.problem import FloatArray

RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # of the mean variance of a feature: the best on held-out rows is taken
HELD = 0.3  # share of the rows that the ridge is chosen on
ROUNDS = 8  # of solving with targets beyond the bounds replaced
BLOCK = 8192  # rows that are multiplied in float32 before they are added in float64


@dataclass(frozen=True)
class Fitted:
    """Rows to be fitted: `x` shape (rows, groups, features), `y` shape (rows, groups, outputs), float32.

    bounds: predictions and targets below the first are alike, and above the second.
    """

    x: FloatArray
    y: FloatArray
    bounds: tuple[float, float] | None = None


@dataclass(frozen=True)
class Fit:
    """matrix: shape (groups, features, outputs). bias: shape (groups, outputs)."""

    matrix: FloatArray
    bias: FloatArray


@dataclass(frozen=True)
class Normal:
    """The normal equations of centred rows: covariances of x with x and with y, a group apart, and means."""

    xx: FloatArray
    xy: FloatArray
    x: FloatArray
    y: FloatArray

    def solve(self, start: FloatArray, ridge: float) -> Fit:
        """The least squares, drawn towards `start` by `ridge`."""
        return self.step(start, np.asarray(np.linalg.solve(self._ridged(ridge), self.xy - self.xx @ start)))

    def inverse(self, ridge: float) -> FloatArray:
        return np.asarray(np.linalg.inv(self._ridged(ridge)), np.float64)

    def step(self, start: FloatArray, change: FloatArray) -> Fit:
        matrix = start + change
        return Fit(matrix, self.y - np.einsum("gf,gfo->go", self.x, matrix))

    def loss(self, fit: Fit) -> float:
        """The squared error a row, but for a constant, of a fit that was made on other rows."""
        matrix = fit.matrix
        gap = fit.bias + np.einsum("gf,gfo->go", self.x, matrix) - self.y
        return float((matrix * (self.xx @ matrix - 2 * self.xy)).sum() + (gap**2).sum())

    def _ridged(self, ridge: float) -> FloatArray:
        size = self.xx.shape[1]
        scale = np.trace(self.xx, axis1=1, axis2=2) / size + 1e-12
        return np.asarray(self.xx + ridge * scale[:, None, None] * np.eye(size))


def fit(rows: Fitted, start: FloatArray) -> Fit:
    """The best matrix and bias for `rows`; where the rows don't tell, it stays near `start`."""
    count = len(rows.x)
    cut = round(count * (1 - HELD))
    ridge = RIDGES[len(RIDGES) // 2]
    if 1 < cut < count - 1:
        seen, held = normal(rows.x[:cut], rows.y[:cut]), normal(rows.x[cut:], rows.y[cut:])
        ridge = min(RIDGES, key=lambda r: held.loss(seen.solve(start, r)))
    equations = normal(rows.x, rows.y)
    found = equations.solve(start, ridge)
    if rows.bounds is not None:
        inverse = equations.inverse(ridge)
        for _ in range(ROUNDS):
            again = Normal(equations.xx, *_towards(rows, found, equations.x))
            found = again.step(start, inverse @ (again.xy - again.xx @ start))
    return found


def normal(x: FloatArray, y: FloatArray) -> Normal:
    n = len(x)
    mean_x, mean_y = x.mean(axis=0, dtype=np.float64), y.mean(axis=0, dtype=np.float64)
    xx, xy = np.zeros(()), np.zeros(())
    for a, b in _blocks(x, y, mean_x, mean_y):
        xx, xy = xx + product(a, a), xy + product(a, b)
    return Normal(xx / n, xy / n, mean_x, mean_y)


def product(a: FloatArray, b: FloatArray) -> FloatArray:
    """a^T b of every group, shape (groups, features of a, features of b). a, b: shape (rows, groups, features)."""
    if a.shape[1] == 1:  # numpy sees the symmetry of a product with itself, and does half of it
        return np.asarray((a[:, 0].T @ b[:, 0])[None], np.float64)
    return np.asarray(np.matmul(a.transpose(1, 2, 0), b.transpose(1, 0, 2)), np.float64)


def error(rows: Fitted, found: Fit) -> float:
    """The squared error beside the variance of the targets, behind the bounds."""
    lower, upper = rows.bounds or (-np.inf, np.inf)
    wrong = spread = 0.0
    mean = rows.y.clip(lower, upper).mean(axis=0, dtype=np.float64)
    for x, y in _blocks(rows.x, rows.y):
        y = y.clip(lower, upper)
        wrong += float(((predicted(x, found).clip(lower, upper) - y) ** 2).sum(dtype=np.float64))
        spread += float(((y - mean) ** 2).sum(dtype=np.float64))
    return wrong / spread if spread else 0.0


def predicted(x: FloatArray, found: Fit) -> FloatArray:
    """Shape (rows, groups, outputs)."""
    matrix, bias = found.matrix.astype(np.float32), found.bias.astype(np.float32)
    rows: FloatArray = np.matmul(x.transpose(1, 0, 2), matrix).transpose(1, 0, 2) + bias
    return rows


def _towards(rows: Fitted, found: Fit, mean_x: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The right-hand side for targets that are the prediction where both lie beyond a bound: x with y, x, y."""
    assert rows.bounds is not None
    lower, upper = rows.bounds
    total, summed = np.zeros(()), np.zeros(())
    for x, y in _blocks(rows.x, rows.y):
        guess = predicted(x, found)
        target = np.where(y <= lower, np.minimum(guess, lower), np.where(y >= upper, np.maximum(guess, upper), y))
        total = total + product(x - mean_x.astype(np.float32), target)
        summed = summed + target.sum(axis=0, dtype=np.float64)
    return total / len(rows.x), mean_x, summed / len(rows.x)


def _blocks(
    x: FloatArray, y: FloatArray, mean_x: Any = None, mean_y: Any = None
) -> Iterator[tuple[FloatArray, FloatArray]]:
    for start in range(0, len(x), BLOCK):
        a, b = x[start : start + BLOCK], y[start : start + BLOCK]
        if mean_x is not None:
            a, b = a - mean_x.astype(np.float32), b - mean_y.astype(np.float32)
        yield a, b
