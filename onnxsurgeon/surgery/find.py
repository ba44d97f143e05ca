"""Finds nodes and values by name, and what an edit asks about them."""

from __future__ import annotations

from difflib import get_close_matches

import onnx_ir as ir

from onnxsurgeon.dependency.labels import Labels
from onnxsurgeon.dependency.names import name_of, result_of
from onnxsurgeon.errors import UsageError
from onnxsurgeon.ops.nodes import constant
from onnxsurgeon.ops.size_expressions import is_static


def find(model: ir.Model, name: str) -> ir.Node:
    """The node of the main graph called `name`. Raises UsageError where there is none."""
    names = {}
    for node in model.graph:
        if name_of(node) == name:
            return node
        names[name_of(node)] = node
    near = get_close_matches(name, names, n=3)
    raise UsageError(
        f"there is no node {name!r}",
        why=f"nearest names: {', '.join(near)}" if near else f"{len(names)} nodes, none like it",
        fix="see the names with onnxsurgeon inspect -v",
    )


def find_value(model: ir.Model, name: str) -> ir.Value:
    """The graph's input called `name`, or the result of the node called so. Raises UsageError where neither is."""
    for value in model.graph.inputs:
        if value.name == name:
            return value
    return result_of(find(model, name))


def same_named(model: ir.Model, value: ir.Value) -> ir.Value:
    """The value of the main graph with the name of `value`, which belongs to a copy."""
    graph = model.graph
    for known in (*graph.inputs, *(v for node in graph for v in node.outputs)):
        if known.name == value.name:
            return known
    raise UsageError(f"there is no value {value.name!r}", fix="see the names with onnxsurgeon inspect -v")


def dynamic_axes(labels: Labels, value: ir.Value) -> list[bool] | None:
    """For each axis, whether its length depends on a dynamic dim; None where the shape is unknown."""
    sizes = labels.facts[2][value].shape if value in labels.facts[2] else None
    return None if sizes is None else [not is_static(size) for size in sizes]


def data_inputs(labels: Labels, node: ir.Node) -> list[tuple[int, ir.Value]]:
    """The inputs that hold data, not weights or sizes: index and value of each."""
    found = []
    for index, value in enumerate(node.inputs):
        fact = None if value is None or constant(value) is not None else labels.facts[0].get(value)
        if value is not None and fact is not None and fact.value is None:
            found.append((index, value))
    return found
