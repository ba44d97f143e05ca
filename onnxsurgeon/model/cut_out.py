"""Cuts a part out of a graph: the nodes between some values and some others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import onnx_ir as ir

from onnxsurgeon.model.editor import Editor, add_outputs, remove_dead, withhold

Looks = tuple[ir.TypeProtocol, ir.Shape]


def cut_out(editor: Editor, begins: Sequence[tuple[ir.Value, Looks]], ends: Sequence[tuple[ir.Value, Looks]]) -> None:
    """Leaves only what computes `ends` from `begins`; both with their types and shapes, and they keep their names."""
    graph = editor.model.graph
    old = list(graph.outputs)
    withhold(editor.model, old)
    add_outputs(editor.model, [value for value, _ in ends])
    for value, (type_, shape) in begins:
        if value.producer() is not None:
            name = value.name
            editor.supply(value, type_.dtype)
            given = graph.inputs[-1]
            given.name, given.type, given.shape = name, type_, shape
    remove_dead(*old)
    kept = {value.name for value, _ in begins}
    for value in list(graph.inputs):
        if not value.uses() and value.name not in kept:
            graph.inputs.remove(value)
            graph.initializers.pop(value.name or "", None)
    for value, (type_, shape) in ends:
        value.type, value.shape = type_, shape


def reads(node: ir.Node) -> Iterator[ir.Value]:
    """The values that a node reads, and those that its bodies read from outside of them."""
    yield from (value for value in node.inputs if value is not None)
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            body: ir.Graph = attribute.value
            inside = {value for inner in body.all_nodes() for value in inner.outputs} | set(body.inputs)
            taken = [value for inner in body for value in reads(inner)] + list(body.outputs)
            yield from (value for value in taken if value not in inside and value.graph is not body)
