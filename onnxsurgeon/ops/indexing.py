"""Operators that pick and place elements by index: an axis that is indexed by data stays whole, the others pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from onnxsurgeon.arrays import Array
from onnxsurgeon.neurons.relations import Axes, Axis
from onnxsurgeon.ops.call import (
    Call,
    Changes,
    Keep,
    ValueCall,
    unchanged,
)
from onnxsurgeon.ops.gradient import GradientCall
from onnxsurgeon.ops.packing import PackedPart, Parts, Unpacking
from onnxsurgeon.ops.registry import (
    MICROSOFT,
    Operator,
    add,
)
from onnxsurgeon.ops.signatures import frozen, letters, read, signature, text


def axis_of(call: Call, default: int = 0) -> int:
    """The attribute `axis`, counted from the front."""
    return int(call.attributes.get("axis", default)) % max(len(call.shape(0) or ()), 1)


# --- Gather ----------------------------------------------------------------------------------------------------------


def renumber(call: Call, keep: Keep) -> Changes:
    """A constant index into a cut axis counts the kept neurons."""
    data, index = call.operand(0), call.static(1)
    labels = data.axes[axis_of(call)] if data else None
    if labels is None or index is None or unchanged(keep, labels):
        return {}
    wanted = index.astype(np.int64) % len(labels)
    old, copy = keep.origins(labels)
    if not index.ndim:
        return {1: np.flatnonzero((old == wanted) & (copy == 0))[0].astype(index.dtype)}
    place = {origin: k for k, origin in enumerate(zip(old.tolist(), copy.tolist(), strict=True))}
    taken, which = keep.origins(labels[wanted])
    return {
        1: np.array([place[origin] for origin in zip(wanted[taken].tolist(), which.tolist(), strict=True)], index.dtype)
    }


def gather(call: Call) -> Sequence[Axes | None]:
    axes, index, shape = call.axes(0), call.static(1), call.shape(1)
    if axes is None or shape is None:
        return call.freeze_all("an input of unknown shape")
    axis = axis_of(call)
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
    if index != 0 or taken is None or axis_of(call) != axis or taken.ndim > 1:
        return None
    chosen = tuple(parts[int(i)] for i in taken.ravel())
    return Unpacking((PackedPart(axis if taken.ndim else None, chosen),))


def gather_gradient(call: GradientCall, index: int) -> str | None:
    indices, shape = call.static(1), call.shape(0)
    if indices is None:
        return None
    axis = call.axis(len(shape))
    flat = np.asarray(indices).ravel() % shape[axis]
    gradient = call.emit.reshaped(call.gradient, (*shape[:axis], len(flat), *shape[axis + 1 :]))
    return call.emit.scattered(gradient, axis, flat, shape[axis])


PICK = Operator(frozen(""), silence="none", looks_up={1: 0})
PLACE = Operator(frozen(""), silence="none")

add(
    "Gather",
    replace(
        PICK,
        rule=gather,
        resize=renumber,
        value=_gather,
        unpack=gather_parts,
        linear_in="first",
        gradient=(gather_gradient,),
    ),
)

# --- element by element ----------------------------------------------------------------------------------------------


def passing_letters(call: Call) -> list[str] | None:
    """Letters of data and index, which pass along the axes that the index has whole; None where a shape is unknown."""
    data, index = call.shape(0), call.shape(1)
    if data is None or index is None:
        return None
    return letters(len(data), [a for a, n in enumerate(data) if a == axis_of(call) or n != index[a]])


def gather_elements(call: Call) -> Sequence[Axes | None]:
    passing = passing_letters(call)
    if passing is None:
        return call.freeze_all("an input of unknown shape")
    picked = ["k" if a == axis_of(call) else name for a, name in enumerate(passing)]
    return read(call, text(passing, picked, picked))


def scatter_elements(call: Call) -> Sequence[Axes | None]:
    passing = passing_letters(call)
    if passing is None:
        return call.freeze_all("an input of unknown shape")
    return read(call, text(passing, passing, passing, passing))


def _gather_elements(call: ValueCall) -> Array:
    data, axis = call.inputs[0], call.axis(call.inputs[0].ndim)
    return np.take_along_axis(data, call.inputs[1] % data.shape[axis], axis)


add("GatherElements", replace(PICK, rule=gather_elements, value=_gather_elements))
add("Scatter ScatterElements", replace(PLACE, rule=scatter_elements))

# --- by several axes at once -----------------------------------------------------------------------------------------


def gather_nd(call: Call) -> Sequence[Axes | None]:
    data, index, batch = call.shape(0), call.shape(1), int(call.attributes.get("batch_dims") or 0)
    if data is None or not index:
        return call.freeze_all("an input of unknown shape")
    end = batch + index[-1]
    passing = letters(len(data), range(batch, end))
    own = [*passing[:batch], *(f"i{a}" for a in range(batch, len(index) - 1))]
    return read(call, text(passing, [*own, "_"], [*own, *passing[end:]]))


def scatter_nd(call: Call) -> Sequence[Axes | None]:
    data, index = call.shape(0), call.shape(1)
    if data is None or not index:
        return call.freeze_all("an input of unknown shape")
    passing, where = letters(len(data), range(index[-1])), ["_"] * len(index)
    return read(call, text(passing, where, [*where[1:], *passing[index[-1] :]], passing))


def tensor_scatter(call: Call) -> Sequence[Axes | None]:
    axis, rank = axis_of(call, -2), len(call.shape(0) or ())
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


add("GatherND", replace(PICK, rule=gather_nd, value=_gather_nd))
add("ScatterND", replace(PLACE, rule=scatter_nd, value=_scatter_nd))
add("TensorScatter", replace(PLACE, rule=tensor_scatter))

# --- positions -------------------------------------------------------------------------------------------------------


def one_hot(call: Call) -> Sequence[Axes | None]:
    own = letters(len(call.shape(0) or ()))
    axis = int(call.attributes.get("axis", -1)) % (len(own) + 1)
    return read(call, text(own, [], [], [*own[:axis], "_", *own[axis:]]))


def reverse_sequence(call: Call) -> Sequence[Axes | None]:
    own = letters(len(call.shape(0) or ()), [int(call.attributes.get("time_axis") or 0)])
    return read(call, text(own, [own[int(call.attributes.get("batch_axis", 1))]], own))


def _one_hot(call: ValueCall) -> Array:
    index, depth, (off, on) = call.inputs[0], int(np.ravel(call.inputs[1])[0]), call.inputs[2]
    axis = int(call.attributes.get("axis", -1))
    hot = np.expand_dims(index % depth, axis)
    shape = [depth if a == axis % hot.ndim else 1 for a in range(hot.ndim)]
    inside = np.expand_dims((index >= -depth) & (index < depth), axis)
    return np.asarray(np.where(inside & (hot == np.arange(depth).reshape(shape)), on, off))


add("OneHot", replace(PLACE, rule=one_hot, value=_one_hot))
add("ReverseSequence", replace(PLACE, rule=reverse_sequence))


def _frozen_axis(call: Call, default: int) -> tuple[int, list[Axis]] | None:
    """Positions along the axis have a meaning of their own: it stays whole."""
    axes = call.axes(0)
    if axes is None:
        return None
    axis = axis_of(call, default)
    call.relations.freeze(axes[axis], "positions along this axis have a meaning")
    return axis, [None if a == axis else labels for a, labels in enumerate(axes)]


def top_k(call: Call) -> Sequence[Axes | None]:
    found = _frozen_axis(call, -1)
    return call.freeze_all("an input of unknown shape") if found is None else [tuple(found[1])] * len(call.outputs)


def largest(call: Call) -> Sequence[Axes | None]:
    found = _frozen_axis(call, 0)
    if found is None:
        return call.freeze_all("an input of unknown shape")
    axis, result = found
    if not call.attributes.get("keepdims", 1):
        del result[axis]
    return [tuple(result)]


def _trilu(call: ValueCall) -> Array:
    k = call.static(1)
    return (np.triu if call.attributes.get("upper", 1) else np.tril)(call.inputs[0], 0 if k is None else int(k))


TRIANGLE = replace(PLACE, rule=signature("... _ _ -> ... _ _"))

add("TopK", replace(PLACE, rule=top_k))
add("ArgMax ArgMin", replace(PLACE, rule=largest))
add("Trilu", replace(TRIANGLE, value=_trilu))
add("Trilu", replace(TRIANGLE, stands_for=("Trilu", 14)), domain=MICROSOFT)
