"""The metrics' formulas, from outputs and targets to one number. Each iterates once over batches of samples."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np

from onnxsurgeon.errors import UsageError

Pairs = Iterable[tuple[np.ndarray, np.ndarray]]  # (outputs, targets), shapes (samples, ...)


def top1(pairs: Pairs) -> float:
    """The share of samples whose class is the most likely one."""
    return _hits(pairs, 1)


def top5(pairs: Pairs) -> float:
    return _hits(pairs, 5)


def _hits(pairs: Pairs, among: int) -> float:
    """The share of samples whose right class is among the `among` most likely ones."""
    hits, count = 0, 0
    for output, target in pairs:
        best, right = _ranked(output, among), _classes(output, target)
        hits += int((best == right[:, None]).any(axis=1).sum())
        count += len(right)
    return hits / count


def _ranked(output: np.ndarray, among: int) -> np.ndarray:
    """The most likely classes, shape (samples, among): from class scores, or as output by the model itself."""
    if max(output.shape[1:], default=1) != math.prod(output.shape[1:]):
        raise UsageError(
            f"an output of shape {output.shape} has no class per sample", why="it must have a score per class",
            fix="choose another with `output_name`, or a metric of your own: module:function",
        )  # fmt: skip
    flat = output.reshape(len(output), -1)
    if flat.shape[1] == 1 and among == 1 and flat.dtype.kind in "iu":
        return flat
    if flat.shape[1] < 2:
        raise UsageError(
            "the output has no score per class", why=f"its shape is {output.shape}",
            fix="choose another with `output_name`, or a metric of your own: module:function",
        )  # fmt: skip
    return np.argsort(-flat.astype(np.float64), axis=1, kind="stable")[:, :among]


def _classes(output: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The right class of each sample: its label, or the most likely class of another model's scores."""
    if target.shape == output.shape and output[0].size > 1:
        return _ranked(target, 1)[:, 0]
    numeric = np.issubdtype(target.dtype, np.number)
    whole = target.size == len(output) and numeric and (target == np.trunc(target)).all()
    right = target.reshape(-1).astype(np.int64) if whole else np.empty(0, np.int64)
    if not whole or right.min() < 0 or (output[0].size > 1 and right.max() >= output[0].size):
        raise UsageError(
            "the labels are not class numbers", why=f"shape {target.shape}, type {target.dtype}, values from "
            f"{target.min()} to {target.max()}; the output has shape {output.shape}",
            fix=f"give one integer per sample, from 0 to {max(output[0].size - 1, 0)}",
        )  # fmt: skip
    return right


class UnfitTargets(UsageError):
    """What outputs are to be compared with has another shape, like that of class numbers."""


def alike(output: np.ndarray, target: np.ndarray) -> bool:
    """Whether two arrays have the same shape, axes of length 1 apart."""
    return [n for n in output.shape if n > 1] == [n for n in target.shape if n > 1]


def _differences(pairs: Pairs) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The pairs in double precision. Raises UnfitTargets if their shapes differ."""
    for output, target in pairs:
        if not alike(output, target):
            raise UnfitTargets(
                "the labels don't have the shape of the output",
                why=f"their shape is {target.shape}, that of the output {output.shape}",
                fix="give targets of the output's shape as labels, or `against=ORIGINAL`",
            )  # fmt: skip
        yield output.astype(np.float64), target.astype(np.float64).reshape(output.shape)


def mse(pairs: Pairs) -> float:
    total, count = 0.0, 0
    for output, target in _differences(pairs):
        total, count = total + float(np.square(output - target).sum()), count + output.size
    return total / count


def cosine(pairs: Pairs) -> float:
    """The mean cosine over samples; the cosine of two zero vectors counts as 1."""
    total, count = 0.0, 0
    for output, target in _differences(pairs):
        a, b = output.reshape(len(output), -1), target.reshape(len(output), -1)
        norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        alike = np.where((a == b).all(axis=1), 1.0, 0.0)
        total += float(np.where(norms > 0, (a * b).sum(axis=1) / np.where(norms > 0, norms, 1), alike).sum())
        count += len(output)
    return total / count


def psnr(pairs: Pairs) -> float:
    """Peak signal-to-noise ratio in dB, with the range of the targets as peak; infinite if there is no difference."""
    total, count, low, high = 0.0, 0, math.inf, -math.inf
    for output, target in _differences(pairs):
        total, count = total + float(np.square(output - target).sum()), count + output.size
        low, high = min(low, float(target.min())), max(high, float(target.max()))
    if total == 0:
        return math.inf
    return 10 * math.log10((high - low) ** 2 * count / total) if high > low else -math.inf
