"""Puts a graph that an attribute of a node holds in the place of the node."""

from __future__ import annotations

import onnx_ir as ir


def put_in_place(graph: ir.Graph, node: ir.Node, attribute: str) -> None:
    """Puts a body without inputs, like a branch, in the place of its node, whose outputs keep their names.

    The names of other values begin with that of the first output: bodies may share some.
    """
    body, first = node.attributes[attribute].as_graph(), node.outputs[0].name
    inner, results = list(body), list(body.outputs)
    held = list(body.initializers.values())
    body.outputs.clear()
    body.initializers.clear()
    body.remove(inner)
    for value in (*held, *(value for moved in inner for value in moved.outputs)):
        value.name = f"{first}/{value.name}"
    for value in held:
        graph.register_initializer(value)
    for moved in inner:
        moved.name = f"{first}/{moved.name}" if moved.name else None
    graph.insert_before(node, inner)
    for old, result in zip(node.outputs, results, strict=True):
        new = ir.node("Identity", [result]).outputs[0]
        new.type, new.shape = old.type, old.shape
        made = new.producer()
        assert made is not None
        graph.insert_before(node, made)
        name, old.name = old.name, None
        ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
        new.name = name
    graph.remove(node, safe=True)
