"""Calibration and evaluation data: batches that fit a model, checked before any work and never all in memory.

open_data("calib.npz", inputs_of(model.ir)) opens data; `Data.batches` yields the same batches each time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import Arrays
from onnxsurgeon.data.array_files import open_arrays
from onnxsurgeon.data.augmentation import Mirrored, image_inputs, mirrored
from onnxsurgeon.data.functions import Function, import_function, is_function
from onnxsurgeon.data.images import ImageFolder, open_images
from onnxsurgeon.data.model_inputs import Chunk, Expected, Input, inputs_of, rebatch
from onnxsurgeon.errors import UsageError
from onnxsurgeon.model.model import Source as Model
from onnxsurgeon.notebook import Shown
from onnxsurgeon.options.parsing import data_or_path
from onnxsurgeon.options.shared import OfData

__all__ = [
    "Batch",
    "Data",
    "Input",
    "Mirrored",
    "Samples",
    "image_inputs",
    "inputs_of",
    "mirrored",
    "missing",
    "open_data",
]

KINDS = "give an .npz or .npy file, a folder of images, or module:function"
STEP = 32  # samples in a batch, if the model takes any number


@dataclass(frozen=True)
class Batch:
    """A batch. feed: an array per input. labels: shape (count, ...), or None. count: number of samples.

    size: batch size of `feed`; samples beyond `count` are padding, for models with a static batch size.
    """

    feed: Arrays
    labels: np.ndarray | None
    count: int
    size: int


class Samples(Protocol):
    """Calibration data or a part of it, with the same batches each time."""

    def __len__(self) -> int: ...
    def batches(self) -> Iterator[Batch]: ...


class Source(Protocol):
    """A source of samples. pieces: all samples in order, `step` at a time if the source can choose.

    classes: the number of classes, if the labels are positions in a sorted list of names. runs: whether each piece is a
    run of its own, which can't be joined with others. lacks: whether states are left out.
    """

    @property
    def count(self) -> int: ...
    @property
    def labelled(self) -> bool: ...
    @property
    def classes(self) -> int | None: ...
    @property
    def runs(self) -> bool: ...
    @property
    def lacks(self) -> bool: ...
    def pieces(self, step: int) -> Iterator[Chunk]: ...


@dataclass(frozen=True, repr=False)
class Data(Shown):
    """Samples that fit a model's inputs. `len` is the number of samples, `step` that of a batch.

    view: what becomes of its batches on their way to a model.
    """

    spec: str
    expected: Expected
    source: Source
    step: int
    view: Callable[[Iterator[Batch]], Iterator[Batch]] = iter

    @property
    def labelled(self) -> bool:
        return self.source.labelled

    @property
    def inputs(self) -> tuple[str, ...]:
        return tuple(wanted.name for wanted in self.expected.inputs)

    def __len__(self) -> int:
        return self.source.count

    def line(self) -> str:
        return f"{self.spec}: {len(self)} samples, {'labelled' if self.labelled else 'without labels'}"

    def table(self) -> Iterator[Sequence[object]]:
        yield "input", "type", "shape"
        yield from ((wanted.name, wanted.dtype, wanted.shape) for wanted in self.expected.inputs)

    def batches(self) -> Iterator[Batch]:
        """All samples once, in the same order each time. The last batch may be smaller; it is padded if the batch size
        of the model is static."""
        return self.view(self._batches())

    def seen(self, view: Callable[[Iterator[Batch]], Iterator[Batch]]) -> Data:
        """The same samples after one more change of their batches."""
        return replace(self, view=lambda batches: view(self.view(batches)))

    def _batches(self) -> Iterator[Batch]:
        sampled = self.expected.sampled
        if self.source.runs:
            yield from (Batch(p.arrays, p.labels, p.count, p.count) for p in self.source.pieces(self.step))
            return
        for piece in rebatch(self.source.pieces(self.step), self.step, sampled):
            missing = self.step - piece.count if self.expected.size else 0
            feed = {
                name: np.concatenate([a, np.repeat(a[-1:], missing, axis=0)]) if missing and name in sampled else a
                for name, a in piece.arrays.items()
            }
            yield Batch(feed, piece.labels, piece.count, piece.count + missing)


def open_data(
    spec: str | os.PathLike[str],
    inputs: tuple[Input, ...] | list[Input] | Model,
    *,
    preprocess: str | None = None,
    samples: int | None = None,
    batch: int | None = None,
    seed: int = 0,
    carried: Callable[[], Collection[str]] = tuple,
) -> Data:
    """The data that `spec` names, checked for a model or its `inputs` (see `inputs_of`).

    spec: an .npz or .npy file, a folder of images, or `module:function`. preprocess: the preset that scales images.
    samples: the most samples to use, drawn with `seed` (from a function: the first ones). batch: batch size, 32 by
    default; ignored by models with a static batch size. carried: names the inputs that samples may lack (states).
    Raises UsageError if the data don't fit the model, ModelError if they can't be read.
    """
    data_or_path(spec, "`data`")
    spec = os.fspath(spec)
    expected = Expected(tuple(inputs) if isinstance(inputs, list | tuple) else inputs_of(inputs), carried)
    step = _step(expected, samples, batch)
    if is_function(spec) and not Path(spec).exists():
        source: Source = Function(spec, import_function(spec, "`data`"), expected, seed, samples).verify()
    elif Path(spec).is_dir():
        source = open_images(Path(spec), expected, preprocess, samples, seed)
    elif not Path(spec).exists():
        raise missing(spec)
    elif Path(spec).suffix in (".npz", ".npy"):
        source = open_arrays(Path(spec), expected, samples, seed, step)
    else:
        raise UsageError(f"`data` {spec} is of an unknown kind", fix=KINDS)
    if preprocess is not None and not isinstance(source, ImageFolder):
        raise UsageError(
            f"`preprocess={preprocess}` is for folders of images", why=f"`data` {spec} contains arrays",
            fix="leave it out; arrays are used unchanged",
        )  # fmt: skip
    return Data(spec, expected, source, step)


def opened(
    given: str | os.PathLike[str] | Data, model: ir.Model, options: OfData,
    carried: Callable[[], Collection[str]] = tuple,
) -> Data:  # fmt: skip
    """The data as they are given, or what a path or `module:function` means to `model`. Raises as `open_data` does."""
    if isinstance(given, Data):
        return given
    return open_data(
        given, inputs_of(model, options.shapes), preprocess=options.preprocess, samples=options.samples,
        batch=options.batch, seed=options.seed, carried=carried,
    )  # fmt: skip


def _step(expected: Expected, samples: int | None, batch: int | None) -> int:
    """Samples in a batch."""
    for name, value in (("samples", samples), ("batch", batch)):
        if value is not None and value < 1:
            raise UsageError(f"`{name}` is {value}", why="it must be at least 1", fix="use a larger number")
    if expected.size is not None and batch not in (None, expected.size):
        raise static_batch(batch, expected.size)
    return expected.size or batch or STEP


def static_batch(batch: int | None, stated: int) -> UsageError:
    return UsageError(
        f"`batch` is {batch}, but the model takes {stated} samples", why="its batch size is static",
        fix="leave `batch` out",
    )  # fmt: skip


def missing(spec: str) -> UsageError:
    """The error where `data` names no file, folder or function."""
    return UsageError(f"`data` {spec} does not exist", fix=KINDS)
