"""Inserts new nodes after others, or replaces nodes by new ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import FloatArray
from onnxsurgeon.dependency.labels import Labels, label
from onnxsurgeon.dependency.names import name_of, result_of
from onnxsurgeon.edit.inits import INITS
from onnxsurgeon.edit.step import Step
from onnxsurgeon.errors import UsageError
from onnxsurgeon.model.editor import Editor, attribute, copied, feed, set_attribute, set_input
from onnxsurgeon.model.free_names import free_name
from onnxsurgeon.ops.nodes import constant, convolution_of, kind_of, operator_of
from onnxsurgeon.ops.registry import of_kind
from onnxsurgeon.surgery.blocks import Activation, BatchNorm, Builds, Conv, Linear, Site
from onnxsurgeon.surgery.find import data_inputs, find, find_value, value_called
from onnxsurgeon.surgery.fit_check import checked, require_type
from onnxsurgeon.surgery.widths import value_axis


def insert(
    model: ir.Model,
    after: str,
    block: Builds,
    *,
    readers: Sequence[str] | None = None,
    init: str = "identity",
    name: str | None = None,
    seed: int = 0,
) -> list[Step]:
    """Inserts a block between a node (or an input of the graph) and the nodes that read it.

    readers: names of the nodes that read the block; by default all, and the output of the graph too. name: of the new
    node. Raises UsageError if the block does not fit behind the node.
    """
    labels = label(model, rewritten=False)
    editor = Editor(copied(model))
    value = find_value(editor.model, after)
    uses = _uses(value, after, readers)
    to_output = readers is None and value.is_graph_output()
    if name in editor.node_names:
        raise UsageError(f"name {name!r} is taken", why="names of nodes are unique", fix="choose another name")
    kind = type(block).__name__.lower() if not isinstance(block, Activation) else block.kind.lower()
    chosen = free_name(name or f"{after}.{kind}", editor.node_names)
    result = block.build(site_of(labels, editor, value, chosen, init, seed))
    feed(uses, result)
    if to_output:
        editor.take_over(value, result)
    neutral = init == "identity" and isinstance(block, Conv | Linear | BatchNorm)
    return [checked(labels, editor.finished(), f"insert {chosen} after {after}", same=neutral)]


def _uses(value: ir.Value, name: str, readers: Sequence[str] | None) -> list[tuple[ir.Node, int]]:
    """The uses of `value`, called `name`: by all nodes, or by the named ones."""
    uses = [(node, index) for node, index in value.uses() if readers is None or name_of(node) in readers]
    if missing := set(readers or ()) - {name_of(node) for node, _ in uses}:
        raise UsageError(f"{', '.join(sorted(missing))} does not read {name}", fix="see onnxsurgeon inspect -v")
    return uses


def site_of(labels: Labels, editor: Editor, value: ir.Value, name: str, init: str, seed: int) -> Site:
    """The place behind a value of the edited model, whose original is labelled. Raises UsageError if none is there."""
    original = value_called(labels.model, value.name)
    fact = labels.facts[0].get(original)
    require_type(labels, original, original, name)
    if fact is None or fact.shape is None or not ir.DataType(fact.dtype).is_floating_point():
        raise UsageError(
            f"no block can follow {name}",
            why="the shape there is unknown, or the elements are not floats",
            fix="choose a node whose output holds floats",
        )
    found = value_axis(labels, original)
    axis = found[0] if found else (1 if len(fact.shape) > 2 else len(fact.shape) - 1)
    again = labels.facts[1].get(original)
    if not fact.shape or again is None or again.shape is None or again.shape[axis] != fact.shape[axis]:
        raise UsageError(
            f"no block can follow {name}: its output has no channel axis",
            why=f"the shape there is {list(fact.shape)}",
            fix="choose a node with channels: onnxsurgeon inspect shows them",
        )
    opset = labels.evaluator.versions[""]
    return Site(editor, value, fact.shape, axis, ir.DataType(fact.dtype), opset, name, init, seed)


def replace(
    model: ir.Model, name: str, block: Builds, *, init: str = "he", seed: int = 0, what: str = "", gate: str = ""
) -> list[Step]:
    """Replaces a node with one data input by a new block whose output has the same shape.

    gate: the node that only computes another input of this one from the same data; it goes, too. Raises UsageError
    where the node has several data inputs, InfeasibleError where the output's shape would change.
    """
    labels, node = label(model, rewritten=False), find(model, name)
    given = [(i, v) for i, v in data_inputs(labels, node) if not gate or v is not result_of(find(model, gate))]
    if len(given) != 1 or any(v is not result_of(node) and (v.uses() or v.is_graph_output()) for v in node.outputs):
        raise UsageError(
            f"{name} can't be replaced",
            why=f"it has {len(given)} data inputs, or several outputs in use; it may only have one of each",
            fix="remove it, then insert the new node",
        )
    require_type(labels, given[0][1], result_of(node), f"replacing {name}")
    editor = Editor(copied(model))
    twin = find(editor.model, name)
    source, old = twin.inputs[given[0][0]], result_of(twin)
    assert source is not None
    editor.give_up_name(twin)
    if gate:
        editor.give_up_name(find(editor.model, gate))
    result = block.build(site_of(labels, editor, source, gate or name, init, seed))
    editor.replace(old, result)
    return [checked(labels, editor.finished(), what or f"replace {name}")]


def activation(model: ir.Model, name: str, kind: str) -> list[Step]:
    """Replaces an activation by another kind. `x * Sigmoid(x)` is one activation, named by its gate.

    Raises UsageError if the node `name` is not an activation.
    """
    node = find(model, name)
    if kind_of(node) != "activation":
        raise UsageError(
            f"{name} ({node.op_type}) is not an activation",
            why=f"activations are {', '.join(of_kind('activation'))}",
            fix="use replace for other nodes",
        )
    said, product = f"activation {name}: {kind}", gated(node)
    if product is not None:
        return replace(model, name_of(product), Activation(kind), what=said, gate=name)
    return replace(model, name, Activation(kind), what=said)


def gated(node: ir.Node) -> ir.Node | None:
    """The product of an activation's output with its input, if nothing else reads the output."""
    gate = result_of(node)
    readers = list(gate.uses())
    reader = readers[0].node if len(readers) == 1 and not gate.is_graph_output() else None
    operator = None if reader is None else operator_of(reader)
    if reader is None or operator is None or operator.linear_in != "each" or operator.macs is not None:
        return None
    return reader if set(reader.inputs) == {gate, node.inputs[0]} else None


