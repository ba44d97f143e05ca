"""Outputs that look like scores of classes."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxsurgeon.arrays import Array

UNIT = 1e-3  # rows this close to length 1 are directions, not scores of classes


def like_classes(scores: Array) -> bool:
    """Whether an output has a score for each of several classes, and is not a direction (rows of length 1)."""
    classes = max(scores.shape[1:], default=1)
    if classes < 2 or classes != np.prod(scores.shape[1:]):
        return False
    lengths: Any = np.linalg.norm(scores.reshape(len(scores), -1), axis=1)
    return bool((scores >= 0).all()) or not np.allclose(lengths, 1.0, atol=UNIT)


def changed_classes(expected: Array, actual: Array) -> float:
    """The share of samples whose top class differs between two outputs; 0 if they don't look like scores of classes."""
    if not like_classes(expected) or expected.shape != actual.shape:
        return 0.0
    tops = [array.reshape(len(array), -1).argmax(axis=1) for array in (expected, actual)]
    return float((tops[0] != tops[1]).mean())
