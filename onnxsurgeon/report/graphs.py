"""The graph of a labelled model as rows of a report, and the importance curves of its spaces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from onnxsurgeon.dependency.labels import kept_shape
from onnxsurgeon.dependency.names import result_of
from onnxsurgeon.ops.nodes import constant
from onnxsurgeon.report.json_report import Report
from onnxsurgeon.surgery.widths import value_axis

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnxsurgeon.arrays import Ids, IntArray, Mask
    from onnxsurgeon.dependency.labels import Labels
    from onnxsurgeon.dependency.spaces import Spaces

POINTS = 17  # of a curve
ASKED = "kept by --exclude or --only"


def graph(
    labels: Labels, *, keep: Mask | None = None, spaces: Spaces | None = None, pinned: Mask | None = None
) -> list[Report]:
    """A row for each node that computes something of the network, in the graph's order.

    node, operator, reads     its name; the nodes and inputs of the model whose values it reads
    layer                     whether it multiplies with weights of its own
    shape                     of its first output; null where a size is dynamic
    width, free, why          channels of its first output, how many may be cut, why the others may not
    params                    elements of its weights; those that others compute for it alone, from constants, included
    after                     with `keep`: null, or `width` and `params` after the cut
    spaces                    with `spaces`: the numbers of the spaces that its channels belong to

    keep: which neurons stay, shape (neurons,). pinned: those that the user wants to stay.
    """
    space_of = None if spaces is None else _space_of(labels, spaces)
    before, after = _params(labels, None), _params(labels, keep)
    makers = {value: value.name or "" for value in labels.model.graph.inputs if not value.is_initializer()}
    makers |= {value: call.name for node, call in labels.calls.items() for value in node.outputs}
    rows = []
    for node, call in labels.calls.items():
        held = value_axis(labels, result_of(node)) if node.outputs else None
        axis = None if held is None else held[1]
        known = labels.operator(node)
        params = before.get(node, 0)
        row: Report = {
            "node": call.name,
            "operator": call.operator,
            "reads": _reads(node, makers),
            "layer": bool(params) and known is not None and known.macs is not None,
            "shape": _shape(labels, node),
            **_width(labels, axis, pinned),
            "params": params,
        }
        if keep is not None:
            width = None if axis is None else int(keep[axis].sum())
            row["after"] = {"width": width, "params": after.get(node, 0)}
        if space_of is not None:
            own = np.empty(0, np.int64) if axis is None else np.unique(space_of[labels.classes.root[axis]])
            row["spaces"] = own[own >= 0].tolist()
        rows.append(row)
    return rows


def curves(spaces: Spaces, counts: IntArray) -> list[Report]:
    """A row for each space: its `units`, how many are `kept`, and the `importance` of the best `at` units, at a few
    of these numbers."""
    rows = []
    for table, kept in zip(spaces.problem.tables, counts.tolist(), strict=True):
        units = len(table) - 1
        at = np.unique(np.append(np.linspace(0, units, POINTS).round(), kept)).astype(np.int64)
        rows.append({"units": units, "kept": kept, "at": at.tolist(), "importance": table[at].tolist()})
    return rows


def _reads(node: ir.Node, makers: Mapping[ir.Value, str]) -> list[str]:
    values = list(node.inputs)
    for attribute in node.attributes.values():  # what the bodies of a loop or branch read from outside
        inner = attribute.as_graphs() if attribute.type.name == "GRAPHS" else ()
        graphs = [attribute.as_graph()] if attribute.type.name == "GRAPH" else inner
        values += [value for graph in graphs for part in graph.all_nodes() for value in part.inputs]
    return list(dict.fromkeys(makers[value] for value in values if value is not None and value in makers))


def _width(labels: Labels, axis: Ids | None, pinned: Mask | None) -> Report:
    if axis is None:
        return {"width": None, "free": 0, "why": None}
    classes = labels.classes
    held = classes.frozen[axis] if pinned is None else classes.frozen[axis] | pinned[axis]
    cause = classes.cause(axis)
    why = None if cause is None else {"reason": cause.text, "operator": cause.operator, "node": cause.node}
    if why is None and held.any():
        why = {"reason": ASKED, "operator": "", "node": ""}
    return {"width": len(axis), "free": int((~held).sum()), "why": why}


def _shape(labels: Labels, node: ir.Node) -> list[int | None] | None:
    outputs = labels.calls[node].outputs
    if not outputs or outputs[0].shape is None:
        return None
    return [None if dynamic else n for n, dynamic in zip(outputs[0].shape, outputs[0].dynamic, strict=True)]


def _params(labels: Labels, keep: Mask | None) -> dict[ir.Node, int]:
    """Elements of the weights of each node. A weight that several read counts for the first; a weight that is computed
    from constants, as where it is dequantized, counts for the one that reads it."""
    found: dict[ir.Node, int] = {}
    for weight in labels.weights():
        if weight.counts and weight.uses:
            shape = weight.shape if keep is None else kept_shape(weight.axes, keep, weight.shape)
            node = weight.uses[0][0]
            found[node] = found.get(node, 0) + prod(shape)
    for node, reader in reversed(list(_constants(labels))):
        if node in found:
            found[reader] = found.get(reader, 0) + found.pop(node)
    return found


def _constants(labels: Labels) -> Iterator[tuple[ir.Node, ir.Node]]:
    """The nodes that compute from constants alone for a single reader, with that reader, in the graph's order."""
    fixed: set[ir.Value] = set()
    for node in labels.calls:
        if all(value is None or value in fixed or constant(value) is not None for value in node.inputs):
            fixed.update(node.outputs)
            readers = {use.node for value in node.outputs for use in value.uses()}
            if len(readers) == 1 and not any(value.is_graph_output() for value in node.outputs):
                yield node, readers.pop()


def _space_of(labels: Labels, spaces: Spaces) -> IntArray:
    """The number of the space of each neuron that is a root, shape (neurons,); -1 for those without one."""
    found = np.full(labels.relations.count, -1, np.int64)
    found[spaces.roots] = np.repeat(np.arange(len(spaces.starts) - 1), np.diff(spaces.starts))
    return found
