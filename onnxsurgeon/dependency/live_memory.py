"""The memory that activations take while a model runs, as products of axis lengths that count for a while.

Nodes run in the order of the graph, as in onnxruntime. A value is in memory from the node that makes it to the last one
that reads it. Inputs belong to the caller, constants to the model. A node that maps elements, adds, or normalises with
stored statistics writes over an input that nothing else needs; one that only changes a shape copies nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import onnx_ir as ir

from onnxsurgeon.dependency.facts import UNKNOWN
from onnxsurgeon.dependency.labels import Labels
from onnxsurgeon.ops.nodes import constant
from onnxsurgeon.ops.registry import Factors


@dataclass(frozen=True)
class Buffer:
    """Memory that is in use from one node to another, both by their place in the graph.

    value: the first one in it. coefficient, factors: its bytes per sample, a product of axis lengths.
    """

    value: ir.Value
    first: int
    last: int
    coefficient: float
    factors: Factors


def buffers(labels: Labels) -> Iterator[Buffer]:
    """Memory that the activations of a labelled graph take."""
    batch = max((n for (_, axis), n in labels.sizes[0].items() if axis == 0), default=1)
    for value, (first, last) in _used(labels).items():
        yield Buffer(value, first, last, *_bytes(labels, value, batch))


def _used(labels: Labels) -> dict[ir.Value, tuple[int, int]]:
    """The first and the last node at which each buffer is in use, by the value that is first in it."""
    nodes = list(labels.model.graph)
    last = {value: place for place, node in enumerate(nodes) for value in _read(node)}
    last |= {value: len(nodes) for value in labels.model.graph.outputs}
    buffer: dict[ir.Value, ir.Value] = {}
    since: dict[ir.Value, int] = {}
    until: dict[ir.Value, int] = {}
    for place, node in enumerate(nodes):
        made = _reused(labels, node, place, buffer, until)
        for value in node.outputs:
            if labels.facts[0].get(value, UNKNOWN).shape is not None and constant(value) is None:
                buffer[value] = made if made is not None else value
                since.setdefault(buffer[value], place)
                until[buffer[value]] = max(until.get(buffer[value], place), last.get(value, place))
    return {value: (first, until[value]) for value, first in since.items()}


def _read(node: ir.Node) -> Iterator[ir.Value]:
    yield from (value for value in node.inputs if value is not None)
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            for inner in attribute.value.all_nodes():
                yield from (value for value in inner.inputs if value is not None)


def _reused(
    labels: Labels, node: ir.Node, place: int, buffer: dict[ir.Value, ir.Value], until: dict[ir.Value, int]
) -> ir.Value | None:
    """The buffer that a node writes to, of those that it reads; None for a new one."""
    operator = labels.operator(node)
    if operator is None or len(node.outputs) != 1:
        return None
    shape = labels.facts[0].get(node.outputs[0], UNKNOWN).shape
    for value in node.inputs:
        known = buffer.get(value) if value is not None else None
        if known is None or value is None or shape is None:
            continue
        before = labels.facts[0].get(value, UNKNOWN).shape
        if before is not None and operator.view:
            return known if prod(before) == prod(shape) else None
        in_place = operator.kind in ("activation", "sum") or operator.statistics is not None
        if in_place and before == shape and until[known] == place:
            return known
    return None


def _bytes(labels: Labels, value: ir.Value, batch: int) -> tuple[float, Factors]:
    fact = labels.facts[0][value]
    shape = fact.shape or ()
    axes = labels.axes.get(value) or (None,) * len(shape)
    producer = value.producer()
    call = labels.calls.get(producer) if producer is not None else None
    tensor = call.outputs[value.index() or 0] if call is not None else None
    share = 1.0 / batch if tensor is not None and any(tensor.dynamic) else 1.0
    return fact.element * share, list(zip(shape, axes, strict=True))
