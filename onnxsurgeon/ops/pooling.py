"""Pooling, sampling and transforms along space: channels are the second axis, and pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from onnxsurgeon.arrays import Shape
from onnxsurgeon.neurons.relations import Axes
from onnxsurgeon.ops.call import Call
from onnxsurgeon.ops.composition import composed
from onnxsurgeon.ops.gradient import GradientCall
from onnxsurgeon.ops.reduction import mean_of, no_zero, signs, to_extremes
from onnxsurgeon.ops.registry import MICROSOFT, Operator, add
from onnxsurgeon.ops.sampling_gradients import grid_sample
from onnxsurgeon.ops.shape_inference import Attributes, ShapeRule, Shapes
from onnxsurgeon.ops.signatures import read, signature
from onnxsurgeon.ops.windows import needed, padded, places, positions, taps_of, unslid, untapped, window_of

LOW = -3.4e38  # below all that is pooled
POOL = Operator(signature("n c * -> n c *"), silence="none")


def max_pool(call: Call) -> Sequence[Axes | None]:
    if any(indices.used for indices in call.outputs[1:]):
        return call.freeze_all("its indices count over all channels")
    return read(call, "n c * -> n c *, n c *")


def pooled(attributes: Attributes, shapes: Shapes) -> Sequence[Shape]:
    n, *spatial = shapes[0]
    kernel = attributes["kernel_shape"]
    if attributes.get("channels_last"):
        return [(n, *places(attributes, tuple(spatial[:-1]), kernel), spatial[-1])]
    return [(n, spatial[0], *places(attributes, tuple(spatial[1:]), kernel))]


def pooled_last(attributes: Attributes, shapes: Shapes) -> Sequence[Shape]:
    return pooled({**attributes, "channels_last": 1}, shapes)


def pooled_away(attributes: Attributes, shapes: Shapes) -> Sequence[Shape]:
    n, *rest = shapes[0]
    ones = (1,) * (len(rest) - 1)
    return [(n, *ones, rest[-1]) if attributes.get("channels_last") else (n, rest[0], *ones)]


def average_gradient(call: GradientCall, index: int) -> str:
    emit, seen, size = call.emit, window_of(call), call.shape(0)[2:]
    share = np.ones((), np.float32)
    for at, n, before, after in zip(positions(call), size, seen.before, seen.after, strict=True):
        start, end = (0, before + n + after) if call.attributes.get("count_include_pad") else (before, before + n)
        share = share[..., None] / ((at >= start) & (at < end)).sum(axis=0).astype(np.float32)
    n, channels, *places = call.result()
    gradient = emit.reshaped(emit("Mul", call.gradient, emit.constant(share)), (n * channels, 1, *places))
    ones = emit.filled((1, 1, *(len(at) for at in positions(call))), 1.0)
    return emit.reshaped(unslid(call, gradient, ones, 1, 1, needed(call)), call.shape(0))


def max_gradient(call: GradientCall, index: int) -> str:
    """To the first tap that is the largest."""
    emit, ends, size = call.emit, needed(call), call.shape(0)[2:]
    free, parts = emit.filled((), 1.0), []
    for seen in taps_of(call, padded(call, LOW)):
        largest = emit("Mul", free, emit.number(emit("Not", emit("Less", seen, call.outputs[0]))))
        free = emit("Sub", free, largest)
        parts.append(emit("Mul", largest, call.gradient))
    found = untapped(call, parts, [n + before + after for n, (before, after) in zip(size, ends, strict=True)])
    return emit.places(found, {2 + a: np.arange(before, before + size[a]) for a, (before, _) in enumerate(ends)})


def global_average_gradient(call: GradientCall, index: int) -> str:
    return mean_of(call, list(range(2, len(call.shape(0)))))


def powers(call: GradientCall) -> tuple[str, str]:
    """Of a norm: the slope of its p-th power at each element over p, and what is divided by."""
    emit, x, p = call.emit, call.inputs[0], float(call.attributes.get("p", 2))
    length = no_zero(emit, call.outputs[0])
    if p == 2.0:
        return x, length
    return emit("Mul", signs(emit, x), emit("Pow", emit("Abs", x), p - 1)), emit("Pow", length, p - 1)


def norm_gradient(call: GradientCall, index: int) -> str:
    """Of a norm in each window."""
    emit, (slope, length) = call.emit, powers(call)
    n, channels, *places = call.result()
    share = emit.reshaped(emit("Div", call.gradient, length), (n * channels, 1, *places))
    ones = emit.filled((1, 1, *(len(at) for at in positions(call))), 1.0)
    return emit("Mul", slope, emit.reshaped(unslid(call, share, ones, 1, 1, needed(call)), call.shape(0)))


def global_norm_gradient(call: GradientCall, index: int) -> str:
    slope, length = powers(call)
    return call.emit("Mul", slope, call.emit("Div", call.gradient, length))


def global_max_gradient(call: GradientCall, index: int) -> str:
    return to_extremes(call, list(range(2, len(call.shape(0)))))


MEAN = replace(POOL, linear_in="first", keeps_mean=True)

SLID: dict[str, Any] = {"sizes": lambda call: pooled(call.attributes, call.shapes)[0], "windows": "slid"}

add("GlobalMaxPool", POOL, windows="whole", gradient=(global_max_gradient,))
add("GlobalLpPool", POOL, windows="whole", gradient=(global_norm_gradient,))
add("LpPool", POOL, gradient=(norm_gradient,), **SLID)
add("AveragePool", MEAN, gradient=(average_gradient,), **SLID)
add("GlobalAveragePool", MEAN, windows="whole", gradient=(global_average_gradient,))
add("MaxPool", max_pool, silence="none", gradient=(max_gradient,), **SLID)
add("NhwcMaxPool", signature("n * c -> n * c"), silence="none", shape=ShapeRule(pooled_last), domain=MICROSOFT)


def channels(call: Call) -> str:
    return "n * c -> n * c" if call.attributes.get("channels_last") else "n c * -> n c *"


QUANTISED = Operator(signature(channels), silence="none")

add("QLinearAveragePool", QUANTISED, shape=ShapeRule(pooled), domain=MICROSOFT)
add("QLinearGlobalAveragePool", QUANTISED, shape=ShapeRule(pooled_away), domain=MICROSOFT)


SAMPLED = Operator(signature("n c *, n * -> n c *"), silence="none")

add("GridSample", SAMPLED, gradient=composed(grid_sample))
add("GridSample", SAMPLED, gradient=composed(grid_sample), stands_for=("GridSample", 16), domain=MICROSOFT)
add("RoiAlign", signature("_ c *, r _, r -> r c *"), silence="none")
add("MaxRoiPool", signature("_ c *, r _ -> r c *"), silence="none")


def columns(call: Call) -> Sequence[Axes | None]:
    block = call.static(2)
    if block is None:
        return call.freeze_all("a block of unknown size")
    return read(call, f"n (c {prod(block.tolist())}) _ -> n c *")


add("Col2Im", columns, silence="none")


def fourier(call: Call) -> Sequence[Axes | None]:
    rank, axis = call.rank(), call.parameter("axis", 2)
    if call.has(2) and axis is None:
        return call.freeze_all("transformed along an axis that is not known")
    along = int(axis) if axis is not None else -2
    own = ["_" if a in (along % max(rank, 1), rank - 1) else f"x{a}" for a in range(rank)]
    return read(call, f"{' '.join(own)} -> {' '.join(own)}")


add("DFT", fourier, silence="none")
add("STFT", signature("n _ _, , _ -> n _ _ _"), silence="none")
