"""The inputs of a model, and checks that arrays fit them: names, types, shapes and finite numbers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import Arrays
from onnxsurgeon.errors import ModelError, UsageError
from onnxsurgeon.model.model import Source, as_model
from onnxsurgeon.model.widening import NARROW, WIDE

LABELS = "labels"


class HasForm(Protocol):
    """An array, or anything else with its type and shape."""

    @property
    def dtype(self) -> np.dtype[Any]: ...
    @property
    def shape(self) -> tuple[int, ...]: ...


@dataclass(frozen=True)
class Input:
    """An input of a model. shape: None for a dynamic dim; axis 0 is the batch."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | None, ...]

    def __str__(self) -> str:
        dims = ", ".join("?" if n is None else str(n) for n in self.shape)
        return f"{self.name}: {self.dtype.name} [{dims}]"


def inputs_of(model: Source | ir.Model, stated: Mapping[str, Sequence[int]] | None = None) -> tuple[Input, ...]:
    """The inputs of a model without initializers. Raises ModelError if one is not a numeric tensor of known rank.

    stated: shapes of dynamic inputs, by name; a dynamic batch stays dynamic.
    """
    inputs = []
    graph = (model if isinstance(model, ir.Model) else as_model(model).ir).graph
    for value in graph.inputs:
        if value.is_initializer():
            continue
        if value.shape is None or value.dtype is None or not isinstance(value.type, ir.TensorType):
            raise ModelError(
                f"input {value.name} can't be fed", why=f"its type is {value.type}, its shape {value.shape}",
                fix="export the model with tensors of known rank as inputs",
            )  # fmt: skip
        if value.dtype == ir.DataType.STRING:
            raise ModelError(f"input {value.name} can't be fed", why="it takes text", fix="export the model without it")
        given = (stated or {}).get(value.name or "", (None,) * len(value.shape))
        shape = tuple(
            n if isinstance(n, int) else m if axis else None
            for axis, (n, m) in enumerate(zip(value.shape, given, strict=True))
        )
        dtype = WIDE if value.dtype == NARROW else value.dtype
        inputs.append(Input(value.name or "", dtype.numpy(), shape))
    return tuple(inputs)


