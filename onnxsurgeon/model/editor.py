"""The one way to change a graph: new nodes and weights under free names, values that take over from others, dead ends.

An editor changes the model that it is given; edit a copy (`copied`) where the original must stay. It knows no
operators. Functions that need no names (`set_input`, `set_tensor`, `remove_dead`, ...) stand beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxsurgeon.errors import InfeasibleError
from onnxsurgeon.model.lazy_weights import take

FREE_WEIGHTS = 4  # the IR version since which an initializer need not be an input, too


class Editor:
    """Changes `model` in place, under names that are not yet used. visit: called with each node that is added."""

    def __init__(self, model: ir.Model, visit: Callable[[ir.Node], None] | None = None) -> None:
        self.model, self._visit = model, visit
        self._shared: dict[tuple[bytes, str, tuple[int, ...]], ir.Value] = {}

    # --- names ---

    @cached_property
    def node_names(self) -> set[str | None]:
        """The names of all nodes, those in subgraphs included."""
        return {node.name for node in self.model.graph.all_nodes()}

    @cached_property
    def value_names(self) -> set[str | None]:
        """The names of all values that nodes read or write, of the inputs and the weights."""
        graph = self.model.graph
        found = {v.name for node in graph.all_nodes() for v in (*node.inputs, *node.outputs) if v is not None}
        return found | {v.name for v in (*graph.inputs, *graph.initializers.values())}

    def node_name(self, wanted: str) -> str:
        """A free name for a node, from now on in use."""
        return _reserved(wanted, self.node_names)

    def value_name(self, wanted: str) -> str:
        """A free name for a value, from now on in use."""
        return _reserved(wanted, self.value_names)

    def give_up_name(self, node: ir.Node) -> str:
        """The name of a node that is about to go, free for the one that takes its place."""
        name = node.name or node.outputs[0].name or node.op_type
        self.node_names.discard(node.name)
        node.name = None
        return name

    # --- what is new ---

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
        """The outputs of a new node: before or after another one, or first in the graph.

        outputs: their names; by default there is one, called like the node.
        """
        name = self.node_name(name)
        made = ir.Node(domain, operator, inputs, list(attributes), num_outputs=len(outputs) or 1, name=name)
        for value, wanted in zip(made.outputs, outputs or [name], strict=True):
            value.name = self.value_name(wanted)
        if after is not None:
            after.append(made)
        elif before is not None:
            before.prepend(made)
        else:
            self.model.graph[0].prepend(made)
        if self._visit is not None:
            self._visit(made)
        return made.outputs

    def weight(self, name: str, content: Any, dtype: ir.DataType | None = None) -> ir.Value:
        """A new initializer of the outermost graph, which all subgraphs see.

        content: an array, or a tensor, which may be evaluated later. dtype: where the array's own type doesn't tell it.
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
        """A new initializer, or the one that this made of an equal array before."""
        key = (array.tobytes(), str(array.dtype), array.shape)
        if key not in self._shared:
            self._shared[key] = self.weight(name, array)
        return self._shared[key]

    def adopt(self, value: ir.Value, name: str) -> None:
        """Makes the weight `value`, of another graph, one of the outermost graph, called `name` if that is free."""
        if value.graph is not None:
            del value.graph.initializers[value.name or ""]
        value.name = self.value_name(name)
        self.model.graph.initializers[value.name] = value

    # --- what takes the place of what ---

    def take_over(self, old: ir.Value, new: ir.Value, was: str | None = "") -> None:
        """`new` gets the name, type and shape of `old`, and is the graph's output where `old` was.

        The nodes that read `old` still do. was: what `old` is called then; by default a free name.
        """
        name, old.name = old.name, self.value_name(f"{old.name}.was") if was == "" else was
        new.name, new.type, new.shape = name, old.type, old.shape
        outputs = old.graph.outputs if old.graph is not None else []
        for index, value in enumerate(outputs):
            if value is old:
                outputs[index] = new

    def replace(self, old: ir.Value, new: ir.Value) -> None:
        """All that reads `old` reads `new`; a graph's output keeps its name. What only computed `old` goes."""
        uses = list(old.uses())
        if old.is_graph_output():
            if new.producer() is None or new.is_graph_output() or new.uses():  # it keeps its own name
                new = self.node("Identity", [new], name=f"{old.name}.same", after=old.producer())[0]
            self.take_over(old, new)
        feed(uses, new)
        remove_dead(old)

    def finished(self) -> ir.Model:
        """The model, its nodes sorted: each after what it reads. Raises InfeasibleError where they form a cycle."""
        try:
            self.model.graph.sort()
        except ValueError as error:
            raise InfeasibleError(
                "the change would make the graph a cycle; nothing was changed",
                why=str(error),
                fix="choose a node that doesn't depend on the other",
            ) from None
        return with_free_weights(self.model)


