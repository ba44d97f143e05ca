"""Where values are computed and read: each before its readers, and in a graph that they can see."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

from onnxsurgeon.errors import ModelError
from onnxsurgeon.model.refusals import invalid


def put_in_order(path: Path, model: ir.Model) -> None:
    """Sorts nodes topologically if they are not.

    Raises ModelError if they form a cycle, or if a graph reads a value that it can't see.
    """
    if not _out_of_order(model.graph, set()):
        return
    try:
        model.graph.sort()
    except ValueError as error:
        raise ModelError(f"{path}: the nodes form a cycle", why=str(error), fix="export the model again") from error
    if found := _out_of_order(model.graph, set()):
        raise invalid(path, found)


def _out_of_order(graph: ir.Graph, known: set[ir.Value]) -> str:
    """The first value that is read before it is computed, or where it is not known; empty if there is none.

    known: the values of the graphs around; it is left as it was.
    """
    own = {*graph.inputs, *graph.initializers.values()} - known
    known |= own
    try:
        for node in graph:
            for value in node.inputs:
                if value is not None and value not in known:
                    return f"{value.name!r} is read by node {node.name!r} ({node.op_type}), but not computed before"
            for attribute in node.attributes.values():
                if attribute.is_ref():
                    continue
                kind = attribute.type
                inner = [attribute.as_graph()] if kind is ir.AttributeType.GRAPH else []
                for body in attribute.as_graphs() if kind is ir.AttributeType.GRAPHS else inner:
                    if found := _out_of_order(body, known):
                        return found
            own.update(node.outputs)
            known.update(node.outputs)
        for value in graph.outputs:
            if value not in known:
                return f"{value.name!r} is an output of graph {graph.name!r}, but not computed in it"
        return ""
    finally:
        known -= own
