"""Small graphs whose inner sizes follow from the size of their input in the ways that exported networks do it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from node_by_node import PICTURE, Graph

LAST = 2**31 - 1  # as the end of a Slice


# Of [b, s, 32], before an attention.


def first_64(g: Graph, h: str) -> str:
    return g.slice(h, g.const(0), g.const(64))


def last_64(g: Graph, h: str) -> str:
    return g.slice(h, g.const(-64), g.const(LAST))


def at_most(kind: str) -> Callable[[Graph, str], str]:
    def clamp(g: Graph, h: str) -> str:
        end = g.op(kind, g.size(h, 1), *((g.const(64),) if kind == "Min" else (g.scalar(1), g.scalar(64))))
        return g.slice(h, g.const(0), end)

    return clamp


def whole_windows(g: Graph, h: str) -> str:
    """The remainder of a division by 8 is cut off."""
    size = g.size(h, 1)
    return g.slice(h, g.const(0), g.op("Sub", size, g.op("Mod", size, g.const(8))))


def padding(g: Graph, size: str, window: int) -> str:
    """How much is missing to a multiple of the window."""
    return g.op("Mod", g.op("Sub", g.const(window), g.op("Mod", size, g.const(window))), g.const(window))


def padded_to_windows(g: Graph, h: str) -> str:
    """Filled up to a multiple of 8."""
    return g.op("Pad", h, g.join(g.const(0, 0, 0, 0), padding(g, g.size(h, 1), 8), g.const(0)))


def at_least_16(g: Graph, h: str) -> str:
    """Filled up to 16."""
    more = g.op("Sub", g.op("Max", g.size(h, 1), g.const(16)), g.size(h, 1))
    return g.op("Pad", h, g.join(g.const(0, 0, 0, 0), more, g.const(0)))


def with_positions(g: Graph, h: str) -> str:
    """A table of positions is cut to the length, which is 128 at most."""
    h = g.slice(h, g.const(0), g.const(128))
    return g.op("Add", h, g.slice(g.drawn(1, 128, 32), g.const(0), g.size(h, 1)))


def positions_looked_up(g: Graph, h: str) -> str:
    """Positions beyond the table share its last row."""
    ids = g.op("Min", g.range(g.number(h, 1)), g.scalar(47))
    return g.op("Add", h, g.op("Gather", g.drawn(48, 32), ids, axis=0))


def positions_stretched(g: Graph, h: str) -> str:
    """A table of positions is interpolated to the length."""
    sizes = g.join(g.const(1, 32), g.size(h, 1))
    table = g.op("Resize", g.drawn(1, 32, 20), "", "", sizes, mode="linear")
    return g.op("Add", h, g.op("Transpose", table, perm=[0, 2, 1]))


def positions_from_a_cache(g: Graph, h: str) -> str:
    """The last 24 frames of a state go before the new ones; positions count from its end."""
    g.states.append(("past", "present", ("b", "p", 32)))
    joined = g.op("Concat", "past", h, axis=1)
    g.nodes.append(helper.make_node("Slice", [joined, g.const(-24), g.const(LAST), g.const(1)], ["present"], "trim"))
    start = g.size("past", 1)
    table = g.slice(g.drawn(1, 1024, 32), start, g.op("Add", start, g.size(h, 1)))
    return g.op("Concat", "past", g.op("Add", h, table), axis=1)


def branch_on_length(g: Graph, h: str) -> str:
    """64 frames at most; another branch for fewer."""
    h = first_64(g, h)
    full = g.op("Equal", g.number(h, 1), g.scalar(64))
    return g.branches(full, [lambda g: g.linear(h, 32, 32)] * 2)


def branch_of_another_length(g: Graph, h: str) -> str:
    """Long inputs are halved: the branches differ in length."""
    long = g.op("Greater", g.number(h, 1), g.scalar(50))
    half = g.op("Div", g.size(h, 1), g.const(2))
    return g.branches(long, [lambda g: g.linear(g.slice(h, g.const(0), half), 32, 32), lambda g: g.linear(h, 32, 32)])


def stacked_frames(g: Graph, h: str) -> str:
    """Four frames make one, and come apart again."""
    h = g.op("Pad", h, g.join(g.const(0, 0, 0, 0), padding(g, g.size(h, 1), 4), g.const(0)))
    four = g.op("Reshape", h, g.join(g.size(h, 0), g.op("Div", g.size(h, 1), g.const(4)), g.const(128)))
    four = g.op("Relu", g.linear(four, 128, 64))
    return g.op("Reshape", g.linear(four, 64, 128), g.join(g.size(h, 0), g.const(-1, 32)))


def overlapping_frames(g: Graph, h: str) -> str:
    """Frames of 4 at every second place, gathered by computed indices."""
    starts = g.op("Range", g.scalar(0), g.op("Sub", g.number(h, 1), g.scalar(3)), g.scalar(2))
    places = g.op("Add", g.op("Unsqueeze", starts, g.const(1)), g.const(0, 1, 2, 3))
    return g.op("ReduceMean", g.op("Gather", h, places, axis=1), axes=[2], keepdims=0)


def beams(g: Graph, h: str) -> str:
    """Each sample is repeated three times, beams go into the batch, and the best of min(s, 5) frames stay."""
    n, s = g.size(h, 0), g.size(h, 1)
    wide = g.op("Expand", g.op("Unsqueeze", h, g.const(1)), g.join(n, g.const(3), s, g.const(32)))
    flat = g.op("Reshape", wide, g.join(g.op("Mul", n, g.const(3)), s, g.const(32)))
    best, _ = g.ops("TopK", g.linear(flat, 32, 32), g.op("Min", s, g.const(5)), count=2, axis=1)
    return best


def halves_swapped(g: Graph, h: str) -> str:
    """Split at a computed place, as a cyclic shift."""
    half = g.op("Div", g.size(h, 1), g.const(2))
    a, b = g.ops("Split", h, g.join(half, g.op("Sub", g.size(h, 1), half)), count=2, axis=1)
    return g.op("Concat", b, a, axis=1)


def first_token(g: Graph, h: str) -> str:
    """A token goes before all; it is repeated for each sample."""
    token = g.op("Expand", g.drawn(1, 1, 32), g.join(g.size(h, 0), g.const(1, 32)))
    return g.op("Concat", token, h, axis=1)


def non_zero(g: Graph, h: str) -> str:
    """Frames whose first feature is above 0, in one row."""
    first = g.op("Greater", g.slice(h, g.const(0), g.const(1), axis=2), g.hold(np.float32(0)))
    found = g.op("Transpose", g.op("NonZero", g.op("Squeeze", first, g.const(2))), perm=[1, 0])
    return g.op("Unsqueeze", g.op("GatherND", h, found), g.const(0))


def scaled_by_length(g: Graph, h: str) -> str:
    """Values are divided by the length, which counts as 16 at least."""
    length = g.op("Max", g.op("Cast", g.number(h, 1), to=TensorProto.FLOAT), g.hold(np.float32(16)))
    return g.op("Mul", g.op("Div", h, length), g.hold(np.float32(16)))


# What is added to the scores [b, heads, s, s] of an attention.


def distances(g: Graph, h: str) -> str:
    s = g.number(h, 1)
    rows, columns = g.op("Unsqueeze", g.range(s), g.const(1)), g.op("Unsqueeze", g.range(s), g.const(0))
    return g.op("Sub", columns, rows)


def buckets(g: Graph, h: str) -> str:
    """Relative positions: near ones have a bucket of their own, far ones share those of a logarithm."""
    apart = g.op("Abs", distances(g, h))
    real = g.op("Cast", g.op("Max", apart, g.scalar(1)), to=TensorProto.FLOAT)
    far = g.op("Mul", g.op("Log", g.op("Div", real, g.hold(np.float32(8)))), g.hold(np.float32(3)))
    far = g.op("Add", g.op("Cast", far, to=TensorProto.INT64), g.scalar(8))
    near = g.op("Less", apart, g.scalar(8))
    bucket = g.op("Where", near, apart, g.op("Min", far, g.scalar(15)))
    return g.op("Unsqueeze", g.op("Transpose", g.op("Gather", g.drawn(16, 4), bucket), perm=[2, 0, 1]), g.const(0))


def clipped_distances(g: Graph, h: str) -> str:
    near = g.op("Add", g.op("Clip", distances(g, h), g.scalar(-7), g.scalar(7)), g.scalar(7))
    return g.op("Unsqueeze", g.op("Transpose", g.op("Gather", g.drawn(15, 4), near), perm=[2, 0, 1]), g.const(0))


def causal(g: Graph, h: str) -> str:
    """A triangle cut from a table where the length allows."""
    table = g.hold(np.tril(np.ones((320, 320), np.bool_)))
    seen = g.slice(g.slice(table, g.const(0), g.size(h, 1), 0), g.const(0), g.size(h, 1), 1)
    return g.op("Where", seen, g.hold(np.float32(0)), g.hold(np.float32(-1e4)))


def triangle(g: Graph, h: str) -> str:
    """A triangle made of the length."""
    shape = g.join(g.size(h, 1), g.size(h, 1))
    full = g.op("ConstantOfShape", shape, value=numpy_helper.from_array(np.full(1, -1e4, np.float32)))
    return g.op("Trilu", full, g.scalar(1), upper=1)


def band(g: Graph, h: str) -> str:
    """Only frames at most 8 apart see each other."""
    far = g.op("Greater", g.op("Abs", distances(g, h)), g.scalar(8))
    shape = g.join(g.size(h, 1), g.size(h, 1))
    none = g.op("ConstantOfShape", shape, value=numpy_helper.from_array(np.zeros(1, np.float32)))
    return g.op("Where", far, g.hold(np.float32(-1e4)), none)


# Of [b, 32, h, w].


def window_attention(g: Graph, h: str) -> str:
    """Padded to windows of 7 x 7, taken apart, put together, and cropped."""
    n, rows, columns = (g.size(h, axis) for axis in (0, 2, 3))
    more = [padding(g, size, 7) for size in (rows, columns)]
    full = g.op("Pad", h, g.join(g.const(0, 0, 0, 0, 0, 0), *more))
    down, across = (g.op("Div", g.size(full, axis), g.const(7)) for axis in (2, 3))
    parts = g.op("Reshape", full, g.join(n, g.const(32), down, g.const(7), across, g.const(7)))
    windows = g.op("Reshape", g.op("Transpose", parts, perm=[0, 2, 4, 3, 5, 1]), g.const(-1, 49, 32))
    mixed = g.op("Reshape", g.attention(windows), g.join(n, down, across, g.const(7, 7, 32)))
    back = g.op("Transpose", mixed, perm=[0, 5, 1, 3, 2, 4])
    shape = g.join(n, g.const(32), g.op("Mul", down, g.const(7)), g.op("Mul", across, g.const(7)))
    return g.slice(g.slice(g.op("Reshape", back, shape), g.const(0), rows, 2), g.const(0), columns, 3)


def interpolated(g: Graph, h: str) -> str:
    """Down by a stride, up to the size of what is skipped, at 40 pixels at most."""
    down = g.op("Relu", g.conv(h, 32, 32, strides=[2, 2], pads=[1, 1, 1, 1]))
    sizes = g.op("Min", g.op("Slice", g.op("Shape", h), g.const(2), g.const(4)), g.const(40, 40))
    sizes = g.join(g.size(h, 0), g.size(down, 1), sizes)
    up = g.op("Resize", down, "", "", sizes, mode="linear", coordinate_transformation_mode="half_pixel")
    return g.op("Add", up, g.slice(g.slice(h, g.const(0), g.const(40), 2), g.const(0), g.const(40), 3))


def cropped_to_the_skip(g: Graph, h: str) -> str:
    """What a transposed convolution makes is cropped to the size of what it is added to."""
    down = g.op("Relu", g.conv(h, 32, 48, strides=[4, 4], pads=[1, 1, 1, 1]))
    weight = g.drawn(48, 32, 4, 4)
    up = g.op("ConvTranspose", down, weight, strides=[4, 4])
    up = g.slice(g.slice(up, g.const(0), g.size(h, 2), 2), g.const(0), g.size(h, 3), 3)
    same = g.slice(g.slice(h, g.const(0), g.size(up, 2), 2), g.const(0), g.size(up, 3), 3)
    return g.op("Add", up, same)


def same_padding(g: Graph, h: str) -> str:
    """As TensorFlow pads: max((ceil(size / 2) - 1) * 2 + 3 - size, 0), half on each side."""
    begins, ends = [], []
    for axis in (2, 3):
        size = g.size(h, axis)
        steps = g.op("Div", g.op("Add", size, g.const(1)), g.const(2))
        reach = g.op("Add", g.op("Mul", g.op("Sub", steps, g.const(1)), g.const(2)), g.const(3))
        total = g.op("Max", g.op("Sub", reach, size), g.const(0))
        begins.append(g.op("Div", total, g.const(2)))
        ends.append(g.op("Sub", total, begins[-1]))
    padded = g.op("Pad", h, g.join(g.const(0, 0), *begins, g.const(0, 0), *ends))
    return g.conv(padded, 32, 32, strides=[2, 2])


def pixels_moved_to_channels(g: Graph, h: str) -> str:
    """2 x 2 pixels go to the channels of a smaller picture, by a Reshape of computed sizes."""
    n, rows, columns = g.size(h, 0), g.size(h, 2), g.size(h, 3)
    even = [g.op("Mul", g.op("Div", size, g.const(2)), g.const(2)) for size in (rows, columns)]
    h = g.slice(g.slice(h, g.const(0), even[0], 2), g.const(0), even[1], 3)
    half = [g.op("Div", size, g.const(2)) for size in even]
    parts = g.op("Reshape", h, g.join(n, g.const(32), half[0], g.const(2), half[1], g.const(2)))
    moved = g.op("Reshape", g.op("Transpose", parts, perm=[0, 1, 3, 5, 2, 4]), g.join(n, g.const(128), *half))
    return g.conv(moved, 128, 32, kernel=1)


BEFORE_ATTENTION: dict[str, Callable[[Graph, str], str]] = {
    "first 64": first_64,
    "last 64": last_64,
    "Min": at_most("Min"),
    "Clip": at_most("Clip"),
    "whole windows": whole_windows,
    "padded to windows": padded_to_windows,
    "padded to 16": at_least_16,
    "positions": with_positions,
    "positions looked up": positions_looked_up,
    "positions stretched": positions_stretched,
    "positions from a cache": positions_from_a_cache,
    "a branch on the length": branch_on_length,
    "branches of two lengths": branch_of_another_length,
    "stacked frames": stacked_frames,
    "overlapping frames": overlapping_frames,
    "beams": beams,
    "halves swapped": halves_swapped,
    "first token": first_token,
    "NonZero": non_zero,
    "scaled by length": scaled_by_length,
}
IN_SCORES = {
    "buckets": buckets,
    "clipped distances": clipped_distances,
    "causal": causal,
    "triangle": triangle,
    "band": band,
}
OF_PICTURES = {
    "window attention": window_attention,
    "interpolated": interpolated,
    "cropped to the skip": cropped_to_the_skip,
    "padded as TensorFlow does": same_padding,
    "pixels moved to channels": pixels_moved_to_channels,
}
KINDS = [*BEFORE_ATTENTION, *IN_SCORES, *OF_PICTURES]


def save_kind(kind: str, path: Path) -> None:
    """Writes the graph of a kind."""
    if kind in OF_PICTURES:
        g = Graph(PICTURE)
        h = OF_PICTURES[kind](g, g.op("Relu", g.conv("x", 16, 32, pads=[1, 1, 1, 1])))
        g.save(g.conv(g.op("Relu", h), 32, 5, pads=[1, 1, 1, 1]), path)
        return
    g = Graph()
    h = g.linear("x", 16, 32)
    h = BEFORE_ATTENTION[kind](g, h) if kind in BEFORE_ATTENTION else h
    g.save(g.linear(g.attention(h, IN_SCORES.get(kind)), 32, 5), path)
