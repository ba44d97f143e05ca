"""Replaces an If by its branch if the condition is constant, as when exporters test shapes that are static.

The condition must be the same for all sizes of the dynamic dims (see `size_facts`).
"""

from __future__ import annotations

import onnx_ir as ir

from onnxsurgeon.dependency.rewrites.known_model import FactEditor, KnownModel
from onnxsurgeon.model.editor import remove_dead, take_apart
from onnxsurgeon.ops.nodes import operator_of


def find(known: KnownModel, node: ir.Node) -> str | None:
    """The attribute with the branch that is always taken; None if that is unknown."""
    operator = operator_of(node)
    flow = None if operator is None else operator.flow
    if flow is None or flow.live is None:
        return None
    return flow.live([None if v is None else known.evaluator.fact(v, known.facts[2]) for v in node.inputs])


def inline(editor: FactEditor, node: ir.Node) -> None:
    """Puts the branch that is always taken in the place of `node`; then the same for nodes inside."""
    live = find(editor.known, node)
    if live is None:
        return
    graphs = {name: a.value for name, a in node.attributes.items() if a.type == ir.AttributeType.GRAPH}
    body = graphs.pop(live)
    read = [value for graph in graphs.values() for value in take_apart(graph)]
    inner, outputs = _moved_out(editor, node, body)
    for old, new in zip(node.outputs, outputs, strict=True):
        if new.producer() not in inner:
            new = editor.add(node, "Identity", [new], f"{node.name}.same", f"{new.name}.same")
        editor.replace(old, new)
    remove_dead(*read)
    for moved in inner:
        if moved.graph is not None:
            inline(editor, moved)


def _moved_out(editor: FactEditor, node: ir.Node, body: ir.Graph) -> tuple[list[ir.Node], list[ir.Value]]:
    """Move the nodes of `body` before `node`; returns the nodes and the former outputs of the body.

    Renames values whose names are used outside, too (two branches may share names).
    """
    inside, inner, outputs = set(body.all_nodes()), list(body), list(body.outputs)
    graph = editor.model.graph
    beside = {v.name for n in graph.all_nodes() if n not in inside for v in (*n.inputs, *n.outputs) if v is not None}
    beside |= {v.name for v in (*graph.inputs, *graph.initializers.values())}
    body.outputs.clear()  # values can't move while they are outputs of the body
    for name, value in list(body.initializers.items()):
        if name not in beside:
            editor.value_names.discard(name)  # its own
        editor.adopt(value, name)
    for value in (v for n in inner for v in n.outputs):
        if value.name in beside:
            value.name = editor.value_name(value.name or "")
    body.remove(inner)
    node.prepend(inner)
    return inner, outputs
