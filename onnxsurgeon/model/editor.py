"""Edits graphs: adds nodes and weights under unique names, replaces values, and removes dead nodes.

An editor changes its model in place; edit a copy (`copied`) to keep the original. It knows no operators. Functions that
need no unique names (`set_input`, `set_tensor`, `remove_dead`, ...) are outside the class.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from onnxsurgeon.errors import InfeasibleError
from onnxsurgeon.model.free_names import prefixed, reserved
from onnxsurgeon.model.lazy_weights import take

FREE_WEIGHTS = 4  # the IR version since which an initializer need not be an input


class Editor:
    """Changes `model` in place and names new nodes and values uniquely. visit: called with each added node."""

    def __init__(self, model: ir.Model, visit: Callable[[ir.Node], None] | None = None) -> None:
        self.model, self._visit = model, visit
        self._shared: dict[tuple[bytes, str, tuple[int, ...]], ir.Value] = {}

    @property
    def opset(self) -> int:
        """The version of the standard operators."""
        versions = self.model.opset_imports
        return versions.get("", versions.get("ai.onnx", 1))

    # --- names ---

    @cached_property
    def node_names(self) -> set[str | None]:
        """The names of all nodes, including those in subgraphs."""
        return {node.name for node in self.model.graph.all_nodes()}

    @cached_property
    def value_names(self) -> set[str | None]:
        """The names of all values that nodes read or write, of all inputs and all weights."""
        graph = self.model.graph
        found = {v.name for node in graph.all_nodes() for v in (*node.inputs, *node.outputs) if v is not None}
        return found | {v.name for v in (*graph.inputs, *graph.initializers.values())}

    def node_name(self, wanted: str) -> str:
        """A unique name for a node, which is reserved from now on."""
        return reserved(wanted, self.node_names)

    def value_name(self, wanted: str) -> str:
        """A unique name for a value, which is reserved from now on."""
        return reserved(wanted, self.value_names)

    def give_up_name(self, node: ir.Node) -> str:
        """The name of a node that will be removed; the name becomes free for its replacement."""
        name = node.name or node.outputs[0].name or node.op_type
        self.node_names.discard(node.name)
        node.name = None
        return name

    # --- new nodes and weights ---

    def node(
        self,
        operator: str,
        inputs: Sequence[ir.Value | None],
        attributes: Iterable[ir.Attr] = (),
        *,
        name: str,
        outputs: Sequence[str] = (),
        before: ir.Node | None = None,
        after: ir.Node | None = None,
        domain: str = "",
    ) -> Sequence[ir.Value]:
        """The outputs of a new node, inserted before or after another one, or first in the graph.

        outputs: their names; by default one output, named like the node.
        """
        name = self.node_name(name)
        made = ir.Node(domain, operator, inputs, list(attributes), num_outputs=len(outputs) or 1, name=name)
        for value, wanted in zip(made.outputs, outputs or [name], strict=True):
            value.name = self.value_name(wanted)
        if after is not None:
            after.append(made)
        elif before is not None:
            before.prepend(made)
        elif len(self.model.graph):
            self.model.graph[0].prepend(made)
        else:
            self.model.graph.append(made)
        if self._visit is not None:
            self._visit(made)
        return made.outputs

    def weight(self, name: str, content: Any, dtype: ir.DataType | None = None) -> ir.Value:
        """A new initializer of the main graph, which all subgraphs see.

        content: an array or a tensor, possibly a lazy one. dtype: if it is not the array's own type.
        """
        name = self.value_name(name)
        if not isinstance(content, ir.TensorProtocol):
            content = ir.Tensor(np.asarray(content, order="C"), dtype=dtype, name=name)
        elif content.name != name:
            content = take(content, (None,) * len(content.shape), name)
        value = ir.Value(name=name)
        set_tensor(value, content)
        self.model.graph.initializers[name] = value
        return value

    def shared_weight(self, name: str, array: np.ndarray) -> ir.Value:
        """A new initializer, or the one that an earlier call made from an equal array."""
        key = (array.tobytes(), str(array.dtype), array.shape)
        if key not in self._shared:
            self._shared[key] = self.weight(name, array)
        return self._shared[key]

    def adopt(self, value: ir.Value, name: str) -> None:
        """Move the weight `value` from another graph to the main graph, and name it `name` if that is free."""
        if value.graph is not None:
            del value.graph.initializers[value.name or ""]
        value.name = self.value_name(name)
        self.model.graph.initializers[value.name] = value

    # --- nodes of other graphs ---

    def move_out(self, body: ir.Graph, before: ir.Node) -> tuple[list[ir.Node], list[ir.Value]]:
        """Moves the nodes of a subgraph before `before`; returns the nodes and the former outputs of the subgraph.

        Renames values whose names are used outside, too (two branches may share names).
        """
        inside, inner, outputs = set(body.all_nodes()), list(body), list(body.outputs)
        graph = self.model.graph
        beside = {
            v.name for n in graph.all_nodes() if n not in inside for v in (*n.inputs, *n.outputs) if v is not None
        }
        beside |= {v.name for v in (*graph.inputs, *graph.initializers.values())}
        body.outputs.clear()  # values can't move while they are outputs of the body
        for name, value in list(body.initializers.items()):
            if name not in beside:
                self.value_names.discard(name)  # its own
            self.adopt(value, name)
        for value in (v for n in inner for v in n.outputs):
            if value.name in beside:
                value.name = self.value_name(value.name or "")
        body.remove(inner)
        before.prepend(inner)
        return inner, outputs

    def take_in(self, other: ir.Graph, needed: Collection[ir.Node], prefix: str) -> None:
        """Moves the needed nodes of another graph here, with the weights that they read.

        prefix: of all names; empty: numbers at their ends are renewed, so that they don't grow.
        """

        other.outputs.clear()
        other.remove([node for node in other if node not in needed][::-1], safe=False)
        order = list(other)
        other.remove(order)
        for value in dict.fromkeys(v for node in order for v in node.inputs if v is not None and v.is_initializer()):
            self.adopt(value, prefixed(prefix, value.name))
        for node in order:
            node.name = self.node_name(prefixed(prefix, node.name or node.op_type))
            for value in node.outputs:
                value.name = self.value_name(prefixed(prefix, value.name))
        self.model.graph.extend(order)

    def open(self, name: str, shape: ir.Shape, type_: ir.TypeProtocol) -> ir.Value:
        """A new input of the graph."""
        value = ir.Value(name=self.value_name(name), shape=shape, type=type_)
        self.model.graph.inputs.append(value)
        return value

    def supply(self, value: ir.Value, dtype: ir.DataType) -> None:
        """Makes `value`, which a node computes, an input of the graph with the same name."""
        given = ir.Value()
        self.model.graph.inputs.append(given)
        uses = list(value.uses())
        self.take_over(value, given)
        given.type = ir.TensorType(dtype)
        feed(uses, given)
        remove_dead(value)

    def close(self, entry: ir.Value, exit: ir.Value, source: ir.Value) -> None:
        """Removes an input and an output of the graph. What read the input reads `source`."""
        self.model.graph.outputs.remove(exit)
        feed(list(entry.uses()), source)
        self.model.graph.inputs.remove(entry)

    # --- replaced values ---

    def take_over(self, old: ir.Value, new: ir.Value, was: str | None = "") -> None:
        """Give `new` the name, type and shape of `old`, and make it the graph output that `old` was.

        Nodes still read `old`. was: the new name of `old`; by default a unique one.
        """
        name, old.name = old.name, self.value_name(f"{old.name}.was") if was == "" else was
        new.name, new.type, new.shape = name, old.type, old.shape
        outputs = old.graph.outputs if old.graph is not None else []
        for index, value in enumerate(outputs):
            if value is old:
                outputs[index] = new

    def replace(self, old: ir.Value, new: ir.Value) -> None:
        """Make all readers of `old` read `new`, and remove what only computed `old`. Graph outputs keep their names."""
        uses = list(old.uses())
        if old.is_graph_output():
            if new.producer() is None or new.is_graph_output() or new.uses():  # it keeps its own name
                new = self.node("Identity", [new], name=f"{old.name}.same", after=old.producer())[0]
            self.take_over(old, new)
        feed(uses, new)
        remove_dead(old)

    def finished(self) -> ir.Model:
        """The model with its nodes sorted topologically. Raises InfeasibleError if they form a cycle."""
        try:
            self.model.graph.sort()
        except ValueError as error:
            raise InfeasibleError(
                "the change would create a cycle in the graph; nothing was changed",
                why=str(error),
                fix="choose a node that doesn't depend on the other",
            ) from None
        return with_free_weights(self.model)


def copied(model: ir.Model) -> ir.Model:
    """A copy that shares the weights and the metadata about the source file."""
    copy = model.clone()
    copy.graph.meta.update(model.graph.meta)
    return copy


def detached(proto: onnx.NodeProto) -> ir.Node:
    """A node in no graph, whose inputs and outputs have only their names."""
    inputs = [ir.Value(name=name) if name else None for name in proto.input]
    outputs = [ir.Value(name=name) for name in proto.output]
    given = [ir.serde.deserialize_attribute(attribute) for attribute in proto.attribute]
    return ir.Node(proto.domain, proto.op_type, inputs, given, outputs=outputs, name=proto.name)


def with_free_weights(model: ir.Model) -> ir.Model:
    """`model`, with an IR version that allows initializers that are not inputs (from 4 on) if it has such."""
    if model.ir_version < FREE_WEIGHTS and any(not v.is_graph_input() for v in model.graph.initializers.values()):
        model.ir_version = FREE_WEIGHTS
    return model


def feed(uses: Iterable[tuple[ir.Node, int]], value: ir.Value) -> None:
    """Make nodes read `value`, each at the given input index."""
    for node, index in uses:
        node.replace_input_with(index, value)


def add_outputs(model: ir.Model, values: Iterable[ir.Value]) -> None:
    """Make `values` outputs of the graph, behind those that it has."""
    model.graph.outputs.extend(values)


def withhold(model: ir.Model, values: Iterable[ir.Value]) -> None:
    """Makes the graph no longer return these outputs of it."""
    for value in values:
        model.graph.outputs.remove(value)


def set_input(node: ir.Node, index: int, value: ir.Value) -> None:
    """Make a node read `value` at `index`, even beyond its inputs. Removes nodes that only computed the old input."""
    if index >= len(node.inputs):
        node.resize_inputs(index + 1)
    old = node.inputs[index]
    node.replace_input_with(index, value)
    remove_dead(old)


def set_inputs(node: ir.Node, inputs: Sequence[ir.Value | None]) -> None:
    """Replace all inputs of a node, whose number may change."""
    node.resize_inputs(max(len(inputs), len(node.inputs)))
    for index in range(len(node.inputs)):
        node.replace_input_with(index, inputs[index] if index < len(inputs) else None)
    node.resize_inputs(len(inputs))


def attribute(name: str, value: Any) -> ir.Attr:
    """An attribute with an integer, a float, or a list of either."""
    array = np.asarray(value)
    if array.dtype.kind == "f":
        return ir.AttrFloat32(name, float(array)) if array.ndim == 0 else ir.AttrFloat32s(name, array.tolist())
    return ir.AttrInt64(name, int(array)) if array.ndim == 0 else ir.AttrInt64s(name, array.tolist())


def set_attribute(node: ir.Node, name: str, value: Any) -> None:
    """Set a numeric attribute of a node; None removes it."""
    if value is None:
        node.attributes.pop(name, None)
    else:
        node.attributes[name] = attribute(name, value)


def set_tensor(value: ir.Value, tensor: ir.TensorProtocol) -> None:
    """Set the tensor of `value`, which is an initializer or the output of a Constant node."""
    producer = value.producer()
    if producer is None:
        value.const_value, value.shape = tensor, ir.Shape(tensor.shape.numpy())
        if value.dtype != tensor.dtype:
            value.type = ir.TensorType(tensor.dtype)
    else:
        producer.attributes.clear()
        producer.attributes["value"] = ir.AttrTensor("value", tensor)


def remove_dead(*values: ir.Value | None) -> None:
    """Remove `values` that nothing reads, and the nodes and weights that only computed them."""
    waiting = list(values)
    while waiting:
        value = waiting.pop()
        if value is None or value.uses() or value.is_graph_output():
            continue
        producer = value.producer()
        if producer is None:
            if value.is_initializer() and not value.is_graph_input() and value.graph is not None:
                value.graph.initializers.pop(value.name or "", None)
        elif producer.graph is not None and not any(v.uses() or v.is_graph_output() for v in producer.outputs):
            waiting += producer.inputs
            producer.graph.remove(producer, safe=True)


def take_apart(graph: ir.Graph) -> list[ir.Value]:
    """Removes all nodes of a subgraph that is no longer needed; the values that they read."""
    graph.outputs.clear()
    read: list[ir.Value] = []
    for node in reversed(list(graph)):
        for inner in node.attributes.values():
            if inner.type == ir.AttributeType.GRAPH:
                read += take_apart(inner.value)
        read += [v for v in node.inputs if v is not None]
        graph.remove(node, safe=True)
    return read
