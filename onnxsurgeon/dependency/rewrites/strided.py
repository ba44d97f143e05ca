"""Replaces a Gather that only permutes a flattened tensor by a Transpose.

    x > Reshape [-1] > Gather index        index: all of x, permuted, as `as_strided` is exported

becomes Reshape and Transpose. It is recognised by the index' value at two samples of the dynamic dims.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import Array, Shape
from onnxsurgeon.dependency.rewrites.known_model import FactEditor, KnownModel
from onnxsurgeon.ops.making import ordered
from onnxsurgeon.ops.nodes import constant, operator_of

LARGEST_INDEX = 1 << 22  # elements of the largest index that is evaluated


class StridedSite(NamedTuple):
    """source: the flattened tensor. target: the shape to reshape it to. order: its axes in the order of the result."""

    source: ir.Value
    target: tuple[int, ...]
    order: tuple[int, ...]


def find(known: KnownModel, node: ir.Node) -> StridedSite | None:
    """The Transpose that a Gather on a flattened tensor computes; None if it computes anything else."""
    operator = operator_of(node)
    if operator is None or operator.picks is None or node.graph is not known.model.graph:
        return None
    index, data = (node.inputs[place] for place in operator.picks)
    flat = None if data is None else data.producer()
    before_it = None if flat is None else operator_of(flat)
    if flat is None or before_it is None or before_it.moves != "rearranged" or not known.is_tensor(node.outputs[0]):
        return None
    source = flat.inputs[0]
    before, line, after = (known.shapes(v) for v in (source, data, node.outputs[0]))
    if source is None or index is None or constant(source) is not None or before is None or after is None:
        return None
    if line is None or len(line[0]) != 1 or any(prod(s) != n for s, (n,) in zip(after, line, strict=True)):
        return None
    orders = [_order(_compute(known, index, sample, {}), after[sample]) for sample in (0, 1)]
    if orders[0] is None or orders[0] != orders[1]:
        return None
    wanted = [tuple(shape[axis] for axis in orders[0]) for shape in after]
    target = _target(before, wanted)
    return None if target is None else StridedSite(source, target, tuple(np.argsort(orders[0]).tolist()))


def restride(editor: FactEditor, node: ir.Node) -> None:
    site = find(editor.known, node)
    if site is None:
        return
    moved = site.order != tuple(range(len(site.order)))
    output, name = node.outputs[0].name, editor.give_up_name(node)
    target = editor.integers(f"{name}.shape", site.target)
    first = f"{name}.0" if moved else name
    new = editor.add(node, "Reshape", [site.source, target], first, f"{output}.0")
    if moved:
        new = editor.add(node, "Transpose", [new], name, f"{output}.1", ordered(site.order))
    editor.replace(node.outputs[0], new)


def _compute(known: KnownModel, value: ir.Value, sample: int, memo: dict[ir.Value, Array | None]) -> Array | None:
    """The value at one sample, also if it is large: facts contain only small values."""
    if value not in memo:
        fact = known.evaluator.fact(value, known.facts[sample])
        memo[value] = fact.value
        if fact.value is None and fact.shape is not None and prod(fact.shape) <= LARGEST_INDEX:
            memo[value] = _evaluate(known, value, sample, memo)
    return memo[value]


def _evaluate(known: KnownModel, value: ir.Value, sample: int, memo: dict[ir.Value, Array | None]) -> Array | None:
    held, node = constant(value), value.producer()
    if held is not None:
        return held.numpy()
    if node is None:
        return None
    inputs = [None if v is None else _compute(known, v, sample, memo) for v in node.inputs]
    if any(a is None and v is not None for a, v in zip(inputs, node.inputs, strict=True)):
        return None
    return known.evaluator.compute(node, inputs, value.index() or 0)


def _order(index: Array | None, shape: Shape) -> tuple[int, ...] | None:
    """The result's axes from slowest to fastest in memory; None if the index does not enumerate a whole tensor."""
    if index is None or index.shape != shape or not index.size or not np.issubdtype(index.dtype, np.integer):
        return None
    strides = {axis: int(index[_unit(len(shape), axis)]) for axis, n in enumerate(shape) if n > 1}
    order = sorted(strides, key=lambda axis: -strides[axis])
    for axis in range(len(shape)):  # an axis of size 1 stays after its predecessor
        if axis not in strides:
            order.insert(order.index(axis - 1) + 1 if axis else 0, axis)
    whole = np.arange(index.size).reshape([shape[axis] for axis in order])
    return tuple(order) if np.array_equal(index, whole.transpose(np.argsort(order))) else None


def _unit(rank: int, axis: int) -> tuple[int, ...]:
    return tuple(int(a == axis) for a in range(rank))


def _target(before: tuple[Shape, Shape], wanted: Sequence[Shape]) -> tuple[int, ...] | None:
    """A constant target shape for all sizes: one dynamic dim is -1, others are copied from the source; else None."""
    target, open_ = [], [a for a, (n, m) in enumerate(zip(*wanted, strict=True)) if n != m]
    for axis, n in enumerate(wanted[0]):
        copied = axis < len(before[0]) and all(s[axis] == w[axis] for s, w in zip(before, wanted, strict=True))
        if axis not in open_:
            target.append(n)
        elif len(open_) > 1 and copied:
            target.append(0)
        else:
            target.append(-1)
    return tuple(target) if target.count(-1) <= 1 else None
