"""Operators that pick and place elements by index: an axis that is indexed by data is frozen, the others pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from onnxsurgeon.arrays import Array, Ids, Shape
from onnxsurgeon.neurons.relations import POSITIONS, Axes, Axis
from onnxsurgeon.ops.call import Call, Changes, Keep, PackedPart, Parts, Unpacking, ValueCall, unchanged
from onnxsurgeon.ops.indexing_gradients import (
    gathered,
    gathered_elements,
    gathered_nd,
    one_hot_values,
    ranked,
    reversed_again,
    scattered_elements,
    scattered_nd,
    triangle,
)
from onnxsurgeon.ops.registry import MICROSOFT, Operator, Rule, add
from onnxsurgeon.ops.signatures import letters, read, signature, text


def renumber(call: Call, keep: Keep) -> Changes:
    """Renumbers a constant index into a cut axis, so that it counts the kept neurons only."""
    data, index = call.operand(0), call.static(1)
    labels = data.axes[call.axis(call.rank())] if data else None
    if labels is None or index is None or unchanged(keep, labels):
        return {}
    wanted = index.astype(np.int64) % len(labels)
    if not index.ndim:
        old, copy = keep.origins(labels)
        return {1: np.flatnonzero((old == wanted) & (copy == 0))[0].astype(index.dtype)}
    return {1: renumbered(keep, labels, wanted).astype(index.dtype)}


def renumbered(keep: Keep, labels: Ids, wanted: Ids) -> Ids:
    """Where the positions `wanted` of an axis are after the cut."""
    origins = zip(*(found.tolist() for found in keep.origins(labels)), strict=True)
    place = {origin: k for k, origin in enumerate(origins)}
    taken, which = keep.origins(labels[wanted])
    return np.array([place[origin] for origin in zip(wanted[taken].tolist(), which.tolist(), strict=True)], np.int64)


def gather(call: Call) -> Sequence[Axes | None]:
    axes, index, shape = call.known(0), call.static(1), call.sizes(1)
    axis = call.axis(call.rank())
    labels, before, after = axes[axis], axes[:axis], axes[axis + 1 :]
    if index is None or labels is None:
        call.relations.freeze(labels, "indexed by data")
        own = None if index is not None or (call.inputs[1] and call.inputs[1].weight) else call.axes(1)
        return [(*before, *(own or (None,) * len(shape)), *after)]
    taken = labels[index.astype(np.int64) % len(labels)]
    if len(shape) != 1 or taken.size == 1:
        call.relations.freeze(taken if len(shape) < 2 else labels, "picked by a constant index")
        return [(*before, *(None,) * len(shape), *after)]
    return [(*before, taken, *after)]


def _gather(call: ValueCall) -> Array:
    return np.asarray(np.take(call.inputs[0], call.inputs[1], call.axis(call.inputs[0].ndim)))


def gather_parts(call: Call, index: int, axis: int, parts: Parts) -> Unpacking | None:
    taken = call.static(1)
    if index != 0 or taken is None or call.axis(call.rank()) != axis or taken.ndim > 1:
        return None
    chosen = tuple(parts[int(i)] for i in taken.ravel())
    return Unpacking((PackedPart(axis if taken.ndim else None, chosen),))


PICK: dict[str, Any] = {"silence": "none", "looks_up": {1: 0}}

add(
    "Gather", gather, resize=renumber, value=_gather, unpack=gather_parts, linear_in="first",
    gradient=(gathered,), **PICK,
)  # fmt: skip


def passing_letters(call: Call) -> list[str]:
    """Letters of data and index, which pass along the axes that the index has whole."""
    data, index = call.sizes(0), call.sizes(1)
    return letters(len(data), [a for a, n in enumerate(data) if a == call.axis(call.rank()) or n != index[a]])


def gather_elements(call: Call) -> Sequence[Axes | None]:
    passing = passing_letters(call)
    picked = ["k" if a == call.axis(call.rank()) else name for a, name in enumerate(passing)]
    return read(call, text(passing, picked, picked))


def scatter_elements(call: Call) -> Sequence[Axes | None]:
    passing = passing_letters(call)
    return read(call, text(passing, passing, passing, passing))


def _gather_elements(call: ValueCall) -> Array:
    data, axis = call.inputs[0], call.axis(call.inputs[0].ndim)
    return np.take_along_axis(data, call.inputs[1] % data.shape[axis], axis)


add("GatherElements", gather_elements, value=_gather_elements, gradient=(gathered_elements,), **PICK)
add("Scatter ScatterElements", scatter_elements, silence="none", gradient=scattered_elements)


def gather_nd(call: Call) -> Sequence[Axes | None]:
    data, index, batch = call.sizes(0), call.sizes(1), int(call.attributes.get("batch_dims") or 0)
    end = batch + index[-1]
    passing = letters(len(data), range(batch, end))
    own = [*passing[:batch], *(f"i{a}" for a in range(batch, len(index) - 1))]
    return read(call, text(passing, [*own, "_"], [*own, *passing[end:]]))


class Column(NamedTuple):
    """One column of a grid of indices: the positions along an axis of the data, and the axis of the grid along which
    they vary; None: there is only one position."""

    along: int | None
    positions: Ids


def grid_of(index: Array | None, data: Shape) -> list[Column] | None:
    """The columns of indices that form a grid, each along an axis of its own; None if they don't."""
    if index is None or index.ndim < 1 or 0 in index.shape:
        return None
    columns: list[Column] = []
    for a in range(index.shape[-1]):
        values = index[..., a].astype(np.int64) % data[a]
        varies = [p for p, n in enumerate(values.shape) if n > 1 and (values != values.take([0], p)).any()]
        if len(varies) > 1:
            return None
        rows = (
            np.moveaxis(values, varies[0], 0).reshape(values.shape[varies[0]], -1)[:, 0] if varies else values.flat[:1]
        )
        columns.append(Column(varies[0] if varies else None, rows))
    along = [column.along for column in columns if column.along is not None]
    return columns if len(set(along)) == len(along) else None


