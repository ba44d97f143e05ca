"""Vertices: the nodes of a network on which mutations act, and which of them are shielded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

import numpy as np
import onnx_ir as ir

from onnxsurgeon.dependency.names import name_of, result_of
from onnxsurgeon.errors import SurgeonError
from onnxsurgeon.model.editor import set_tensor
from onnxsurgeon.model.lazy_weights import EditedWeight
from onnxsurgeon.ops.nodes import constant, convolution_of, kind_of, operator_of
from onnxsurgeon.search.mutation import Mutated, Note
from onnxsurgeon.surgery.insert import gated
from onnxsurgeon.surgery.network import Network


@dataclass(frozen=True)
class Shield:
    """Keeps nodes as they are. of: a glob of their names, or an operator. allows: kinds of mutations that may act."""

    of: str
    allows: tuple[str, ...] = ()

    def stops(self, node: ir.Node, kind: str) -> bool:
        """Whether a mutation of this kind must not act on the node."""
        return kind not in self.allows and (node.op_type == self.of or fnmatchcase(name_of(node), self.of))


@dataclass(frozen=True)
class Vertices:
    """Some nodes of a network, by name, on which a mutation acts together. shields: of all nodes of the network."""

    network: Network
    names: tuple[str, ...]
    shields: tuple[Shield, ...] = ()

    def where(self, test: Callable[[Vertices], bool]) -> Vertices:
        """Those of the nodes for which the test holds, each asked alone."""
        return replace(self, names=tuple(name for name in self.names if test(replace(self, names=(name,)))))

    def shielded(self, node: ir.Node, kind: str) -> bool:
        """Whether a mutation of this kind must not act on the node."""
        return any(shield.stops(node, kind) for shield in self.shields)

    def suited(self, kind: str, suits: Callable[[ir.Node], bool]) -> tuple[list[str], list[Note]]:
        """The names of those that suit a mutation, and notes about those that are shielded from it."""
        nodes = {name_of(node): node for node in self.network.ir.graph}
        found = [name for name in self.names if name in nodes and suits(nodes[name])]
        stopped = [name for name in found if self.shielded(nodes[name], kind)]
        notes = [Note(kind, name, done=False, why="it is shielded") for name in stopped]
        return [name for name in found if name not in stopped], notes


def one_by_one(
    vertices: Vertices, kind: str, suits: Callable[[ir.Node], bool], edit: Callable[[Network, str], Note]
) -> Mutated[Vertices]:
    """The vertices after an edit for each one that suits. edit: changes the given network, which is a copy."""
    names, notes = vertices.suited(kind, suits)
    work = vertices.network.copy() if names else vertices.network
    for name in names:
        if not any(name_of(node) == name for node in work.ir.graph):
            notes.append(Note(kind, name, done=False, why="an earlier one has removed it"))
            continue
        try:
            with work.transaction():
                notes.append(edit(work, name))
        except SurgeonError as error:
            notes.append(Note(kind, name, done=False, why=reason(error)))
    if not any(note.done for note in notes):
        return Mutated(vertices, tuple(notes))
    return Mutated(changed(vertices, work), tuple(notes))


def reason(error: SurgeonError) -> str:
    """What an error says, in one line."""
    return "; ".join(part for part in (error.what, *error.why.splitlines()[:1]) if part)


def changed(vertices: Vertices, work: Network) -> Vertices:
    """The same vertices in the network as it is now, as far as they are still there."""
    left = {name_of(node) for node in work.ir.graph}
    return replace(vertices, network=settled(work), names=tuple(name for name in vertices.names if name in left))


def settled(network: Network) -> Network:
    """The network without pending steps, with weights in memory as they are now."""
    for value in network.ir.graph.initializers.values():
        tensor = value.const_value
        if isinstance(tensor, EditedWeight):
            array = np.ascontiguousarray(tensor.numpy())
            set_tensor(value, ir.Tensor(array, dtype=tensor.dtype, name=value.name))
    return Network(network.path, network.ir, in_file=False)


# --- what nodes are -----------------------------------------------------------------------------------------------


def is_layer(node: ir.Node) -> bool:
    """Whether a node multiplies its data by a weight."""
    operator = operator_of(node)
    held = (constant(value) for value in node.inputs[1:])
    return operator is not None and operator.macs is not None and any(t is not None and len(t.shape) > 1 for t in held)


def is_convolution(node: ir.Node) -> bool:
    """Whether a node is a convolution with a constant weight."""
    return convolution_of(node) is not None and is_layer(node)


def is_dense(node: ir.Node) -> bool:
    """Whether a node is another layer."""
    return convolution_of(node) is None and is_layer(node)


def is_activation(node: ir.Node) -> bool:
    """Whether a node is an activation of what is computed."""
    return kind_of(node) == "activation" and constant(node.inputs[0]) is None


def is_joint(node: ir.Node) -> bool:
    """Whether a node joins values: sums or concatenates them."""
    return kind_of(node) in ("sum", "stack") and sum(constant(v) is None for v in node.inputs) > 0


def last_of(node: ir.Node) -> ir.Node:
    """The last of the normalisations and activations that follow a node, and that alone read it."""
    while (after := _follower(node)) is not None:
        node = after
    return node


def _follower(node: ir.Node) -> ir.Node | None:
    value = result_of(node)
    readers = list(dict.fromkeys(use.node for use in value.uses()))
    if not readers or value.is_graph_output():
        return None
    first = readers[0]
    product = gated(first) if is_activation(first) else None
    if product is not None and set(readers) == {first, product}:
        return product
    operator = operator_of(first)
    normalises = operator is not None and operator.statistics is not None
    return first if len(readers) == 1 and first.inputs[0] is value and (normalises or is_activation(first)) else None


def names_of(network: Network) -> tuple[str, ...]:
    """The names of all nodes, in the graph's order."""
    return tuple(name_of(node) for node in network.ir.graph)
