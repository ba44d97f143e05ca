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
