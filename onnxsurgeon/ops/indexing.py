"""Operators that pick and place elements by index: an axis that is indexed by data stays whole, the others pass."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onnxsurgeon.neurons.relations import Axes, Axis
from onnxsurgeon.ops.call import Call, Changes, Keep, register, unchanged
from onnxsurgeon.ops.table import read


def axis_of(call: Call, default: int = 0) -> int:
    """The attribute `axis`, counted from the front."""
    return int(call.attributes.get("axis", default)) % max(len(call.shape(0) or ()), 1)


def letters(rank: int, frozen: Sequence[int] = ()) -> list[str]:
    """One letter per axis, `_` for those that stay whole."""
    return ["_" if a in frozen else f"x{a}" for a in range(rank)]


def text(*operands: Sequence[str]) -> str:
    """The signature of these symbols; the last operand is the output."""
    return ", ".join(" ".join(o) for o in operands[:-1]) + " -> " + " ".join(operands[-1])


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


@register("Gather", silence="none", resize=renumber, looks_up={1: 0})
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


def passing_letters(call: Call) -> list[str] | None:
    """Letters of data and index, which pass along the axes that the index has whole; None where a shape is unknown."""
    data, index = call.shape(0), call.shape(1)
    if data is None or index is None:
        return None
    return letters(len(data), [a for a, n in enumerate(data) if a == axis_of(call) or n != index[a]])


@register("GatherElements", silence="none", looks_up={1: 0})
def gather_elements(call: Call) -> Sequence[Axes | None]:
    passing = passing_letters(call)
    if passing is None:
        return call.freeze_all("an input of unknown shape")
    picked = ["k" if a == axis_of(call) else name for a, name in enumerate(passing)]
    return read(call, text(passing, picked, picked))


@register("ScatterElements Scatter", silence="none")
def scatter_elements(call: Call) -> Sequence[Axes | None]:
    passing = passing_letters(call)
    if passing is None:
        return call.freeze_all("an input of unknown shape")
    return read(call, text(passing, passing, passing, passing))


@register("GatherND", silence="none", looks_up={1: 0})
def gather_nd(call: Call) -> Sequence[Axes | None]:
    data, index, batch = call.shape(0), call.shape(1), int(call.attributes.get("batch_dims") or 0)
    if data is None or not index:
        return call.freeze_all("an input of unknown shape")
    end = batch + index[-1]
    passing = letters(len(data), range(batch, end))
    own = [*passing[:batch], *(f"i{a}" for a in range(batch, len(index) - 1))]
    return read(call, text(passing, [*own, "_"], [*own, *passing[end:]]))


@register("ScatterND", silence="none")
def scatter_nd(call: Call) -> Sequence[Axes | None]:
    data, index = call.shape(0), call.shape(1)
    if data is None or not index:
        return call.freeze_all("an input of unknown shape")
    passing, where = letters(len(data), range(index[-1])), ["_"] * len(index)
    return read(call, text(passing, where, [*where[1:], *passing[index[-1] :]], passing))


@register("TensorScatter", silence="none")
def tensor_scatter(call: Call) -> Sequence[Axes | None]:
    axis, rank = axis_of(call, -2), len(call.shape(0) or ())
    passing = letters(rank, [axis])
    return read(call, text(passing, passing, passing[:1], passing))


@register("OneHot", silence="none")
def one_hot(call: Call) -> Sequence[Axes | None]:
    own = letters(len(call.shape(0) or ()))
    axis = int(call.attributes.get("axis", -1)) % (len(own) + 1)
    return read(call, text(own, [], [], [*own[:axis], "_", *own[axis:]]))


@register("ReverseSequence", silence="none")
def reverse_sequence(call: Call) -> Sequence[Axes | None]:
    own = letters(len(call.shape(0) or ()), [int(call.attributes.get("time_axis") or 0)])
    return read(call, text(own, [own[int(call.attributes.get("batch_axis", 1))]], own))


@register("ArgMax ArgMin TopK", silence="none")
def ordered(call: Call) -> Sequence[Axes | None]:
    """Positions along the axis have a meaning of their own: it stays whole."""
    axes = call.axes(0)
    if axes is None:
        return call.freeze_all("an input of unknown shape")
    axis = axis_of(call, -1 if call.operator == "TopK" else 0)
    call.relations.freeze(axes[axis], "positions along this axis have a meaning")
    result: list[Axis] = [None if a == axis else labels for a, labels in enumerate(axes)]
    if call.operator != "TopK" and not call.attributes.get("keepdims", 1):
        del result[axis]
    return [tuple(result)] * len(call.outputs)
