"""Layerwise compensation: refits the weights behind a cut to the original's activations, in closed form.

bias: adds the mean of the lost contributions to the biases. linear: each layer reproduces its original output from the
remaining original inputs (least squares on the Gram matrix, as in ThiNet and Optimal Brain Compression). sequential:
layer by layer in graph order, from the inputs that the cut model computes (the asymmetric reconstruction of Zhang et
al. 2016).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import Arrays, FloatArray, IntArray, Mask
from onnxsurgeon.calibration.expected_means import expected
from onnxsurgeon.calibration.least_squares import Fit, FitRows, error, fit, quick_fit
from onnxsurgeon.calibration.linear_layers import goals
from onnxsurgeon.calibration.statistics import FIT_ROWS, Moments, RowLimits, pick_rows
from onnxsurgeon.compensation.cut_layers import CutLayer, layers
from onnxsurgeon.compensation.norm_statistics import ChannelSums, norms, update_norm
from onnxsurgeon.data import Batch, Samples
from onnxsurgeon.dependency.interface import positions, taken
from onnxsurgeon.dependency.labels import Labels
from onnxsurgeon.model.editor import Editor
from onnxsurgeon.options.shared import Counted, Device
from onnxsurgeon.runtime.partial_runs import Segment, Store, Walk

if TYPE_CHECKING:
    from onnxsurgeon.compensation.evidence import Evidence

RIDGE = 1e-3  # relative to the mean variance of a feature, if there are no held-out rows to choose it
TOGETHER = "(all together)"  # the node of a change that concerns the whole network
Refit = Callable[[CutLayer, FitRows, Fit, FloatArray], list["Change"]]
SAME = 1e-9  # a layer with a smaller relative error is not refitted


@dataclass(frozen=True)
class Change:
    """A refitted layer. before, after: its squared error relative to the variance of its target.

    node: its name; or TOGETHER for distillation, with the error of the network's outputs on held-out samples.
    """

    node: str
    before: float
    after: float


def bias(evidence: Evidence, keep: Mask, model: ir.Model) -> list[Change]:
    """The compensation `bias`."""
    known = evidence.statistics.moments or expected(evidence.labels, evidence.layers)
    return from_moments(evidence.labels, keep, model, known, biases_only=True)


def linear(evidence: Evidence, keep: Mask, model: ir.Model) -> list[Change]:
    """The compensation `linear`."""
    return from_moments(evidence.labels, keep, model, evidence.statistics.moments)


def in_sequence(evidence: Evidence, keep: Mask, model: ir.Model) -> list[Change]:
    """The compensation `sequential`."""
    return sequential(evidence.targets, keep, model, progress=partial(evidence.announce, "compensate"))


def from_moments(
    labels: Labels, keep: Mask, model: ir.Model, moments: Mapping[str, Moments], *, biases_only: bool = False
) -> list[Change]:
    """Refit `model`, the original cut to `keep`, to moments of the original: `linear`, or `bias` if biases_only."""
    changes = []
    for layer in layers(labels, keep, Editor(model)):
        consumer = layer.consumer
        known = moments.get(consumer.key)
        if known is None or layer.features.all():
            continue
        whole = consumer.matrix()[layer.groups]
        part = _restricted(known, layer.groups)
        before = layer.within(whole)
        after = before if biases_only else _solve_remaining(whole, part, layer.features)
        bias = np.einsum("gf,gfo->go", part.mean, whole - after)
        outputs = layer.outputs
        layer.write(
            np.stack([m[f][:, o] for m, f, o in zip(after, layer.features, outputs, strict=True)]),
            layer.bias() + np.stack([b[o] for b, o in zip(bias, outputs, strict=True)]),
        )
        lost = [_energy(whole - m, part, outputs) for m in (before, after)]
        total = _energy(whole, part, outputs)
        changes.append(Change(consumer.name, *(e / total if total else 0.0 for e in lost)))
    return changes


def _restricted(known: Moments, groups: Mask) -> Moments:
    return Moments(known.gram[groups], known.mean[groups], known.magnitude[groups])


def _solve_remaining(whole: FloatArray, known: Moments, features: Mask) -> FloatArray:
    """The weights on the remaining features that reproduce the output best; 0 for features that are gone."""
    result = np.zeros_like(whole)
    for group, (covariance, stays) in enumerate(zip(known.covariance, features, strict=True)):
        ridge = RIDGE * np.trace(covariance) / len(covariance) + 1e-12
        left = covariance[np.ix_(stays, stays)] + ridge * np.eye(stays.sum())
        lost = covariance[np.ix_(stays, ~stays)] @ whole[group, ~stays]
        result[group, stays] = whole[group, stays] + np.linalg.solve(left, lost)
    return result


def _energy(matrix: FloatArray, known: Moments, outputs: Mask) -> float:
    energy = (matrix * (known.covariance @ matrix)).sum(axis=1)
    return float(energy[outputs].sum())


class Targets:
    """Fit targets: rows of the outputs of the original's layers on `data`.

    memory: limit in bytes; rows beyond a quarter of it go to a temporary folder. `gather` runs the original, unless
    `take` has already received its values batch by batch.
    """

    def __init__(
        self, labels: Labels, data: Samples, *, memory: float, device: Device = "auto", seed: int = 0,
        rows: RowLimits = FIT_ROWS,
    ) -> None:  # fmt: skip
        self.labels, self.data, self.memory, self.device, self.seed, self.rows = (
            labels, data, memory, device, seed, rows,
        )  # fmt: skip
        self.goals = {goal.consumer.output: goal for goal in goals(labels)}
        fitted = {goal.consumer.node.outputs[0] for goal in self.goals.values()}
        self.norms = {norm.output: (norm, ChannelSums()) for norm in norms(labels, fitted)}
        self.picked: dict[str, list[IntArray]] = {name: [] for name in self.goals}
        self.shares = list[float]()  # of each batch without its padding
        self.sizes = list[int]()
        self.store, self.batches = Store(memory / 4), 0

    def gather(self) -> None:
        """Run the original on all data to collect the targets, unless they are there already."""
        if self.batches:
            return
        piece = Segment(self.labels.model, self.values, self.device)
        for number, batch in enumerate(self.data.batches()):
            self.take(number, batch, piece.run(batch.feed, batch.size))

    @property
    def values(self) -> list[ir.Value]:
        return [*(goal.value for goal in self.goals.values()), *(norm.data for norm, _ in self.norms.values())]

    def take(self, number: int, batch: Batch, arrays: Arrays) -> None:
        """Add the targets of one batch."""
        for name, goal in self.goals.items():
            consumer, value = goal.consumer, arrays[goal.value.name or ""]
            count = consumer.linear.count(value)
            chosen = pick_rows(consumer, count, batch, number, len(self.data), self.seed, self.rows)
            self.picked[name].append(chosen)
            self.store.put(name, number, consumer.linear.outputs(consumer.call, value, chosen))
        for norm, sums in self.norms.values():
            sums.add(arrays[norm.data.name or ""], batch.count / batch.size)
        self.shares.append(batch.count / batch.size)
        self.sizes.append(batch.size)
        self.batches += 1

    def of(self, layer: CutLayer) -> FloatArray:
        """The targets of `layer`, shape (rows, remaining groups, remaining outputs)."""
        name = layer.consumer.output
        rows = np.concatenate([self.store.get(name, batch) for batch in range(self.batches)])[:, layer.groups]
        return rows[:, layer.outputs].reshape(len(rows), len(layer.outputs), -1)


@dataclass(frozen=True)
class Middle:
    """Where to begin, if the values before are those of the original.

    changed: names of values that are others. known: values of the cut model that are not, and that lead to the changed
    ones. feeds: their arrays, per batch.
    """

    changed: Collection[str]
    known: Collection[ir.Value]
    feeds: Sequence[Arrays]


def sequential(
    targets: Targets, keep: Mask, model: ir.Model, *, progress: Callable[[str], None] | None = None,
    middle: Middle | None = None, refit: Refit | None = None, most: float = np.inf,
) -> list[Change]:  # fmt: skip
    """Refit `model`, the original cut to `keep`, layer by layer in graph order. Returns the changes.

    refit: in place of a careful fit. most: the number of layers to refit.
    """
    targets.gather()
    editor, refit, places = Editor(model), refit or _refit, positions(targets.labels, keep)
    feeds = (batch.feed for batch in targets.data.batches()) if middle is None else iter(middle.feeds)
    known = None if middle is None else middle.known
    feeds = (taken(feed, places) for feed in feeds)
    walk = Walk(model, feeds, targets.sizes, limit=targets.memory / 2, device=targets.device, known=known)
    made = {value.name: value for node in model.graph for value in node.outputs}
    place = {value.name: number for number, node in enumerate(model.graph) for value in node.outputs}
    here = place if middle is None else middle.changed
    waiting = sorted((name for name in targets.norms if name in place and name in here), key=lambda name: place[name])
    changes, changed = list[Change](), False

    def update_norms(until: float) -> None:
        while waiting and place[waiting[0]] < until:
            norm, before = targets.norms[name := waiting.pop(0)]
            twin = made[name].producer()
            assert twin is not None
            data = twin.inputs[0]
            if changed and data is not None:
                after = ChannelSums()
                for array, share in zip(walk.to(data), targets.shares, strict=True):
                    after.add(array, share)
                update_norm(editor, twin, norm, keep, before, after)

    total = len(targets.goals)
    for number, layer in enumerate(layers(targets.labels, keep, editor, here)):
        update_norms(place[layer.consumer.output])
        changed = changed or not (layer.groups.all() and layer.features.all() and layer.outputs.all())
        if changed:
            if progress:
                progress(Counted(number, total, layer.consumer.name))
            bias, shift = layer.bias(), targets.goals[layer.consumer.output].shift
            added = np.zeros_like(bias) if shift is None else shift[layer.groups][layer.outputs].reshape(bias.shape)
            changes += refit(layer, _rows(layer, targets, walk, made), Fit(layer.matrix(), bias + added), added)
            if len(changes) >= most:
                return changes
    update_norms(np.inf)
    return changes


def quickly(layer: CutLayer, rows: FitRows, now: Fit, added: FloatArray) -> list[Change]:
    """Refit one layer as `_refit` does, with one ridge and whatever the activation clips: to compare selections."""
    found = quick_fit(rows, now.matrix)
    if np.isfinite(found.matrix).all():
        layer.write(found.matrix, found.bias - added)
    return [Change(layer.consumer.name, np.nan, np.nan)]


def _refit(layer: CutLayer, rows: FitRows, now: Fit, added: FloatArray) -> list[Change]:
    """Refit one layer to `rows`. now: its weights with what the next node adds, `added`, in its bias."""
    before = error(rows, now)
    if before < SAME:
        return []
    found = fit(rows, now.matrix)
    after = error(rows, found)
    if not after < before:  # also true for NaN
        return [Change(layer.consumer.name, before, before)]
    layer.write(found.matrix, found.bias - added)
    return [Change(layer.consumer.name, before, after)]


def _rows(layer: CutLayer, targets: Targets, walk: Walk, made: Mapping[str | None, ir.Value]) -> FitRows:
    """The layer's inputs in the cut model, and its targets."""
    linear, call, name = layer.consumer.linear, layer.twin.call, layer.consumer.output
    goal, picked = targets.goals[name], targets.picked[name]
    data = layer.twin.node.inputs[linear.data]
    assert data is not None
    x = [linear.rows(call, a, p) for a, p in zip(walk.to(data), picked, strict=True)]
    y = targets.of(layer)
    if goal.other is not None:
        beside = walk.to(made[goal.other.name])
        y = y - np.concatenate([linear.outputs(call, a, p) for a, p in zip(beside, picked, strict=True)])
    return FitRows(np.concatenate(x), y, goal.bounds)
