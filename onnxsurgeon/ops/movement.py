"""Operators that move elements: each is the same movement of the neurons' ids, in numpy."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from onnxsurgeon.arrays import Ids, Shape
from onnxsurgeon.neurons.relations import Axes, Axis
from onnxsurgeon.ops.call import Call, Changes, Keep, Tensor, kept, register, require_whole, unchanged
from onnxsurgeon.ops.table import read

Factoring = list[tuple[int, int, int]]  # (input axis, output axis, size): both shapes as one row of common factors


def factor(before: Shape, after: Shape) -> Factoring | None:
    """Both shapes, in row-major order, as the coarsest common factors larger than 1; None where none exist."""
    factors: Factoring = []
    i = j = 0
    a = b = 1
    while True:
        while a == 1 and i < len(before):
            a, i = before[i], i + 1
        while b == 1 and j < len(after):
            b, j = after[j], j + 1
        if a == 1 or b == 1:
            return factors if a == b else None
        d = min(a, b)
        if d == 0 or a % d or b % d:
            return None
        factors.append((i - 1, j - 1, d))
        a, b = a // d, b // d


def segments(before: Shape, after: Shape) -> list[tuple[range, range]]:
    """Minimal runs of axes with equal products, so that what can't be factored stays local."""
    runs, i, j = [], 0, 0
    while i < len(before) and j < len(after):
        start, i, j = (i, j), i + 1, j + 1
        a, b = before[start[0]], after[start[1]]
        while a != b:
            if a < b and i < len(before):
                a, i = a * before[i], i + 1
            elif j < len(after):
                b, j = b * after[j], j + 1
            elif i < len(before):
                a, i = a * before[i], i + 1
            else:
                return [(range(len(before)), range(len(after)))]
        runs.append((range(start[0], i), range(start[1], j)))
    return runs


def regroup(call: Call, axes: Axes, source: Tensor, target: Tensor) -> Axes:
    """The neurons after a change of shape: an axis that splits is a product of its parts, merged axes are one too."""
    before, after = source.shape or (), target.shape or ()
    result: list[Axis] = [None] * len(after)
    for rows, columns in segments(before, after):
        sizes = tuple(before[i] for i in rows), tuple(after[j] for j in columns)
        factors = factor(*sizes)
        if factors is None or not _same_structure(factors, rows, columns, source, target):
            for i in rows:
                call.relations.freeze(axes[i], f"reshaping {list(sizes[0])} to {list(sizes[1])} mixes it")
            continue
        parts: list[Axis] = [None] * len(factors)
        for i in rows:
            mine = [k for k, f in enumerate(factors) if f[0] == i - rows.start]
            for k, part in zip(mine, _split(call, axes[i], [factors[k] for k in mine], columns, target), strict=True):
                parts[k] = part
        for j in columns:
            mine = [k for k, f in enumerate(factors) if f[1] == j - columns.start]
            result[j] = _merge(call, [parts[k] for k in mine], [factors[k][2] for k in mine])
    return tuple(result)


def _same_structure(factors: Factoring, rows: range, columns: range, source: Tensor, target: Tensor) -> bool:
    """Whether the factoring is the same at the second sample of the dynamic dims."""
    if source.other is None or target.other is None:
        return True
    again = factor(tuple(source.other[i] for i in rows), tuple(target.other[j] for j in columns))
    return again is not None and [f[:2] for f in again] == [f[:2] for f in factors]


def _split(call: Call, axis: Axis, factors: Factoring, columns: range, target: Tensor) -> list[Axis]:
    if axis is None or len(factors) == 1:
        return [axis] * len(factors)
    relations, sizes = call.relations, [f[2] for f in factors]
    alone = {k for k, f in enumerate(factors) if target.dynamic[columns.start + f[1]]}
    rows = np.moveaxis(axis.reshape(sizes), sorted(alone), range(len(alone)))
    rows = rows.reshape(-1, *(n for k, n in enumerate(sizes) if k not in alone))
    parts: list[Axis] = [None if k in alone else relations.fresh(n) for k, n in enumerate(sizes)]
    for row in rows[1:]:
        relations.same(row.ravel(), rows[0].ravel())
    labelled = [p for p in parts if p is not None]
    if labelled:
        relations.product(rows[0].ravel(), labelled)
    return parts


def _merge(call: Call, parts: Sequence[Axis], sizes: Sequence[int]) -> Axis:
    labelled = [p for p in parts if p is not None]
    if not labelled:
        return None
    flat: Ids = labelled[0]
    if len(labelled) > 1:
        flat = call.relations.fresh(prod(len(p) for p in labelled))
        call.relations.product(flat, labelled)
    shape = [1 if p is None else n for p, n in zip(parts, sizes, strict=True)]
    return np.ascontiguousarray(np.broadcast_to(flat.reshape(shape), sizes)).ravel()