def copied(model: ir.Model) -> ir.Model:
    """A copy that shares the weights, and remembers how its file is spelled."""
    copy = model.clone()
    copy.graph.meta.update(model.graph.meta)
    return copy


def with_free_weights(model: ir.Model) -> ir.Model:
    """`model`, of an IR version that allows each initializer that it has: before 4 all of them had to be inputs."""
    if model.ir_version < FREE_WEIGHTS and any(not v.is_graph_input() for v in model.graph.initializers.values()):
        model.ir_version = FREE_WEIGHTS
    return model


def free_name(wanted: str, taken: set[str | None]) -> str:
    """`wanted`, or with the first number behind it that is not taken."""
    name, number = wanted, 1
    while name in taken:
        name, number = f"{wanted}_{number}", number + 1
    return name


def _reserved(wanted: str, taken: set[str | None]) -> str:
    name = free_name(wanted, taken)
    taken.add(name)
    return name


def feed(uses: Iterable[tuple[ir.Node, int]], value: ir.Value) -> None:
    """Makes nodes read `value`: each at the given index of its inputs."""
    for node, index in uses:
        node.replace_input_with(index, value)


def set_input(node: ir.Node, index: int, value: ir.Value) -> None:
    """Makes a node read `value` at `index`, which may lie behind its inputs. What only computed the old one goes."""
    if index >= len(node.inputs):
        node.resize_inputs(index + 1)
    old = node.inputs[index]
    node.replace_input_with(index, value)
    remove_dead(old)


def set_inputs(node: ir.Node, inputs: Sequence[ir.Value | None]) -> None:
    """Gives a node these inputs, more or fewer than it had."""
    node.resize_inputs(max(len(inputs), len(node.inputs)))
    for index in range(len(node.inputs)):
        node.replace_input_with(index, inputs[index] if index < len(inputs) else None)
    node.resize_inputs(len(inputs))


def attribute(name: str, value: Any) -> ir.Attr:
    """An attribute of numbers: integers or floats, one or several."""
    array = np.asarray(value)
    if array.dtype.kind == "f":
        return ir.AttrFloat32(name, float(array)) if array.ndim == 0 else ir.AttrFloat32s(name, array.tolist())
    return ir.AttrInt64(name, int(array)) if array.ndim == 0 else ir.AttrInt64s(name, array.tolist())


def set_attribute(node: ir.Node, name: str, value: Any) -> None:
    """Gives a node an attribute of numbers; None removes it."""
    if value is None:
        node.attributes.pop(name, None)
    else:
        node.attributes[name] = attribute(name, value)


def set_tensor(value: ir.Value, tensor: ir.TensorProtocol) -> None:
    """Makes `value`, an initializer or the output of a Constant node, hold `tensor`."""
    producer = value.producer()
    if producer is None:
        value.const_value, value.shape = tensor, ir.Shape(tensor.shape.numpy())
        if value.dtype != tensor.dtype:
            value.type = ir.TensorType(tensor.dtype)
    else:
        producer.attributes.clear()
        producer.attributes["value"] = ir.AttrTensor("value", tensor)


def remove_dead(*values: ir.Value | None) -> None:
    """Removes what only computed `values`, where nothing reads them: nodes and weights."""
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