def scatter_nd(call: Call) -> Sequence[Axes | None]:
    """Where constant indices form a grid, as of a slice of channels, updates are the neurons that they replace."""
    data, index = call.sizes(0), call.sizes(1)
    depth, columns = index[-1], grid_of(call.static(1), data)
    if columns is None:
        passing, where = letters(len(data), range(depth)), ["_"] * len(index)
        return read(call, text(passing, where, [*where[1:], *passing[depth:]], passing))
    axes, updates, outer = call.known(0), call.known(2), len(index) - 1
    pairs = [(axes[depth + k], updates[outer + k]) for k in range(len(data) - depth)]
    for axis, column in zip(axes, columns, strict=False):
        part = None if axis is None else axis[column.positions]
        pairs.append((part, None if column.along is None else updates[column.along]))
    used = {column.along for column in columns}
    pairs += [(None, updates[p]) for p in range(outer) if p not in used]
    for a, b in pairs:
        if a is not None and b is not None:
            call.relations.same(a, b)
        else:
            call.relations.freeze(b if a is None else a, POSITIONS)
    return [axes]


def grid_left(call: Call, keep: Keep) -> Changes:
    """The indices of a grid, renumbered."""
    data, index = call.operand(0), call.static(1)
    columns = None if data is None else grid_of(index, data.shape)
    if data is None or index is None or columns is None:
        return {}
    shape, kept, changed = list(index.shape[:-1]), list[Column](), False
    for axis, column in zip(data.axes, columns, strict=False):
        if axis is not None and not unchanged(keep, axis):
            column, changed = Column(column.along, renumbered(keep, axis, column.positions)), True
            if column.along is not None:
                shape[column.along] = len(column.positions)
        kept.append(column)
    spread = [
        np.broadcast_to(c.positions.reshape([-1 if p == c.along else 1 for p in range(len(shape))]), shape)
        for c in kept
    ]
    return {1: np.stack(spread, -1).astype(index.dtype)} if changed else {}


def tensor_scatter(call: Call) -> Sequence[Axes | None]:
    axis, rank = call.axis(call.rank(), -2), call.rank()
    passing = letters(rank, [axis])
    return read(call, text(passing, passing, passing[:1], passing))


def _gather_nd(call: ValueCall) -> Array:
    if call.attributes.get("batch_dims"):
        raise ValueError("batches of their own")
    return np.asarray(call.inputs[0][tuple(np.moveaxis(call.inputs[1], -1, 0))])


def _scatter_nd(call: ValueCall) -> Array:
    if call.attributes.get("reduction", "none") != "none":
        raise ValueError("a reducing scatter")
    data, index, updates = call.inputs
    result = np.array(data)
    result[tuple(np.moveaxis(index, -1, 0))] = updates
    return result


add("GatherND", gather_nd, value=_gather_nd, gradient=(gathered_nd,), **PICK)
add("ScatterND", scatter_nd, resize=grid_left, value=_scatter_nd, silence="none", gradient=scattered_nd)
add("TensorScatter", tensor_scatter, silence="none")


def one_hot(call: Call) -> Sequence[Axes | None]:
    own = letters(call.rank())
    axis = call.axis(len(own) + 1, -1)
    return read(call, text(own, [], [], [*own[:axis], "_", *own[axis:]]))


def reverse_sequence(call: Call) -> Sequence[Axes | None]:
    own = letters(call.rank(), [int(call.attributes.get("time_axis") or 0)])
    return read(call, text(own, [own[int(call.attributes.get("batch_axis", 1))]], own))


def _one_hot(call: ValueCall) -> Array:
    index, depth, (off, on) = call.inputs[0], int(np.ravel(call.inputs[1])[0]), call.inputs[2]
    axis = int(call.attributes.get("axis", -1))
    hot = np.expand_dims(index % depth, axis)
    shape = [depth if a == axis % hot.ndim else 1 for a in range(hot.ndim)]
    inside = np.expand_dims((index >= -depth) & (index < depth), axis)
    return np.asarray(np.where(inside & (hot == np.arange(depth).reshape(shape)), on, off))


add("OneHot", one_hot, value=_one_hot, silence="none", gradient=(None, None, one_hot_values))
add("ReverseSequence", reverse_sequence, silence="none", gradient=(reversed_again,))


def ordered(default: int, *, reduces: bool) -> Rule:
    """Positions along the axis have a meaning of their own: it stays whole. reduces: whether one of them is left."""

    def rule(call: Call) -> Sequence[Axes | None]:
        axes = call.known(0)
        axis = call.axis(len(axes), default)
        call.relations.freeze(axes[axis], "positions along this axis have a meaning")
        result: list[Axis] = [None if a == axis else labels for a, labels in enumerate(axes)]
        if reduces and not call.attributes.get("keepdims", 1):
            del result[axis]
        return [tuple(result)] * len(call.outputs)

    return rule


def _trilu(call: ValueCall) -> Array:
    k = call.static(1)
    return (np.triu if call.attributes.get("upper", 1) else np.tril)(call.inputs[0], 0 if k is None else int(k))


TRIANGLE = Operator(signature("... _ _ -> ... _ _"), silence="none", gradient=(triangle,))

add("TopK", ordered(-1, reduces=False), silence="none", gradient=(ranked,))
add("ArgMax ArgMin", ordered(0, reduces=True), silence="none")
add("Trilu", TRIANGLE, value=_trilu)
add("Trilu", TRIANGLE, stands_for=("Trilu", 14), domain=MICROSOFT)
