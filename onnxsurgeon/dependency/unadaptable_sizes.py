"""Sizes that a cut can't correct: they mix an axis with a dynamic dim. Such axes are frozen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import Array
from onnxsurgeon.dependency.facts import tensor
from onnxsurgeon.ops import Call
from onnxsurgeon.ops.nodes import constant

if TYPE_CHECKING:
    from onnxsurgeon.dependency.labels import Labels


def freeze_unadaptable(labels: Labels, node: ir.Node, call: Call) -> None:
    """Freeze axes whose length enters a size that can't be corrected after a cut: the size also depends on a
    dynamic dim, and -1 does not replace it."""
    for index, size in enumerate(call.inputs):
        if size is None or size.weight or size.value is None or size.static is not None:
            continue
        operator, open_ = labels.operator(node), np.broadcast_to(~np.asarray(size.known), size.value.shape)
        inferred = operator is not None and operator.inferred == index and not (size.value[~open_] == -1).any()
        if inferred and open_.sum() == 1:
            continue
        sources: list[tuple[ir.Value, int]] = []
        _recompute(labels, node.inputs[index], sources, None)
        for data, axis in sources:
            other = _recompute(labels, node.inputs[index], [], (data, axis))
            if other is None or other.shape != open_.shape or (other[open_] != size.value[open_]).any():
                why = "its size, times a dynamic dim, goes into the computation"
                labels.relations.freeze(labels.axes[data][axis], why)


def _recompute(
    labels: Labels, value: ir.Value | None, sources: list[tuple[ir.Value, int]], shorter: tuple[ir.Value, int] | None
) -> Array | None:
    """The number in `value` if the axis `shorter` had one element less. Adds the static axes with neurons that it
    is computed from to `sources`."""
    facts, evaluator = labels.facts[0], labels.evaluator
    node = None if value is None else value.producer()
    if value is None or node is None or constant(value) is not None or not node.inputs:
        return None if value is None else evaluator.fact(value, facts).value
    data = node.inputs[0]
    shape = None if data is None else evaluator.fact(data, facts).shape
    if data is not None and shape is not None and (whole := evaluator.from_shape(node, shape)) is not None:
        axes = zip(labels.axes.get(data, ()), tensor(data, *labels.facts).dynamic, strict=False)
        sources += [(data, a) for a, (axis, dynamic) in enumerate(axes) if axis is not None and not dynamic]
        if shorter is None or shorter[0] is not data:
            return whole
        return evaluator.from_shape(node, tuple(n - (a == shorter[1]) for a, n in enumerate(shape)))
    inputs = [_recompute(labels, v, sources, shorter) for v in node.inputs]
    known = [None if v is None else evaluator.fact(v, facts).value for v in node.inputs]
    if shorter is None or all(np.array_equal(a, b) for a, b in zip(inputs, known, strict=True)):  # type: ignore[arg-type]
        return evaluator.fact(value, facts).value
    return evaluator.compute(node, inputs, value.index() or 0)
