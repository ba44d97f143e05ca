"""Replaces calls of a model's local functions by the nodes of their bodies, within a bound."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import onnx
import onnx.inliner

from onnxsurgeon.errors import ModelError

MOST_NODES = 200_000  # that a model may have after its functions are inlined
Key = tuple[str, str, str]  # of a function: domain, name, overload


def inlined(path: Path, proto: onnx.ModelProto) -> onnx.ModelProto:
    """`proto` without local functions; each node has a name of its own if any has.

    Raises ModelError if functions call themselves, or would become more than `MOST_NODES` nodes.
    """
    _refuse_too_many(path, proto)
    whole = onnx.ModelProto()
    whole.CopyFrom(proto)
    known, local = {entry.domain for entry in proto.opset_import}, {function.domain for function in proto.functions}
    for entry in (entry for function in proto.functions for entry in function.opset_import):
        if entry.domain not in known | local:
            known.add(entry.domain)
            whole.opset_import.append(entry)
    try:
        flat: onnx.ModelProto = onnx.inliner.inline_local_functions(whole)
    except Exception as error:  # of any class
        raise _not_inlined(path, str(error)) from error
    if flat.functions:
        raise _not_inlined(path, f"{flat.functions[0].name!r} was made for another opset, or is called in a wrong way")
    taken, next_number = {node.name for node in _nodes(flat.graph.node)}, Counter[str]()
    seen = {""}
    for node in _nodes(flat.graph.node):
        wanted = node.name
        while node.name in seen and wanted:
            next_number[wanted] += 1
            name = f"{wanted}_{next_number[wanted] + 1}"
            if name not in taken:
                node.name = name
        seen.add(node.name)
    return flat


def _refuse_too_many(path: Path, proto: onnx.ModelProto) -> None:
    bodies = {_key(function): function for function in proto.functions}
    calls = {key: [k for node in _nodes(body.node) if (k := _called(node)) in bodies] for key, body in bodies.items()}
    own = {key: sum(1 for _ in _nodes(body.node)) for key, body in bodies.items()}
    try:
        order = list(TopologicalSorter(calls).static_order())
    except CycleError as error:
        raise _not_inlined(path, f"{error.args[1][0][1]!r} calls itself") from None
    size: dict[Key, int] = {}
    for key in order:
        size[key] = min(MOST_NODES + 1, own[key] + sum(size[called] for called in calls[key]))
    total = sum(1 + size.get(_called(node), 0) for node in _nodes(proto.graph.node))
    if total > MOST_NODES:
        largest = max(size, key=lambda key: size[key])
        raise _not_inlined(
            path, f"there would be more than {MOST_NODES:,} nodes, most of them of the function {largest[1]!r}"
        )


def _key(function: onnx.FunctionProto) -> Key:
    return function.domain, function.name, function.overload


def _called(node: onnx.NodeProto) -> Key:
    return node.domain, node.op_type, node.overload


def _nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """The nodes, and those of their subgraphs."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs):
                yield from _nodes(graph.node)


def _not_inlined(path: Path, why: str) -> ModelError:
    return ModelError(
        f"{path}: its local functions can't be inlined",
        why=why,
        fix="inline them with onnx.inliner and look at the result",
    )