def retarget(call: Call, keep: Keep) -> Changes:
    """The target shape after the cut. -1 stays, and a 0 that still copies the right length, and what is dynamic."""
    result, data = call.result(0), call.operand(0)
    old = call.attributes.get("shape") if not call.has(1) else call.inputs[1].value  # type: ignore[union-attr]
    if old is None or data is None:
        return {}
    new = np.asarray(old).tolist()
    for j, axis in enumerate(result.axes):
        count = kept(keep, result.shape[j], axis)
        if new[j] == 0 and result.shape[j]:
            new[j] = 0 if count == kept(keep, data.shape[j], data.axes[j]) else count
        elif new[j] != -1 and axis is not None:
            new[j] = count
    return call.spelled("shape", 1, new)


@register("Reshape", silence="none", resize=retarget, inferred=1, moves="rearranged")
def reshape(call: Call) -> Sequence[Axes | None]:
    axes, source, target = call.axes(0), call.inputs[0], call.outputs[0]
    if axes is None or source is None or source.shape is None or target.shape is None:
        return call.freeze_all("an input or output of unknown shape")
    if prod(source.shape) != prod(target.shape):
        call.misfit = f"{list(source.shape)} can't be reshaped to {list(target.shape)}"
    raw = call.inputs[1].value if call.has(1) and call.inputs[1] is not None else None
    result = list(regroup(call, axes, source, target))
    several = sum(target.dynamic) > 1
    for j, axis in enumerate(result):
        if target.dynamic[j] and several and axis is not None and (raw is None or raw[j] != -1):
            call.relations.freeze(axis, "two dynamic dims in one target shape")
    return [tuple(result)]


def squeezed(call: Call, keep: Keep) -> Changes:
    """The axes are spelled out where one that stays is cut to a single neuron."""
    data = call.operand(0)
    if call.operator != "Squeeze" or data is None or call.has(1) or call.attributes.get("axes") is not None:
        return {}
    if not any(axis is not None and keep(axis).sum() == 1 for axis in data.axes):
        return {}
    axes = [a for a, n in enumerate(data.shape) if n == 1]
    return {"axes": axes} if call.version < 13 else {1: np.array(axes)}


@register("Flatten Squeeze Unsqueeze", silence="none", resize=squeezed, moves="rearranged")
def flatten(call: Call) -> Sequence[Axes | None]:
    axes, source, target = call.axes(0), call.inputs[0], call.outputs[0]
    if axes is None or source is None or source.shape is None or target.shape is None:
        return call.freeze_all("an input or output of unknown shape")
    return [regroup(call, axes, source, target)]


@register("Transpose", silence="none", moves="rearranged")
def transpose(call: Call) -> Sequence[Axes | None]:
    axes = call.axes(0)
    if axes is None:
        return call.freeze_all("an input of unknown shape")
    order = call.attributes.get("perm") or range(len(axes))[::-1]
    return [tuple(axes[i] for i in order)]


def depth(call: Call) -> str:
    block = int(call.attributes["blocksize"])
    deep = f"c {block} {block}" if call.attributes.get("mode") == "CRD" else f"{block} {block} c"
    return f"n c * -> n ({deep}) *" if call.operator == "SpaceToDepth" else f"n ({deep}) * -> n c *"


@register("DepthToSpace SpaceToDepth", silence="none")
def depth_to_space(call: Call) -> Sequence[Axes | None]:
    return read(call, depth(call))


# --- joining and parting ---------------------------------------------------------------------------------------------


def require_apart(call: Call, keep: Keep) -> Changes:
    """Nothing of a Concat changes; but what grows must not go from one input into the next."""
    axes = call.result(0).axes
    if axes:
        axis = int(call.attributes.get("axis", 1)) % len(axes)
        require_whole(
            call, keep, axes[axis], np.cumsum([(call.shape(i) or ())[axis] for i in range(len(call.inputs))]).tolist()
        )
    return {}


@register("Concat", silence="none", resize=require_apart, moves="joined")
def concat(call: Call) -> Sequence[Axes | None]:
    parts = [call.axes(i) for i in range(len(call.inputs))]
    target = call.outputs[0]
    if target.shape is None or any(p is None for p in parts):
        return call.freeze_all("an input of unknown shape")
    axis = int(call.attributes.get("axis", 1)) % len(target.shape)  # no default since opset 4
    pieces = [p[axis] for p in parts if p is not None]
    result = _join(call, [p for p in parts if p is not None], axis)
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
    """The other axes of what is concatenated are the same neurons."""
    result: list[Axis] = []
    for a, column in enumerate(zip(*parts, strict=True)):
        labelled = [] if a == axis else [c for c in column if c is not None]
        for other in labelled[1:]:
            call.relations.same(labelled[0], other)
        if labelled and len(labelled) < len(column):
            call.relations.freeze(labelled[0], "joined with an axis that can't be cut")
        result.append(labelled[0] if labelled else None)
    return result


