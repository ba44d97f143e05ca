"""Statistics of the inputs of linear layers on calibration data: Gram matrices, accumulated in float64.

The original runs once in onnxruntime for each group of layers that fits into memory. Large layers (with many positions
per image) use a sample of their rows, the same one each time: more rows change little.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import prod
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from onnxsurgeon.arrays import Arrays, FloatArray, IntArray
from onnxsurgeon.calibration.least_squares import product
from onnxsurgeon.calibration.linear_layers import Consumer
from onnxsurgeon.data import Batch, Samples
from onnxsurgeon.dependency.labels import Labels
from onnxsurgeon.errors import ModelError, UsageError
from onnxsurgeon.files import BROKEN, arrays_of
from onnxsurgeon.model.write import write_atomically
from onnxsurgeon.options.shared import Device
from onnxsurgeon.runtime.partial_runs import Segment

FORMAT = "1"
FLUSH_ROWS = 2048  # rows of a layer that are collected before they are multiplied


@dataclass(frozen=True)
class RowLimits:
    """How many rows of a layer to use: the larger of `least` and `per_feature` times the features of a group."""

    least: int
    per_feature: int


FIT_ROWS = RowLimits(8192, 3)  # to fit weights
GRAM_ROWS = RowLimits(8192, 4)  # to compute Gram matrices
TRIAL_ROWS = RowLimits(1024, 0)  # to compare selections


@dataclass(frozen=True)
class Moments:
    """Moments of the rows of one consumer, per group.

    gram: mean of x x^T, shape (groups, features, features), float32 to save memory. mean: of x. magnitude: mean of |x|.
    Both have shape (groups, features).
    """

    gram: npt.NDArray[np.float32]
    mean: FloatArray
    magnitude: FloatArray

    @property
    def covariance(self) -> FloatArray:
        return self.gram.astype(np.float64) - self.mean[:, :, None] * self.mean[:, None, :]


@dataclass
class Statistics:
    """The results of calibration. fingerprint: of the model. moments: by `Consumer.key`.

    losses: by space (see `space_key`), {count: output error if only this space is cut, to `count` units}.
    rotations: by stream, the rotation of the model that the rest refers to, shape (components, neurons).
    """

    fingerprint: str
    moments: dict[str, Moments] = field(default_factory=dict)
    losses: dict[str, dict[int, float]] = field(default_factory=dict)
    rotations: dict[str, FloatArray] = field(default_factory=dict)

    def save(self, path: str | os.PathLike[str]) -> None:
        arrays: dict[str, np.ndarray] = {"format": np.array(FORMAT), "model": np.array(self.fingerprint)}
        for number, (key, moments) in enumerate(self.moments.items()):
            arrays |= {f"{number} key": np.array(key), f"{number} gram": moments.gram}
            arrays |= {f"{number} mean": moments.mean, f"{number} magnitude": moments.magnitude}
        for key, points in self.losses.items():
            arrays[f"loss {key}"] = np.array(sorted(points.items()), np.float64).reshape(-1, 2)
        arrays |= {f"turn {key}": turn for key, turn in self.rotations.items()}
        with write_atomically(Path(path)) as file:
            np.savez(file, allow_pickle=False, **arrays)


def load_statistics(path: str | os.PathLike[str], fingerprint: str) -> Statistics:
    """The statistics that `Statistics.save` wrote. Raises ModelError for any other file, UsageError for another model.

    fingerprint: of the model that the statistics must belong to.
    """
    try:
        arrays = arrays_of(path)
        known = str(arrays.pop("format")) == FORMAT
        model = str(arrays.pop("model"))
        found = _stored(model, arrays) if known else Statistics(model)
    except BROKEN as error:
        raise ModelError(
            f"`stats` {path} can't be read", why=str(error), fix="remove it, and it is computed again"
        ) from None
    if not known or model != fingerprint:
        raise UsageError(
            f"`stats` {path} belongs to another model", why="its fingerprint differs", fix="use another file name"
        )
    return found


def _stored(model: str, arrays: Mapping[str, np.ndarray]) -> Statistics:
    """The statistics in `arrays`. Raises ValueError or KeyError if they are not as `Statistics.save` writes them."""
    result = Statistics(model)
    for name, array in arrays.items():
        number, _, what = name.partition(" ")
        if what == "key":
            gram, mean = arrays[f"{number} gram"], arrays[f"{number} mean"]
            magnitude = arrays[f"{number} magnitude"]
            if gram.ndim != 3 or mean.shape != gram.shape[:2] or magnitude.shape != mean.shape:
                raise ValueError(f"the moments of {array} have the shapes {gram.shape} and {mean.shape}")
            if gram.shape[1] != gram.shape[2] or not all(np.isfinite(a).all() for a in (gram, mean, magnitude)):
                raise ValueError(f"the moments of {array} are not numbers of one layer")
            result.moments[str(array)] = Moments(gram, mean, magnitude)
        elif number == "loss":
            result.losses[what] = {int(count): float(loss) for count, loss in array}
        elif number == "turn":
            result.rotations[what] = array
    return result


def fingerprint(paths: Sequence[Path]) -> str:
    """A hash of the bytes of a model's files, as hexadecimal text."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def space_key(roots: IntArray) -> str:
    """A key for a set of units."""
    return hashlib.sha256(np.ascontiguousarray(roots, np.int64).tobytes()).hexdigest()[:32]


