"""A model with the live branch in place of each If whose condition depends on nothing but constants and sizes."""

from __future__ import annotations

from collections.abc import Collection

import onnx_ir as ir

from onnxsurgeon.arrays import Arrays
from onnxsurgeon.model.bodies import put_in_place
from onnxsurgeon.model.editor import copied
from onnxsurgeon.ops.call import Fact
from onnxsurgeon.ops.nodes import constant, operator_of
from onnxsurgeon.options.shared import Device
from onnxsurgeon.runtime.partial_runs import nodes_for, serialise
from onnxsurgeon.runtime.session import Session
from onnxsurgeon.training.seen_values import static_names


def with_live_branches(
    model: ir.Model, ends: Collection[ir.Value], feed: Arrays, varied: Collection[str], device: Device
) -> tuple[ir.Model, list[ir.Node], list[ir.Value]]:
    """(model, nodes, fed): the model itself, or a copy in which values have the same names; the nodes that compute
    `ends` in it, and the inputs that they use.

    feed: inputs, of which all but the shapes is ignored. varied: the names of constants that are none.
    """
    names, found = {value.name for value in ends}, model
    while True:
        nodes, fed = nodes_for(found, ends)
        live = _live(found, nodes, feed, varied, device)
        if not live:
            return found, nodes, fed
        if found is model:
            found = copied(model)
        choices = {node.outputs[0].name: node for node in found.graph if node.outputs}
        for name, branch in live.items():
            put_in_place(found.graph, choices[name], branch)
        ends = [value for node in found.graph for value in node.outputs if value.name in names]


def _live(
    model: ir.Model, nodes: list[ir.Node], feed: Arrays, varied: Collection[str], device: Device
) -> dict[str | None, str]:
    """By the name of its first output, the attribute with the live branch of each node for which it is known."""
    known = [(node, operator_of(node)) for node in nodes]
    choosers = [(n, o.flow.live) for n, o in known if o is not None and o.flow is not None and o.flow.live is not None]
    if not choosers:
        return {}
    held = {v: t for node in nodes for v in node.inputs if v is not None and (t := constant(v)) is not None}
    arrays: Arrays = {v.name: tensor.numpy() for v, tensor in held.items() if v.name and v.name not in varied}
    fixed = static_names(nodes, arrays)
    wanted = list(dict.fromkeys(n.inputs[0] for n, _ in choosers if n.inputs[0] is not None))
    computed = [value for value in wanted if value.name in fixed]
    if computed:
        needed, fed = nodes_for(model, computed)
        given = {value.name or "": feed[value.name or ""] for value in fed}
        arrays |= Session(serialise(model, needed, given, computed), device, optimise=False).run(given)
    found = dict[str | None, str]()
    for node, live in choosers:
        array = arrays.get(node.inputs[0].name or "") if node.inputs[0] is not None else None
        branch = None if array is None else live([Fact(value=array)])
        if branch is not None:
            found[node.outputs[0].name] = branch
    return found
