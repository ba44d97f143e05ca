"""Augments samples: each batch is followed by its mirror images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from onnxsurgeon.arrays import Arrays
from onnxsurgeon.data.model_inputs import Input
from onnxsurgeon.errors import UsageError

if TYPE_CHECKING:
    from onnxsurgeon.data import Batch, Samples

COLOURS = (1, 3, 4)
SHIFT = 1 / 16  # the largest shift of an image, relative to its sides


@dataclass(frozen=True)
class Mirrored:
    """Samples and their mirror images. widths: the horizontal axis of each input that holds images."""

    samples: Samples
    widths: Mapping[str, int]

    def __len__(self) -> int:
        return 2 * len(self.samples)

    def batches(self) -> Iterator[Batch]:
        for batch in self.samples.batches():
            yield batch
            flipped = {
                name: np.ascontiguousarray(np.flip(array, self.widths[name])) if name in self.widths else array
                for name, array in batch.feed.items()
            }
            yield replace(batch, feed=flipped)

    def augment(self, feed: Arrays, rng: np.random.Generator) -> Arrays:
        """`feed` with each image flipped or not and shifted a little, alike in all inputs; edges fill the gaps."""
        count = len(next(iter(feed.values())))
        flipped, shifts = rng.random(count) < 0.5, rng.uniform(-SHIFT, SHIFT, (count, 2))
        return {
            name: _flip_and_shift(array, self.widths[name], flipped, shifts) if name in self.widths else array
            for name, array in feed.items()
        }


def _flip_and_shift(images: np.ndarray, width: int, flipped: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Flipped and shifted images. width: the horizontal axis, after the vertical one. shifts: relative to the sides."""
    result = np.empty_like(images)
    for image, into, mirror, shift in zip(images, result, flipped, shifts, strict=True):
        down, right = (
            np.clip(np.arange(size) + round(by * size), 0, size - 1)
            for by, size in zip(shift, image.shape[width - 2 : width], strict=True)
        )
        into[...] = image.take(down, width - 2).take(right[::-1] if mirror else right, width - 1)
    return result


def mirrored(samples: Samples, inputs: Sequence[Input]) -> Mirrored:
    """`samples` and their mirror images. Raises UsageError if no input holds images."""
    widths = image_inputs(inputs)
    if not widths:
        raise UsageError(
            "`mirror` needs images", why="; ".join(map(str, inputs)),
            fix="leave it out: no input is [?, 1, 3 or 4 colours, height, width] or [?, height, width, colours]",
        )  # fmt: skip
    return Mirrored(samples, widths)


def image_inputs(inputs: Sequence[Input]) -> dict[str, int]:
    """The horizontal axis of each input that holds images, by name."""
    return {wanted.name: axis for wanted in inputs if (axis := _width(wanted)) is not None}


def _width(wanted: Input) -> int | None:
    """The horizontal axis; None if the input does not hold images."""
    if len(wanted.shape) != 4 or not np.issubdtype(wanted.dtype, np.floating):
        return None
    return 3 if wanted.shape[1] in COLOURS else 2 if wanted.shape[3] in COLOURS else None
