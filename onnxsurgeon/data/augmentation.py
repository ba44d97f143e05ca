"""Samples twice: every batch, and after it the same with its pictures mirrored."""

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
SHIFT = 1 / 16  # of its sides a picture moves at most


@dataclass(frozen=True)
class Mirrored:
    """widths: the axis from left to right, by input that holds pictures."""

    samples: Samples
    widths: Mapping[str, int]

    def __len__(self) -> int:
        return 2 * len(self.samples)

    def batches(self) -> Iterator[Batch]:
        for batch in self.samples.batches():
            yield batch
            turned = {
                name: np.ascontiguousarray(np.flip(array, self.widths[name])) if name in self.widths else array
                for name, array in batch.feed.items()
            }
            yield replace(batch, feed=turned)

    def drawn(self, feed: Arrays, rng: np.random.Generator) -> Arrays:
        """Every picture mirrored or not, and moved a little, alike in all inputs; its edges fill what is bare."""
        count = len(next(iter(feed.values())))
        turned, shifts = rng.random(count) < 0.5, rng.uniform(-SHIFT, SHIFT, (count, 2))
        return {
            name: _moved(array, self.widths[name], turned, shifts) if name in self.widths else array
            for name, array in feed.items()
        }


def _moved(pictures: np.ndarray, width: int, turned: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """width: the axis from left to right, behind that from top to bottom. shifts: by picture, of its sides."""
    result = np.empty_like(pictures)
    for picture, into, mirror, shift in zip(pictures, result, turned, shifts, strict=True):
        down, right = (
            np.clip(np.arange(size) + round(by * size), 0, size - 1)
            for by, size in zip(shift, picture.shape[width - 2 : width], strict=True)
        )
        into[...] = picture.take(down, width - 2).take(right[::-1] if mirror else right, width - 1)
    return result


def mirrored(samples: Samples, inputs: Sequence[Input]) -> Mirrored:
    """`samples` and their mirror images. Raises UsageError where no input holds pictures."""
    widths = {wanted.name: axis for wanted in inputs if (axis := _width(wanted)) is not None}
    if not widths:
        raise UsageError(
            "--mirror needs pictures", why="; ".join(map(str, inputs)),
            fix="leave it out: no input is [?, 1, 3 or 4 colours, height, width] or [?, height, width, colours]",
        )  # fmt: skip
    return Mirrored(samples, widths)


def _width(wanted: Input) -> int | None:
    """The axis from left to right, None where it holds no pictures."""
    if len(wanted.shape) != 4 or not np.issubdtype(wanted.dtype, np.floating):
        return None
    return 3 if wanted.shape[1] in COLOURS else 2 if wanted.shape[3] in COLOURS else None
