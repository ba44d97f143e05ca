"""Adds outputs to each group of a grouped convolution whose input can't change, so the number of groups stays."""

from __future__ import annotations

from math import prod

import numpy as np
import onnx_ir as ir

from onnxsurgeon.dependency.labels import label
from onnxsurgeon.edit.growth import Growth
from onnxsurgeon.edit.step import Step
from onnxsurgeon.model.editor import copied, set_tensor
from onnxsurgeon.model.lazy_weights import Drawn, Fill, Places, take
from onnxsurgeon.neurons.selection import Selection
from onnxsurgeon.ops.nodes import constant, convolution_of
from onnxsurgeon.surgery.find import find
from onnxsurgeon.surgery.rewire import applied


def multiply(model: ir.Model, name: str, added: int, growth: Growth) -> Step | None:
    """Adds `added` outputs, the same number to each group; None if that is impossible.

    The weights of the nodes that read them start at zero.
    """
    node = find(model, name)
    place = convolution_of(node)
    if place is None or place.transposed:
        return None
    labels = label(model, detached=[node.outputs[0]], rewritten=False)
    group = place.groups(labels.evaluator.attributes(node))
    axis = (labels.axes.get(node.outputs[0]) or (None, None))[1]
    if group < 2 or added < 1 or added % group or axis is None or labels.classes.frozen[axis].any():
        return None
    each = len(axis) // group
    new = np.zeros(labels.relations.count, np.int64)
    new[labels.classes.root[axis[each - 1 :: each]]] = added // group
    selection = Selection(labels.classes.root, np.ones(len(new), np.bool_), new[labels.classes.root])
    positions = selection.positions(axis)
    assert positions is not None
    wider = copied(model)
    _lengthen(find(wider, name), place.weight, positions, growth)
    after = applied(labels, selection, wider, growth, f"{name} can't have {added} more outputs")
    return Step(f"resize {name}=+{added}", model, after, labels, selection, growth)


def _lengthen(node: ir.Node, weight: int, positions: np.ndarray, growth: Growth) -> None:
    """Adds rows for the new outputs to the convolution's own weights."""
    new = positions < 0
    for index, value in enumerate(node.inputs[weight:], weight):
        tensor = constant(value)
        if value is None or tensor is None:
            continue
        count = prod(tensor.shape.numpy()[1:])
        fills: list[Fill] = [0.0] * int(new.sum())
        if index == weight and growth.init != "zeros":
            fills = [Drawn((growth.seed, k), 1 / max(count, 1)) for k in range(len(fills))]
        places = Places(np.where(new, -np.cumsum(new, dtype=np.int64), positions), tuple(fills))
        set_tensor(value, take(tensor, (places, *(None for _ in tensor.shape[1:]))))
