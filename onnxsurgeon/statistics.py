"""What the inputs of linear vertices are like on calibration data: Gram matrices, accumulated in float64."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from onnxsurgeon.consumers import Consumer
from onnxsurgeon.data import Data
from onnxsurgeon.graph import Labels
from onnxsurgeon.problem import FloatArray
from onnxsurgeon.segments import piece, serialised
from onnxsurgeon.session import Device, Session

ROWS = 24  # rows for each feature are enough for a Gram matrix
LEAST = 16384  # rows, where there are as many
BLOCK = 8192  # rows that are multiplied in float32 before they are added in float64


@dataclass(frozen=True)
class Moments:
    """Of the rows of one consumer, a group apart.

    gram: mean of feature x feature, shape (groups, features, features). mean, magnitude (mean of |x|): shape (groups,
    features). rows: how many.
    """

    gram: FloatArray
    mean: FloatArray
    magnitude: FloatArray
    rows: int

    @property
    def covariance(self) -> FloatArray:
        return self.gram - self.mean[:, :, None] * self.mean[:, None, :]


class Sums:
    """Moments while they are summed up."""

    def __init__(self, groups: int, features: int) -> None:
        self.gram = np.zeros((groups, features, features))
        self.mean, self.magnitude = np.zeros((groups, features)), np.zeros((groups, features))
        self.rows, self.waiting = 0, list[FloatArray]()

    def add(self, rows: FloatArray) -> None:
        """rows: shape (picked, groups, features)."""
        self.waiting.append(rows)
        if sum(map(len, self.waiting)) >= BLOCK:
            self._flush()

    def _flush(self) -> None:
        block = np.ascontiguousarray(np.concatenate(self.waiting).transpose(1, 0, 2))
        self.waiting = []
        if len(block) == 1:  # numpy sees the symmetry of one product, and does half of it
            self.gram[0] += block[0].T @ block[0]
        else:
            self.gram += block.transpose(0, 2, 1) @ block
        self.mean += block.sum(axis=1, dtype=np.float64)
        self.magnitude += np.abs(block).sum(axis=1, dtype=np.float64)
        self.rows += block.shape[1]

    def done(self) -> Moments:
        if self.waiting:
            self._flush()
        n = max(1, self.rows)
        return Moments(self.gram / n, self.mean / n, self.magnitude / n, self.rows)


def picked(total: int, share: float, seed: Sequence[int]) -> np.ndarray:
    """Numbers of the rows that are looked at, ascending: each with probability `share`, the same ones for a seed."""
    if share >= 1:
        return np.arange(total)
    rng = np.random.default_rng(list(seed))
    return np.sort(rng.choice(total, max(1, round(total * share)), replace=False))


def batches(data: Data) -> Iterator[tuple[dict[str, np.ndarray], float]]:
    """Feeds, each with the share of it that is real and not padding."""
    for batch in data.batches():
        size = max((len(a) for a in batch.feed.values()), default=1)
        yield batch.feed, min(1.0, batch.count / size)


def collect(
    labels: Labels, found: Sequence[Consumer], data: Data, *, memory: float, device: Device = "auto", seed: int = 0
) -> Mapping[str, Moments]:
    """Moments by consumer key."""
    by_key: dict[str, Consumer] = {}
    for consumer in found:
        by_key.setdefault(consumer.key, consumer)
    result: dict[str, Moments] = {}
    for group in _groups(list(by_key.values()), memory / 2):
        result |= _pass(labels, group, data, device, seed)
    return result


def _groups(found: Sequence[Consumer], limit: float) -> Iterator[list[Consumer]]:
    """Consumers whose Gram matrices fit the memory together."""
    group: list[Consumer] = []
    size = 0.0
    for consumer in found:
        own = 8.0 * consumer.features**2 * len(consumer.inputs)
        if group and size + own > limit:
            yield group
            group, size = [], 0.0
        group.append(consumer)
        size += own
    if group:
        yield group


def _pass(
    labels: Labels, group: Sequence[Consumer], data: Data, device: Device, seed: int
) -> dict[str, Moments]:
    """One run of the original over all data."""
    model = labels.model
    values = {v.name: v for node in model.graph for v in (*node.inputs, *node.outputs) if v is not None}
    wanted = list(dict.fromkeys(values[c.data] for c in group))
    inputs = {v.name for v in model.graph.inputs}
    computed = [v for v in wanted if v.name not in inputs]
    sums = {c.key: Sums(len(c.inputs), c.features) for c in group}
    session = None
    total = len(data)
    for number, (feed, real) in enumerate(batches(data)):
        if session is None and computed:
            nodes, fed = piece(model, computed)
            infos = [
                onnx.helper.make_tensor_value_info(
                    v.name, onnx.helper.np_dtype_to_tensor_dtype(feed[v.name or ""].dtype), [None] * feed[v.name or ""].ndim
                )
                for v in fed
            ]
            session = Session(serialised(model, nodes, infos, computed), device)
        arrays = {**feed, **(session.run(feed) if session else {})}
        for index, consumer in enumerate(group):
            x = arrays[consumer.data]
            rows = row_count(consumer, x)
            enough = max(LEAST, ROWS * consumer.features)
            step = len(next(iter(feed.values())))
            share = enough / max(1.0, rows * total / step)
            chosen = picked(rows, share, (seed, index, number))
            chosen = chosen[chosen < rows * real]
            sums[consumer.key].add(consumer.linear.rows(consumer.call, x, chosen))
    return {key: s.done() for key, s in sums.items()}


def row_count(consumer: Consumer, x: FloatArray) -> int:
    """How many rows the data `x` gives."""
    shape = consumer.call.outputs[0].shape or ()
    given = consumer.call.inputs[consumer.linear.data].shape or ()  # type: ignore[union-attr]
    per = np.prod(shape) / max(1, shape[consumer.linear.channels])
    return int(round(per * x.shape[0] / max(1, given[0])))
