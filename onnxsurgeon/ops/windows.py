"""Gradients of what slides a window over space: convolutions and pooling."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from onnxsurgeon.arrays import Array
from onnxsurgeon.ops.linear import Window, window
from onnxsurgeon.ops.step import GradientCall

LARGE = 2**26  # numbers in the patches that are held at a time
LOW = -3.4e38  # below all that is pooled


def _window(step: GradientCall) -> Window:
    size = step.shape(0)[2:]
    kernel = step.attributes["kernel_shape"] if len(step.inputs) == 1 else step.shape(1)[2:]
    return window(step.attributes, kernel, size)


def _positions(step: GradientCall) -> list[Array]:
    """By spatial axis the padded position of each tap at each place, shape (taps, places)."""
    seen, places = _window(step), step.result()[2:]
    taps = [(reach - 1) // d + 1 for reach, d in zip(seen.reach, seen.dilations, strict=True)]
    return [
        np.arange(k)[:, None] * d + np.arange(n) * s
        for k, d, n, s in zip(taps, seen.dilations, places, seen.strides, strict=True)
    ]


def _needed(step: GradientCall) -> list[tuple[int, int]]:
    """By spatial axis the padding before it, and what is needed behind it for the last place to be whole."""
    seen = _window(step)
    return [
        (before, max(0, int(at[-1, -1]) + 1 - before - n))
        for at, before, n in zip(_positions(step), seen.before, step.shape(0)[2:], strict=True)
    ]


def _padded(step: GradientCall, number: float) -> str:
    return step.emit.widened(step.inputs[0], {2 + axis: ends for axis, ends in enumerate(_needed(step))}, number)


def _taps(step: GradientCall, padded: str) -> list[str]:
    """What each tap of the window sees, shaped like the output."""
    taps = [padded]
    for axis, at in enumerate(_positions(step), 2):
        taps = [step.emit.selected(seen, axis, places) for seen in taps for places in at]
    return taps


def _untapped(step: GradientCall, taps: list[str], size: Sequence[int]) -> str:
    """The sum of what belongs where each tap looked. size: of the padded input, by spatial axis."""
    for axis, at in reversed(list(enumerate(_positions(step)))):
        spread = [step.emit.scattered(tap, 2 + axis, at[k % len(at)], size[axis]) for k, tap in enumerate(taps)]
        taps = [step.emit.sum(spread[k : k + len(at)]) for k in range(0, len(spread), len(at))]
    return taps[0]


def _unslid(
    step: GradientCall, gradient: str, weight: str, channels: int, groups: int, behind: list[tuple[int, int]]
) -> str:
    """The transposed convolution whose result has the spatial size of the input. behind: (before, after) by axis."""
    emit, seen = step.emit, _window(step)
    size = step.shape(0)[2:]
    full = [int(at[-1, -1]) + 1 for at in _positions(step)]
    rest = [n + b + a - f for n, (b, a), f in zip(size, behind, full, strict=True)]
    return emit(
        "ConvTranspose", gradient, weight, shape=(emit.shapes[gradient][0], channels, *size), group=groups,
        strides=seen.strides, dilations=seen.dilations, output_padding=rest, kernel_shape=emit.shapes[weight][2:],
        pads=[b for b, _ in behind] + [a for _, a in behind],
    )  # fmt: skip


def conv_data(step: GradientCall, index: int) -> str:
    seen = _window(step)
    behind = list(zip(seen.before, seen.after, strict=True))
    return _unslid(step, step.gradient, step.inputs[1], step.shape(0)[1], step.attributes.get("group", 1), behind)


def conv_weight(step: GradientCall, index: int) -> str:
    """All patches of the input beside the gradients of what they made."""
    emit, shape = step.emit, step.shape(1)
    n, groups, places = step.shape(0)[0], step.attributes.get("group", 1), prod(step.result()[2:])
    gradient = emit.reshaped(step.gradient, (n, groups, shape[0] // groups, places))
    taps = [emit.reshaped(tap, (n, groups, shape[1], 1, places)) for tap in _taps(step, _padded(step, 0.0))]
    many, parts = max(1, LARGE // (n * groups * shape[1] * places)), []
    for first in range(0, len(taps), many):
        some = taps[first : first + many]
        patches = emit.reshaped(emit.joined(some, 3), (n, groups, shape[1] * len(some), places))
        found = emit.total(emit.product(gradient, emit.swapped(patches)), [0])
        parts.append(emit.reshaped(found, (shape[0], shape[1], len(some))))
    return emit.reshaped(emit.joined(parts, 2), shape)


def conv_bias(step: GradientCall, index: int) -> str:
    rank = len(step.result())
    return step.emit.reshaped(step.emit.total(step.gradient, [0, *range(2, rank)]), step.shape(2))


def average_pool(step: GradientCall, index: int) -> str:
    emit, seen, size = step.emit, _window(step), step.shape(0)[2:]
    share = np.ones((), np.float32)
    for at, n, before, after in zip(_positions(step), size, seen.before, seen.after, strict=True):
        start, end = (0, before + n + after) if step.attributes.get("count_include_pad") else (before, before + n)
        share = share[..., None] / ((at >= start) & (at < end)).sum(axis=0).astype(np.float32)
    n, channels, *places = step.result()
    gradient = emit.reshaped(emit("Mul", step.gradient, emit.constant(share)), (n * channels, 1, *places))
    ones = emit.filled((1, 1, *(len(at) for at in _positions(step))), 1.0)
    return emit.reshaped(_unslid(step, gradient, ones, 1, 1, _needed(step)), step.shape(0))


def max_pool(step: GradientCall, index: int) -> str:
    """To the first tap that is the largest."""
    emit, needed, size = step.emit, _needed(step), step.shape(0)[2:]
    free, parts = emit.filled((), 1.0), []
    for seen in _taps(step, _padded(step, LOW)):
        largest = emit("Mul", free, emit.number(emit("Not", emit("Less", seen, step.outputs[0]))))
        free = emit("Sub", free, largest)
        parts.append(emit("Mul", largest, step.gradient))
    found = _untapped(step, parts, [n + sum(ends) for n, ends in zip(size, needed, strict=True)])
    return emit.places(found, {2 + a: np.arange(before, before + size[a]) for a, (before, _) in enumerate(needed)})
