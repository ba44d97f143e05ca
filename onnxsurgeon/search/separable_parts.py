"""Crossover of networks: a part of one changes places with a part of another, where both scale space alike.

A part is fed by one value and left by one value: nothing else connects it with the rest of its network.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnxsurgeon.edit.growth import Growth
from onnxsurgeon.errors import SurgeonError
from onnxsurgeon.ops.nodes import constant
from onnxsurgeon.search.mutation import Mutated, Note
from onnxsurgeon.search.scales import Scale, scales
from onnxsurgeon.search.vertices import is_layer, last_of, reason, settled
from onnxsurgeon.surgery.network import Network
from onnxsurgeon.surgery.rewire import Choices
from onnxsurgeon.surgery.splice import exchange

CROSSOVER = "crossover"
TRIES = 3
Pair = tuple[Mutated[Network], Mutated[Network]]


@dataclass(frozen=True)
class SeparablePart:
    """A part of a network. begin, end: names of the values that feed it and leave it. position: of these, from 0 to 1,
    in the order of the nodes. nodes: how many there are."""

    begin: str
    end: str
    position: tuple[float, float]
    nodes: int


def separable(graph: ir.Graph) -> Iterator[SeparablePart]:
    """All parts with a layer that neither read the input of the graph nor make its output.

    None begins or ends between a layer and the normalisation or the activation that follows it.
    """
    order = list(graph)
    number = {node: k for k, node in enumerate(order)}
    whole = {node for node in order if last_of(node) is node}  # ends of layers
    for last, node in enumerate(order):
        for begin, region in _regions(node, number) if node in whole else ():
            before = begin.producer()
            if before in whole and any(map(is_layer, region)) and _closed(region, node):
                ends = (number[before] / len(order), last / len(order))
                yield SeparablePart(begin.name or "", node.outputs[0].name or "", ends, len(region))


def _regions(end: ir.Node, number: dict[ir.Node, int]) -> Iterator[tuple[ir.Value, set[ir.Node]]]:
    """The sets of nodes that end with `end` and read only one value from outside, with that value, smallest first."""
    region, read = {end}, _data(end)
    while read and not any(map(_has_body, region)):
        if len(read) == 1:
            yield next(iter(read)), region
        nearest = max(read, key=lambda value: -1 if (made := value.producer()) is None else number.get(made, -1))
        node = nearest.producer()
        if node is None or node not in number:
            return
        region.add(node)
        read = (read - set(node.outputs)) | _data(node)


def _has_body(node: ir.Node) -> bool:
    return any(attribute.type == ir.AttributeType.GRAPH for attribute in node.attributes.values())


def _data(node: ir.Node) -> set[ir.Value]:
    return {value for value in node.inputs if value is not None and constant(value) is None}


def _closed(region: set[ir.Node], end: ir.Node) -> bool:
    """Whether only the first output of `end` is read outside of the region, and no output of the graph is inside."""
    inner = [value for node in region for value in node.outputs if value is not end.outputs[0]]
    if any(value.is_graph_output() for value in (*inner, end.outputs[0])):
        return False
    return all(use.node in region for value in inner for use in value.uses())


def crossover(a: Network, b: Network, rng: np.random.Generator, *, deviation: float = 0.2, most: float = 0.6) -> Pair:
    """Both networks with a part exchanged; where no two parts fit, both as they are.

    deviation: how far the positions of the two parts may differ beyond what it takes, as a share of the network.
    most: share of the nodes of `a` in its part, unless all parts are larger.
    """
    try:
        mine, its = (_placed(network) for network in (a, b))
    except SurgeonError as error:
        return _unchanged(a, b, reason(error))
    mine = [(part, ends) for part, ends in mine if part.nodes <= most * len(a)] or mine
    why = "no two parts scale space alike"
    for _ in range(TRIES if mine else 0):
        part, ends = mine[int(rng.integers(len(mine)))]
        other = _partner(part, ends, its, rng.uniform(-deviation, deviation, 2))
        seeds = rng.integers(2**31, size=2).tolist()
        align = "grow" if rng.random() < 0.5 else "shrink"
        if other is None:
            continue
        try:
            children = [
                _exchanged(network, guest, old, new, (align, "auto"), seed)
                for network, guest, old, new, seed in ((a, b, part, other, seeds[0]), (b, a, other, part, seeds[1]))
            ]
        except SurgeonError as error:
            why = reason(error)
            continue
        texts = [f"{p.begin} to {p.end}, {p.nodes} nodes" for p in (part, other)]
        notes = [Note(CROSSOVER, mine, done=True, why=f"for {its}") for mine, its in (texts, texts[::-1])]
        return Mutated(children[0], (notes[0],)), Mutated(children[1], (notes[1],))
    return _unchanged(a, b, why)


def _unchanged(a: Network, b: Network, why: str) -> Pair:
    note = Note(CROSSOVER, "", done=False, why=why)
    return Mutated(a, (note,)), Mutated(b, (note,))


Ends = tuple[Scale, Scale]


def _placed(network: Network) -> list[tuple[SeparablePart, Ends]]:
    """The parts of a network, with the scales at their ends."""
    known = scales(network.labels)
    parts = separable(network.labels.model.graph)
    return [(part, (known[part.begin], known[part.end])) for part in parts if {part.begin, part.end} <= known.keys()]


def _partner(
    part: SeparablePart, ends: Ends, others: list[tuple[SeparablePart, Ends]], shift: np.ndarray
) -> SeparablePart | None:  # fmt: skip
    """The part with the same scales at its ends whose position is nearest to that of `part`, shifted."""
    fitting = [other for other, its in others if all(x.fits(y) for x, y in zip(ends, its, strict=True))]

    def distance(other: SeparablePart) -> float:
        return float(np.abs(np.array(part.position) + shift - other.position).sum())

    return min(fitting, key=distance, default=None)


def _exchanged(
    network: Network, guest: Network, old: SeparablePart, new: SeparablePart, aligns: tuple[str, ...], seed: int
) -> Network:  # fmt: skip
    """A copy of a network with a part of another one in the place of a part. aligns: the ways to try, in order."""
    for align in aligns:
        choices = Choices(align=align, growth=Growth(seed=seed))  # type: ignore[arg-type]
        work = network.copy()
        try:
            work.do(exchange(work.ir, guest.ir, old=(old.begin, old.end), new=(new.begin, new.end), choices=choices))
        except SurgeonError:
            if align == aligns[-1]:
                raise
            continue
        return settled(work)
    raise AssertionError("the last way returns or raises")
