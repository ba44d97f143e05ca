"""Gradients of operators that pick and place elements by index."""

from __future__ import annotations

from math import prod

import numpy as np

from onnxsurgeon.arrays import Array, Shape
from onnxsurgeon.ops.emitter import Emitter
from onnxsurgeon.ops.gradient import GradientCall

ADDS = 16  # the opset since which a scatter can add what falls on one place
SCATTERS = 11  # the opset since which there is one for indices of several axes


def gathered(call: GradientCall, index: int) -> str:
    """Each row is the sum of the gradients of all that were read from it."""
    emit, shape, indices = call.emit, call.shape(0), call.static(1)
    axis = call.axis(len(shape))
    count = prod(call.shape(1))
    gradient = emit.reshaped(call.gradient, (*shape[:axis], count, *shape[axis + 1 :]))
    if indices is not None:
        return emit.scattered(gradient, axis, np.asarray(indices).ravel() % shape[axis], shape[axis])
    order = [axis, *(a for a in range(len(shape)) if a != axis)]
    rows = emit.transposed(gradient, order)
    table = tuple(shape[a] for a in order)
    if emit.version >= ADDS:
        places = emit.reshaped(emit.integers(call.inputs[1]), (count, 1))
        summed = emit("ScatterND", emit.zeros(table), places, rows, reduction="add", shape=table)
    else:
        flat = emit.reshaped(rows, (count, prod(table[1:])))
        summed = emit.reshaped(emit.product(emit.swapped(_hot(emit, call.inputs[1], table[0])), flat), table)
    return emit.transposed(summed, np.argsort(order).tolist())


def _hot(emit: Emitter, indices: str, size: int) -> str:
    """Which of `size` each index is, shape (indices, size); those below 0 count from the end."""
    column = emit.reshaped(emit.integers(indices), (prod(emit.shapes[indices]), 1))
    return emit.sum([emit.mask("Equal", column, emit.constant(np.arange(size) - back)) for back in (0, size)])


def gathered_elements(call: GradientCall, index: int) -> str | None:
    emit, shape, axis = call.emit, call.shape(0), call.axis(len(call.shape(0)))
    if emit.version >= ADDS:
        zeros = emit.zeros(shape)
        return emit("ScatterElements", zeros, call.inputs[1], call.gradient, axis=axis, reduction="add", shape=shape)
    indices = call.static(1)
    if indices is None:
        return None
    grid = [np.broadcast_to(np.arange(n).reshape([-1 if a == b else 1 for b in range(len(shape))]), indices.shape)
            for a, n in enumerate(indices.shape)]  # fmt: skip
    grid[axis] = indices % shape[axis]
    return _placed(call, np.ravel_multi_index(grid, shape))


def _placed(call: GradientCall, places: Array) -> str:
    """Element by element, at its place in the flat input."""
    emit, size = call.emit, prod(call.shape(0))
    flat = emit.reshaped(call.gradient, (places.size,))
    return emit.reshaped(emit.scattered(flat, 0, places.ravel(), size), call.shape(0))


def scattered_elements(call: GradientCall, index: int) -> str | None:
    """To the updates what stands in their places; to the rest what they left."""
    emit, name = call.emit, "ScatterElements" if call.emit.version >= SCATTERS else "Scatter"
    axis, how = call.axis(len(call.shape(0))), call.attributes.get("reduction", "none")
    if how not in ("none", "add"):
        return None
    if index == 0:
        if how == "add":
            return call.gradient
        zeros = emit.zeros(call.shape(UPDATES))
        return emit(name, call.gradient, call.inputs[1], zeros, axis=axis, shape=call.shape(0))
    indices = call.inputs[1]
    if emit.version >= SCATTERS:
        return emit("GatherElements", call.gradient, indices, axis=axis, shape=call.shape(UPDATES))
    return None


UPDATES = 2  # the input of a scatter with what is placed


def scattered_nd(call: GradientCall, index: int) -> str | None:
    emit, how = call.emit, call.attributes.get("reduction", "none")
    if how not in ("none", "add") or index == 1:
        return None
    if index == UPDATES:
        return emit("GatherND", call.gradient, call.inputs[1], shape=call.shape(UPDATES))
    if how == "add":
        return call.gradient
    return emit("ScatterND", call.gradient, call.inputs[1], emit.zeros(call.shape(UPDATES)), shape=call.shape(0))


def gathered_nd(call: GradientCall, index: int) -> str | None:
    emit, shape, batch = call.emit, call.shape(0), int(call.attributes.get("batch_dims", 0))
    if emit.version >= ADDS and not batch:
        zeros = emit.zeros(shape)
        return emit("ScatterND", zeros, call.inputs[1], call.gradient, reduction="add", shape=shape)
    indices = call.static(1)
    return None if indices is None else _placed(call, _places(indices, shape, batch))


def _places(indices: Array, shape: Shape, batch: int) -> Array:
    """The place in the flat data of each element that a GatherND reads."""
    flat = np.arange(prod(shape)).reshape(-1, *shape[batch:])
    each = indices.reshape(len(flat), -1, indices.shape[-1])
    found = [rows[tuple(np.moveaxis(at, -1, 0))] for rows, at in zip(flat, each, strict=True)]
    return np.stack(found)


def ranked(call: GradientCall, index: int) -> str | None:
    """To the places from which the largest came."""
    emit, shape = call.emit, call.shape(0)
    if not call.outputs[1]:
        return None
    name = "ScatterElements" if emit.version >= SCATTERS else "Scatter"
    axis = call.axis(len(shape), -1)
    return emit(name, emit.zeros(shape), call.outputs[1], call.gradient, axis=axis, shape=shape)


def one_hot_values(call: GradientCall, index: int) -> str:
    """The sums where it is off, and where it is on."""
    emit, axis = call.emit, int(call.attributes.get("axis", -1))
    marks = emit.constant(np.array([0.0, 1.0]))
    hot = emit("OneHot", call.inputs[0], call.inputs[1], marks, axis=axis, shape=call.result())
    axes = range(len(call.result()))
    everything, on = (
        emit.reshaped(emit.total(v, axes), (1,)) for v in (call.gradient, emit("Mul", call.gradient, hot))
    )
    return emit.joined([emit("Sub", everything, on), on], 0)


def reversed_again(call: GradientCall, index: int) -> str:
    axes = {name: int(call.attributes[name]) for name in ("batch_axis", "time_axis") if name in call.attributes}
    return call.emit("ReverseSequence", call.gradient, call.inputs[1], shape=call.shape(0), **axes)


def triangle(call: GradientCall, index: int) -> str:
    upper = int(call.attributes.get("upper", 1))
    return call.emit("Trilu", call.gradient, *call.inputs[1:2], upper=upper, shape=call.shape(0))
