"""Adds edges between nodes that nothing joins yet: a layer reads a second value beside its data, or added to it.

The function stays: new columns are zeros, or a new layer of zeros stands between.
"""

from __future__ import annotations

import onnx_ir as ir

from onnxsurgeon.dependency.labels import Labels, label
from onnxsurgeon.edit.growth import Growth
from onnxsurgeon.edit.step import Step
from onnxsurgeon.errors import InfeasibleError, UsageError
from onnxsurgeon.model.editor import Editor, copied, feed
from onnxsurgeon.model.free_names import free_name
from onnxsurgeon.ops.making import joined, summed
from onnxsurgeon.ops.nodes import kind_of
from onnxsurgeon.surgery.blocks import Conv, Linear, Site
from onnxsurgeon.surgery.find import data_inputs, find, find_value
from onnxsurgeon.surgery.fit_check import checked
from onnxsurgeon.surgery.insert import site_of
from onnxsurgeon.surgery.rewire import Choices, connect


def concatenate(model: ir.Model, source: str, reader: str, *, seed: int = 0) -> list[Step]:
    """Makes `reader` read its data and `source`, side by side. A concatenation that only it reads is made longer.

    Raises UsageError if `reader` has several data inputs, InfeasibleError if the shapes can't fit.
    """
    labels = label(model, rewritten=False)
    index, value = _data(labels, reader)
    choices, joint = Choices(growth=Growth(seed=seed)), value.producer()
    if joint is not None and kind_of(joint) == "stack" and len(value.uses()) == 1 and not value.is_graph_output():
        return connect(model, source, joint.name or "", choices=choices)
    editor = Editor(copied(model))
    node = find(editor.model, reader)
    old = node.inputs[index]
    assert old is not None
    name = free_name(f"{reader}.concat", editor.node_names)
    feed([(node, index)], joined(site_of(labels, editor, old, name, "zeros", seed), [old]))
    first = checked(labels, editor.finished(), f"concatenate what {reader} reads", same=True)
    return [first, *connect(first.after, source, name, choices=choices)]


def add(model: ir.Model, source: str, reader: str, *, seed: int = 0) -> list[Step]:
    """Makes `reader` read the sum of its data and of a new layer of zeros behind `source`.

    Raises UsageError if `reader` has several data inputs, InfeasibleError if the shapes can't fit.
    """
    labels = label(model, rewritten=False)
    index, _ = _data(labels, reader)
    editor = Editor(copied(model))
    node, given = find(editor.model, reader), find_value(editor.model, source)
    old = node.inputs[index]
    assert old is not None
    here = site_of(labels, editor, old, free_name(f"{reader}.add", editor.node_names), "zeros", seed)
    there = site_of(labels, editor, given, free_name(f"{reader}.shortcut", editor.node_names), "zeros", seed)
    feed([(node, index)], summed(here, [old, _projected(here, there)]))
    return [checked(labels, editor.finished(), f"add {source} to what {reader} reads", same=True)]


def _projected(here: Site, there: Site) -> ir.Value:
    """What stands at `there`, through a layer that is as wide as `here`."""
    if here.axis != there.axis or len(here.shape) != len(there.shape):
        raise InfeasibleError(
            f"{there.behind} and {here.behind} have no channels in common",
            why=f"their shapes are {list(there.shape)} and {list(here.shape)}",
            fix="choose nodes whose outputs have the same rank",
        )
    if there.axis == len(there.shape) - 1:
        return Linear(width=here.width).build(there)
    return Conv(1, width=here.width).build(there)


def _data(labels: Labels, name: str) -> tuple[int, ir.Value]:
    given = data_inputs(labels, find(labels.model, name))
    if len(given) != 1:
        raise UsageError(
            f"{name} can't read another value", why=f"it has {len(given)} data inputs", fix="choose a node with one"
        )
    return given[0]
