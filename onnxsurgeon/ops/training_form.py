"""How operators work in training, where that is not how they infer: statistics of the batch, dropped elements."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import Literal

from onnxsurgeon.arrays import Shape
from onnxsurgeon.ops.gradient import GradientCall

Part = Literal["centred", "mean", "variance", "mask", "sum", "along"]  # what a form keeps for gradients


@dataclass(frozen=True)
class TrainingState:
    """What the forms of one graph need and leave behind.

    updates: the new value of each statistic, by its name. masks: inputs of random factors, with their shape and the
    share of them that is 0. kept: values that gradients use, by the node's first output and what they are.
    """

    updates: dict[str, str] = field(default_factory=dict)
    masks: dict[str, tuple[Shape, float]] = field(default_factory=dict)
    kept: dict[tuple[str, Part], str] = field(default_factory=dict)

    def keep(self, call: GradientCall, part: Part, made: Callable[[], str]) -> str:
        """The value that is kept; `made` if there is none yet."""
        key = (call.outputs[0], part)
        if key not in self.kept:
            self.kept[key] = made()
        return self.kept[key]


@dataclass(frozen=True)
class TrainingForm:
    """forward: emits the node's outputs. gradient: of an input, as `GradientRule`."""

    forward: Callable[[GradientCall, TrainingState], None]
    gradient: Callable[[GradientCall, int, TrainingState], str | None]


# --- batch normalisation ---------------------------------------------------------------------------------------------


def _around(call: GradientCall) -> list[int]:
    return [axis for axis in range(len(call.shape(0))) if axis != 1]


def _normalise(call: GradientCall, state: TrainingState) -> None:
    """By the mean and variance of the batch; the running ones move towards them."""
    emit, axes, (x, scale, shift, *running) = call.emit, _around(call), call.inputs
    epsilon, momentum = float(call.attributes["epsilon"]), float(call.attributes["momentum"])
    mean = emit.mean(x, axes)
    centred = state.keep(call, "centred", lambda: emit("Sub", x, mean))
    variance = emit.mean(emit("Mul", centred, centred), axes)
    found = [emit.reshaped(value, call.shape(1)) for value in (mean, variance)]
    state.kept[call.outputs[0], "variance"] = found[1]
    result = emit("BatchNormalization", x, scale, shift, *found, shape=call.shape(0), epsilon=epsilon)
    emit.named(result, call.outputs[0])
    for name, value in zip(running, found, strict=True):
        old, new = emit("Mul", name, momentum), emit("Mul", value, 1 - momentum)
        state.updates[name] = emit("Add", old, new)


def _unnormalise(call: GradientCall, index: int, state: TrainingState) -> str | None:
    """With the batch's statistics the gradient is without its mean, and without what lies along the result."""
    emit, axes, channels = call.emit, _around(call), call.shape(1)
    centred, variance = (state.kept[call.outputs[0], part] for part in ("centred", "variance"))
    total = state.keep(call, "sum", lambda: emit.reshaped(emit.total(call.gradient, axes), channels))
    along = state.keep(
        call, "along", lambda: emit.reshaped(emit.total(emit("Mul", call.gradient, centred), axes), channels)
    )
    inverse = emit("Reciprocal", emit("Sqrt", emit("Add", variance, float(call.attributes["epsilon"]))))
    if index == 1:
        return emit("Mul", along, inverse)
    if index == 2:
        return total
    if index != 0:
        return None
    count = float(prod(call.shape(0)[axis] for axis in axes))
    factor = emit("Mul", call.inputs[1], inverse)
    across = emit("Mul", emit("Mul", emit("Mul", factor, along), emit("Mul", inverse, inverse)), -1 / count)
    shift = emit("Mul", emit("Mul", factor, total), -1 / count)
    wide = (*channels, *(1,) * (len(call.shape(0)) - 2))
    factor, across, shift = (emit.reshaped(value, wide) for value in (factor, across, shift))
    return emit("Add", emit("Add", emit("Mul", call.gradient, factor), emit("Mul", centred, across)), shift)


BATCH_STATISTICS = TrainingForm(_normalise, _unnormalise)

# --- dropout ---------------------------------------------------------------------------------------------------------


def _drop(call: GradientCall, state: TrainingState) -> None:
    """Times a mask that is given, whose mean is 1."""
    given, emit = call.parameter("ratio", 1), call.emit
    ratio = 0.5 if given is None else float(given)
    if not ratio:
        emit.named(call.inputs[0], call.outputs[0])
        return
    mask = state.keep(call, "mask", lambda: f"mask of {call.outputs[0]}")
    state.masks[mask] = call.shape(0), ratio
    emit.shapes[mask] = call.shape(0)
    emit.named(emit("Mul", call.inputs[0], mask), call.outputs[0])


def _redrop(call: GradientCall, index: int, state: TrainingState) -> str | None:
    if index != 0:
        return None
    mask = state.kept.get((call.outputs[0], "mask"))
    return call.gradient if mask is None else call.emit("Mul", call.gradient, mask)


MASKED = TrainingForm(_drop, _redrop)