def separate(model: ir.Model, name: str, *, init: str = "closest", seed: int = 0) -> list[Step]:
    """Replaces a convolution by a depthwise and a pointwise one with the same strides, pads and output shape.

    init: how their weights start, a word of `SPLIT`. Raises UsageError if the node is not a Conv of one group.
    """
    node = find(model, name)
    place = convolution_of(node)
    tensor = None if place is None or place.transposed else constant(node.inputs[place.weight])
    labels = label(model, rewritten=False)
    if place is None or tensor is None or place.groups(labels.evaluator.attributes(node)) > 1:
        raise UsageError(
            f"{name} ({node.op_type}) can't be made separable",
            why="it is not a Conv of one group with constant weights",
            fix="choose a Conv with one group",
        )
    editor = Editor(copied(model))
    twin = find(editor.model, name)
    deep, point = _factors(np.asarray(tensor.numpy(), np.float64), init, seed)
    kind = tensor.dtype
    first = editor.weight(f"{name}.depthwise.weight", deep.astype(kind.numpy()), kind)
    second = editor.weight(f"{name}.pointwise.weight", point.astype(kind.numpy()), kind)
    read = [twin.inputs[place.data], first]
    spread = place.grouped(len(deep))
    given = [a for key, a in twin.attributes.items() if key not in spread] + [attribute(*new) for new in spread.items()]
    deeper = editor.node(twin.op_type, read, given, name=f"{name}.depthwise", before=twin)[0]
    for key in list(twin.attributes):
        set_attribute(twin, key, None)
    set_input(twin, place.data, deeper)
    set_input(twin, place.weight, second)
    return [checked(labels, editor.finished(), f"separate {name}")]


def _factors(weight: FloatArray, init: str, seed: int) -> tuple[FloatArray, FloatArray]:
    """Weights of the depthwise and the pointwise convolution for a weight of shape (out, channels, ...)."""
    out, channels, *kernel = weight.shape
    split = INITS[init].split
    assert split is not None, "`blocks.block` lets no other word through"
    deep, point = split(weight, np.random.default_rng([seed, out, channels]))
    return deep.reshape(channels, 1, *kernel), point.reshape(out, channels, *(1 for _ in kernel))
