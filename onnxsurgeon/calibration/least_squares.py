"""Least squares for linear layers: ridge regression towards the present weights that ignores what an activation clips.

Bounds follow Zhang et al., Accelerating Very Deep Convolutional Networks (2016): if a target is beyond a bound, any
prediction beyond it has no error. Each round replaces such targets by the prediction and solves again; the sum of
squares never grows (it is majorised at the current prediction).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from onnxsurgeon.arrays import FloatArray

RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # relative to the mean variance of a feature; held-out rows choose one
MIDDLE = RIDGES[len(RIDGES) // 2]
ERROR_ROWS = 2048  # rows on which errors are computed
HELD_OUT = 0.3  # share of the rows on which the ridge is chosen
FEATURES, OUTPUTS = 512, 64  # about the most features and outputs on which the ridge is chosen
ROUNDS = 8  # the most solves with targets beyond the bounds replaced
SLOW = 0.05  # relative gain: a round that gains less is the last
SMALL = 128  # matrices of less than twice this size are invert directly
BLOCK = 8192  # rows that are multiplied in float32 before the sum in float64


@dataclass(frozen=True)
class FitRows:
    """Rows to fit: `x` shape (rows, groups, features), `y` shape (rows, groups, outputs), float32.

    bounds: values below the first count as equal, and values above the second.
    """

    x: FloatArray
    y: FloatArray
    bounds: tuple[float, float] | None = None

    def some(self, count: int) -> FitRows:
        """About `count` of the rows, evenly spaced."""
        step = -(-len(self.x) // count)
        return FitRows(self.x[::step], self.y[::step], self.bounds)


@dataclass(frozen=True)
class Fit:
    """A linear layer. matrix: shape (groups, features, outputs). bias: shape (groups, outputs)."""

    matrix: FloatArray
    bias: FloatArray


@dataclass(frozen=True)
class Normal:
    """The normal equations of centred rows, per group: covariances of x with x and y, means of x and y, row count."""

    xx: FloatArray
    xy: FloatArray
    x: FloatArray
    y: FloatArray
    count: int

    def __add__(self, other: Normal) -> Normal:
        """The normal equations of both sets of rows together."""
        a, b = self.count / (self.count + other.count), other.count / (self.count + other.count)
        x, y = other.x - self.x, other.y - self.y
        xx, xy = a * self.xx, a * self.xy
        xx += b * other.xx
        xy += b * other.xy
        xx += (a * b * x)[:, :, None] * x[:, None, :]
        xy += (a * b * x)[:, :, None] * y[:, None, :]
        return Normal(xx, xy, a * self.x + b * other.x, a * self.y + b * other.y, self.count + other.count)

    def some(self, start: FloatArray, features: slice, outputs: slice) -> Normal:
        """The normal equations of some features and outputs, minus what the other features contribute with `start`."""
        rest = start[:, :, outputs].copy()
        rest[:, features] = 0
        xy = self.xy[:, features, outputs] - (self.xx[:, features] @ rest)
        y = self.y[:, outputs] - np.einsum("gf,gfo->go", self.x, rest)
        return Normal(self.xx[:, features, features], xy, self.x[:, features], y, self.count)

    def solve(self, start: FloatArray, ridge: float) -> Fit:
        """The ridge solution, regularised towards `start` with strength `ridge`."""
        return self.step(start, self.inverse(ridge) @ (self.xy - self.xx @ start))

    def inverse(self, ridge: float) -> FloatArray:
        return invert(self._ridged(ridge))

    def step(self, start: FloatArray, change: FloatArray) -> Fit:
        matrix = start + change
        return Fit(matrix, self.y - np.einsum("gf,gfo->go", self.x, matrix))

    def loss(self, fit: Fit) -> float:
        """The squared error per row, up to a constant, of a fit that may come from other rows."""
        matrix = fit.matrix
        gap = fit.bias + np.einsum("gf,gfo->go", self.x, matrix) - self.y
        return float((matrix * (self.xx @ matrix - 2 * self.xy)).sum() + (gap**2).sum())

    def _ridged(self, ridge: float) -> FloatArray:
        size = self.xx.shape[1]
        result, scale = self.xx.copy(), np.trace(self.xx, axis1=1, axis2=2) / size + 1e-12
        result[:, np.arange(size), np.arange(size)] += ridge * scale[:, None]
        return result


def fit(rows: FitRows, start: FloatArray) -> Fit:
    """The best matrix and bias for `rows`, close to `start` in directions that the rows don't determine."""
    count = len(rows.x)
    cut = round(count * (1 - HELD_OUT))
    if 1 < cut < count - 1:
        seen, held = (normal_equations(rows.x[part], rows.y[part]) for part in (slice(cut), slice(cut, None)))
        ridge, equations = _ridge(seen, held, start), seen + held
    else:
        ridge, equations = MIDDLE, normal_equations(rows.x, rows.y)
    if rows.bounds is None:
        return equations.solve(start, ridge)
    inverse, pull = equations.inverse(ridge), equations.xx @ start
    best, sample = equations.step(start, inverse @ (equations.xy - pull)), rows.some(ERROR_ROWS)
    before = _bounded_error(sample, best)
    for _ in range(ROUNDS):
        xy, y = _target_moments(rows, best, equations.x)
        again = replace(equations, y=y).step(start, inverse @ (xy - pull))
        loss = _bounded_error(sample, again)
        best = again if loss < before else best
        if not loss < (1 - SLOW) * before:
            break
        before = loss
    return best


