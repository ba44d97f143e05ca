"""Importance of neurons from gradients of the loss on data."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import Arrays, FloatArray, IntArray
from onnxsurgeon.compensation.evidence import Evidence
from onnxsurgeon.data import Batch
from onnxsurgeon.importance.data_loss import data_loss
from onnxsurgeon.importance.from_weights import matrices
from onnxsurgeon.model.editor import copied
from onnxsurgeon.model.widening import NARROW, widen
from onnxsurgeon.options.shared import Counted
from onnxsurgeon.runtime.meter import GRADIENT, meter
from onnxsurgeon.training.contributions import Average, channel_ends, completed, emitted, joined, of_samples, summed
from onnxsurgeon.training.differentiate import Tape
from onnxsurgeon.training.loss_gradient import LossGradient
from onnxsurgeon.training.step_graph import Watch
from onnxsurgeon.training.targets import wide


def taylor(evidence: Evidence, word: str) -> FloatArray:
    """Importance per neuron, shape (neurons,): the sum over the places where it ends.

    There, it is the mean over samples of |sum over positions of activation * gradient| (Molchanov et al. 2017, arXiv
    1611.06440). A mean over positions orders the channels of a layer alike; but to first order the sum is what the loss
    loses with a channel, which makes layers of different sizes comparable.
    """
    found, average = channel_ends(evidence.labels), Average(_keep(evidence))
    names = {place.value for place in found}
    for batch, arrays in _passes(evidence, names, lambda tape, size: emitted(tape, found, size)):
        rows = {key: of_samples(array, batch.size) for key, array in arrays.items()}
        average.add({key: np.abs(array).sum(axis=0) / batch.count for key, array in rows.items()}, batch.count)
    reached = [place.ids for place in found if place.key in average.values]
    return _completed(evidence, summed(evidence.labels, found, average.values), reached)


def fisher(evidence: Evidence, word: str) -> FloatArray:
    """Importance per neuron, shape (neurons,): that of a unit stands at its root.

    It is the mean over samples of the squared derivative by one factor on all channels of the unit: their contributions
    are summed before they are squared (Liu et al. 2021, arXiv 2108.00708).
    """
    root, found = evidence.labels.classes.root, channel_ends(evidence.labels)
    units, where = np.unique(root[joined([place.ids for place in found])], return_inverse=True)
    ends = np.cumsum([0, *(len(place.ids) for place in found)])
    average, reached = Average(_keep(evidence)), dict[str, IntArray]()
    names = {place.value for place in found}
    for batch, arrays in _passes(evidence, names, lambda tape, size: emitted(tape, found, size)):
        total = np.zeros((len(units), batch.size))
        for place, begin, end in zip(found, ends[:-1], ends[1:], strict=True):
            if place.key in arrays:
                reached[place.key] = place.ids
                np.add.at(total, where[begin:end], of_samples(arrays[place.key], batch.size).T)
        average.add({"": (total**2).sum(axis=1) / batch.count}, batch.count)
    result = np.zeros(len(root))
    result[units] = average.values.get("", 0.0)
    return _completed(evidence, result, list(reached.values()))


def of_weights(evidence: Evidence, word: str) -> FloatArray:
    """Importance per neuron, shape (neurons,): the mean over batches, of each weight's slices.

    taylor-weight: the square of the sum of weight * gradient (Molchanov et al. 2019, arXiv 1906.10771). obd: the sum of
    the squares of weight * gradient (LeCun et al. 1990), with squared gradients as the second derivatives.
    """
    labels, average = evidence.labels, Average(_keep(evidence))
    found = {f"{n} {a}": (weight, a) for n, (weight, axes) in enumerate(matrices(labels)) for a in axes}
    names = {weight.value.name or "" for weight, _ in found.values()}

    def watch(tape: Tape, size: int) -> dict[str, str]:
        emit, made = tape.emit, dict[str, str]()
        for key, (weight, axis) in found.items():
            uses = [(node.outputs[0].name or "", index) for node, index in weight.uses]
            parts = [tape.uses[use] for use in uses if use in tape.uses]
            if parts:
                effect = emit("Mul", weight.value.name or "", emit.sum(parts))
                effect = emit("Mul", effect, effect) if word == "obd" else effect
                others = [other for other in range(len(weight.shape)) if other != axis]
                total = emit.reshaped(emit.total(effect, others), (weight.shape[axis],))
                made[key] = total if word == "obd" else emit("Mul", total, total)
        return made

    for batch, arrays in _passes(evidence, names, watch):
        average.add({key: np.asarray(array, np.float64) for key, array in arrays.items()}, batch.count)
    result, reached = np.zeros(labels.relations.count), list[IntArray]()
    for key, (weight, axis) in found.items():
        ids = weight.axes[axis]
        if ids is not None and key in average.values:
            np.add.at(result, ids, average.values[key])
            reached.append(ids)
    return _completed(evidence, result, reached)


def _keep(evidence: Evidence) -> float | None:
    return None if evidence.averaging.ewma is None else float(evidence.averaging.ewma)


def _passes(evidence: Evidence, names: Collection[str], watch: Watch) -> Iterator[tuple[Batch, Arrays]]:
    """Each batch that counts, with what is watched of its gradients. names: of what is differentiated by."""
    data, labels = evidence.samples, evidence.labels
    assert data is not None  # the criterion says that it needs them
    model = copied(labels.model)
    for narrow in (ir.DataType.FLOAT16, NARROW):
        widen(model, narrow)
    loss = data_loss(model, labels.states, data, output=evidence.output, seed=evidence.seed, device=evidence.device)
    evidence.notes.append(loss.said)
    gradient, done = LossGradient(model, loss.ends, names, loss.emit, watch, evidence.device), 0
    for number, batch in enumerate(data.batches()):
        evidence.announce("weigh", Counted(done, len(data), "samples: gradients"))
        done += batch.count
        if number % evidence.averaging.every_nth == 0:
            meter().add(batch.size, GRADIENT)
            shares = (np.arange(batch.size) < batch.count).astype(np.float32)
            yield batch, gradient(wide(batch.feed), loss.targets(batch, number), shares)


def _completed(evidence: Evidence, worth: FloatArray, reached: list[IntArray]) -> FloatArray:
    """`worth`, with units that no gradient reached among the most important."""
    worth, unknown = completed(evidence.labels, worth, reached)
    if unknown:
        evidence.notes.append(f"no gradient reaches {unknown} channels: they stay as long as others can go")
    return worth