def split_sizes(call: Call, keep: Keep) -> Changes:
    axis = int(call.attributes.get("axis") or 0)
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


@register("Split", silence="none", resize=split_sizes, moves="parted")
def split(call: Call) -> Sequence[Axes | None]:
    axes = call.axes(0)
    if axes is None or any(t.shape is None for t in call.outputs):
        return call.freeze_all("an input of unknown shape")
    axis = int(call.attributes.get("axis") or 0) % len(axes)
    labels = axes[axis]
    if labels is None:
        return [axes for _ in call.outputs]
    bounds = np.cumsum([(t.shape or ())[axis] for t in call.outputs])[:-1]
    return [(*axes[:axis], piece_of(call, piece), *axes[axis + 1 :]) for piece in np.split(labels, bounds)]


def piece_of(call: Call, piece: Ids) -> Axis:
    """What is taken from an axis; a single neuron stays."""
    if piece.size > 1:
        return piece
    call.relations.freeze(piece, "an axis of one neuron")
    return None


def slice_parameters(call: Call) -> tuple[list[int], list[int], list[int], list[int]] | None:
    """starts, ends, axes, steps; None where one depends on a dynamic dim."""
    starts, ends = call.parameter("starts", 1), call.parameter("ends", 2)
    if starts is None or ends is None:
        return None
    given = [call.parameter("axes", 3), call.parameter("steps", 4)]
    if (call.has(3) and given[0] is None) or (call.has(4) and given[1] is None):
        return None
    rank = len(call.shape(0) or ())
    if not rank:
        return None
    axes = range(len(starts)) if given[0] is None else given[0].tolist()
    steps = [1] * len(starts) if given[1] is None else given[1].tolist()
    return starts.tolist(), ends.tolist(), [a % rank for a in axes], steps


def slice_bounds(call: Call, keep: Keep) -> Changes:
    found, data = slice_parameters(call), call.operand(0)
    if found is None or data is None:
        return {}
    starts, ends, axes, steps = found
    for k, axis in enumerate(axes):
        labels, size = data.axes[axis], data.shape[axis]
        if labels is None or steps[k] != 1 or unchanged(keep, labels):
            continue
        stay = keep(labels)
        low, high, _ = slice(starts[k], ends[k]).indices(size)
        require_whole(call, keep, labels, [low, high])
        starts[k] = int(stay[:low].sum())
        past = ends[k] >= max(size, int(stay.sum()))  # to the end, whatever that is
        ends[k] = ends[k] if past else int(stay[:high].sum())
    return call.spelled("starts", 1, starts) | call.spelled("ends", 2, ends)


@register("Slice", silence="none", resize=slice_bounds, moves="parted")
def slice_(call: Call) -> Sequence[Axes | None]:
    axes, target, found = call.axes(0), call.outputs[0], slice_parameters(call)
    if axes is None or target.shape is None:
        return call.freeze_all("an input of unknown shape")
    if found is None:
        wanted = call.parameter("axes", 3)
        for a, (axis, n, m) in enumerate(zip(axes, call.shape(0) or (), target.shape, strict=True)):
            if n != m or target.dynamic[a] or (wanted is not None and a in wanted % len(axes)):
                call.relations.freeze(axis, "sliced at bounds that depend on a dynamic dim")
        return [tuple(a if n == m else None for a, n, m in zip(axes, call.shape(0) or (), target.shape, strict=True))]
    result = list(axes)
    for low, high, a, step in zip(*found, strict=True):
        labels = axes[a]
        if labels is None:
            continue
        if step > 1 and 0 <= low < step and target.shape[a] * step == len(labels):
            blocks = labels.reshape(-1, step)  # are cut whole, so that the same step meets the same place in each
            call.relations.same(blocks[:, 1:], np.repeat(blocks[:, :1], step - 1, axis=1))
        elif abs(step) != 1 or (step == -1 and target.shape[a] != len(labels)):
            call.relations.freeze(labels, f"sliced with a step of {step}")
        piece = labels[slice(low, high if high > -(len(labels) + 1) else None, step)]
        result[a] = piece_of(call, piece)
    return [tuple(result)]
