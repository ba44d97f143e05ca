"""Batches of a training task as its trainer takes them: filled up to one size, and augmented."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from onnxsurgeon.arrays import IntArray
from onnxsurgeon.training.augmentations import augmented
from onnxsurgeon.training.task import TrainingTask
from onnxsurgeon.training.trainer import Part


def parts_of(
    task: TrainingTask, chosen: IntArray, others: IntArray, augment: Sequence[tuple[str, float]],
    widths: Mapping[str, int], rng: np.random.Generator,
) -> Iterator[Part]:  # fmt: skip
    """Batches of the chosen samples. `others` fill the last one up: they count for nothing in the loss.

    augment: words and strengths. widths: the horizontal axis of each input with pictures.
    """
    for start in range(0, len(chosen), task.size):
        rows = chosen[start : start + task.size]
        filled = np.concatenate([rows, np.resize(others, task.size - len(rows))])
        shares = (np.arange(task.size) < len(rows)).astype(np.float32) / np.float32(len(chosen))
        feed, targets = task.batch(filled)
        if augment:
            feed, targets = augmented(feed, targets, augment, widths, rng)
            targets = task.taught(feed) or targets
        yield Part(feed, targets, shares)
