"""Trials: the output error of a network that is cut, and refitted quickly, on a few samples.

What lies before the first node that a cut changes runs once for all trials.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import Arrays, FloatArray, Mask
from onnxsurgeon.calibration.statistics import TRIAL_ROWS
from onnxsurgeon.compensation.layerwise import Middle, Targets, quickly, sequential
from onnxsurgeon.data import Batch, Samples
from onnxsurgeon.dependency.interface import positions, taken
from onnxsurgeon.dependency.labels import Labels
from onnxsurgeon.edit.apply import cut
from onnxsurgeon.neurons.relations import Axes
from onnxsurgeon.ops.nodes import constant
from onnxsurgeon.options.shared import Device
from onnxsurgeon.runtime.partial_runs import Segment, Store, reads
from onnxsurgeon.training.ends import loss_values, relative_error

MOST = 64  # samples for compensation, and as many for measurement: the most
WINDOW = 12  # layers behind a cut that are refitted
PASSES = 16  # over all samples: about the most that the trials may cost
COST = 0.8  # of a trial, in passes over its samples: it refits a part of the network, and runs what follows the cut


@dataclass(frozen=True)
class Subset:
    """Some batches of the data."""

    chosen: tuple[Batch, ...]

    def __len__(self) -> int:
        return sum(batch.count for batch in self.chosen)

    def batches(self) -> Iterator[Batch]:
        return iter(self.chosen)


def trial_samples(layers: int, data: Samples) -> int:
    """The samples to fit on, and as many to measure on: the most that costs `PASSES`, for about as many trials as
    `layers`."""
    return max(1, int(min(MOST, PASSES * len(data) / (COST * max(1, layers)))))


def split(data: Samples, count: int = MOST) -> tuple[Subset, Subset]:
    """(about `count` samples to fit on, as many to measure on) in whole batches; both the same if there is only one."""
    seen, held, total = list[Batch](), list[Batch](), len(data)
    for batch in data.batches():
        fitting, measuring = (sum(b.count for b in part) for part in (seen, held))
        if not seen or fitting + batch.count <= min(count, total // 2):
            seen.append(batch)
        elif not held or measuring + batch.count <= count:
            held.append(batch)
        else:
            break
    return Subset(tuple(seen)), Subset(tuple(held or seen))


class Known:
    """Values of a model on some samples, computed when they are first wanted, from those that are known by then."""

    def __init__(self, model: ir.Model, data: Subset, limit: float, device: Device) -> None:
        self.model, self.device, self.store = model, device, Store(limit)
        self.live = {v for v in model.graph.inputs if not v.is_initializer()}
        self.sizes = [batch.size for batch in data.chosen]
        for number, batch in enumerate(data.chosen):
            for value in self.live:
                self.store.put(value.name or "", number, batch.feed[value.name or ""])

    def arrays(self, wanted: Sequence[ir.Value]) -> list[Arrays]:
        """The arrays of these values by name, per batch."""
        piece = Segment(self.model, wanted, self.device, self.live)
        for number, size in enumerate(self.sizes if piece.wanted else ()):
            found = piece.run(self._of(piece.fed, number), size)
            for value in piece.wanted:
                self.store.put(value.name or "", number, found[value.name or ""])
        self.live |= set(piece.wanted)
        return [self._of(wanted, number) for number in range(len(self.sizes))]

    def _of(self, values: Sequence[ir.Value], number: int) -> Arrays:
        return {v.name or "": self.store.get(v.name or "", number) for v in values}


class Loss:
    """Measures the output error of cut and compensated networks."""

    def __init__(
        self, labels: Labels, data: Samples, *, memory: float, device: Device = "auto", seed: int = 0,
        samples: int = MOST,
    ) -> None:  # fmt: skip
        self.labels, self.device = labels, device
        seen, self.held = split(data, samples)
        self.targets = Targets(labels, seen, memory=memory, device=device, seed=seed, rows=TRIAL_ROWS)
        self.before = [Known(labels.model, part, memory / 8, device) for part in (seen, self.held)]
        self.values = {v.name: v for n in labels.model.graph for v in n.outputs}
        self.values |= {v.name: v for v in labels.model.graph.inputs}
        self.ends = loss_values(labels.model, labels.states)
        self.expected = self._rows(self.before[1].arrays(self.ends), self.ends)

    def __call__(self, keep: Mask) -> float:
        """The squared error of the outputs relative to their variance, after a cut to `keep`."""
        model = cut(self.labels, keep)
        changed = changed_values(self.labels, keep)
        nodes = [n for n in model.graph if any(v.name in changed or v.name not in self.values for v in n.outputs)]
        made = {v for node in nodes for v in node.outputs}
        known = [v for v in dict.fromkeys(v for n in nodes for v in reads(n)) if v not in made and constant(v) is None]
        seen, held = (part.arrays([self.values[v.name] for v in known]) for part in self.before)
        middle = Middle({v.name or "" for v in made}, known, seen)
        sequential(self.targets, keep, model, middle=middle, refit=quickly, most=WINDOW)
        ends = [v for v in loss_values(model, self.labels.states) if v in made]
        piece = Segment(model, ends, self.device, known)
        places = positions(self.labels, keep)
        runs = zip(held, self.before[1].sizes, strict=True)
        found = self._rows([piece.run(taken(arrays, places), size) for arrays, size in runs], ends)
        actual = dict(zip((end.name for end in ends), found, strict=True))
        both = zip(self.ends, self.expected, strict=True)
        return relative_error(self.expected, [actual.get(end.name, whole) for end, whole in both])

    def _rows(self, runs: Sequence[Arrays], ends: Sequence[ir.Value]) -> list[FloatArray]:
        batches = self.held.chosen
        return [stacked([(a[end.name or ""], b) for a, b in zip(runs, batches, strict=True)]) for end in ends]


def stacked(outputs: Sequence[tuple[FloatArray, Batch]]) -> FloatArray:
    """One row per sample of an output; one per number where runs differ in more than their number of samples."""
    whole = [array[: batch.count] if array.shape[:1] == (batch.size,) else array for array, batch in outputs]
    alike = len({array.shape[1:] for array in whole}) == 1 and all(array.size for array in whole)
    return np.concatenate([array.reshape((len(array), -1) if alike and array.ndim else (-1, 1)) for array in whole])


def changed_values(labels: Labels, keep: Mask) -> set[str]:
    """The names of the values of a labelled model that a cut to `keep` changes."""
    found = set[ir.Value]()
    for node in labels.model.graph:
        given = reads(node)
        lost = any(v in found or _lost(labels.axes.get(v), keep) for v in (*given, *node.outputs))
        lost = lost or any(_lost(labels.uses.get((node, k)), keep) for k in range(len(node.inputs)))
        if lost:
            found |= set(node.outputs)
    return {value.name or "" for value in found}


def _lost(axes: Axes | None, keep: Mask) -> bool:
    return axes is not None and any(axis is not None and not keep[axis].all() for axis in axes)