def quick_fit(rows: FitRows, start: FloatArray) -> Fit:
    """The fit with the middle ridge, in float32, as if nothing were clipped.

    Solves for the features, or for the rows if these are fewer: X^T (X X^T + r)^-1 = (X^T X + r)^-1 X^T.
    """
    count, features = len(rows.x), rows.x.shape[2]
    mean_x, mean_y = rows.x.mean(axis=0), rows.y.mean(axis=0)
    x = (rows.x - mean_x).transpose(1, 0, 2)
    left = (rows.y - mean_y).transpose(1, 0, 2) - x @ start.astype(np.float32)
    turned = x.transpose(0, 2, 1)
    ridge = MIDDLE * (np.square(x).sum(axis=(1, 2)) / features + 1e-12 * count)
    if count < features:
        change = turned @ np.linalg.solve(x @ turned + ridge[:, None, None] * np.eye(count, dtype=np.float32), left)
    else:
        square = turned @ x + ridge[:, None, None] * np.eye(features, dtype=np.float32)
        change = np.linalg.solve(square, turned @ left)
    matrix = start + change.astype(np.float64)
    return Fit(matrix, mean_y - np.einsum("gf,gfo->go", mean_x.astype(np.float64), matrix))


def _ridge(seen: Normal, held: Normal, start: FloatArray) -> float:
    """The ridge whose fit to `seen` has the least error on `held`, found by descent from the middle of `RIDGES`.

    A subset of features and outputs is enough: the ridge depends on the noise relative to the size of a coefficient,
    not on their number.
    """
    features, outputs = (
        slice(None, None, -(-start.shape[1] // FEATURES)),
        slice(None, None, -(-start.shape[2] // OUTPUTS)),
    )
    seen, held = seen.some(start, features, outputs), held.some(start, features, outputs)
    start = start[:, features, outputs]
    losses = cache(lambda k: held.loss(seen.solve(start, RIDGES[k])))
    at = len(RIDGES) // 2
    for way in (-1, 1):
        while 0 <= at + way < len(RIDGES) and losses(at + way) < losses(at):
            at += way
    return RIDGES[at]


def invert(a: FloatArray) -> FloatArray:
    """The inverse of positive definite matrices, shape (groups, n, n), by recursion on halves: products are fast."""
    half = a.shape[1] // 2
    if half < SMALL:
        return np.asarray(np.linalg.inv(a), np.float64)
    first, corner = invert(a[:, :half, :half]), a[:, :half, half:]
    across = first @ corner
    last = invert(a[:, half:, half:] - corner.transpose(0, 2, 1) @ across)
    result, beside = np.empty_like(a), across @ last
    result[:, :half, :half] = first + beside @ across.transpose(0, 2, 1)
    result[:, :half, half:], result[:, half:, :half] = -beside, -beside.transpose(0, 2, 1)
    result[:, half:, half:] = last
    return result


def normal_equations(x: FloatArray, y: FloatArray) -> Normal:
    n = len(x)
    mean_x, mean_y = x.mean(axis=0, dtype=np.float64), y.mean(axis=0, dtype=np.float64)
    groups, features = x.shape[1:]
    xx, xy = np.zeros((groups, features, features)), np.zeros((groups, features, y.shape[2]))
    for a, b in _blocks(x, y, mean_x, mean_y):
        xx += product(a, a)
        xy += product(a, b)
    xx /= n
    xy /= n
    return Normal(xx, xy, mean_x, mean_y, n)


def product(a: FloatArray, b: FloatArray) -> FloatArray:
    """a^T b per group, shape (groups, features of a, features of b). a, b: shape (rows, groups, features)."""
    if a.shape[1] == 1:  # numpy computes only half of a symmetric product
        return np.asarray((a[:, 0].T @ b[:, 0])[None])
    return np.asarray(np.matmul(a.transpose(1, 2, 0), b.transpose(1, 0, 2)))


def error(rows: FitRows, solution: Fit) -> float:
    """The squared error relative to the variance of the targets, both clipped to the bounds."""
    lower, upper = rows.bounds or (-np.inf, np.inf)
    some, mean = rows.some(ERROR_ROWS), rows.y.clip(lower, upper).mean(axis=0, dtype=np.float64)
    y = some.y.clip(lower, upper)
    wrong = float(((predict(some.x, solution).clip(lower, upper) - y) ** 2).sum(dtype=np.float64))
    spread = float(((y - mean) ** 2).sum(dtype=np.float64))
    return wrong / spread if spread else 0.0


def predict(x: FloatArray, solution: Fit) -> FloatArray:
    """Predictions, shape (rows, groups, outputs)."""
    matrix, bias = solution.matrix.astype(np.float32), solution.bias.astype(np.float32)
    if len(matrix) == 1:
        return np.asarray((x[:, 0] @ matrix[0] + bias[0])[:, None])
    rows: FloatArray = np.matmul(x.transpose(1, 0, 2), matrix).transpose(1, 0, 2) + bias
    return rows


def _target_moments(rows: FitRows, solution: Fit, mean_x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(covariance with x, means) of the adjusted targets."""
    total, summed = np.zeros(solution.matrix.shape), np.zeros(solution.bias.shape)
    for x, y in _blocks(rows.x, rows.y):
        target = _adjust_targets(y, predict(x, solution), rows.bounds)
        total += product(x, target)
        summed += target.sum(axis=0, dtype=np.float64)
    mean = summed / len(rows.x)
    total /= len(rows.x)
    total -= mean_x[:, :, None] * mean[:, None, :]
    return total, mean


def _adjust_targets(y: FloatArray, guess: FloatArray, bounds: tuple[float, float] | None) -> FloatArray:
    """The targets `y`, replaced by the prediction `guess` where both are beyond the same bound."""
    lower, upper = bounds or (-np.inf, np.inf)
    target = y if upper == np.inf else np.where(y >= upper, np.maximum(guess, upper), y)
    return target if lower == -np.inf else np.where(y <= lower, np.minimum(guess, lower), target)


def _bounded_error(rows: FitRows, solution: Fit) -> float:
    """The squared error, which is 0 where prediction and target are beyond the same bound."""
    guess = predict(rows.x, solution)
    gap = _adjust_targets(rows.y, guess, rows.bounds) - guess
    return float(np.vdot(gap, gap))


def _blocks(
    x: FloatArray, y: FloatArray, mean_x: Any = None, mean_y: Any = None
) -> Iterator[tuple[FloatArray, FloatArray]]:
    for start in range(0, len(x), BLOCK):
        a, b = x[start : start + BLOCK], y[start : start + BLOCK]
        if mean_x is not None:
            a, b = a - mean_x.astype(np.float32), b - mean_y.astype(np.float32)
        yield a, b
