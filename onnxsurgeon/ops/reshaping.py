"""Operators that give elements another shape or order: each is the same movement of the neurons' ids, in numpy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

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
    Tensor,
    Unpacking,
    ValueCall,
    kept,
)
from onnxsurgeon.ops.gradient import GradientCall
from onnxsurgeon.ops.registry import add
from onnxsurgeon.ops.signatures import signature
from onnxsurgeon.ops.size_arrays import Sizes
from onnxsurgeon.ops.size_expressions import floordiv, is_number

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
            found = _factors_of(call, axes[i], [factors[k] for k in mine], columns, target)
            for k, part in zip(mine, found, strict=True):
                parts[k] = part
        for j in columns:
            mine = [k for k, f in enumerate(factors) if f[1] == j - columns.start]
            result[j] = _merged(call, [parts[k] for k in mine], [factors[k][2] for k in mine])
    return tuple(result)


def _same_structure(factors: Factoring, rows: range, columns: range, source: Tensor, target: Tensor) -> bool:
    """Whether the factoring is the same at the second sample of the dynamic dims."""
    if source.other is None or target.other is None:
        return True
    again = factor(tuple(source.other[i] for i in rows), tuple(target.other[j] for j in columns))
    return again is not None and [f[:2] for f in again] == [f[:2] for f in factors]


def _factors_of(call: Call, axis: Axis, factors: Factoring, columns: range, target: Tensor) -> list[Axis]:
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


def _merged(call: Call, parts: Sequence[Axis], sizes: Sequence[int]) -> Axis:
    labelled = [p for p in parts if p is not None]
    if not labelled:
        return None
    flat: Ids = labelled[0]
    if len(labelled) > 1:
        flat = call.relations.fresh(prod(len(p) for p in labelled))
        call.relations.product(flat, labelled)
    shape = [1 if p is None else n for p, n in zip(parts, sizes, strict=True)]
    return np.ascontiguousarray(np.broadcast_to(flat.reshape(shape), sizes)).ravel()


REARRANGED: dict[str, Any] = {
    "silence": "none",
    "moves": "rearranged",
    "view": True,
    "linear_in": "first",
    "proportional": True,
    "gradient": (lambda call, index: call.emit.reshaped(call.gradient, call.shape(0)),),
}


def retarget(call: Call, keep: Keep) -> Changes:
    """The target shape after the cut. -1, dynamic sizes and a 0 that still copies the right length stay."""
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


def _reshape(call: ValueCall) -> Array:
    data, given = call.inputs[0], call.parameter("shape", 1)
    copied = not call.attributes.get("allowzero")
    target = np.ravel(np.asarray(given)).tolist()
    return np.asarray(np.reshape(data, [data.shape[i] if n == 0 and copied else n for i, n in enumerate(target)]))


def _reshaped_sizes(call: SizeCall) -> Sizes | None:
    given, data = call.parameter("shape", 1), call.shapes[0]
    if given is None:
        return None
    copied = not call.attributes.get("allowzero")
    target = [data[i] if is_number(n, 0) and copied else n for i, n in enumerate(np.ravel(given).tolist())]
    rest = prod(n for n in target if not is_number(n, -1))
    return tuple(floordiv(prod(data), rest) if is_number(n, -1) else n for n in target)


def _as_many(call: SizeCall) -> list[Demand]:
    """As many elements as before."""
    made, given = _reshaped_sizes(call), call.parameter("shape", 1)
    if made is None or given is None or not call.shapes[0]:
        return []
    inferred = any(is_number(n, -1) for n in np.ravel(given).tolist())
    rest = prod(n for n, m in zip(made, np.ravel(given).tolist(), strict=True) if not is_number(m, -1))
    return [Demand(prod(call.shapes[0]), rest, inferred)]


add(
    "Reshape", reshape, resize=retarget, inferred=1, value=_reshape, sizes=_reshaped_sizes, demands=_as_many,
    **REARRANGED,
)  # fmt: skip


def flatten(call: Call) -> Sequence[Axes | None]:
    axes, source, target = call.axes(0), call.inputs[0], call.outputs[0]
    if axes is None or source is None or source.shape is None or target.shape is None:
        return call.freeze_all("an input or output of unknown shape")
    return [regroup(call, axes, source, target)]


def squeezed(call: Call, keep: Keep) -> Changes:
    """Writes out the axes if one that stays is cut to a single neuron."""
    data = call.operand(0)
    if data is None or call.has(1) or call.attributes.get("axes") is not None:
        return {}
    if not any(axis is not None and keep(axis).sum() == 1 for axis in data.axes):
        return {}
    axes = [a for a, n in enumerate(data.shape) if n == 1]
    return {"axes": axes} if call.version < 13 else {1: np.array(axes)}


def _flatten(call: ValueCall) -> Array:
    data = call.inputs[0]
    return np.asarray(data.reshape(prod(data.shape[: int(call.attributes.get("axis", 1))]), -1))


def _squeeze(call: ValueCall) -> Array:
    axes = call.listed_axes(call.inputs[0].ndim)
    return np.asarray(np.squeeze(call.inputs[0], None if axes is None else tuple(axes)))


def _unsqueeze(call: ValueCall) -> Array:
    axes = call.parameter("axes", 1)
    return np.expand_dims(call.inputs[0], tuple(np.ravel(np.asarray(axes)).tolist()))


def squeeze_parts(call: Call, index: int, axis: int, parts: Parts) -> Unpacking | None:
    axes = call.listed_axes(call.rank())
    if axes is None:
        return None
    if axis in axes:
        return Unpacking((PackedPart(None, parts),)) if len(axes) == 1 else None
    return _renumbered(call, axis - sum(a < axis for a in axes), [a - (a > axis) for a in axes], parts)


def unsqueeze_parts(call: Call, index: int, axis: int, parts: Parts) -> Unpacking | None:
    shape = call.outputs[0].shape
    axes = None if shape is None else call.listed_axes(len(shape))
    if shape is None or axes is None:
        return None
    place = [a for a in range(len(shape)) if a not in axes][axis]
    return _renumbered(call, place, [a - (a > place) for a in axes], parts)


def _renumbered(call: Call, place: int, axes: Sequence[int], parts: Parts) -> Unpacking:
    if call.version < 13:
        return Unpacking((PackedPart(place, parts),), True, {"axes": axes})
    return Unpacking((PackedPart(place, parts),), True, {}, {1: axes})


add("Flatten", flatten, value=_flatten, **REARRANGED)
add("Squeeze", flatten, resize=squeezed, value=_squeeze, unpack=squeeze_parts, **REARRANGED)
add("Unsqueeze", flatten, value=_unsqueeze, unpack=unsqueeze_parts, **REARRANGED)


def order_of(call: Parameters, rank: int) -> list[int]:
    """The axis of the input that each axis of the output is."""
    return list(call.attributes.get("perm") or range(rank)[::-1])


def transpose(call: Call) -> Sequence[Axes | None]:
    axes = call.known(0)
    order = order_of(call, len(axes))
    if len(order) != len(axes):
        call.misfit = f"an order of {len(order)} axes for a tensor of {len(axes)}"
        return call.freeze_all(call.misfit)
    return [tuple(axes[i] for i in order)]


def transpose_parts(call: Call, index: int, axis: int, parts: Parts) -> Unpacking | None:
    order = order_of(call, call.rank())
    rest = [a - (a > axis) for a in order if a != axis]
    return Unpacking((PackedPart(order.index(axis), parts),), rest != sorted(rest), {"perm": rest})


def transposed_back(call: GradientCall, index: int) -> str:
    return call.emit.transposed(call.gradient, np.argsort(order_of(call, len(call.shape(0)))).tolist())


add(
    "Transpose",
    transpose,
    value=lambda call: np.transpose(call.inputs[0], order_of(call, call.inputs[0].ndim)),
    unpack=transpose_parts,
    **REARRANGED | {"gradient": (transposed_back,), "view": False},
)


def _depth(text: str) -> Callable[[Call], str]:
    def choose(call: Call) -> str:
        block = int(call.attributes["blocksize"])
        deep = f"c {block} {block}" if call.attributes.get("mode") == "CRD" else f"{block} {block} c"
        return text.format(deep)

    return choose


def _blocks(call: GradientCall, index: int) -> str:
    """Each block of the gradient back to the channels, or to the place, from which it came."""
    emit, size, (n, c, h, w) = call.emit, int(call.attributes["blocksize"]), call.shape(0)
    if call.result()[1] < c:
        order = [0, 1, 3, 5, 2, 4] if call.attributes.get("mode") == "CRD" else [0, 3, 5, 1, 2, 4]
        spread = emit.reshaped(call.gradient, (n, c // size**2, h, size, w, size))
    else:
        order = [0, 3, 4, 1, 5, 2]
        spread = emit.reshaped(call.gradient, (n, size, size, c, h // size, w // size))
    return emit.reshaped(emit.transposed(spread, order), (n, c, h, w))


add("DepthToSpace", signature(_depth("n ({}) * -> n c *")), silence="none", gradient=(_blocks,))
add("SpaceToDepth", signature(_depth("n c * -> n ({}) *")), silence="none", gradient=(_blocks,))
