"""What a network must look like to fit samples: its input, and how many numbers it says of each."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onnxsurgeon.arrays import Array
from onnxsurgeon.data import Data, Input, image_inputs, missing, open_data
from onnxsurgeon.data.array_files import ArrayFile, forms
from onnxsurgeon.data.functions import is_function
from onnxsurgeon.data.model_inputs import LABELS
from onnxsurgeon.errors import UsageError
from onnxsurgeon.options.shared import OfData

FLOAT = np.dtype(np.float32)


@dataclass(frozen=True)
class DataForm:
    """The form of samples. input: name; shape: of one. outputs: numbers that a network says of each. loss: what fits
    the labels. channels_last: whether they are pictures with the colours on the last axis."""

    input: str
    shape: tuple[int, ...]
    outputs: int
    loss: str

    @property
    def pictures(self) -> bool:
        return len(self.shape) == 3

    @property
    def channels_last(self) -> bool:
        found = image_inputs([Input(self.input, FLOAT, (None, *self.shape))])
        return found.get(self.input) == 2


def form_of(spec: str, options: OfData) -> DataForm:
    """The form of the samples that `spec` names. Raises UsageError where it can't be known, or no network fits it."""
    name, shape = _input(spec, options.shapes)
    given = [Input(name, FLOAT, (None, *shape))]
    data = open_data(spec, given, preprocess=options.preprocess, samples=options.samples, batch=None, seed=options.seed)
    labels = labels_of(data)
    outputs, loss = outputs_of(labels, data.source.classes)
    return DataForm(name, shape, outputs, loss)


def _input(spec: str, stated: Mapping[str, Sequence[int]]) -> tuple[str, tuple[int, ...]]:
    """The name of the input, and the shape of a sample."""
    if len(stated) == 1:
        ((name, shape),) = stated.items()
        return name, tuple(shape[1:])
    if not Path(spec).exists() and not is_function(spec):
        raise missing(spec)
    if Path(spec).suffix not in (".npz", ".npy") or stated:
        raise UsageError(
            "the form of the samples is not known", why=f"{spec} does not say it",
            fix="state it with `input_shape=input:1,3,32,32`, or begin with a model",
        )  # fmt: skip
    found = {name or "input": shape for name, shape in forms(Path(spec)).items() if name != LABELS}
    if len(found) != 1:
        raise UsageError(
            "a network is drawn for one input", why=f"{spec} has {', '.join(found) or 'none'}",
            fix="leave the others out, or begin with a model",
        )  # fmt: skip
    ((name, shape),) = found.items()
    if len(shape) < 2:
        raise UsageError(f"{spec} holds no samples", why=f"{name} has the shape {list(shape)}", fix="save [N, ...]")
    return name, tuple(shape[1:])


def labels_of(data: Data) -> Array:
    """All labels, shape (samples, ...). Raises UsageError if there are none."""
    source = data.source
    if isinstance(source, ArrayFile) and source.labels is not None:
        return source.labels.read(source.rows)
    found = [batch.labels for batch in data.batches() if batch.labels is not None] if data.labelled else []
    if not found:
        raise UsageError(
            "nothing can be learned",
            why=f"{data.spec} has no labels",
            fix="add an array `labels`",
        )
    return np.concatenate(found)


def outputs_of(labels: Array, classes: int | None = None) -> tuple[int, str]:
    """(numbers that a network says of each sample, the loss): classes where labels are whole, else values."""
    if labels.dtype.kind in "iub" and labels.size == len(labels):
        return classes or int(labels.max()) + 1, "cross-entropy"
    return int(labels.size // len(labels)), "mse"


def written(x: Any, y: Any, folder: Path) -> str:
    """What `open_data` reads: a path as it is; arrays are written to a file in `folder`, as float32.

    Raises UsageError if there are no labels, or not as many as samples.
    """
    if isinstance(x, str | os.PathLike):
        if y is not None:
            raise UsageError("labels belong into the file", why=f"{x} is one", fix="leave them out here")
        return os.fspath(x)
    if isinstance(x, Data):
        return x.spec
    samples, labels = np.asarray(x), np.asarray(y) if y is not None else None
    if labels is None or len(samples) != len(labels):
        raise UsageError(
            "arrays need labels", why=f"{len(samples)} samples, {0 if labels is None else len(labels)} labels",
            fix="give as many as samples",
        )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "data.npz"
    np.savez(path, input=samples.astype(np.float32), labels=labels)
    return str(path)
