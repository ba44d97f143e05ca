"""Operators that join or split tensors along an axis: Concat, Split, Slice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from onnxsurgeon.arrays import Array, Ids, Shape
from onnxsurgeon.neurons.relations import Axes, Axis
from onnxsurgeon.ops.call import (
    Call,
    Changes,
    Demand,
    Keep,
    PackedPart,
    Parameters,
    Parts,
    SizeCall,
    Unpacking,
    ValueCall,
    kept,
    require_whole,
    unchanged,
)
from onnxsurgeon.ops.gradient import GradientCall
from onnxsurgeon.ops.registry import MICROSOFT, add
from onnxsurgeon.ops.shape_inference import Attributes, ShapeRule, Shapes
from onnxsurgeon.ops.size_arrays import Sizes
from onnxsurgeon.ops.size_expressions import Number, is_number, larger, opaque, smaller


def joined_axis(call: Parameters, rank: int) -> int:
    """The axis along which a Concat joins; before opset 4, the second by default."""
    return call.axis(rank, 1)


def require_apart(call: Call, keep: Keep) -> Changes:
    """A Concat needs no change; but a block that grows must not reach from one input into the next."""
    axes = call.result(0).axes
    if axes:
        axis = joined_axis(call, len(axes))
        require_whole(
            call, keep, axes[axis], np.cumsum([(call.shape(i) or ())[axis] for i in range(len(call.inputs))]).tolist()
        )
    return {}


def concat(call: Call) -> Sequence[Axes | None]:
    parts, target = [call.known(i) for i in range(len(call.inputs))], call.outputs[0]
    axis = joined_axis(call, len(call.made(0)))
    pieces = [p[axis] for p in parts]
    result = _join(call, parts, axis)
    if any(piece is not None for piece in pieces) and target.dynamic[axis]:
        for piece in pieces:
            call.relations.freeze(piece, "concatenated with a dynamic dim")
    elif any(piece is not None for piece in pieces):
        whole = []
        for index, piece in enumerate(pieces):
            if piece is None:
                piece = call.relations.fresh((call.shape(index) or ())[axis])
                call.relations.freeze(piece, "concatenated from an axis that can't be cut")
            whole.append(piece)
        result[axis] = np.concatenate(whole)
    return [tuple(result)]


def _join(call: Call, parts: Sequence[Axes], axis: int) -> list[Axis]:
    """The other axes of all inputs are the same neurons."""
    result: list[Axis] = []
    for a, column in enumerate(zip(*parts, strict=True)):
        labelled = [] if a == axis else [c for c in column if c is not None]
        for other in labelled[1:]:
            call.relations.same(labelled[0], other)
        if labelled and len(labelled) < len(column):
            call.relations.freeze(labelled[0], "joined with an axis that can't be cut")
        result.append(labelled[0] if labelled else None)
    return result


def concat_gradient(call: GradientCall, index: int) -> str:
    axis = call.axis(len(call.result()))
    lengths = [call.shape(i)[axis] for i in range(len(call.inputs))]
    start = sum(lengths[:index])
    return call.emit.selected(call.gradient, axis, np.arange(start, start + lengths[index]))


def _alike(call: SizeCall) -> list[Demand]:
    """All sizes but those along the axis are the same."""
    first, *others = call.shapes
    along = call.axis(len(first))
    if any(len(other) != len(first) for other in others):
        return []
    return [Demand(m, n) for other in others for a, (n, m) in enumerate(zip(first, other, strict=True)) if a != along]


add(
    "Concat",
    concat,
    silence="none",
    demands=_alike,
    resize=require_apart,
    value=lambda call: np.concatenate(call.inputs, int(call.attributes["axis"])),
    moves="joined",
    linear_in="all",
    kind="stack",
    gradient=concat_gradient,
)


def joined_threes(call: Call) -> Sequence[Axes | None]:
    """A Concat whose inputs come in threes: each tensor is followed by its scale and its zero point."""
    tensors = range(2, len(call.inputs), 3)
    chosen = [call.inputs[i] for i in tensors]
    return concat(replace(call, inputs=chosen, label=lambda k: call.axes(tensors[k])))


def joined(attributes: Attributes, shapes: Shapes) -> Sequence[Shape]:
    """The shape of a Concat whose inputs come in threes, behind the scale and zero point of the result."""
    parts, axis = shapes[2::3], int(attributes["axis"])
    whole = list(parts[0])
    whole[axis] = sum(part[axis] for part in parts)
    return [tuple(whole)]


add("QLinearConcat", joined_threes, silence="none", shape=ShapeRule(joined, ((1,),)), domain=MICROSOFT)


PART: dict[str, Any] = {"silence": "none", "moves": "parted", "linear_in": "first", "proportional": True}


def split_sizes(call: Call, keep: Keep) -> Changes:
    axis = call.axis(call.rank())
    pieces = [call.result(i) for i in range(len(call.outputs))]
    sizes = [kept(keep, p.shape[axis], p.axes[axis]) for p in pieces]
    if sizes == [p.shape[axis] for p in pieces]:
        return {}
    data = call.operand(0)
    require_whole(call, keep, data and data.axes[axis], np.cumsum([p.shape[axis] for p in pieces]).tolist())
    changes: Changes = call.spelled("split", 1, sizes) if call.version >= 13 else {"split": sizes}
    if call.attributes.get("num_outputs") is not None:
        changes["num_outputs"] = None
    return changes


def split(call: Call) -> Sequence[Axes | None]:
    axes, made = call.known(0), [call.made(k) for k in range(len(call.outputs))]
    axis = call.axis(len(axes))
    labels = axes[axis]
    if labels is None:
        return [axes for _ in call.outputs]
    bounds = np.cumsum([shape[axis] for shape in made])[:-1]
    return [(*axes[:axis], piece_of(call, piece), *axes[axis + 1 :]) for piece in np.split(labels, bounds)]


def piece_of(call: Call, piece: Ids) -> Axis:
    """The part of an axis that is taken; a single neuron stays."""
    if piece.size > 1:
        return piece
    call.relations.freeze(piece, "an axis of one neuron")
    return None


def _split(call: ValueCall) -> tuple[Array, ...]:
    data, sizes = call.inputs[0], call.parameter("split", 1)
    axis = call.axis(data.ndim)
    if sizes is None:
        sizes = np.full(call.outputs, -(-data.shape[axis] // call.outputs))
    return tuple(np.split(data, np.cumsum(sizes)[:-1], axis))


def split_parts(call: Call, index: int, axis: int, parts: Parts) -> Unpacking | None:
    shapes = [tensor.shape for tensor in call.outputs]
    if call.axis(call.rank()) != axis or any(shape is None for shape in shapes):
        return None
    ends = np.cumsum([0, *((shape or ())[axis] for shape in shapes)]).tolist()
    return Unpacking(tuple(PackedPart(axis, parts[a:b]) for a, b in pairwise(ends)))


def split_gradient(call: GradientCall, index: int) -> str:
    return call.emit.joined([call.of(k) for k in range(len(call.outputs))], call.axis(len(call.shape(0))))


add(
    "Split",
    split,
    resize=split_sizes,
    value=_split,
    unpack=split_parts,
    gradient=(split_gradient,),
    **PART,
)


ENDLESS = 2**31 - 1  # an end that is meant to be beyond any size


class Cut(NamedTuple):
    """The part of an axis that a Slice takes."""

    axis: int
    start: int
    end: int
    step: int

    def span(self, size: int) -> slice:
        """Its positions on an axis of this size; an end below -size is one before the first position."""
        return slice(self.start, None if self.step < 0 and self.end < -size else self.end, self.step)

    def length(self, size: Number) -> Number:
        """The number of positions, on an axis whose size may be an expression."""
        if all(isinstance(n, int) for n in (size, *self[1:])):
            return len(range(*self.span(int(size)).indices(int(size))))  # type: ignore[arg-type]  # it is a number
        if self.step != 1:
            return size if self.step == -1 and is_number(self.start, -1) and self.end < -ENDLESS else opaque(0)
        low, high = (self._place(n, size) for n in (self.start, self.end))
        return larger(high - low, 0)

    @staticmethod
    def _place(n: Number, size: Number) -> Number:
        """A start or an end within 0 and `size`."""
        if is_number(n, None) and n >= ENDLESS:
            return size
        return larger(size + n, 0) if n < 0 else smaller(n, size)


def cuts(call: Parameters, rank: int) -> list[Cut] | None:
    """The parts that a Slice takes; None if they depend on data or a dynamic dim."""
    starts, ends = call.parameter("starts", 1), call.parameter("ends", 2)
    axes, steps = call.parameter("axes", 3), call.parameter("steps", 4)
    if not rank or starts is None or ends is None or (call.has(3) and axes is None) or (call.has(4) and steps is None):
        return None
    where = range(len(starts)) if axes is None else [a % rank for a in axes.tolist()]
    strides = [1] * len(starts) if steps is None else steps.tolist()
    return [Cut(*cut) for cut in zip(where, starts.tolist(), ends.tolist(), strides, strict=True)]


def slice_bounds(call: Call, keep: Keep) -> Changes:
    found, data = cuts(call, call.rank()), call.operand(0)
    if found is None or data is None:
        return {}
    starts, ends = [cut.start for cut in found], [cut.end for cut in found]
    for k, cut in enumerate(found):
        labels, size = data.axes[cut.axis], data.shape[cut.axis]
        if labels is None or cut.step != 1 or unchanged(keep, labels):
            continue
        stay = keep(labels)
        low, high, _ = cut.span(size).indices(size)
        require_whole(call, keep, labels, [low, high])
        starts[k] = int(stay[:low].sum())
        past = cut.end >= max(size, int(stay.sum()))  # to the end, whatever that is
        ends[k] = cut.end if past else int(stay[:high].sum())
    return call.spelled("starts", 1, starts) | call.spelled("ends", 2, ends)


def slice_(call: Call) -> Sequence[Axes | None]:
    axes, target, made = call.known(0), call.outputs[0], call.made(0)
    found, shape = cuts(call, len(axes)), call.shape(0) or ()
    if found is None:
        wanted = call.listed_axes(len(axes), 3) or ()
        for a, (axis, n, m) in enumerate(zip(axes, shape, made, strict=True)):
            if n != m or target.dynamic[a] or a in wanted:
                call.relations.freeze(axis, "sliced at bounds that depend on a dynamic dim")
        return [tuple(a if n == m else None for a, n, m in zip(axes, shape, made, strict=True))]
    result = list(axes)
    for cut in found:
        labels, a, step = axes[cut.axis], cut.axis, cut.step
        if labels is None:
            continue
        if step > 1 and 0 <= cut.start < step and made[a] * step == len(labels):
            blocks = labels.reshape(-1, step)  # are cut whole, so that the same step meets the same place in each
            call.relations.same(blocks[:, 1:], np.repeat(blocks[:, :1], step - 1, axis=1))
        elif abs(step) != 1 or (step == -1 and made[a] != len(labels)):
            call.relations.freeze(labels, f"sliced with a step of {step}")
        result[a] = piece_of(call, labels[cut.span(len(labels))])
    return [tuple(result)]


def _slice(call: ValueCall) -> Array:
    data, found = call.inputs[0], cuts(call, call.inputs[0].ndim)
    index = [slice(None)] * data.ndim
    for cut in found or ():
        index[cut.axis] = cut.span(data.shape[cut.axis])
    return np.asarray(data[tuple(index)])


def _sliced_sizes(call: SizeCall) -> Sizes | None:
    result = list(call.shapes[0])
    found = cuts(call, len(result))
    if found is None:
        axes = call.listed_axes(len(result), 3)
        return None if axes is None else tuple(opaque(0) if a in axes else n for a, n in enumerate(result))
    for cut in found:
        result[cut.axis] = cut.length(result[cut.axis])
    return tuple(result)


def slice_parts(call: Call, index: int, axis: int, parts: Parts) -> Unpacking | None:
    found = cuts(call, call.rank())
    if found is None or len(found) != 1 or found[0].step != 1 or found[0].axis != axis:
        return None
    return Unpacking((PackedPart(axis, parts[found[0].span(len(parts))]),))


def slice_gradient(call: GradientCall, index: int) -> str | None:
    shape, found, result = call.shape(0), cuts(call, len(call.shape(0))), call.gradient
    if found is None:
        return None
    for cut in found:
        taken = np.arange(shape[cut.axis])[cut.span(shape[cut.axis])]
        result = call.emit.scattered(result, cut.axis, taken, shape[cut.axis])
    return result


add(
    "Slice",
    slice_,
    resize=slice_bounds,
    value=_slice,
    sizes=_sliced_sizes,
    unpack=slice_parts,
    gradient=(slice_gradient,),
    **PART,
)
