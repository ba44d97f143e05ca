"""Windows that slide over space, as convolutions and pooling have them: sizes, padding, and what each tap sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any, NamedTuple

import numpy as np

from onnxsurgeon.arrays import Array, Shape
from onnxsurgeon.ops.gradient import GradientCall
from onnxsurgeon.ops.shape_inference import Attributes

UPPER = "SAME_UPPER"  # padding of which the larger half is behind


class Convolution(NamedTuple):
    """Which inputs of a convolution are its data and its weight; whether it is a transposed one; and its attributes."""

    data: int = 0
    weight: int = 1
    transposed: bool = False

    def groups(self, attributes: Mapping[str, Any]) -> int:
        """How many groups its channels fall into."""
        return int(attributes.get("group") or 1)

    def grouped(self, groups: int) -> dict[str, Any]:
        """The attributes that give it so many groups."""
        return {"group": groups}

    def pads_by_size(self, attributes: Mapping[str, Any]) -> bool:
        """Whether its padding follows from the sizes of its input and its kernel."""
        return _pad_mode(attributes) not in ("NOTSET", "VALID")

    def reshaped(
        self, attributes: Mapping[str, Any], kernel: Sequence[int], before: Sequence[int], after: Sequence[int]
    ) -> tuple[dict[str, Any], list[int]]:
        """The attributes for a kernel of another size, with which the output keeps its shape; None for those that go.

        kernel: its new size. before, after: how many elements it gains at each end of each axis; negative where it
        loses some. Also returns the padding, by axis before and then after, that is still missing; it is negative
        where the input is to be cropped.
        """
        if self.pads_by_size(attributes):
            return {"kernel_shape": kernel}, []
        low, high = _pads(attributes, kernel, [], [])
        dilations = attributes.get("dilations") or [1] * len(kernel)
        gained = [n * d for ends in (before, after) for n, d in zip(ends, dilations, strict=True)]
        pads = [int(p) + n for p, n in zip((*low, *high), gained, strict=True)]
        new = {"kernel_shape": kernel, "auto_pad": None, "pads": [max(p, 0) for p in pads]}
        return new, [min(p, 0) for p in pads]


class Window(NamedTuple):
    """The window of a convolution or a pooling, by spatial axis. reach: how many positions it spans."""

    reach: list[int]
    strides: list[int]
    dilations: list[int]
    before: list[int]
    after: list[int]


def window(attributes: Mapping[str, Any], kernel: Sequence[int], size: Sequence[int]) -> Window:
    """kernel, size: of the window and of the data, by spatial axis."""
    strides = list(attributes.get("strides") or [1] * len(kernel))
    dilations = list(attributes.get("dilations") or [1] * len(kernel))
    reach = [d * (k - 1) + 1 for d, k in zip(dilations, kernel, strict=True)]
    return Window(reach, strides, dilations, *_pads(attributes, size, reach, strides))


def places(attributes: Attributes, size: Shape, kernel: Sequence[int]) -> Shape:
    """How many places the window has along each axis."""
    seen = window(attributes, kernel, size)
    room = [n + low + high - r for n, low, high, r in zip(size, seen.before, seen.after, seen.reach, strict=True)]
    if not attributes.get("ceil_mode"):
        return tuple(n // s + 1 for n, s in zip(room, seen.strides, strict=True))
    starts = [n + low for n, low in zip(size, seen.before, strict=True)]  # no window starts in the padding behind
    return tuple(min(-(-n // s), (m - 1) // s) + 1 for n, m, s in zip(room, starts, seen.strides, strict=True))


def slid(
    attributes: Mapping[str, Any],
    kernel: Sequence[int] | None,
    size: Sequence[int],
    after: Sequence[int],
    *,
    transposed: bool = False,
) -> list[tuple[int, int, int]]:
    """How a window scales each spatial axis, as (times, plus, by): n becomes floor((n * times + plus) / by).

    kernel: by default as the attributes say. size, after: of the data and of the output, by spatial axis.
    transposed: of a transposed convolution.
    """
    seen = window(attributes, kernel or attributes["kernel_shape"], size)
    if transposed:
        return [(s, m - n * s, 1) for s, n, m in zip(seen.strides, size, after, strict=True)]
    up = [s - 1 if attributes.get("ceil_mode") else 0 for s in seen.strides]
    ends = zip(seen.before, seen.after, seen.reach, seen.strides, up, strict=True)
    return [(1, low + high - reach + s + more, s) for low, high, reach, s, more in ends]


def _pads(
    attributes: Mapping[str, Any], size: Sequence[int], reach: Sequence[int], strides: Sequence[int]
) -> tuple[list[int], list[int]]:
    """Padding before and after each spatial axis."""
    mode, rank = _pad_mode(attributes), len(size)
    if mode in ("NOTSET", "VALID"):
        pads = list(attributes.get("pads") or [0] * 2 * rank) if mode == "NOTSET" else [0] * 2 * rank
        return pads[:rank], pads[rank:]
    total = [max(0, (ceil(n / s) - 1) * s + r - n) for n, r, s in zip(size, reach, strides, strict=True)]
    small, large = [t // 2 for t in total], [t - t // 2 for t in total]
    return (small, large) if mode == UPPER else (large, small)


def _pad_mode(attributes: Mapping[str, Any]) -> str:
    return str(attributes.get("auto_pad") or "NOTSET")


# --- of a gradient ---------------------------------------------------------------------------------------------------


def window_of(call: GradientCall) -> Window:
    size = call.shape(0)[2:]
    kernel = call.attributes["kernel_shape"] if len(call.inputs) == 1 else call.shape(1)[2:]
    return window(call.attributes, kernel, size)


def positions(call: GradientCall) -> list[Array]:
    """By spatial axis the padded position of each tap at each place, shape (taps, places)."""
    seen, places = window_of(call), call.result()[2:]
    taps = [(reach - 1) // d + 1 for reach, d in zip(seen.reach, seen.dilations, strict=True)]
    return [
        np.arange(k)[:, None] * d + np.arange(n) * s
        for k, d, n, s in zip(taps, seen.dilations, places, seen.strides, strict=True)
    ]


def needed(call: GradientCall) -> list[tuple[int, int]]:
    """Per spatial axis, the padding before it, and the padding after it that completes the last window."""
    seen = window_of(call)
    return [
        (before, max(0, int(at[-1, -1]) + 1 - before - n))
        for at, before, n in zip(positions(call), seen.before, call.shape(0)[2:], strict=True)
    ]


def padded(call: GradientCall, number: float) -> str:
    return call.emit.widened(call.inputs[0], {2 + axis: ends for axis, ends in enumerate(needed(call))}, number)


def taps_of(call: GradientCall, padded: str) -> list[str]:
    """What each tap of the window sees, shaped like the output."""
    taps = [padded]
    for axis, at in enumerate(positions(call), 2):
        taps = [call.emit.selected(seen, axis, places) for seen in taps for places in at]
    return taps


def untapped(call: GradientCall, taps: list[str], size: Sequence[int]) -> str:
    """The sum of the values at the position that each tap read. size: of the padded input, by spatial axis."""
    for axis, at in reversed(list(enumerate(positions(call)))):
        spread = [call.emit.scattered(tap, 2 + axis, at[k % len(at)], size[axis]) for k, tap in enumerate(taps)]
        taps = [call.emit.sum(spread[k : k + len(at)]) for k in range(0, len(spread), len(at))]
    return taps[0]


def unslid(
    call: GradientCall, gradient: str, weight: str, channels: int, groups: int, behind: list[tuple[int, int]]
) -> str:
    """The transposed convolution whose result has the spatial size of the input. behind: (before, after) by axis."""
    emit, seen = call.emit, window_of(call)
    size = call.shape(0)[2:]
    full = [int(at[-1, -1]) + 1 for at in positions(call)]
    rest = [n + b + a - f for n, (b, a), f in zip(size, behind, full, strict=True)]
    return emit(
        "ConvTranspose", gradient, weight, shape=(emit.shapes[gradient][0], channels, *size), group=groups,
        strides=seen.strides, dilations=seen.dilations, output_padding=rest, kernel_shape=emit.shapes[weight][2:],
        pads=[b for b, _ in behind] + [a for _, a in behind],
    )  # fmt: skip
