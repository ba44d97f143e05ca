"""Inserts a sub-graph of another model between a node and the nodes that read it."""

from __future__ import annotations

import onnx_ir as ir

from onnxsurgeon.dependency.labels import label
from onnxsurgeon.edit.step import Step
from onnxsurgeon.errors import UsageError
from onnxsurgeon.model.editor import Editor, add_outputs, copied, feed
from onnxsurgeon.ops.nodes import constant
from onnxsurgeon.surgery.find import find_value, looks, value_called, value_or_node
from onnxsurgeon.surgery.fit_check import checked
from onnxsurgeon.surgery.rewire import DEFAULT, Choices, align
from onnxsurgeon.surgery.widths import value_axis


def splice(
    model: ir.Model,
    other: ir.Model,
    *,
    after: str,
    entry: str | None = None,
    exit: str | None = None,
    prefix: str = "spliced.",
    choices: Choices = DEFAULT,
) -> list[Step]:
    """Inserts a sub-graph of another model between a node and all nodes that read it.

    entry: the value of the other model that the node's output replaces, by default its only input. exit: the value
    that the readers then read, by default its only output. A node's name means its first output. If the two models
    differ in channels there, they are resized first.
    Raises UsageError if a name or an opset is wrong, InfeasibleError if the shapes can't fit.
    """
    _require_same_opset(model, other)
    joined = copied(model)
    opened = _transplant(Editor(joined), other, entry, exit, prefix)
    host = find_value(joined, after)
    labels = label(joined, unfrozen=opened, rewritten=False)
    steps: list[Step] = []
    here, into, out = (value_axis(labels, value_called(joined, name)) for name in (host.name, *opened))
    if here and into and out:
        step = align(labels, [(here[1], into[1]), (here[1], out[1])], (after, f"{prefix}*"), choices)
        steps = [step] if step is not None else []
    editor = Editor(copied(steps[-1].after if steps else joined))
    host = find_value(editor.model, after)
    into_value, out_value = (value_called(editor.model, name) for name in opened)
    uses = list(host.uses())
    editor.close(into_value, out_value, host)
    feed(uses, out_value)
    if host.is_graph_output():
        editor.take_over(host, out_value)
    return [checked(label(model, rewritten=False), editor.finished(), f"splice after {after}")]


def exchange(
    model: ir.Model, other: ir.Model, *, old: tuple[str, str], new: tuple[str, str], choices: Choices = DEFAULT
) -> list[Step]:
    """Puts a part of another model in the place of a part that only its beginning feeds, and that only its end leaves.

    old: names of the values where the part of `model` begins and ends. new: the same of `other`. Raises UsageError if
    opsets differ, InfeasibleError if the shapes can't fit, or the widths at the ends can't be made equal.
    """
    _require_same_opset(model, other)
    joined = copied(model)
    port, out = _transplant(Editor(joined), other, *new, prefix="")
    labels = label(joined, unfrozen=(port, out), rewritten=False)
    pairs = []
    for mine, its in zip(old, (port, out), strict=True):
        here, there = (value_axis(labels, value_called(joined, name)) for name in (mine, its))
        if here is not None and there is not None:
            pairs.append((here[1], there[1]))
    step = align(labels, pairs, old, choices) if pairs else None
    editor = Editor(copied(joined if step is None else step.after))
    begin, end, entry, exit = (value_called(editor.model, name) for name in (*old, port, out))
    editor.close(entry, exit, begin)
    editor.replace(end, exit)
    what = f"exchange {old[0]} to {old[1]} for {new[0]} to {new[1]}"
    return [checked(label(model, rewritten=False), editor.finished(), what)]


def _require_same_opset(model: ir.Model, other: ir.Model) -> None:
    versions = [m.opset_imports.get("", m.opset_imports.get("ai.onnx", 0)) for m in (model, other)]
    if versions[0] != versions[1]:
        raise UsageError(
            "the models have different opsets",
            why=f"opset {versions[0]} and opset {versions[1]}",
            fix="convert one with onnx.version_converter",
        )


def _transplant(editor: Editor, other: ir.Model, entry: str | None, exit: str | None, prefix: str) -> tuple[str, str]:
    """Moves the nodes between `entry` and `exit` into the model, with a new input and output; returns their names."""
    graph = other.clone().graph
    begin, end = _end(list(graph.inputs), graph, entry, "input"), _end(list(graph.outputs), graph, exit, "output")
    type_, shape = _looks(other, begin)
    port = editor.open(f"{prefix}input", shape, type_)
    needed = _between(begin, end)
    feed([(node, index) for node in needed for index, value in enumerate(node.inputs) if value is begin], port)
    editor.take_in(graph, needed, prefix)
    add_outputs(editor.model, [end])
    editor.model.graph.sort()
    return port.name or "", end.name or ""


def _looks(other: ir.Model, value: ir.Value) -> tuple[ir.TypeProtocol, ir.Shape]:
    """The type and the shape of a value, as the other model states them, or inferred."""
    if value.shape is not None and value.type is not None:
        return value.type, value.shape
    return looks(label(other, rewritten=False), value.name or "")


def _end(ends: list[ir.Value], graph: ir.Graph, name: str | None, kind: str) -> ir.Value:
    ends = [v for v in ends if not v.is_initializer()]
    if name is None and len(ends) == 1:
        return ends[0]
    if name is None:
        raise UsageError(
            f"the other model has {len(ends)} {kind}s", why=", ".join(v.name or "" for v in ends), fix="name one"
        )
    return value_or_node(graph, name or "", " in the other model")


def _between(begin: ir.Value, end: ir.Value) -> set[ir.Node]:
    """The nodes that compute `end` from `begin`. Raises UsageError if they need another input."""
    needed: set[ir.Node] = set()
    waiting = [end]
    while waiting:
        value = waiting.pop()
        producer = value.producer()
        if value is begin or (constant(value) is not None and producer is None):
            continue
        if producer is None:
            raise UsageError(
                f"the sub-graph also needs {value.name}", why="it is another input", fix="change `entry` or `exit`"
            )
        if producer not in needed:
            needed.add(producer)
            waiting += [v for v in producer.inputs if v is not None]
    return needed
