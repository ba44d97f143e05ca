"""Replaces an If by its branch if the condition is constant, as when exporters test shapes that are static.

The condition must not depend on any dynamic dim: even if it is equal at two samples, it could differ at a third.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import Array
from onnxsurgeon.dependency.rewrites.known_model import FactEditor, KnownModel
from onnxsurgeon.model.editor import remove_dead, take_apart
from onnxsurgeon.ops.nodes import constant, operator_of


def find(known: KnownModel, node: ir.Node) -> str | None:
    """The attribute with the branch that is always taken; None if that is unknown."""
    operator = operator_of(node)
    flow = None if operator is None else operator.flow
    if flow is None or flow.live is None:
        return None
    facts = [[None if v is None else known.evaluator.fact(v, sample) for v in node.inputs] for sample in known.facts]
    live = {flow.live(given) for given in facts}
    if len(live) > 1 or None in live or any(_depends(known, v).any() for v in node.inputs if v is not None):
        return None
    return live.pop()


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


def _depends(known: KnownModel, value: ir.Value) -> Array:
    """Mask of the elements of a number that depend on a dynamic dim."""
    facts, evaluator = known.facts[0], known.evaluator
    fact, node = evaluator.fact(value, facts), value.producer()
    if constant(value) is not None:
        return np.zeros(fact.shape or (), np.bool_)
    unknown = np.ones(fact.shape or (), np.bool_)
    if node is None or fact.value is None:
        return unknown
    data = known.shapes(node.inputs[0]) if node.inputs else None
    if data is not None and (sizes := evaluator.from_shape(node, data[0])) is not None:
        dynamic = tuple(int(n != m) for n, m in zip(*data, strict=True))
        return np.asarray(evaluator.from_shape(node, dynamic) if sizes.ndim else any(dynamic), np.bool_)
    inputs = [None if v is None else _depends(known, v) for v in node.inputs]
    operator = operator_of(node)
    if operator is not None and (operator.moves != "no" or operator.picks is not None):
        rest = [None if v is None else evaluator.fact(v, facts).value for v in node.inputs[1:]]
        given = inputs if operator.moves == "joined" else [inputs[0], *rest]
        moved = evaluator.compute(node, given, value.index() or 0)
        if moved is not None and not any(a is not None and a.any() for a in inputs[1:] if operator.moves != "joined"):
            return moved
    return np.full(fact.shape or (), any(a is not None and a.any() for a in inputs))
