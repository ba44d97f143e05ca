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
    inner, outputs = editor.move_out(body, node)
    for old, new in zip(node.outputs, outputs, strict=True):
        if new.producer() not in inner:
            new = editor.add(node, "Identity", [new], f"{node.name}.same", f"{new.name}.same")
        editor.replace(old, new)
    remove_dead(*read)
    for moved in inner:
        if moved.graph is not None:
            inline(editor, moved)
