"""Calibration and evaluation data: samples as batches that a model takes, checked before the work, never all in memory.

open_data("calib.npz", inputs_of(model.ir)) opens them; `Data.batches` yields them, the same ones each time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from onnxsurgeon.arrays import Arrays
from onnxsurgeon.data.array_files import open_arrays
from onnxsurgeon.data.augmentation import Mirrored, mirrored
from onnxsurgeon.data.functions import Function, imported, is_function
from onnxsurgeon.data.model_inputs import Chunk, Expected, Input, inputs_of, rebatched
from onnxsurgeon.data.pictures import Pictures, Preset, open_pictures
from onnxsurgeon.errors import UsageError

__all__ = ["Batch", "Data", "Input", "Mirrored", "Preset", "Samples", "inputs_of", "mirrored", "open_data"]

KINDS = "give an .npz or .npy file, a folder of pictures, or module:function"
STEP = 32  # samples in a batch, where the model takes any number


@dataclass(frozen=True)
class Batch:
    """feed: an array per input. labels: shape (count, ...), None where there are none. count: samples in it.

    size: samples that the model is fed; those beyond `count` are padding, for models of a static batch.
    """

    feed: Arrays
    labels: np.ndarray | None
    count: int
    size: int


class Samples(Protocol):
    """Calibration data, or a part of them: the same batches each time."""

    def __len__(self) -> int: ...
    def batches(self) -> Iterator[Batch]: ...


class Source(Protocol):
    """Where samples come from. pieces: all of them in order, `step` at a time where it can choose.

    classes: how many there are, where the labels are ranks of names.
    """

    @property
    def count(self) -> int: ...
    @property
    def labelled(self) -> bool: ...
    @property
    def classes(self) -> int | None: ...
    def pieces(self, step: int) -> Iterator[Chunk]: ...


@dataclass(frozen=True)
class Data:
    """Samples that were checked against a model's inputs. `len` is their number, `step` how many a batch has."""

    spec: str
    expected: Expected
    source: Source
    step: int

    @property
    def labelled(self) -> bool:
        return self.source.labelled

    @property
    def inputs(self) -> tuple[str, ...]:
        return tuple(wanted.name for wanted in self.expected.inputs)

    def __len__(self) -> int:
        return self.source.count

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
            yield Batch(feed, piece.labels, piece.count, piece.count + missing)


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

    spec: an .npz or .npy file, a folder of pictures, or `module:function`. preprocess: how pictures become numbers.
    samples: at most so many, drawn by `seed`; of a function, the first. batch: samples at a time, 32 by default; a
    model of a static batch decides for itself.
    Raises UsageError where the data are not what the model takes, ModelError where they can't be read.
    """
    expected = Expected(tuple(inputs))
    step = _step(expected, samples, batch)
    if is_function(spec) and not Path(spec).exists():
        source: Source = Function(spec, imported(spec, "--data"), expected, seed, samples).verified()
    elif Path(spec).is_dir():
        source = open_pictures(Path(spec), expected, preprocess, samples, seed)
    elif not Path(spec).exists():
        raise UsageError(f"--data {spec} does not exist", fix=KINDS)
    elif Path(spec).suffix in (".npz", ".npy"):
        source = open_arrays(Path(spec), expected, samples, seed, step)
    else:
        raise UsageError(f"--data {spec} is of no known kind", fix=KINDS)
    if preprocess is not None and not isinstance(source, Pictures):
        raise UsageError(
            f"--preprocess {preprocess} is for folders of pictures", why=f"--data {spec} has numbers in it",
            fix="leave it out; what is no picture is taken as it is",
        )  # fmt: skip
    return Data(spec, expected, source, step)


def _step(expected: Expected, samples: int | None, batch: int | None) -> int:
    """Samples in a batch."""
    for name, value in (("samples", samples), ("batch", batch)):
        if value is not None and value < 1:
            raise UsageError(f"--{name} {value} makes no sense", why="wanted: 1 or more", fix="give more")
    if expected.size is not None and batch not in (None, expected.size):
        raise UsageError(
            f"--batch {batch}, but the model takes {expected.size} at a time", why="its batch is static",
            fix="leave --batch out",
        )  # fmt: skip
    return expected.size or batch or STEP
