"""Replaces nodes that only reorder channels by a Gather with a constant index.

    x [B, C, H, W] > Reshape [B, g, C/g, H, W] > Transpose [B, C/g, g, H, W] > Reshape [B, C, H, W]

becomes a Gather of x. Several tensors that are interleaved in this way (Unsqueeze each, Concat, Transpose, Reshape) are
concatenated and gathered. On the way the groups had one length, so that each was cut like the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import Array, Shape
from onnxsurgeon.dependency.rewrites.known_model import FactEditor, KnownModel
from onnxsurgeon.ops.making import along
from onnxsurgeon.ops.nodes import constant, operator_of

LONGEST = 4  # the largest number of nodes in a chain
LARGEST_TENSOR = 1 << 22  # elements of the largest tensor that is evaluated


class ShuffledSite(NamedTuple):
    """A reordering: `sources`, concatenated along `axis`, in `order`."""

    sources: tuple[ir.Value, ...]
    axis: int
    order: tuple[int, ...]


def find(known: KnownModel, node: ir.Node) -> ShuffledSite | None:
    """The reordering along one axis that a chain of nodes ending in `node` computes; None if it does more than that."""
    if _moves(node) != "rearranged" or node.graph is not known.model.graph or not known.is_tensor(node.outputs[0]):
        return None
    after, chain, value = known.shapes(node.outputs[0]), [node], node.inputs[0]
    while after is not None and value is not None and len(chain) <= LONGEST:
        if known.shapes(value) == after and len(chain) > 1 and (site := _site(known, chain, (value,), after)):
            return site
        producer = value.producer()
        if producer is None or len(value.uses()) > 1 or value.is_graph_output() or constant(value) is not None:
            return None
        if _moves(producer) == "joined":
            sources = _stacked(known, producer)
            return None if sources is None else _site(known, [*chain, producer], sources, after)
        if _moves(producer) != "rearranged":
            return None
        chain.append(producer)
        value = producer.inputs[0]
    return None


def reorder(editor: FactEditor, node: ir.Node) -> None:
    site = find(editor.known, node)
    if site is None:
        return
    output, name, axis = node.outputs[0].name, editor.give_up_name(node), along(site.axis)
    source = site.sources[0]
    if len(site.sources) > 1:
        source = editor.add(node, "Concat", site.sources, f"{name}.joined", f"{output}.joined", axis)
    order = editor.integers(f"{name}.order", site.order)
    editor.replace(node.outputs[0], editor.add(node, "Gather", [source, order], name, f"{output}.0", axis))


def _moves(node: ir.Node) -> str:
    operator = operator_of(node)
    return "no" if operator is None else operator.moves


def _stacked(known: KnownModel, node: ir.Node) -> tuple[ir.Value, ...] | None:
    """The inputs of a Concat before each got a new axis, along which they are concatenated; None if they didn't."""
    sources = []
    for value in node.inputs:
        producer = None if value is None else value.producer()
        if producer is None or value is None or _moves(producer) != "rearranged" or len(value.uses()) > 1:
            return None
        source = producer.inputs[0]
        inner, outer = known.shapes(source), known.shapes(value)
        if source is None or inner is None or outer is None or len(inner[0]) != len(outer[0]) - 1:
            return None
        sources.append(source)
    return tuple(sources) if len({known.shapes(source) for source in sources}) == 1 else None


def _site(
    known: KnownModel, chain: Sequence[ir.Node], sources: tuple[ir.Value, ...], after: tuple[Shape, Shape]
) -> ShuffledSite | None:
    for axis, size in enumerate(after[0]):
        if size > 1 and after[1][axis] == size and size % len(sources) == 0:
            orders = [_order(known, chain, sources, axis, sample, after[sample]) for sample in (0, 1)]
            if orders[0] is not None and orders[0] == orders[1] and orders[0] != tuple(range(size)):
                return ShuffledSite(sources, axis, orders[0])
    return None


def _order(
    known: KnownModel, chain: Sequence[ir.Node], sources: tuple[ir.Value, ...], axis: int, sample: int, after: Shape
) -> tuple[int, ...] | None:
    """Positions along `axis` of the concatenated sources, in the chain's output order; None if it isn't one."""
    inner = known.shapes(sources[0])
    if inner is None or prod(after) > LARGEST_TENSOR or not prod(after):
        return None
    shape = tuple(n * (len(sources) if a == axis else 1) for a, n in enumerate(inner[sample]))
    if shape != after:
        return None
    whole = np.arange(prod(shape)).reshape(shape)
    found = dict(zip(sources, np.split(whole, len(sources), axis), strict=True))
    result = _follow(known, chain[0], sample, found)
    if result is None or result.shape != after:
        return None
    line = result[tuple(slice(None) if a == axis else 0 for a in range(len(after)))]
    order = np.unravel_index(line, shape)[axis]
    return tuple(order.tolist()) if np.array_equal(np.take(whole, order, axis), result) else None


def _follow(known: KnownModel, node: ir.Node, sample: int, found: dict[ir.Value, Array]) -> Array | None:
    """The output of the node for the arrays `found` as sources; None if it can't be computed."""
    inputs: list[Array | None] = []
    for index, value in enumerate(node.inputs):
        producer = None if value is None else value.producer()
        if value is None or value in found:
            inputs.append(None if value is None else found[value])
        elif index == 0 or _moves(node) == "joined":
            inputs.append(None if producer is None else _follow(known, producer, sample, found))
        else:
            inputs.append(known.evaluator.fact(value, known.facts[sample]).value)
    return None if inputs[0] is None else known.evaluator.compute(node, inputs)
