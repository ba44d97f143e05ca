"""Samples to train on, in any order: rows of arrays on disk, or arrays in memory where the source only flows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from onnxsurgeon.arrays import Array, Arrays, IntArray
from onnxsurgeon.data import Data, inputs_of
from onnxsurgeon.data.array_files import ArrayFile
from onnxsurgeon.data.functions import Function
from onnxsurgeon.data.model_inputs import Chunk, Expected
from onnxsurgeon.errors import UsageError

LARGEST = 8e9  # bytes of samples that are held in memory


@dataclass(frozen=True)
class TrainingSet:
    """All samples of `data`. held: their arrays, and their labels, if they are in memory."""

    data: Data
    count: int
    held: tuple[Arrays, Array | None] | None

    def __len__(self) -> int:
        return self.count

    def take(self, rows: IntArray) -> tuple[Arrays, Array | None]:
        """The inputs and the labels of these samples, in this order."""
        sampled = self.data.expected.sampled
        if self.held is None:
            source = self.data.source
            assert isinstance(source, ArrayFile)
            at = source.rows[rows]
            feed = {name: array.read(at if name in sampled else None) for name, array in source.arrays.items()}
            return feed, None if source.labels is None else source.labels.read(at)
        arrays, labels = self.held
        feed = {name: array[rows] if name in sampled else array for name, array in arrays.items()}
        return feed, None if labels is None else labels[rows]

    def part(self, rows: IntArray) -> Data:
        """Some of the samples, as data."""
        return replace(self.data, source=Rows(self, rows), view=iter)

    def in_batches(self, size: int) -> TrainingSet:
        """The same samples, in batches of another size."""
        return replace(self, data=replace(self.data, step=size))


@dataclass(frozen=True)
class Rows:
    """Some samples of a training set, as a source. rows: their numbers, shape (samples,)."""

    samples: TrainingSet
    rows: IntArray
    classes = None
    runs = False
    lacks = False

    @property
    def count(self) -> int:
        return len(self.rows)

    @property
    def labelled(self) -> bool:
        return self.samples.data.labelled

    def pieces(self, step: int) -> Iterator[Chunk]:
        for start in range(0, self.count, step):
            rows = self.rows[start : start + step]
            yield Chunk(*self.samples.take(rows), len(rows))


def training_set(data: Data) -> TrainingSet:
    """The samples of `data`. Raises UsageError if they can't be mixed, or don't fit into memory."""
    source = data.source
    if source.runs or source.lacks or not data.expected.sampled:
        raise UsageError(
            f"`data` {data.spec} can't be trained on", why="its samples can't be put into batches of any order",
            fix="give arrays of the same shape for each sample, with all inputs",
        )  # fmt: skip
    if isinstance(source, ArrayFile):
        return TrainingSet(data, len(data), None)
    parts, labels, used = list[Arrays](), list[Array](), 0
    for batch in data.batches():
        sampled = data.expected.sampled
        parts.append({name: array[: batch.count] if name in sampled else array for name, array in batch.feed.items()})
        if batch.labels is not None:
            labels.append(batch.labels)
        used += sum(array.nbytes for array in parts[-1].values())
        if used > LARGEST:
            raise UsageError(
                f"`data` {data.spec} is too large to be held in memory", why=f"more than {LARGEST / 1e9:g} GB",
                fix="write it to an .npz file, which is read as needed, or use `samples`",
            )  # fmt: skip
    arrays = {
        name: np.concatenate([part[name] for part in parts]) if name in data.expected.sampled else parts[0][name]
        for name in parts[0]
    }
    return TrainingSet(data, len(data), (arrays, np.concatenate(labels) if labels else None))


def of_batches(given: Any, model: Any, *, samples: int | None, batch: int | None, seed: int) -> Data:
    """Data from a function that yields batches, or from an iterable of them: a generator is used up once."""
    function: Callable[..., Iterable[Any]]
    if callable(given):
        function = given
    else:
        kept = list(given if samples is None else _first(given, samples))

        def function() -> Iterable[Any]:
            return kept

    expected = Expected(inputs_of(model))
    name = getattr(given, "__name__", type(given).__name__)
    source = Function(name, function, expected, seed, samples).verify()
    return Data(name, expected, source, expected.size or batch or 32)


def _first(batches: Iterable[Any], samples: int) -> Iterator[Any]:
    """As many batches as hold `samples`."""
    left = samples
    for found in batches:
        yield found
        feed = found[0] if isinstance(found, tuple) else found
        left -= len(next(iter(feed.values())))
        if left <= 0:
            return
