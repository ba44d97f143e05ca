"""Fresh nodes behind others, or in their place."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from onnxsurgeon.dependency.labels import Labels, label
from onnxsurgeon.dependency.names import name_of, result_of
from onnxsurgeon.edit.inits import INITS
from onnxsurgeon.edit.step import Step
from onnxsurgeon.errors import UsageError
from onnxsurgeon.model.editor import Editor, copied, feed, free_name, remove_dead
from onnxsurgeon.ops.nodes import constant, convolution_of, kind_of
from onnxsurgeon.ops.registry import of_kind
from onnxsurgeon.surgery.blocks import Activation, BatchNorm, Block, Conv, Linear, Site
from onnxsurgeon.surgery.find import data_inputs, find, find_value, same_named
from onnxsurgeon.surgery.fit_check import require_fit, require_type
from onnxsurgeon.surgery.widths import value_axis


def insert(
    model: ir.Model,
    after: str,
    block: Block,
    *,
    readers: Sequence[str] | None = None,
    init: str = "identity",
    name: str | None = None,
    seed: int = 0,
) -> list[Step]:
    """Puts a block between a node (or an input) and what reads it, or those of its readers that are named.

    Raises UsageError where the block does not fit behind the node.
    """
    labels = label(model, rewritten=False)
    editor = Editor(copied(model))
    value = find_value(editor.model, after)
    uses = [(use.node, use.idx) for use in value.uses()]
    if readers is not None:
        uses = [(node, index) for node, index in uses if name_of(node) in readers]
        missing = set(readers) - {name_of(node) for node, _ in uses}
        if missing:
            raise UsageError(f"{', '.join(sorted(missing))} does not read {after}", fix="see onnxsurgeon inspect -v")
    to_output = readers is None and value.is_graph_output()
    kind = type(block).__name__.lower() if not isinstance(block, Activation) else block.kind.lower()
    chosen = free_name(name or f"{after}.{kind}", editor.node_names)
    result = block.build(_site(labels, editor, value, chosen, init, seed))
    feed(uses, result)
    if to_output:
        editor.take_over(value, result)
    after_model = editor.finished()
    require_fit(labels, after_model, f"insert {chosen} after {after}")
    neutral = init == "identity" and isinstance(block, Conv | Linear | BatchNorm)
    return [Step(f"insert {chosen} after {after}", model, after_model, same=neutral)]


def _site(labels: Labels, editor: Editor, value: ir.Value, name: str, init: str, seed: int) -> Site:
    original = same_named(labels.model, value)
    fact = labels.facts[0].get(original)
    require_type(labels, original, original, name)
    if fact is None or fact.shape is None or not ir.DataType(fact.dtype).is_floating_point():
        raise UsageError(
            f"nothing can stand at {name}",
            why="its shape is not known, or it holds no floats",
            fix="choose a node whose output is of floats",
        )
    found = value_axis(labels, original)
    axis = found[0] if found else (1 if len(fact.shape) > 2 else len(fact.shape) - 1)
    again = labels.facts[1].get(original)
    if not fact.shape or again is None or again.shape is None or again.shape[axis] != fact.shape[axis]:
        raise UsageError(
            f"{name} has no axis of neurons to work along",
            why=f"the shape there is {list(fact.shape)}",
            fix="choose a node with channels; see onnxsurgeon inspect",
        )
    opset = labels.evaluator.versions[""]
    return Site(editor, value, fact.shape, axis, ir.DataType(fact.dtype), opset, name, init, seed)


def replace(model: ir.Model, name: str, block: Block, *, init: str = "he", seed: int = 0, what: str = "") -> list[Step]:
    """Puts a fresh block in the place of a node with one activation as input. Its output keeps its shape.

    Raises UsageError, InfeasibleError where the block's output has another shape than that of the node.
    """
    labels, node = label(model, rewritten=False), find(model, name)
    given = data_inputs(labels, node)
    if len(given) != 1 or any(v is not result_of(node) and (v.uses() or v.is_graph_output()) for v in node.outputs):
        raise UsageError(
            f"{name} can't be replaced",
            why=f"it has {len(given)} activations as inputs, and not one",
            fix="remove it, and insert what is to stand there",
        )
    require_type(labels, given[0][1], result_of(node), f"replacing {name}")
    editor = Editor(copied(model))
    twin = find(editor.model, name)
    source, old = twin.inputs[given[0][0]], result_of(twin)
    assert source is not None
    editor.give_up_name(twin)
    result = block.build(_site(labels, editor, source, name, init, seed))
    editor.replace(old, result)
    after = editor.finished()
    said = what or f"replace {name}"
    require_fit(labels, after, said)
    return [Step(said, model, after)]


def activation(model: ir.Model, name: str, kind: str) -> list[Step]:
    """Another activation in the place of one. Raises UsageError where `name` is none."""
    node = find(model, name)
    if kind_of(node) != "activation":
        raise UsageError(
            f"{name} ({node.op_type}) is no activation",
            why=f"these are: {', '.join(of_kind('activation'))}",
            fix="use replace",
        )
    return replace(model, name, Activation(kind), what=f"activation {name}: {kind}")


def separate(model: ir.Model, name: str, *, init: str = "closest", seed: int = 0) -> list[Step]:
    """A convolution becomes a depthwise one and a pointwise one, of the same strides, pads and output.

    init: what their weights start as, a word of `SPLIT`.
    Raises UsageError where the node is no ordinary convolution.
    """
    node = find(model, name)
    place = convolution_of(node)
    tensor = None if place is None or place.transposed else constant(node.inputs[place.weight])
    labels = label(model, rewritten=False)
    if place is None or tensor is None or place.groups(labels.evaluator.attributes(node)) > 1:
        raise UsageError(
            f"{name} ({node.op_type}) can't be made separable",
            why="it is no Conv of one group",
            fix="name a Conv of one group with constant weights",
        )
    weight = np.asarray(tensor.numpy(), np.float64)
    out, channels, *kernel = weight.shape
    split = INITS[init].split
    assert split is not None, "`blocks.block` lets no other word through"
    deep, point = split(weight, np.random.default_rng([seed, out, channels]))
    editor = Editor(copied(model))
    twin = find(editor.model, name)
    parts = [array.astype(tensor.dtype.numpy()) for array in (deep.reshape(channels, 1, *kernel), point[..., None])]
    first = editor.weight(f"{name}.depthwise.weight", parts[0], tensor.dtype)
    shape = (out, channels, *(1 for _ in kernel))
    second = editor.weight(f"{name}.pointwise.weight", parts[1].reshape(shape), tensor.dtype)
    spread = [a for key, a in twin.attributes.items() if key != "group"]
    deeper = editor.node(
        "Conv",
        [twin.inputs[place.data], first],
        [*spread, ir.AttrInt64("group", channels)],
        name=f"{name}.depthwise",
        before=twin,
    )[0]
    old_weight = twin.inputs[place.weight]
    twin.attributes.clear()
    twin.replace_input_with(place.data, deeper)
    twin.replace_input_with(place.weight, second)
    remove_dead(old_weight)
    after = editor.finished()
    require_fit(labels, after, f"separate {name}")
    return [Step(f"separate {name}", model, after)]