@dataclass(frozen=True)
class Expected:
    """All inputs of a model. An input is *sampled* if its first axis is the batch; else each batch gets all of it.

    carried: names inputs that samples may lack, because they are states of an earlier run. It is called if some lack.
    """

    inputs: tuple[Input, ...]
    carried: Callable[[], Collection[str]] = tuple

    @property
    def size(self) -> int | None:
        """The static batch size; None if the model takes any number."""
        first = [i.shape[0] for i in self.inputs if i.shape]
        return None if not first or None in first else first[0]

    @property
    def sampled(self) -> tuple[str, ...]:
        return tuple(i.name for i in self.inputs if i.shape and i.shape[0] in (None, self.size))

    def keys_of(self, keys: Collection[str], where: str) -> dict[str, str]:
        """The key of each input's array; a single array may have any key. Raises UsageError if the keys don't fit."""
        names = [i.name for i in self.inputs]
        if any(name not in keys for name in names):
            names = [name for name in names if name in keys or name not in self.carried()]
        others = [key for key in keys if key not in names and key != LABELS]
        if len(names) == len(others) == 1 and names[0] not in keys:
            return {names[0]: others[0]}
        missing = [name for name in names if name not in keys]
        if missing or others:
            said = [f"missing: {', '.join(missing)}"] * bool(missing) + [f"unknown: {', '.join(others)}"] * bool(others)
            raise UsageError(
                f"{where}: its arrays are not the model's inputs", why="; ".join(said),
                fix=f"name the arrays after the inputs ({', '.join(names)}), and {LABELS} if there are any",
            )  # fmt: skip
        return {name: name for name in names}

    def check_forms(self, arrays: Mapping[str, HasForm], labels: HasForm | None, where: str) -> int:
        """The number of samples, 1 if no input has a batch. Raises UsageError if a type or shape doesn't fit."""
        for wanted in (wanted for wanted in self.inputs if wanted.name in arrays):
            array = arrays[wanted.name]
            shape = array.shape
            if array.dtype != wanted.dtype:
                raise UsageError(
                    f"{where}: {wanted.name} has the wrong type", why=f"it is {array.dtype}; the model takes {wanted}",
                    fix=f"save it as numpy.{wanted.dtype.name}, scaled as the model was trained",
                )  # fmt: skip
            known = (None, *wanted.shape[1:]) if wanted.name in self.sampled else wanted.shape
            if len(known) != len(array.shape) or any(
                n not in (None, m) for n, m in zip(known, array.shape, strict=True)
            ):
                raise UsageError(
                    f"{where}: {wanted.name} has the wrong shape",
                    why=f"it is {list(shape)}; the model takes {wanted}"
                    + ", any number of samples along the first axis" * (wanted.name in self.sampled),
                    fix="save it in the shape that the model takes",
                )
        if labels is not None and labels.dtype.kind not in "biuf":
            raise UsageError(
                f"{where}: {LABELS} are not numbers", why=f"they are {labels.dtype}", fix="number the classes"
            )
        lengths = {name: arrays[name].shape[0] for name in self.sampled if name in arrays}
        if labels is not None:
            lengths[LABELS] = labels.shape[0] if labels.shape else 0
        if len(set(lengths.values())) > 1:
            said = ", ".join(f"{name} {n}" for name, n in lengths.items())
            raise UsageError(
                f"{where}: the arrays have different numbers of samples", why=said, fix="save as many of each"
            )
        if 0 in lengths.values() or (not lengths and self.sampled):
            raise UsageError(f"{where}: there are no samples", fix="give at least one")
        return next(iter(lengths.values()), 1)

    def check_numbers(self, arrays: Mapping[str, np.ndarray], labels: np.ndarray | None, where: str) -> None:
        """Raise UsageError if an array contains NaN or infinity."""
        for name, array in (*arrays.items(), *([] if labels is None else [(LABELS, labels)])):
            if not np.issubdtype(array.dtype, np.integer) and not np.isfinite(array).all():
                raise UsageError(
                    f"{where}: {name} contains NaN or infinity", fix="leave these samples out, or repair them"
                )


@dataclass(frozen=True)
class Chunk:
    """Some samples in order. labels: shape (samples, ...), or None."""

    arrays: Arrays
    labels: np.ndarray | None
    count: int

    def part(self, start: int, stop: int | None, sampled: Sequence[str]) -> Chunk:
        arrays = {name: a[start:stop] if name in sampled else a for name, a in self.arrays.items()}
        return Chunk(
            arrays, None if self.labels is None else self.labels[start:stop], len(range(self.count)[start:stop])
        )

    def join(self, other: Chunk, sampled: Sequence[str]) -> Chunk:
        arrays = {n: np.concatenate([a, other.arrays[n]]) if n in sampled else a for n, a in self.arrays.items()}
        labels = None
        if self.labels is not None and other.labels is not None:
            labels = np.concatenate([self.labels, other.labels])
        return Chunk(arrays, labels, self.count + other.count)


def rebatch(pieces: Iterator[Chunk], step: int, sampled: Sequence[str]) -> Iterator[Chunk]:
    """The same samples, `step` at a time; the last chunk may be smaller."""
    buffer: Chunk | None = None
    for piece in pieces:
        buffer = piece if buffer is None else buffer.join(piece, sampled)
        while buffer.count >= step:
            yield buffer.part(0, step, sampled)
            buffer = buffer.part(step, None, sampled)
    if buffer is not None and buffer.count:
        yield buffer


def choose(count: int, samples: int | None, seed: int) -> np.ndarray:
    """Ascending positions, shape (samples,): all `count`, or a random subset of `samples` drawn with `seed`."""
    if samples is None or samples >= count:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, samples, replace=False))
