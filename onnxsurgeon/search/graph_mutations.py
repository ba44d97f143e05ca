"""Mutations of the graph's structure: vertices and edges come and go. All act on `Vertices`, and keep weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import onnx_ir as ir

from onnxsurgeon.dependency.names import name_of, result_of
from onnxsurgeon.edit.growth import Growth
from onnxsurgeon.errors import UsageError
from onnxsurgeon.ops.nodes import constant, operator_of
from onnxsurgeon.search.drawing import Space, opened
from onnxsurgeon.search.layer_spaces import IDENTITY
from onnxsurgeon.search.mutation import Mutated, Mutation, Note
from onnxsurgeon.search.scales import scales
from onnxsurgeon.search.vertices import (
    Vertices,
    is_activation,
    is_joint,
    is_layer,
    last_of,
    names_of,
    one_by_one,
)
from onnxsurgeon.surgery import join, rewire
from onnxsurgeon.surgery.blocks import Site
from onnxsurgeon.surgery.find import data_inputs, find
from onnxsurgeon.surgery.insert import insert
from onnxsurgeon.surgery.network import Network

ADD, REMOVE, ADD_EDGE, REMOVE_EDGE, EMPTY = "add vertex", "remove vertex", "add edge", "remove edge", "remove empty"
Way = Literal["concat", "sum"]
Suits = Callable[[ir.Node], bool]
OUTPUT = "it computes an output of the graph"


@dataclass(frozen=True)
class Planted:
    """A draw of a space, as wide as what it stands behind."""

    space: Space
    rng: np.random.Generator

    def build(self, site: Site) -> ir.Value:
        end = self.space.grow(opened(site), self.rng, site.width)
        if end.value is site.value:
            raise UsageError("there is nothing to insert", why="the space has drawn no layer", fix="try again")
        return end.value


def add_vertex(space: Space, *, init: str = IDENTITY, suits: Suits = is_layer) -> Mutation[Vertices]:
    """A draw of a space behind layers, and behind the normalisation and activation of each.

    init: how its weights start; by default so that it passes on what it reads, up to its activation.
    suits: behind which nodes.
    """

    def mutate(vertices: Vertices, rng: np.random.Generator) -> Mutated[Vertices]:
        def edit(work: Network, name: str) -> Note:
            end = last_of(find(work.ir, name))
            if result_of(end).is_graph_output():
                return Note(ADD, name, done=False, why=OUTPUT)
            before = set(names_of(work))
            seed = int(rng.integers(2**31))
            work.do(insert(work.ir, name_of(end), Planted(space, rng), init=init, seed=seed))
            return Note(ADD, name, done=True, why=", ".join(n for n in names_of(work) if n not in before))

        return one_by_one(vertices, ADD, suits, edit)

    return mutate


def remove_vertex(*, suits: Suits = is_layer, rescale: bool = False) -> Mutation[Vertices]:
    """Layers go, with their normalisation and activation; where widths differ, they are made equal.

    rescale: whether layers may go that change the size of space. suits: which nodes.
    """

    def mutate(vertices: Vertices, rng: np.random.Generator) -> Mutated[Vertices]:
        def edit(work: Network, name: str) -> Note:
            node = find(work.ir, name)
            end, data = last_of(node), [value for value in node.inputs if value is not None and constant(value) is None]
            if result_of(end).is_graph_output():
                return Note(REMOVE, name, done=False, why=OUTPUT)
            if any(value.is_graph_input() for value in data):
                return Note(REMOVE, name, done=False, why="it reads the input of the graph")
            known = scales(work.labels)
            ends = [known.get(value.name or "") for value in (*data, result_of(end))]
            if not rescale and any(scale is None or ends[0] is None or not scale.fits(ends[0]) for scale in ends):
                return Note(REMOVE, name, done=False, why="it changes the size of space")
            before = names_of(work)
            choices = rewire.Choices(growth=Growth(seed=int(rng.integers(2**31))))
            work.do(rewire.remove(work.ir, name, until=name_of(end), choices=choices))
            left = set(names_of(work))
            return Note(REMOVE, name, done=True, why=", ".join(gone for gone in before if gone not in left))

        return one_by_one(vertices, REMOVE, suits, edit)

    return mutate


def add_edge(ways: Sequence[Way] = get_args(Way), *, suits: Suits = is_layer) -> Mutation[Vertices]:
    """Later layers read what these make, too, where both have the same scale of space; the function stays.

    A reader by `concat` gets new columns of zeros; by `sum`, a 1x1 layer of zeros stands between.
    """

    def mutate(vertices: Vertices, rng: np.random.Generator) -> Mutated[Vertices]:
        def edit(work: Network, name: str) -> Note:
            source = last_of(find(work.ir, name))
            readers = [n for n in _readers(work, source) if not vertices.shielded(find(work.ir, n), ADD_EDGE)]
            way, seed = ways[int(rng.integers(len(ways)))], int(rng.integers(2**31))
            if not readers:
                return Note(ADD_EDGE, name, done=False, why="no later layer reads what has the same scale of space")
            reader = readers[int(rng.integers(len(readers)))]
            act = join.concatenate if way == "concat" else join.add
            work.do(act(work.ir, name_of(source), reader, seed=seed))
            return Note(ADD_EDGE, name, done=True, why=f"to {reader} by {way}")

        return one_by_one(vertices, ADD_EDGE, suits, edit)

    return mutate


def _readers(network: Network, source: ir.Node) -> list[str]:
    """The names of the layers behind `source` that may read it, too."""
    labels, value = network.labels, result_of(source)
    known = scales(labels)
    mine = known.get(value.name or "")
    if mine is None:
        return []
    order = list(network.ir.graph)
    found = []
    for node in order[order.index(source) + 1 :]:
        data = data_inputs(labels, find(labels.model, name_of(node))) if is_layer(node) else []
        its = known.get(data[0][1].name or "") if len(data) == 1 else None
        if its is not None and its.fits(mine) and not _holds(data[0][1], value.name):
            found.append(name_of(node))
    return found


def _holds(value: ir.Value, name: str | None) -> bool:
    """Whether a value is the one called `name`, or joins it, itself or through a layer."""
    joint = value.producer()
    inside = [v for v in joint.inputs if v is not None] if joint is not None and is_joint(joint) else []
    layers = [node for v in inside if (node := v.producer()) is not None and is_layer(node)]
    return name in (value.name, *(v.name for v in inside), *(v.name for node in layers for v in node.inputs if v))


def remove_edge() -> Mutation[Vertices]:
    """One of the inputs of sums and concatenations goes, with what only computed it."""

    def mutate(vertices: Vertices, rng: np.random.Generator) -> Mutated[Vertices]:
        def edit(work: Network, name: str) -> Note:
            joint = find(work.ir, name)
            made = [v.producer() for v in joint.inputs if v is not None and constant(v) is None]
            sources = [name_of(node) for node in made if node is not None and not vertices.shielded(node, REMOVE_EDGE)]
            if len(made) < 2 or not sources:
                return Note(REMOVE_EDGE, name, done=False, why="it has no input that may go")
            source = sources[int(rng.integers(len(sources)))]
            _disconnect(work, source, name)
            return Note(REMOVE_EDGE, name, done=True, why=f"from {source}")

        return one_by_one(vertices, REMOVE_EDGE, _joins, edit)

    return mutate


def _joins(node: ir.Node) -> bool:
    """Whether a node joins several values that are computed."""
    return is_joint(node) and sum(v is not None and constant(v) is None for v in node.inputs) > 1


def _disconnect(work: Network, source: str, joint: str) -> None:
    """Removes an edge, and the joint where only one input is left."""
    work.disconnect(source, joint)
    left = next((node for node in work.ir.graph if name_of(node) == joint), None)
    if left is not None and len(left.inputs) == 1:
        work.remove(joint)


def remove_empty() -> Mutation[Vertices]:
    """Inputs of sums and concatenations go that have no channel but zeros; the function stays.

    Such are edges that `add_edge` has added as sums and that have not been trained yet: let it act before that.
    """

    def mutate(vertices: Vertices, rng: np.random.Generator) -> Mutated[Vertices]:
        def edit(work: Network, name: str) -> Note:
            joint = find(work.ir, name)
            made = [v.producer() for v in joint.inputs if v is not None and constant(v) is None]
            empty = [name_of(node) for node in made if node is not None and _is_zero(node)]
            if not empty:
                return Note(EMPTY, name, done=False, why="all that it joins has a width")
            for source in empty[: len(made) - 1]:
                _disconnect(work, source, name)
            return Note(EMPTY, name, done=True, why=f"from {', '.join(empty)}")

        return one_by_one(vertices, EMPTY, _joins, edit)

    return mutate


def _is_zero(node: ir.Node) -> bool:
    """Whether a node only makes zeros: a layer whose weights are zero, or an activation of it that keeps zeros."""
    if is_layer(node):
        held = [tensor for value in node.inputs if (tensor := constant(value)) is not None]
        return not any(np.any(tensor.numpy()) for tensor in held)
    before = node.inputs[0].producer() if is_activation(node) and node.inputs[0] is not None else None
    operator = operator_of(node)
    return before is not None and operator is not None and operator.bounds is not None and _is_zero(before)
