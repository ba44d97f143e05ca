"""Finds nodes and values by name, and answers what edits ask about them."""

from __future__ import annotations

import onnx_ir as ir

from onnxsurgeon.dependency.labels import Labels
from onnxsurgeon.dependency.names import name_of, result_of, unknown
from onnxsurgeon.errors import UsageError
from onnxsurgeon.ops.nodes import constant
from onnxsurgeon.ops.size_expressions import is_static


def find(model: ir.Model, name: str) -> ir.Node:
    """The node of the main graph called `name`. Raises UsageError if there is none."""
    named: dict[str, ir.Node] = {}
    for node in model.graph:
        named.setdefault(name_of(node), node)
    if name not in named:
        raise unknown(f"there is no node {name!r}", name, named)
    return named[name]


def find_value(model: ir.Model, name: str) -> ir.Value:
    """The graph input called `name`, or the result of the node of that name. Raises UsageError if there is neither."""
    for value in model.graph.inputs:
        if value.name == name:
            return value
    return result_of(find(model, name))


def value_called(model: ir.Model, name: str | None) -> ir.Value:
    """The value of the main graph called `name`. Raises UsageError if there is none."""
    graph = model.graph
    for value in (*graph.inputs, *(v for node in graph for v in node.outputs)):
        if value.name == name:
            return value
    raise UsageError(f"there is no value {name!r}", fix="see the names with onnxsurgeon inspect -v")


def value_or_node(graph: ir.Graph, name: str, where: str = "") -> ir.Value:
    """The value of this name, or the first output of the node. where: of what graph, in words, for errors.

    Raises UsageError if there is neither.
    """
    named = {name_of(node): node.outputs[0] for node in graph if node.outputs}
    values = (*graph.inputs, *graph.initializers.values(), *(v for node in graph for v in node.outputs))
    named |= {v.name or "": v for v in values}
    if name in named:
        return named[name]
    raise unknown(f"there is no value or node {name!r}{where}", name, named)


def looks(labels: Labels, name: str) -> tuple[ir.TypeProtocol, ir.Shape]:
    """The type and the shape of a value, as the file states them, or inferred. Raises UsageError if that fails."""
    value = value_called(labels.model, name)
    if value.shape is not None and value.type is not None:
        return value.type, value.shape
    fact, moving = labels.facts[0].get(value), dynamic_axes(labels, value)
    if fact is None or fact.shape is None or moving is None:
        raise UsageError(f"the shape of {name} is unknown", fix="choose a value whose shape is in the file")
    dims, named = labels.facts[2][value].shape or (), _dim_names(labels)
    sizes = [named.get(str(dim)) if moves else size for size, moves, dim in zip(fact.shape, moving, dims, strict=True)]
    return ir.TensorType(ir.DataType(fact.dtype)), ir.Shape(sizes)


def _dim_names(labels: Labels) -> dict[str, str | None]:
    """The names of the dynamic dims of inputs, by their expression."""
    inputs = [value for value in labels.model.graph.inputs if value.shape is not None and value in labels.facts[2]]
    pairs = [pair for v in inputs for pair in zip(labels.facts[2][v].shape or (), v.shape or (), strict=False)]
    return {str(dim): name.value for dim, name in pairs if isinstance(name, ir.SymbolicDim)}


def dynamic_axes(labels: Labels, value: ir.Value) -> list[bool] | None:
    """For each axis, whether its length depends on a dynamic dim; None if the shape is unknown."""
    sizes = labels.facts[2][value].shape if value in labels.facts[2] else None
    return None if sizes is None else [not is_static(size) for size in sizes]


def data_inputs(labels: Labels, node: ir.Node) -> list[tuple[int, ir.Value]]:
    """Index and value of each input that holds data (not weights or sizes)."""
    found = []
    for index, value in enumerate(node.inputs):
        fact = None if value is None or constant(value) is not None else labels.facts[0].get(value)
        if value is not None and fact is not None and fact.value is None:
            found.append((index, value))
    return found
