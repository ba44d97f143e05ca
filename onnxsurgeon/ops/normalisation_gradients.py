"""Gradients of normalisations: of what is normalised, and of scales, shifts and statistics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from onnxsurgeon.ops.composition import composed
from onnxsurgeon.ops.emitter import Emitter
from onnxsurgeon.ops.gradient import GradientCall, GradientRule, back

EPSILON = 1e-5  # where an operator without a schema does not say it
SCALE, SHIFT, MEAN, VARIANCE = 1, 2, 3, 4  # the inputs of BatchNormalization


def inverse_deviation(emit: Emitter, variance: str, epsilon: float) -> str:
    return emit("Reciprocal", emit("Sqrt", emit("Add", variance, epsilon)))


def normalised(emit: Emitter, x: str, axes: Sequence[int], epsilon: float, *, centred: bool = True) -> tuple[str, str]:
    """(unit, inverse): x without its mean and over its deviation, or over its root mean square; and what it was
    multiplied by."""
    moved = emit("Sub", x, emit.mean(x, axes)) if centred else x
    inverse = inverse_deviation(emit, emit.mean(emit("Mul", moved, moved), axes), epsilon)
    return emit("Mul", moved, inverse), inverse


def normalised_back(
    emit: Emitter, unit: str, inverse: str, gradient: str, axes: Sequence[int], *, centred: bool = True
) -> str:
    """The gradient of x, from that of its unit."""
    along = emit("Mul", unit, emit.mean(emit("Mul", gradient, unit), axes))
    rest = emit("Sub", gradient, emit.mean(gradient, axes)) if centred else gradient
    return emit("Mul", emit("Sub", rest, along), inverse)


def layer_norm_gradient(*, centred: bool) -> GradientRule:
    """Along the axes from `axis` on. centred: whether the mean is subtracted."""
    by_body = composed(partial(_layer_norm, centred=centred))

    def rule(call: GradientCall, index: int) -> str | None:
        if any(call.gradients[1:]):  # of statistics
            return by_body(call, index)
        emit, axes = call.emit, _last_axes(call)
        if index == SHIFT:
            return back(call, call.gradient, SHIFT)
        unit, inverse = normalised(emit, call.inputs[0], axes, _epsilon(call), centred=centred)
        if index == SCALE:
            return back(call, emit("Mul", call.gradient, unit), SCALE)
        gradient = emit("Mul", call.gradient, call.inputs[SCALE]) if call.has(SCALE) else call.gradient
        return normalised_back(emit, unit, inverse, gradient, axes, centred=centred)

    return rule


def _last_axes(call: GradientCall) -> list[int]:
    rank = len(call.shape(0))
    return list(range(call.axis(rank, -1), rank))


def _epsilon(call: GradientCall) -> float:
    return float(call.attributes.get("epsilon", EPSILON))


def _layer_norm(call: GradientCall, *, centred: bool) -> Sequence[str]:
    emit, x, axes = call.emit, call.inputs[0], _last_axes(call)
    unit, inverse = normalised(emit, x, axes, _epsilon(call), centred=centred)
    scaled = emit("Mul", unit, call.inputs[SCALE]) if call.has(SCALE) else unit
    shifted = emit("Add", scaled, call.inputs[SHIFT]) if call.has(SHIFT) else scaled
    return [shifted, *([emit.mean(x, axes)] if centred else []), inverse]


def skip_norm(*, centred: bool) -> GradientRule:
    """input + skip (+ bias), normalised along the last axis. centred: then it has a shift, before the bias."""

    def body(call: GradientCall) -> Sequence[str] | None:
        emit, bias = call.emit, 4 if centred else 3
        total = emit("Add", call.inputs[0], call.inputs[1])
        if call.has(bias):
            total = emit("Add", total, call.inputs[bias])
        axes = [len(emit.shapes[total]) - 1]
        unit, inverse = normalised(emit, total, axes, _epsilon(call), centred=centred)
        result = emit("Mul", unit, call.inputs[2])
        if centred and call.has(3):
            result = emit("Add", result, call.inputs[3])
        mean = emit.mean(total, axes)
        return [result, mean if centred else emit.filled(emit.shapes[mean], 0.0), inverse, total]

    return composed(body)


def embedding_norm(call: GradientCall) -> Sequence[str] | None:
    """Tables of words, positions and segments, looked up, summed and normalised."""
    emit, (batch, length) = call.emit, call.shape(0)
    if call.has(8):
        return None
    width = call.shape(2)[1]
    shape = (batch, length, width)
    rows = emit.selected(call.inputs[3], 0, np.arange(length))
    total = emit("Add", emit("Gather", call.inputs[2], call.inputs[0], axis=0, shape=shape), rows)
    if call.has(1) and call.has(4):
        total = emit("Add", total, emit("Gather", call.inputs[4], call.inputs[1], axis=0, shape=shape))
    unit, _ = normalised(emit, total, [2], float(call.attributes.get("epsilon", 1e-12)))
    return [emit("Add", emit("Mul", unit, call.inputs[5]), call.inputs[6]), "", total]


def _channels(call: GradientCall, value: str) -> str:
    """A number a channel, along the second axis."""
    return call.emit.reshaped(value, (call.emit.shapes[value][0], *(1,) * (len(call.shape(0)) - 2)))


def batch_norm_gradient(call: GradientCall, index: int) -> str | None:
    """With the statistics that it holds; in training mode by its body."""
    if call.attributes.get("training_mode") or any(call.outputs[1:]):
        return _trained(call, index)
    emit, rank = call.emit, len(call.shape(0))
    axes = [axis for axis in range(rank) if axis != 1]
    if index == SHIFT:
        return emit.reshaped(emit.total(call.gradient, axes), call.shape(SHIFT))
    inverse = inverse_deviation(emit, call.inputs[VARIANCE], _epsilon(call))
    factor = emit("Mul", call.inputs[SCALE], inverse)
    if index == 0:
        return emit("Mul", call.gradient, _channels(call, factor))
    if index == MEAN:
        return emit("Neg", emit("Mul", emit.reshaped(emit.total(call.gradient, axes), call.shape(MEAN)), factor))
    centred = emit("Sub", call.inputs[0], _channels(call, call.inputs[MEAN]))
    along = emit.reshaped(emit.total(emit("Mul", call.gradient, centred), axes), call.shape(SCALE))
    if index == SCALE:
        return emit("Mul", along, inverse)
    return emit("Mul", emit("Mul", emit("Mul", along, factor), emit("Mul", inverse, inverse)), -0.5)


def _batch_norm(call: GradientCall) -> Sequence[str] | None:
    emit, shape = call.emit, call.shape(0)
    axes, momentum = [a for a in range(len(shape)) if a != 1], float(call.attributes["momentum"])
    mean = emit.mean(call.inputs[0], axes)
    moved = emit("Sub", call.inputs[0], mean)
    variance = emit.mean(emit("Mul", moved, moved), axes)
    unit = emit("Mul", moved, inverse_deviation(emit, variance, _epsilon(call)))
    result = emit("Add", emit("Mul", unit, _channels(call, call.inputs[SCALE])), _channels(call, call.inputs[SHIFT]))
    running = [
        emit("Add", emit("Mul", call.inputs[k], momentum), emit("Mul", emit.reshaped(new, call.shape(k)), 1 - momentum))
        for k, new in ((MEAN, mean), (VARIANCE, variance))
    ]
    return [result, *running]


_trained = composed(_batch_norm)


def grouped_norm(groups: Callable[[GradientCall], int]) -> GradientRule:
    """Along the channels of a group and along space. groups: how many there are."""

    def rule(call: GradientCall, index: int) -> str:
        emit, (n, channels, *places), count = call.emit, call.shape(0), groups(call)
        across = [0, *range(2, 2 + len(places))]
        if index == SHIFT:
            return _per_group(call, emit.total(call.gradient, across), SHIFT)
        apart = (n, count, channels // count, *places)
        axes = list(range(2, len(apart)))
        unit, inverse = normalised(emit, emit.reshaped(call.inputs[0], apart), axes, _epsilon(call))
        if index == SCALE:
            along = emit("Mul", call.gradient, emit.reshaped(unit, call.shape(0)))
            return _per_group(call, emit.total(along, across), SCALE)
        scale, wide = call.inputs[SCALE], call.shape(SCALE)[0] // count
        factor = emit.reshaped(scale, (count, wide, *(1,) * len(places)))
        gradient = emit("Mul", emit.reshaped(call.gradient, apart), factor)
        return emit.reshaped(normalised_back(emit, unit, inverse, gradient, axes), call.shape(0))

    return rule


def _per_group(call: GradientCall, total: str, index: int) -> str:
    """Sums by channel, which are summed by group where the input has a number a group."""
    emit, channels, (size,) = call.emit, call.shape(0)[1], call.shape(index)
    return emit.reshaped(emit.total(emit.reshaped(total, (size, channels // size)), [1]), (size,))


def mean_variance_gradient(call: GradientCall, index: int) -> str:
    axes = sorted(int(a) % len(call.shape(0)) for a in call.attributes.get("axes") or (0, 2, 3))
    emit, x, y = call.emit, call.inputs[0], call.outputs[0]
    moved = emit("Sub", x, emit.mean(x, axes))
    deviation = emit("Sqrt", emit.mean(emit("Mul", moved, moved), axes))
    return normalised_back(emit, y, emit("Reciprocal", emit("Add", deviation, TINY)), call.gradient, axes)


TINY = 1e-9  # what MeanVarianceNormalization adds to the deviation


def local_response_gradient(call: GradientCall, index: int) -> str:
    """Each channel is divided by a power of the sum of squares of its neighbours."""
    emit, options, (channels, size) = call.emit, call.attributes, (call.shape(0)[1], int(call.attributes["size"]))
    at = np.arange(channels)
    distance = at[None] - at[:, None]
    near = ((distance >= -((size - 1) // 2)) & (distance <= size // 2)).astype(float)
    alpha, beta = float(options["alpha"]), float(options["beta"])
    squares = emit.mixed(emit("Mul", call.inputs[0], call.inputs[0]), 1, near)
    base = emit("Add", emit("Mul", squares, alpha / size), float(options["bias"]))
    own = emit("Div", call.gradient, emit("Pow", base, beta))
    share = emit.mixed(emit("Div", emit("Mul", call.gradient, call.outputs[0]), base), 1, near.T)
    return emit("Sub", own, emit("Mul", emit("Mul", call.inputs[0], share), 2 * alpha * beta / size))
