"""The loss whose gradients say what channels are worth: on the labels of the data, or on labels that the model draws.

By a teacher's outputs no gradient can be had, because the teacher is the model itself. Labels that are drawn from what
the model says give the gradients whose squares are its Fisher information.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import Array, Arrays, Shape
from onnxsurgeon.data import Batch, Samples
from onnxsurgeon.errors import ModelError, UsageError
from onnxsurgeon.options.shared import Device
from onnxsurgeon.runtime.partial_runs import Segment
from onnxsurgeon.training.ends import logits, loss_values
from onnxsurgeon.training.losses import LOSSES, Labels
from onnxsurgeon.training.step_graph import Loss, LossCall
from onnxsurgeon.training.targets import TrainingTargets, class_axis, wide

TINY = 1e-6  # the least deviation of an output


@dataclass(frozen=True)
class DataLoss:
    """ends: the values that it judges. targets: what they should be, for a batch and its number. said: in words."""

    ends: Sequence[ir.Value]
    emit: Loss
    targets: Callable[[Batch, int], Arrays]
    said: str


def data_loss(
    model: ir.Model, states: Mapping[str, str], data: Samples, *, output: str | None, seed: int, device: Device
) -> DataLoss:
    """The loss of a model whose floats are float32. output: the name of the one that labels are about.

    Raises ModelError if the model has no float output, UsageError if it has none of that name.
    """
    first, names = next(iter(data.batches())), [value.name or "" for value in model.graph.outputs]
    if output is not None and output not in names:
        why = f"outputs: {', '.join(names)}"
        raise UsageError(f"the model has no output {output}", why=why, fix="choose one with `output_name`")
    outputs = [v for v in model.graph.outputs if v.name not in states.values() and output in (None, v.name)]
    if first.labels is not None and len(outputs) == 1:
        found = _labelled(model, outputs[0], first, device)
        if found is not None:
            return found
    ends = loss_values(model, states)
    if not ends:
        raise ModelError("there is no loss", why="the model has no float output", fix="choose another `importance`")
    why = "the data have none" if first.labels is None else "those of the data fit no output"
    return _drawn(model, ends, first, seed, device, f"gradients are on labels that the model drew itself: {why}")


def _labelled(model: ir.Model, output: ir.Value, first: Batch, device: Device) -> DataLoss | None:
    """The loss on the labels; None if they don't fit the output."""
    labels = first.labels
    assert labels is not None
    kind: Labels
    kind, word = ("classes", "cross-entropy") if labels.dtype.kind in "iub" else ("values", "mse")
    end = logits(output) if kind == "classes" else output
    name = end.name or ""
    shape = np.asarray(Segment(model, [end], device).run(wide(first.feed), first.size)[name]).shape
    axis = class_axis(labels, shape)
    known = TrainingTargets(kind, [name], [shape], axis, None)

    def targets(batch: Batch, number: int) -> Arrays:
        assert batch.labels is not None
        return known.of(batch.feed, batch.labels[np.arange(batch.size) % batch.count], batch.size)

    try:
        targets(first, 0)
    except (UsageError, IndexError):
        return None
    record = LOSSES[word].emit
    assert record is not None
    return DataLoss(
        [end], lambda call: record(call, {"class_axis": axis}), targets, f"gradients are those of {word} on the labels"
    )


def _drawn(model: ir.Model, ends: Sequence[ir.Value], first: Batch, seed: int, device: Device, said: str) -> DataLoss:
    """Classes that are drawn from the softmax of scores; other outputs plus noise of their own deviation."""
    piece = Segment(model, ends, device)
    arrays = piece.run(wide(first.feed), first.size)
    spreads = {
        end.name or "": None if _are_scores(found.shape) else max(float(found.std()), TINY)
        for end in ends for found in [np.asarray(arrays[end.name or ""])]
    }  # fmt: skip

    def targets(batch: Batch, number: int) -> Arrays:
        rng = np.random.default_rng([seed, number])
        found = piece.run(wide(batch.feed), batch.size)
        return {name: _draw(np.asarray(found[name]), spread, rng) for name, spread in spreads.items()}

    def emitted(call: LossCall) -> str:
        parts = []
        for end in call.ends:
            spread = spreads[end]
            record = LOSSES["cross-entropy" if spread is None else "mse"].emit
            assert record is not None
            part = record(replace(call, ends=[end]), {"class_axis": 1})
            parts.append(part if spread is None else call.emit("Mul", part, 0.5 / spread**2))
        return call.emit.sum(parts)

    return DataLoss(ends, emitted, targets, said)


def _are_scores(shape: Shape) -> bool:
    return len(shape) == 2 and shape[1] > 1


def _draw(output: Array, spread: float | None, rng: np.random.Generator) -> Array:
    if spread is not None:
        noise = rng.standard_normal(output.shape, np.float32)
        return np.asarray(output + spread * noise, np.float32)
    noisy = output + rng.gumbel(size=output.shape)  # its largest is a draw from the softmax
    return np.asarray(np.eye(output.shape[1])[noisy.argmax(axis=1)], np.float32)
