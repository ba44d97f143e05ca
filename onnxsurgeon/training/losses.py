"""Losses: one record each. A loss emits nodes; their gradients follow from the rules of operators.

Your own loss, `module:function`, gets the shapes of the output and of the labels for one batch, and returns an
onnx.ModelProto: from the output and the labels, its two inputs in this order, it computes the loss of each sample.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, Literal

from onnxsurgeon.options.parsing import OWN, record_of

if TYPE_CHECKING:
    from onnxsurgeon.training.step_graph import Loss, LossCall

Labels = Literal["classes", "values", "teacher"]


def squared_errors(factors: Sequence[float]) -> Loss:
    """The squared errors of all ends, each times its factor, summed."""

    def emitted(call: LossCall) -> str:
        emit, parts = call.emit, []
        for end, factor in zip(call.ends, factors, strict=True):
            wrong = emit("Sub", end, call.target(end))
            parts.append(call.by_sample(emit("Mul", emit("Mul", wrong, wrong), factor)))
        return emit.sum(parts)

    return emitted


def _mean(call: LossCall, value: str) -> str:
    """The mean over what belongs to a sample."""
    return call.emit("Mul", call.by_sample(value), call.size / prod(call.emit.shapes[value]))


def _log_softmax(call: LossCall, scores: str, axis: int) -> str:
    """Of class scores; the classes come last in the result."""
    emit, rank = call.emit, len(call.emit.shapes[scores])
    if axis != rank - 1:
        scores = emit.transposed(scores, [*(a for a in range(rank) if a != axis), axis])
    return emit("LogSoftmax", scores, axis=rank - 1)


def _cross_entropy(call: LossCall, settings: Mapping[str, Any]) -> str:
    """Of one distribution per sample, or per sample and place."""
    emit, end, axis = call.emit, call.ends[0], int(settings["class_axis"])
    target, rank = call.target(end), len(call.emit.shapes[end])
    if axis != rank - 1:
        target = emit.transposed(target, [*(a for a in range(rank) if a != axis), axis])
    found = emit("Neg", emit("Mul", target, _log_softmax(call, end, axis)))
    places = prod(emit.shapes[found]) // call.size // emit.shapes[found][-1]
    return emit("Div", call.by_sample(found), float(places))


def _squared(call: LossCall, settings: Mapping[str, Any]) -> str:
    wrong = call.emit("Sub", call.ends[0], call.target(call.ends[0]))
    return _mean(call, call.emit("Mul", wrong, wrong))


def _absolute(call: LossCall, settings: Mapping[str, Any]) -> str:
    return _mean(call, call.emit("Abs", call.emit("Sub", call.ends[0], call.target(call.ends[0]))))


def _binary(call: LossCall, settings: Mapping[str, Any]) -> str:
    """relu(x) - x t + log(1 + exp(-|x|)), which never overflows."""
    emit, x = call.emit, call.ends[0]
    far = emit("Log", emit("Add", emit("Exp", emit("Neg", emit("Abs", x))), 1.0))
    return _mean(call, emit("Add", emit("Sub", emit("Relu", x), emit("Mul", x, call.target(x))), far))


def _distilled(call: LossCall, settings: Mapping[str, Any]) -> str:
    """Of class scores, the divergence of their softmax at a temperature (Hinton et al. 2015), times its square; of
    other ends the squared error relative to the variance of the teacher's."""
    emit, heat, parts = call.emit, float(settings["temperature"]), list[str]()
    for end in call.ends:
        target, factor = call.target(end), settings["factors"].get(end)
        if factor is not None:
            wrong = emit("Sub", end, target)
            parts.append(call.by_sample(emit("Mul", emit("Mul", wrong, wrong), float(factor))))
            continue
        rank = len(emit.shapes[end])
        mine, other = (_log_softmax(call, emit("Div", scores, heat), rank - 1) for scores in (end, target))
        gap = emit("Mul", emit("Exp", other), emit("Sub", other, mine))
        parts.append(call.by_sample(emit("Mul", gap, heat * heat)))
    return emit.sum(parts)


@dataclass(frozen=True)
class LossRecord:
    """A loss. emit: emits it, given numbers that it needs. labels: what it compares with. metric: what a model that was
    trained with it is judged by. logits: whether it takes what is behind a final softmax or sigmoid."""

    help: str
    labels: Labels
    metric: str
    logits: bool = False
    emit: Callable[[LossCall, Mapping[str, Any]], str] | None = None


LOSSES: Mapping[str, LossRecord] = {
    "cross-entropy": LossRecord(
        "of class scores, against classes or distributions as labels", "classes", "top1", True, _cross_entropy
    ),
    "bce": LossRecord("binary cross-entropy of each score, against labels from 0 to 1", "values", "mse", True, _binary),
    "mse": LossRecord("mean squared error", "values", "mse", emit=_squared),
    "mae": LossRecord("mean absolute error", "values", "mse", emit=_absolute),
    "distill": LossRecord(
        "what `teacher` says: no labels needed; of class scores at a `temperature`", "teacher", "cosine", True,
        _distilled,
    ),
    OWN: LossRecord("your own function that returns an ONNX model of output and labels", "values", "mse"),
}  # fmt: skip


def loss(word: str, name: str = "`loss`") -> LossRecord:
    """The record of a word. Raises UsageError for an unknown one."""
    return record_of(word, LOSSES, name)
