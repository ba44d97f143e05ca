"""The formulas of the metrics: from outputs and targets to one number. Each takes the samples in batches, once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np

from onnxsurgeon.errors import UsageError

Pairs = Iterable[tuple[np.ndarray, np.ndarray]]  # what a model says and what is right, shapes (samples, ...)


def top1(pairs: Pairs) -> float:
    """The share of samples whose class is the most likely one."""
    return _hits(pairs, 1)


def top5(pairs: Pairs) -> float:
    return _hits(pairs, 5)


def _hits(pairs: Pairs, among: int) -> float:
    """The share of samples whose class is among the most likely ones."""
    hits, count = 0, 0
    for said, wanted in pairs:
        best, right = _ranked(said, among), _classes(said, wanted)
        hits += int((best == right[:, None]).any(axis=1).sum())
        count += len(right)
    return hits / count


def _ranked(said: np.ndarray, among: int) -> np.ndarray:
    """The most likely classes, shape (samples, among): from a score for each, or as the model itself names the best."""
    if max(said.shape[1:], default=1) != math.prod(said.shape[1:]):
        raise UsageError(
            f"an output of shape {said.shape} gives no class for each sample", why="wanted: a score for each class",
            fix="choose another with `output_name`, or a metric of your own: module:function",
        )  # fmt: skip
    flat = said.reshape(len(said), -1)
    if flat.shape[1] == 1 and among == 1 and flat.dtype.kind in "iu":
        return flat
    if flat.shape[1] < 2:
        raise UsageError(
            "the output has no score for each class", why=f"its shape is {said.shape}",
            fix="choose another with `output_name`, or a metric of your own: module:function",
        )  # fmt: skip
    return np.argsort(-flat.astype(np.float64), axis=1, kind="stable")[:, :among]


def _classes(said: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The right class of each sample; of another model's scores that is the best."""
    if wanted.shape == said.shape and said[0].size > 1:
        return _ranked(wanted, 1)[:, 0]
    whole = wanted.size == len(said) and np.issubdtype(wanted.dtype, np.number) and (wanted == np.trunc(wanted)).all()
    right = wanted.reshape(-1).astype(np.int64) if whole else np.empty(0, np.int64)
    if not whole or right.min() < 0 or (said[0].size > 1 and right.max() >= said[0].size):
        raise UsageError(
            "the labels are not numbers of classes", why=f"shape {wanted.shape}, type {wanted.dtype}, values from "
            f"{wanted.min()} to {wanted.max()}; the output has shape {said.shape}",
            fix=f"give one whole number for each sample, from 0 to {max(said[0].size - 1, 0)}",
        )  # fmt: skip
    return right


def _differences(pairs: Pairs) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The pairs in double precision; raises UsageError where their shapes differ."""
    for said, wanted in pairs:
        if [n for n in said.shape if n > 1] != [n for n in wanted.shape if n > 1]:
            raise UsageError(
                "the labels are not what the output can be compared with",
                why=f"shape {wanted.shape}; the output has {said.shape}",
                fix="give targets of the output's shape as labels, or `against=ORIGINAL`",
            )
        yield said.astype(np.float64), wanted.astype(np.float64).reshape(said.shape)


def mse(pairs: Pairs) -> float:
    total, count = 0.0, 0
    for said, wanted in _differences(pairs):
        total, count = total + float(np.square(said - wanted).sum()), count + said.size
    return total / count


def cosine(pairs: Pairs) -> float:
    """The mean over samples; two that are zero point the same way."""
    total, count = 0.0, 0
    for said, wanted in _differences(pairs):
        a, b = said.reshape(len(said), -1), wanted.reshape(len(said), -1)
        norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        alike = np.where((a == b).all(axis=1), 1.0, 0.0)
        total += float(np.where(norms > 0, (a * b).sum(axis=1) / np.where(norms > 0, norms, 1), alike).sum())
        count += len(said)
    return total / count


def psnr(pairs: Pairs) -> float:
    """In dB, for a peak that is the range of the targets; infinite where there is no difference."""
    total, count, low, high = 0.0, 0, math.inf, -math.inf
    for said, wanted in _differences(pairs):
        total, count = total + float(np.square(said - wanted).sum()), count + said.size
        low, high = min(low, float(wanted.min())), max(high, float(wanted.max()))
    if total == 0:
        return math.inf
    return 10 * math.log10((high - low) ** 2 * count / total) if high > low else -math.inf
