"""GridSample and DeformConv as other operators compute them: each position reads the elements around it.

What lies outside of a tensor is 0, its border, or its reflection; positions are counted in elements.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from math import prod

import numpy as np

from onnxsurgeon.arrays import Array
from onnxsurgeon.ops.emitter import Emitter
from onnxsurgeon.ops.gradient import GradientCall

Tap = tuple[str, str]  # the index of an element along an axis, a whole number, and its weight; "" for 1
CUBIC = -0.75  # the coefficient of Keys' kernel in GridSample


def _nearest(emit: Emitter, at: str) -> list[Tap]:
    return [(emit("Round", at), "")]


def _linear(emit: Emitter, at: str) -> list[Tap]:
    low = emit("Floor", at)
    part = emit("Sub", at, low)
    return [(low, emit("Sub", 1.0, part)), (emit("Add", low, 1.0), part)]


def _cubic(emit: Emitter, at: str) -> list[Tap]:
    """Keys 1981."""
    low, a = emit("Floor", at), CUBIC
    part = emit("Sub", at, low)
    other = emit("Sub", 1.0, part)
    near, far = (a + 2, -(a + 3), 0.0, 1.0), (a, -5 * a, 8 * a, -4 * a)
    distances = [(emit("Add", part, 1.0), far), (part, near), (other, near), (emit("Add", other, 1.0), far)]
    return [
        (emit("Add", low, float(step)), _polynomial(emit, distance, factors))
        for step, (distance, factors) in enumerate(distances, -1)
    ]


def _polynomial(emit: Emitter, x: str, factors: Sequence[float]) -> str:
    first, *rest = factors
    found = emit("Mul", x, first)
    for factor in rest[:-1]:
        found = emit("Mul", emit("Add", found, factor), x)
    return emit("Add", found, rest[-1])


def _clipped(emit: Emitter, at: str, low: float, high: float) -> str:
    return emit("Max", emit("Min", at, high), low)


def _reflected(emit: Emitter, at: str, low: float, high: float) -> str:
    """Mirrored at both ends, as often as needed."""
    span = high - low
    if not span:
        return _clipped(emit, at, low, high)
    away = emit("Abs", emit("Sub", at, low))
    times = emit("Floor", emit("Div", away, span))
    rest = emit("Sub", away, emit("Mul", times, span))
    odd = emit("Sub", times, emit("Mul", emit("Floor", emit("Div", times, 2.0)), 2.0))
    back = emit("Mul", odd, emit("Sub", span, emit("Mul", rest, 2.0)))
    return emit("Add", emit("Add", rest, back), low)


TAPS: Mapping[str, Callable[[Emitter, str], list[Tap]]] = {
    "bicubic": _cubic,
    "bilinear": _linear,
    "cubic": _cubic,
    "linear": _linear,
    "nearest": _nearest,
}
INSIDE: Mapping[str, Callable[[Emitter, str, float, float], str]] = {"border": _clipped, "reflection": _reflected}


def sampled(
    emit: Emitter, data: str, places: Sequence[str], taps: Callable[[Emitter, str], list[Tap]], padding: str = "zeros",
    edge: float = 0.0,
) -> str:  # fmt: skip
    """What `data`, shape (batch, channels, *lengths), holds at places, shape (batch, count) for each of its lengths.

    The result has the shape (batch, count, channels). edge: where a border is, in elements beyond the outermost one.
    """
    batch, channels, *lengths = emit.shapes[data]
    whole = prod(lengths)
    last = emit.transposed(data, [0, *range(2, 2 + len(lengths)), 1])
    rows = emit.reshaped(last, (batch * whole, channels))
    shape = emit.shapes[places[0]]
    start = emit.constant(np.arange(batch)[:, None] * whole)
    inside = INSIDE.get(padding)
    axes = []
    for place, length in zip(places, lengths, strict=True):
        found = []
        for index, weight in taps(emit, place):
            if inside is not None:
                index = emit("Round", inside(emit, index, -edge, length - 1 + edge))
            index, held = emit.integers(index), emit.integers(_clipped(emit, index, 0.0, length - 1.0))
            within = emit.mask("Equal", index, held)
            found.append((held, emit("Mul", weight, within) if weight else within))
        axes.append(found)
    strides = [prod(lengths[k + 1 :]) for k in range(len(lengths))]
    terms = []
    for corner in itertools.product(*axes):
        index, weight = start, ""
        for (held, part), stride in zip(corner, strides, strict=True):
            index = emit("Add", index, emit("Mul", held, emit.constant(np.array(stride, np.int64))))
            weight = emit("Mul", weight, part) if weight else part
        read = emit("Gather", rows, index, axis=0, shape=(*shape, channels))
        terms.append(emit("Mul", read, emit.reshaped(weight, (*shape, 1))))
    return emit.sum(terms)


def grid_sample(call: GradientCall) -> Sequence[str] | None:
    emit, options = call.emit, call.attributes
    batch, channels, *lengths = call.shape(0)
    mode, padding = str(options.get("mode", "linear")), str(options.get("padding_mode", "zeros"))
    if mode not in TAPS or (TAPS[mode] is _cubic and padding == "border"):
        return None
    result, whole = call.result(), bool(options.get("align_corners"))
    count, places, edge = prod(result[2:]), list[str](), 0.0 if whole or padding == "border" else 0.5
    parts = emit.parted(call.inputs[1], [1] * len(lengths), len(result) - 1)
    for part, length in zip(reversed(parts), lengths, strict=True):  # the last axis comes first
        share = emit("Div", emit("Add", emit.reshaped(part, (batch, count)), 1.0), 2.0)
        place = emit("Mul", share, length - 1.0) if whole else emit("Sub", emit("Mul", share, float(length)), 0.5)
        places.append(INSIDE[padding](emit, place, -edge, length - 1 + edge) if padding in INSIDE else place)
    found = sampled(emit, call.inputs[0], places, TAPS[mode], padding, edge)
    return [emit.reshaped(emit.transposed(found, [0, 2, 1]), (batch, channels, *result[2:]))]


def deformed_conv(call: GradientCall) -> Sequence[str]:
    """Each element that a kernel reads lies at an offset from where a convolution reads it, and has a weight."""
    bias, mask = 3, 4
    emit, options, result = call.emit, call.attributes, call.result()
    batch, channels, *lengths = call.shape(0)
    kernel, rank = call.shape(1)[2:], len(lengths)
    group, shared = int(options.get("group") or 1), int(options.get("offset_group") or 1)
    taps, count, outputs = prod(kernel), prod(result[2:]), call.shape(1)[0]
    offsets = emit.reshaped(call.inputs[2], (batch * shared, taps, rank, count))
    places = []
    for axis, part in enumerate(emit.parted(offsets, [1] * rank, 2)):
        base = emit.constant(_bases(call, axis)[None])
        place = emit("Add", emit.reshaped(part, (batch * shared, taps, count)), base)
        places.append(emit.reshaped(place, (batch * shared, taps * count)))
    data = emit.reshaped(call.inputs[0], (batch * shared, channels // shared, *lengths))
    found = sampled(emit, data, places, _linear)
    if call.has(mask):
        found = emit("Mul", found, emit.reshaped(call.inputs[mask], (batch * shared, taps * count, 1)))
    apart = emit.reshaped(found, (batch, shared, taps, count, channels // shared))
    wide = emit.reshaped(emit.transposed(apart, [0, 1, 4, 2, 3]), (batch, group, channels // group * taps, count))
    weights = emit.reshaped(call.inputs[1], (group, outputs // group, channels // group * taps))
    made = emit.reshaped(emit.product(weights, wide), result)
    if call.has(bias):
        made = emit("Add", made, emit.reshaped(call.inputs[bias], (1, outputs, *[1] * rank)))
    return [made]


def _bases(call: GradientCall, axis: int) -> Array:
    """Where a convolution reads along an axis, shape (elements of the kernel, results)."""
    kernel, result, options = call.shape(1)[2:], call.result()[2:], call.attributes
    ones = [1] * len(kernel)
    step, apart = (int((options.get(name) or ones)[axis]) for name in ("strides", "dilations"))
    pad = int((options.get("pads") or [0] * len(kernel))[axis])
    inside = np.indices(kernel)[axis].reshape(-1, 1) * apart
    return np.asarray(np.indices(result)[axis].reshape(1, -1) * step - pad + inside, float)