class Observer(Protocol):
    """Receives `values` of the model for each batch of a calibration run."""

    @property
    def values(self) -> Sequence[ir.Value]: ...
    def take(self, number: int, batch: Batch, arrays: Arrays) -> None: ...


class MomentSums:
    """Running sums for the moments of one consumer."""

    def __init__(self, consumer: Consumer) -> None:
        groups, features = len(consumer.inputs), consumer.features
        self.gram = np.zeros((groups, features, features))
        self.mean, self.magnitude = np.zeros((groups, features)), np.zeros((groups, features))
        self.rows, self.waiting = 0, list[FloatArray]()

    def add(self, rows: FloatArray) -> None:
        """Add `rows`, shape (rows, groups, features)."""
        self.waiting.append(rows)
        if sum(map(len, self.waiting)) >= FLUSH_ROWS:
            self.flush()

    @np.errstate(over="ignore", invalid="ignore")
    def flush(self) -> None:
        block = np.concatenate(self.waiting)
        self.gram += product(block, block)
        self.mean += block.sum(axis=0, dtype=np.float64)
        self.magnitude += np.abs(block).sum(axis=0, dtype=np.float64)
        self.rows, self.waiting = self.rows + len(block), []

    @np.errstate(over="ignore", invalid="ignore")
    def done(self) -> Moments:
        if self.waiting:
            self.flush()
        n = max(1, self.rows)
        self.gram /= n
        return Moments(self.gram.astype(np.float32), self.mean / n, self.magnitude / n)


def pick_rows(
    consumer: Consumer, total: int, batch: Batch, number: int, samples: int, seed: int, rows: RowLimits = FIT_ROWS
) -> IntArray:
    """Indices of the rows of one batch to use, ascending; equal arguments give equal rows.

    total: rows in the batch, including padding. number: index of the batch. samples: their number in all batches.
    """
    wanted = max(rows.least, rows.per_feature * consumer.features) * batch.size / samples
    if wanted >= total:
        chosen = np.arange(total)
    else:
        rng = np.random.default_rng([seed, number, *consumer.output.encode()])
        chosen = np.sort(rng.choice(total, max(1, round(wanted)), replace=False))
    return np.asarray(chosen[chosen < total * batch.count / batch.size])


def moments(
    labels: Labels, consumers: Sequence[Consumer], data: Samples, *, memory: float, device: Device = "auto",
    seed: int = 0, observer: Observer | None = None, progress: Callable[[int, int], None] = lambda done, total: None,
) -> Mapping[str, Moments]:  # fmt: skip
    """Moments by `Consumer.key`. memory: approximate limit in bytes for Gram matrices and activations. observer: sees
    each batch once. progress: called with (samples done, samples in all)."""
    first: dict[str, Consumer] = {}
    for consumer in consumers:
        first.setdefault(consumer.key, consumer)
    result: dict[str, Moments] = {}
    batch = next(iter(data.batches()))
    groups = list(_groups(list(first.values()), batch.size, memory / 2))
    for number, group in enumerate(groups):
        told = partial(_told, progress, number * len(data), len(groups) * len(data))
        result |= _pass(labels, group, data, device, seed, observer, told)
        observer = None
    return result


def _told(progress: Callable[[int, int], None], begin: int, total: int, done: int) -> None:
    progress(begin + done, total)


def _groups(consumers: Sequence[Consumer], size: int, limit: float) -> Iterator[list[Consumer]]:
    """Groups of consumers whose Gram matrices and data (of `size` samples) together take at most `limit` bytes."""
    group, used = list[Consumer](), 0.0
    for consumer in consumers:
        shape = consumer.call.shape(consumer.linear.data) or (1,)
        own = 8.0 * consumer.features**2 * len(consumer.inputs) + 4.0 * size * prod(shape) / max(1, shape[0])
        if group and used + own > limit:
            yield group
            group, used = [], 0.0
        group.append(consumer)
        used += own
    if group:
        yield group


def _pass(
    labels: Labels,
    group: Sequence[Consumer],
    data: Samples,
    device: Device,
    seed: int,
    observer: Observer | None,
    progress: Callable[[int], None],
) -> dict[str, Moments]:
    """The moments of one group, from one run of the original over all data.

    Raises ModelError if they are no numbers.
    """
    values = [v for c in group if (v := c.node.inputs[c.linear.data]) is not None]
    piece = Segment(labels.model, [*values, *(observer.values if observer else [])], device)
    sums = {consumer: MomentSums(consumer) for consumer in group}

    def add(number: int, batch: Batch, arrays: Arrays) -> None:
        if observer:
            observer.take(number, batch, arrays)
        for consumer, total in sums.items():
            array = arrays[consumer.data]
            chosen = pick_rows(
                consumer, consumer.linear.positions(consumer.call, array), batch, number, len(data), seed, GRAM_ROWS
            )
            total.add(consumer.linear.rows(consumer.call, array, chosen))

    done = 0
    for number, batch in enumerate(data.batches()):
        progress(done)
        done += batch.count
        # no name keeps the arrays alive while the next batch runs
        add(number, batch, piece.run(batch.feed, batch.size))
    found = dict[str, Moments]()
    for consumer in group:
        moments = found[consumer.key] = sums.pop(consumer).done()  # frees each sum: they are large
        if not np.isfinite(moments.gram).all():
            raise ModelError(
                f"the inputs of {consumer.name} can't be measured",
                why="they are NaN, infinite or too large for the samples",
                fix="mend the weights, or give other `data`",
            )
    return found
