"""How the gradient of an operator's inputs follows from that of its outputs: one small rule for each input.

All shapes are known (a gradient is made for one batch size). What has no rule here stops the gradient.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from onnxsurgeon.arrays import Array
from onnxsurgeon.ops.call import Key
from onnxsurgeon.ops.emitter import Emitter
from onnxsurgeon.ops.slopes import (
    SLOPES,
    added,
    back,
    chosen,
    clip,
    divided,
    divisor,
    multiplied,
    power,
    prelu,
    same,
    subtracted,
    through,
)
from onnxsurgeon.ops.step import GradientCall, Rule
from onnxsurgeon.ops.windows import average_pool, conv_bias, conv_data, conv_weight, max_pool


class Gradient(NamedTuple):
    """Rules of one operator. inputs: by input; each: of every input, where there may be any number."""

    inputs: tuple[Rule | None, ...] = ()
    each: Rule | None = None

    def of(self, index: int) -> Rule | None:
        return self.each or (self.inputs[index] if index < len(self.inputs) else None)


def squared_error(emit: Emitter, value: str, expected: str, factor: float) -> tuple[str, str]:
    """`factor` times the sum of squares, a scalar; and its gradient by `value`."""
    wrong = emit("Sub", value, expected)
    squares = emit("Mul", emit("Mul", wrong, wrong), factor)
    loss = emit.reshaped(emit.total(squares, range(len(emit.shapes[value]))), ())
    return loss, emit("Mul", wrong, 2 * factor)


# --- products --------------------------------------------------------------------------------------------------------


def _matmul(step: GradientCall, index: int) -> str:
    emit = step.emit
    left, right = step.shape(0), step.shape(1)
    rows, columns = (left if len(left) > 1 else (1, *left)), (right if len(right) > 1 else (*right, 1))
    full = (*np.broadcast_shapes(rows[:-2], columns[:-2]), rows[-2], columns[-1])
    a, b = emit.reshaped(step.inputs[0], rows), emit.reshaped(step.inputs[1], columns)
    gradient = emit.reshaped(step.gradient, full)
    if index == 0:
        return emit.reshaped(emit.summed_to(emit.product(gradient, emit.swapped(b)), rows), left)
    if len(columns) == 2:  # all rows at once
        a, gradient = emit.reshaped(a, _flat(rows)), emit.reshaped(gradient, _flat(full))
    return emit.reshaped(emit.summed_to(emit.product(emit.swapped(a), gradient), columns), right)


def _flat(shape: tuple[int, ...]) -> tuple[int, int]:
    return int(np.prod(shape[:-1])), shape[-1]


def _gemm(step: GradientCall, index: int) -> str:
    emit, options = step.emit, step.attributes
    turned = [bool(options.get(name)) for name in ("transA", "transB")]
    a, b = (emit.swapped(step.inputs[i]) if turned[i] else step.inputs[i] for i in (0, 1))
    gradient = step.gradient
    found = emit.product(gradient, emit.swapped(b)) if index == 0 else emit.product(emit.swapped(a), gradient)
    return _scaled(step, emit.swapped(found) if turned[index] else found, "alpha")


def _gemm_bias(step: GradientCall, index: int) -> str:
    return _scaled(step, back(step, step.gradient, 2), "beta")


def _scaled(step: GradientCall, value: str, name: str) -> str:
    factor = float(step.attributes.get(name, 1.0))
    return value if factor == 1 else step.emit("Mul", value, factor)


# --- along axes ------------------------------------------------------------------------------------------------------


def _axes(step: GradientCall, place: int) -> list[int]:
    given, rank = step.parameter("axes", place), len(step.shape(0))
    axes = [] if given is None else [int(a) % rank for a in np.asarray(given).ravel()]
    return axes or ([] if step.attributes.get("noop_with_empty_axes") else list(range(rank)))


def _spread(step: GradientCall, axes: list[int]) -> str:
    """What was summed along `axes`, at each place."""
    shape = step.shape(0)
    return step.emit.spread(
        step.emit.reshaped(step.gradient, tuple(1 if a in axes else n for a, n in enumerate(shape))), shape
    )


def _reduce(*, mean: bool) -> Rule:
    def rule(step: GradientCall, index: int) -> str | None:
        if step.has(1) and step.value(1) is None:
            return None
        axes = _axes(step, 1)
        return _shared(step, axes) if mean else _spread(step, axes)

    return rule


def _shared(step: GradientCall, axes: list[int]) -> str:
    return step.emit("Div", _spread(step, axes), float(np.prod([step.shape(0)[a] for a in axes])))


def _global_average(step: GradientCall, index: int) -> str:
    return _shared(step, list(range(2, len(step.shape(0)))))


def _normalised_axes(step: GradientCall) -> list[int]:
    """Of a softmax: one axis, or before opset 13 all from it on."""
    rank = len(step.shape(0))
    axis = int(step.attributes["axis"]) % rank
    return [axis] if step.emit.version >= 13 else list(range(axis, rank))


def _softmax(step: GradientCall, index: int) -> str:
    emit, y = step.emit, step.outputs[0]
    mean = emit.total(emit("Mul", step.gradient, y), _normalised_axes(step))
    return emit("Mul", y, emit("Sub", step.gradient, mean))


def _log_softmax(step: GradientCall, index: int) -> str:
    emit = step.emit
    sum_ = emit.total(step.gradient, _normalised_axes(step))
    return emit("Sub", step.gradient, emit("Mul", emit("Exp", step.outputs[0]), sum_))


def _batch_norm(step: GradientCall, index: int) -> str:
    emit = step.emit
    deviation = emit("Sqrt", emit("Add", step.inputs[4], float(step.attributes["epsilon"])))
    factor = emit("Div", step.inputs[1], deviation)
    behind = (1,) * (len(step.shape(0)) - 2)
    return emit("Mul", step.gradient, emit.reshaped(factor, (*step.shape(1), *behind)))


def _layer_norm(step: GradientCall, index: int) -> str:
    emit, x, rank = step.emit, step.inputs[0], len(step.shape(0))
    axes = list(range(int(step.attributes["axis"]) % rank, rank))
    centred = emit("Sub", x, emit.mean(x, axes))
    variance = emit.mean(emit("Mul", centred, centred), axes)
    deviation = emit("Sqrt", emit("Add", variance, float(step.attributes["epsilon"])))
    unit, gradient = emit("Div", centred, deviation), emit("Mul", step.gradient, step.inputs[1])
    along = emit("Mul", unit, emit.mean(emit("Mul", gradient, unit), axes))
    return emit("Div", emit("Sub", emit("Sub", gradient, emit.mean(gradient, axes)), along), deviation)


# --- movement --------------------------------------------------------------------------------------------------------


def _reshape(step: GradientCall, index: int) -> str:
    return step.emit.reshaped(step.gradient, step.shape(0))


def _transpose(step: GradientCall, index: int) -> str:
    order = step.attributes.get("perm") or range(len(step.shape(0)))[::-1]
    return step.emit.transposed(step.gradient, [int(axis) for axis in np.argsort(order)])


def _concat(step: GradientCall, index: int) -> str:
    axis = int(step.attributes["axis"]) % len(step.result())
    lengths = [step.shape(i)[axis] for i in range(len(step.inputs))]
    start = sum(lengths[:index])
    return step.emit.selected(step.gradient, axis, np.arange(start, start + lengths[index]))


def _split(step: GradientCall, index: int) -> str:
    return step.emit.joined(step.gradients, int(step.attributes.get("axis", 0)) % len(step.shape(0)))


def _slice(step: GradientCall, index: int) -> str | None:
    starts, ends = step.parameter("starts", 1), step.parameter("ends", 2)
    axes, steps = step.parameter("axes", 3), step.parameter("steps", 4)
    if starts is None or ends is None or (step.has(3) and axes is None) or (step.has(4) and steps is None):
        return None
    shape, result = step.shape(0), step.gradient
    places = range(len(starts)) if axes is None else [int(a) % len(shape) for a in axes]
    for number, axis in enumerate(places):
        stride = 1 if steps is None else int(steps[number])
        taken = np.arange(shape[axis])[_span(int(starts[number]), int(ends[number]), stride, shape[axis])]
        result = step.emit.scattered(result, axis, taken, shape[axis])
    return result


def _span(start: int, end: int, step: int, size: int) -> slice:
    """An end below -size is one before the first position."""
    return slice(start, None if step < 0 and end < -size else end, step)


def _gather(step: GradientCall, index: int) -> str | None:
    indices, shape = step.value(1), step.shape(0)
    if indices is None:
        return None
    axis = int(step.attributes["axis"]) % len(shape)
    flat = np.asarray(indices).ravel() % shape[axis]
    gradient = step.emit.reshaped(step.gradient, (*shape[:axis], len(flat), *shape[axis + 1 :]))
    return step.emit.scattered(gradient, axis, flat, shape[axis])


def _pad(step: GradientCall, index: int) -> str | None:
    pads, axes, shape = step.parameter("pads", 1), step.value(3), step.shape(0)
    if pads is None or step.attributes.get("mode", "constant") != "constant" or min(pads) < 0:
        return None
    result, befores = step.gradient, np.asarray(pads)[: len(pads) // 2]
    for axis, before in zip(range(len(shape)) if axes is None else axes, befores, strict=True):
        at: Array = np.arange(before, before + shape[axis])
        result = step.emit.selected(result, int(axis) % len(shape), at)
    return result


_RULES: dict[str, Gradient] = {
    "Add": Gradient(each=added),
    "AveragePool": Gradient((average_pool,)),
    "BatchNormalization": Gradient((_batch_norm,)),
    "Cast": Gradient((same,)),
    "Clip": Gradient((clip,)),
    "Concat": Gradient(each=_concat),
    "Conv": Gradient((conv_data, conv_weight, conv_bias)),
    "Div": Gradient((divided, divisor)),
    "Dropout": Gradient((same,)),
    "Expand": Gradient((added,)),
    "Flatten": Gradient((_reshape,)),
    "Gather": Gradient((_gather,)),
    "Gemm": Gradient((_gemm, _gemm, _gemm_bias)),
    "GlobalAveragePool": Gradient((_global_average,)),
    "Identity": Gradient((same,)),
    "LayerNormalization": Gradient((_layer_norm,)),
    "LogSoftmax": Gradient((_log_softmax,)),
    "MatMul": Gradient((_matmul, _matmul)),
    "MaxPool": Gradient((max_pool,)),
    "Mul": Gradient((multiplied, multiplied)),
    "Neg": Gradient((lambda step, index: step.emit("Neg", step.gradient),)),
    "PRelu": Gradient((prelu,)),
    "Pad": Gradient((_pad,)),
    "Pow": Gradient((power,)),
    "ReduceMean": Gradient((_reduce(mean=True),)),
    "ReduceSum": Gradient((_reduce(mean=False),)),
    "Reshape": Gradient((_reshape,)),
    "Slice": Gradient((_slice,)),
    "Softmax": Gradient((_softmax,)),
    "Split": Gradient((_split,)),
    "Squeeze": Gradient((_reshape,)),
    "Sub": Gradient((added, subtracted)),
    "Sum": Gradient(each=added),
    "Transpose": Gradient((_transpose,)),
    "Unsqueeze": Gradient((_reshape,)),
    "Where": Gradient((None, chosen, chosen)),
    **{name: Gradient((through(derivative),)) for name, derivative in SLOPES.items()},
}

GRADIENTS: dict[Key, Gradient] = {("", name): gradient for name, gradient in _RULES.items()}
