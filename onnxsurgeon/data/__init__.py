"""Calibration and evaluation data: samples as batches that a model takes, checked before the work, never all in memory.

open_data("calib.npz", inputs_of(model.graph)) opens them; `Data.batches` yields them, the same ones each time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from onnxsurgeon.data.arrays import open_arrays
from onnxsurgeon.data.expected import Arrays, Expected, Input, Piece, inputs_of, rebatched
from onnxsurgeon.errors import UsageError

__all__ = ["Batch", "Data", "Input", "inputs_of", "open_data"]

STEP = 32  # samples in a batch, where the model takes any number


@dataclass(frozen=True)
class Batch:
    """feed: an array per input. labels: shape (count, ...), None where there are none. count: samples; what `feed` has
    beyond them is padding, for models that take batches of one size alone."""

    feed: Arrays
    labels: np.ndarray | None
    count: int


class Source(Protocol):
    """Where samples come from. verify: their number, once all were looked at. pieces: all of them, in order."""

    def verify(self, step: int) -> int: ...
    def pieces(self, step: int) -> Iterator[Piece]: ...


@dataclass(frozen=True)
class Data:
    """Samples that were checked against a model's inputs. `len` is their number, `step` how many a batch has."""

    spec: str
    expected: Expected
    source: Source
    step: int
    count: int
    labelled: bool

    @property
    def inputs(self) -> tuple[str, ...]:
        return tuple(wanted.name for wanted in self.expected.inputs)

    def __len__(self) -> int:
        return self.count

    def batches(self) -> Iterator[Batch]:
        """Every sample once, in the same order each time. The last batch may be smaller, or is padded where the model
        takes batches of one size alone."""
        sampled = self.expected.sampled
        for piece in rebatched(self.source.pieces(self.step), self.step, sampled):
            missing = self.step - piece.count if self.expected.size else 0
            feed = {
                name: np.concatenate([a, np.repeat(a[-1:], missing, axis=0)]) if missing and name in sampled else a
                for name, a in piece.arrays.items()
            }
            yield Batch(feed, piece.labels, piece.count)


def open_data(
    spec: str,
    inputs: Sequence[Input],
    *,
    preprocess: str | None = None,
    samples: int | None = None,
    batch: int | None = None,
    seed: int = 0,
) -> Data:
    """The data that `spec` means, for a model with these `inputs` (see `inputs_of`); all that is bad is found here.

    samples: at most so many, chosen by `seed`. batch: samples at a time; a model of a static batch decides for itself.
    Raises UsageError where the data are not what the model takes, ModelError where they can't be read.
    """
    expected = Expected(tuple(inputs))
    step = _step(expected, samples, batch)
    path = Path(spec)
    if not path.exists():
        raise UsageError(f"--data {spec} does not exist", fix="give an .npz or .npy file")
    if path.suffix not in (".npz", ".npy"):
        raise UsageError(f"--data {spec} is of no known kind", fix="give an .npz or .npy file")
    source = open_arrays(path, expected)
    source = replace(source, chosen=_chosen(len(source.chosen), samples, seed))
    return Data(spec, expected, source, step, source.verify(step), source.labels is not None)


def _step(expected: Expected, samples: int | None, batch: int | None) -> int:
    for name, value in (("samples", samples), ("batch", batch)):
        if value is not None and value < 1:
            raise UsageError(f"--{name} {value} makes no sense", fix="give 1 or more")
    if expected.size is not None and batch not in (None, expected.size):
        raise UsageError(
            f"--batch {batch}, but the model takes {expected.size} at a time", why="its batch is static",
            fix="leave --batch out",
        )  # fmt: skip
    return expected.size or batch or STEP


def _chosen(count: int, samples: int | None, seed: int) -> np.ndarray:
    """Positions of the samples, ascending: all `count`, or a drawn subset."""
    if samples is None or samples >= count:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, samples, replace=False))
