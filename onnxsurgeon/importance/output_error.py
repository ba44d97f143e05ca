"""The measured output error of a network that is cut in one space and refitted.

The error of the consumers (`reconstruction`) gives the order of a space's units and the shape of its table. But equal
errors in two layers have different effects on the output, because later layers repair some of them. So for a few counts
of each space, the network is cut, compensated on some samples and run on others, and the space's table is scaled to the
measured errors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import FloatArray, IntArray, Mask
from onnxsurgeon.calibration.statistics import TRIAL_ROWS, Statistics, space_key
from onnxsurgeon.compensation.evidence import Evidence
from onnxsurgeon.compensation.layerwise import Targets, sequential
from onnxsurgeon.data import Batch, Samples
from onnxsurgeon.dependency.interface import Positions, positions, taken
from onnxsurgeon.dependency.labels import Labels
from onnxsurgeon.dependency.spaces import Judge
from onnxsurgeon.edit.apply import cut
from onnxsurgeon.importance.optimal_brain_surgeon import reconstruction
from onnxsurgeon.options.shared import Device
from onnxsurgeon.runtime.partial_runs import Segment
from onnxsurgeon.training.losses import loss_values, relative_error

SHARES = (0.7, 0.4, 0.2)  # shares of a space's units that stay in the measured cuts
FIT, HELD = 256, 256  # samples for compensation, and for measurement
LEAST = 1e-6  # smallest loss, relative to the output's variance


@dataclass(frozen=True)
class Subset:
    """Some batches of the data."""

    chosen: tuple[Batch, ...]

    def __len__(self) -> int:
        return sum(batch.count for batch in self.chosen)

    def batches(self) -> Iterator[Batch]:
        return iter(self.chosen)


def split(data: Samples) -> tuple[Subset, Subset]:
    """(samples to fit on, samples to measure on); both are the same if there is only one batch."""
    seen, held, total = list[Batch](), list[Batch](), len(data)
    for batch in data.batches():
        fitting = sum(b.count for b in seen)
        if not seen or fitting < min(FIT, total // 2):
            seen.append(batch)
        elif sum(b.count for b in held) < HELD:
            held.append(batch)
    return Subset(tuple(seen)), Subset(tuple(held or seen))


class Loss:
    """Measures the output error of cut and compensated networks."""

    def __init__(self, labels: Labels, data: Samples, *, memory: float, device: Device = "auto", seed: int = 0) -> None:
        self.labels, self.device = labels, device
        seen, self.held = split(data)
        self.targets = Targets(labels, seen, memory=memory, device=device, seed=seed, rows=TRIAL_ROWS)
        self.expected = self._outputs(labels.model, {})

    def __call__(self, keep: Mask) -> float:
        """The squared error of the outputs relative to their variance, after a cut to `keep`."""
        model = cut(self.labels, keep)
        sequential(self.targets, keep, model)
        return relative_error(self.expected, self._outputs(model, positions(self.labels, keep)))

    def _outputs(self, model: ir.Model, places: Mapping[str, Positions]) -> list[FloatArray]:
        ends = loss_values(model, self.labels.states)
        piece = Segment(model, ends, self.device)
        runs = [(piece.run(taken(batch.feed, places)), batch.count) for batch in self.held.batches()]
        return [
            np.concatenate([arrays[end.name or ""][:count].reshape(count, -1) for arrays, count in runs])
            for end in ends
        ]


def scale_to(table: FloatArray, points: dict[int, float]) -> FloatArray:
    """`table` scaled to measured losses. table: importance of each count, shape (units + 1,). points: {count: loss}."""
    errors = table[-1] - table
    counts = np.array(sorted(points))
    losses = np.maximum.accumulate(np.array([points[n] for n in counts])[::-1])[::-1]
    factors = np.log(np.maximum(losses, LEAST) / np.maximum(errors[counts], LEAST))
    errors = errors * np.exp(np.interp(np.arange(len(errors)), counts, factors))
    errors = np.maximum.accumulate(errors[::-1])[::-1]
    return np.asarray(errors[0] - errors, np.float64)


def measuring(labels: Labels, judge: Judge, statistics: Statistics, loss: Callable[[Mask], float]) -> Judge:
    """`judge` with tables scaled to output errors, which are measured unless `statistics` has them."""
    root = labels.classes.root

    def measured(roots: IntArray) -> tuple[IntArray, FloatArray]:
        order, table = judge(roots)
        points = statistics.losses.setdefault(space_key(roots[order]), {})
        for count in sorted({max(1, round(share * len(roots))) for share in SHARES} - {len(roots)} - points.keys()):
            dropped = np.zeros(len(root), np.bool_)
            dropped[roots[order[count:]]] = True
            points[count] = loss(~dropped[root])
        return order, scale_to(table, points)

    return measured


def output_error(evidence: Evidence, word: str) -> tuple[FloatArray, Judge]:
    """Importance per neuron for spaces without a linear consumer, and the judge of all other spaces."""
    assert evidence.data is not None  # the criterion says that it needs them
    worth, judge = reconstruction(evidence, word)
    loss = cache(
        lambda: Loss(evidence.labels, data, memory=evidence.memory, device=evidence.device, seed=evidence.seed)
    )
    data = evidence.data

    def lost(keep: Mask) -> float:
        evidence.announce("weigh", f"{word}: without {np.count_nonzero(~keep):,} neurons")
        return loss()(keep)

    return worth, measuring(evidence.labels, judge, evidence.statistics, lost)
