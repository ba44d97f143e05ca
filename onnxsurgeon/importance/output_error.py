"""What the output of a network loses when one space loses units and the rest is fitted anew: measured, not estimated.

The error of the consumers (`reconstruction`) says which units of a space matter, and how much faster things get
worse the fewer stay. But a unit of error does not cost the same everywhere: later layers repair some of it. So for a
few counts of every space the network is cut, compensated on some samples and run on others; the table of the space is
scaled to what comes out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import FloatArray, IntArray, Mask
from onnxsurgeon.calibration.statistics import TRIAL_ROWS, Statistics, space_key
from onnxsurgeon.compensation.evidence import Evidence
from onnxsurgeon.compensation.layerwise import Targets, sequential
from onnxsurgeon.data import Batch, Samples
from onnxsurgeon.dependency.labels import Labels
from onnxsurgeon.dependency.spaces import Judge
from onnxsurgeon.edit.apply import cut
from onnxsurgeon.importance.optimal_brain_surgeon import reconstruction
from onnxsurgeon.runtime.partial_runs import Segment
from onnxsurgeon.runtime.session import Device
from onnxsurgeon.training.losses import loss_values, relative_error

SHARES = (0.7, 0.4, 0.2)  # of a space's units that stay
FIT, HELD = 256, 256  # samples to compensate on, and to measure on
LEAST = 1e-6  # of the output's variance: what a loss is taken for at least


@dataclass(frozen=True)
class Subset:
    """Some batches of the data."""

    chosen: tuple[Batch, ...]

    def __len__(self) -> int:
        return sum(batch.count for batch in self.chosen)

    def batches(self) -> Iterator[Batch]:
        return iter(self.chosen)


def divided(data: Samples) -> tuple[Subset, Subset]:
    """The first samples, to fit on, and others to measure on; the same ones where there is one batch alone."""
    seen, held, total = list[Batch](), list[Batch](), len(data)
    for batch in data.batches():
        fitting = sum(b.count for b in seen)
        if not seen or fitting < min(FIT, total // 2):
            seen.append(batch)
        elif sum(b.count for b in held) < HELD:
            held.append(batch)
    return Subset(tuple(seen)), Subset(tuple(held or seen))


class Loss:
    """Measures what the outputs of a cut and compensated network lose."""

    def __init__(self, labels: Labels, data: Samples, *, memory: float, device: Device = "auto", seed: int = 0) -> None:
        self.labels, self.device = labels, device
        seen, self.held = divided(data)
        self.targets = Targets(labels, seen, memory=memory, device=device, seed=seed, rows=TRIAL_ROWS)
        self.expected = self._outputs(labels.model)

    def __call__(self, keep: Mask) -> float:
        """The squared error of the outputs beside their variance, when `keep` stays."""
        model = cut(self.labels, keep)
        sequential(self.targets, keep, model)
        return relative_error(self.expected, self._outputs(model))

    def _outputs(self, model: ir.Model) -> list[FloatArray]:
        ends = loss_values(model)
        piece = Segment(model, ends, self.device)
        runs = [(piece.run(batch.feed), batch.count) for batch in self.held.batches()]
        return [
            np.concatenate([arrays[end.name or ""][:count].reshape(count, -1) for arrays, count in runs])
            for end in ends
        ]


def scaled(table: FloatArray, points: dict[int, float]) -> FloatArray:
    """An importance by count whose shape is that of `table` and whose losses are those that were measured.

    table: importance by count, shape (units + 1,). points: the loss at some counts.
    """
    errors = table[-1] - table
    counts = np.array(sorted(points))
    losses = np.maximum.accumulate(np.array([points[n] for n in counts])[::-1])[::-1]
    factors = np.log(np.maximum(losses, LEAST) / np.maximum(errors[counts], LEAST))
    errors = errors * np.exp(np.interp(np.arange(len(errors)), counts, factors))
    errors = np.maximum.accumulate(errors[::-1])[::-1]
    return np.asarray(errors[0] - errors, np.float64)


def measuring(labels: Labels, judge: Judge, statistics: Statistics, loss: Callable[[Mask], float]) -> Judge:
    """`judge`, its tables scaled to losses that are measured unless `statistics` know them."""
    root = labels.classes.root

    def measured(roots: IntArray) -> tuple[IntArray, FloatArray]:
        order, table = judge(roots)
        points = statistics.losses.setdefault(space_key(roots[order]), {})
        for count in sorted({max(1, round(share * len(roots))) for share in SHARES} - {len(roots)} - points.keys()):
            dropped = np.zeros(len(root), np.bool_)
            dropped[roots[order[count:]]] = True
            points[count] = loss(~dropped[root])
        return order, scaled(table, points)

    return measured


def output_error(evidence: Evidence, word: str) -> tuple[FloatArray, Judge]:
    """Importance of every neuron, for spaces without a linear consumer, and the judge of the others."""
    assert evidence.data is not None  # the criterion says that it needs them
    worth, judge = reconstruction(evidence, word)
    loss = cache(
        lambda: Loss(evidence.labels, data, memory=evidence.memory, device=evidence.device, seed=evidence.seed)
    )
    data = evidence.data

    def lost(keep: Mask) -> float:
        evidence.told("weigh", f"{word}: {np.count_nonzero(~keep):,} neurons less")
        return loss()(keep)

    return worth, measuring(evidence.labels, judge, evidence.statistics, lost)
