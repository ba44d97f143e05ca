"""What a loss compares with: labels in the shape of the output, or what a teacher says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from onnxsurgeon.arrays import Array, Arrays, Shape
from onnxsurgeon.errors import UsageError
from onnxsurgeon.runtime.partial_runs import Segment
from onnxsurgeon.training.losses import Labels


def wide(feed: Arrays) -> Arrays:
    """Inputs of float16 in float32, as models are trained."""
    return {n: a.astype(np.float32) if a.dtype == np.float16 else a for n, a in feed.items()}


def class_axis(labels: Array, shape: Shape) -> int:
    """The axis of an output of this shape along which the scores of classes lie, by the shape of its labels."""
    rank = len(shape)
    if labels.shape == shape or rank <= 2:
        return min(1, rank - 1)
    fits = [axis for axis in (1, rank - 1) if labels.shape == (*shape[:axis], *shape[axis + 1 :])]
    return fits[0] if fits else 1


def of_classes(labels: Array, shape: Shape, axis: int) -> Array:
    """Distributions over the classes, shaped like the output. Raises UsageError if the labels don't fit."""
    if labels.shape == shape and (labels.dtype.kind == "f" or shape[axis] == 1):
        return labels.astype(np.float32)
    classes, places = shape[axis], (*shape[:axis], *shape[axis + 1 :])
    whole = labels.dtype.kind in "iub" or bool((labels == np.trunc(labels)).all())
    if labels.size != int(np.prod(places)) or not whole or labels.min() < 0 or labels.max() >= classes:
        raise UsageError(
            "the labels are not class numbers", why=f"shape {labels.shape}, type {labels.dtype}, values from "
            f"{labels.min()} to {labels.max()}; the output has shape {shape}",
            fix=f"give one integer per sample, from 0 to {classes - 1}, a distribution per sample, or another `loss`",
        )  # fmt: skip
    rows = np.eye(classes, dtype=np.float32)[labels.astype(np.int64).reshape(places)]
    return np.moveaxis(rows, -1, axis)


def of_values(labels: Array, shape: Shape) -> Array:
    """Numbers, shaped like the output. Raises UsageError if they don't fit."""
    if [n for n in labels.shape if n > 1] != [n for n in shape if n > 1]:
        raise UsageError(
            "the labels don't have the shape of the output", why=f"their shape is {labels.shape}, that of the output "
            f"{shape}", fix="give targets of the output's shape as labels, or another `loss`",
        )  # fmt: skip
    return labels.astype(np.float32).reshape(shape)


@dataclass(frozen=True)
class TrainingTargets:
    """The targets of the ends of a model, by their names.

    labels: the kind. teacher: computes its own values of the same names, in the order of `ends`. shapes: of the ends
    for one batch.
    """

    labels: Labels
    ends: Sequence[str]
    shapes: Sequence[Shape]
    axis: int
    teacher: Segment | None
    taught: Sequence[str] = ()

    def of(self, feed: Arrays, labels: Array | None, size: int) -> Arrays:
        """For a batch of `size` samples."""
        if self.teacher is not None:
            said = self.teacher.run(feed, size)
            return {end: np.asarray(said[name], np.float32) for end, name in zip(self.ends, self.taught, strict=True)}
        assert labels is not None
        shape = (size, *self.shapes[0][1:])
        found = of_classes(labels, shape, self.axis) if self.labels == "classes" else of_values(labels, shape)
        return {self.ends[0]: found}
