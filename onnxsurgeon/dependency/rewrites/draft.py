"""A copy of a model that is being changed, while the facts about its values are kept up to date."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import Array, Shape
from onnxsurgeon.dependency.facts import Evaluator, Facts, tensor
from onnxsurgeon.neurons.relations import Relations
from onnxsurgeon.ops.call import Call


@dataclass(frozen=True)
class Known:
    """A model, and the facts about its values at two samples of its dynamic dims."""

    model: ir.Model
    evaluator: Evaluator
    facts: tuple[Facts, Facts]

    def shapes(self, value: ir.Value | None) -> tuple[Shape, Shape] | None:
        """The shape at both samples; None where one is unknown, or the ranks differ."""
        if value is None:
            return None
        a, b = (self.evaluator.fact(value, facts).shape for facts in self.facts)
        return None if a is None or b is None or len(a) != len(b) else (a, b)

    def static(self, value: ir.Value | None) -> Array | None:
        """The value, where both samples agree."""
        if value is None:
            return None
        a, b = (self.evaluator.fact(value, facts).value for facts in self.facts)
        return a if a is not None and b is not None and np.array_equal(a, b) else None

    def call(self, node: ir.Node) -> Call:
        """The node as its operator sees it, without neurons."""
        inputs = [None if v is None else tensor(v, *self.facts) for v in node.inputs]
        outputs = [replace(tensor(v, *self.facts), used=bool(v.uses()) or v.is_graph_output()) for v in node.outputs]
        version, attributes = self.evaluator.version(node), self.evaluator.attributes(node)
        return Call(node.name or "", node.op_type, version, attributes, inputs, outputs, Relations())

    def is_tensor(self, value: ir.Value) -> bool:
        """Whether it holds data, not a number that follows from shapes."""
        return self.evaluator.fact(value, self.facts[0]).value is None


class Draft:
    """A copy of a known model. What is added is evaluated at once."""

    def __init__(self, known: Known) -> None:
        model = known.model.clone()
        model.graph.meta.update(known.model.graph.meta)
        self.known = Known(model, Evaluator(model), _translated(known, model))
        nodes = list(model.graph.all_nodes())
        self.nodes = {n.name for n in nodes}
        self.values = {v.name for n in nodes for v in (*n.inputs, *n.outputs) if v}
        self.values |= {v.name for v in (*model.graph.inputs, *model.graph.initializers.values())}
        self.named: set[ir.Value] = set()  # added values that bear the name of one that they replaced

    def add(
        self,
        before: ir.Node,
        operator: str,
        inputs: Sequence[ir.Value | None],
        attributes: Iterable[ir.Attr],
        name: str,
        outputs: Sequence[str],
    ) -> Sequence[ir.Value]:
        """The outputs of a new node in front of `before`."""
        node = ir.Node("", operator, inputs, list(attributes), num_outputs=len(outputs), name=_unique(name, self.nodes))
        for value, wanted in zip(node.outputs, outputs, strict=True):
            value.name = _unique(wanted, self.values)
        before.prepend(node)
        for facts in self.known.facts:
            self.known.evaluator.visit(node, facts)
        return node.outputs

    def parted(
        self, before: ir.Node, source: ir.Value, axis: int, count: int, name: str, outputs: Sequence[str]
    ) -> Sequence[ir.Value]:
        """`count` equal parts of `source` along an axis, in front of `before`."""
        shapes = self.known.shapes(source)
        assert shapes is not None
        sizes = np.full(count, shapes[0][axis] // count)
        inputs, attributes = self._parameter(before, 13, "split", sizes, name)
        return self.add(before, "Split", [source, *inputs], [ir.AttrInt64("axis", axis), *attributes], name, outputs)

    def unsqueezed(self, before: ir.Node, source: ir.Value, axis: int, name: str, output: str) -> ir.Value:
        inputs, attributes = self._parameter(before, 13, "axes", np.array([axis]), name)
        return self.add(before, "Unsqueeze", [source, *inputs], attributes, name, [output])[0]

    def _parameter(
        self, beside: ir.Node, version: int, parameter: str, value: Array, name: str
    ) -> tuple[list[ir.Value], list[ir.Attr]]:
        """A parameter that is an input from opset `version`, and an attribute before."""
        if self.known.evaluator.versions[""] < version:
            return [], [ir.AttrInt64s(parameter, value.tolist())]
        return [self.constant(f"{name}.{parameter}", value)], []

    def constant(self, name: str, array: Array | Sequence[int]) -> ir.Value:
        unique = _unique(name, self.values)
        tensor = ir.Tensor(np.asarray(array, np.int64), name=unique)
        value = ir.Value(name=unique, shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor)
        self.known.model.graph.initializers[unique] = value
        return value

    def adopt(self, value: ir.Value) -> None:
        """Makes a weight of a graph inside one of the whole model."""
        value.name = _unique(value.name or "weight", self.values - {value.name})
        self.known.model.graph.initializers[value.name] = value

    def replace(self, old: ir.Value, new: ir.Value) -> None:
        """What read `old` reads `new`, which takes its name. The node of `old` goes where nothing else needs it."""
        producer = new.producer()
        if old.is_graph_output() and (new in self.named or new.is_graph_output()):  # two outputs are one value
            assert producer is not None
            same = ir.Node("", "Identity", [new], name=_unique(f"{producer.name}.same", self.nodes))
            producer.append(same)
            new = same.outputs[0]
            for facts in self.known.facts:
                self.known.evaluator.visit(same, facts)
        if new not in self.named:
            self.named.add(new)
            new.name, old.name = old.name, None
            new.type, new.shape = old.type, old.shape
        old.replace_all_uses_with(new, replace_graph_outputs=True)
        prune_dead(old)

    def give_up(self, node: ir.Node) -> str:
        """The name of a node that is about to go, for the one that takes its place."""
        name = node.name or node.outputs[0].name or node.op_type
        self.nodes.discard(node.name)
        node.name = None
        return name


def _unique(name: str, taken: set[str | None]) -> str:
    unique, number = name, 1
    while unique in taken:
        unique, number = f"{name}_{number}", number + 1
    taken.add(unique)
    return unique


def _translated(known: Known, model: ir.Model) -> tuple[Facts, Facts]:
    """The facts of a model about its clone's values."""
    twins: dict[ir.Value, ir.Value] = dict(zip(known.model.graph.inputs, model.graph.inputs, strict=True))
    for old, new in zip(known.model.graph.all_nodes(), model.graph.all_nodes(), strict=True):
        pairs = zip((*old.inputs, *old.outputs), (*new.inputs, *new.outputs), strict=True)
        twins.update((a, b) for a, b in pairs if a is not None and b is not None)
        for name, attribute in old.attributes.items():
            if attribute.type == ir.AttributeType.GRAPH:
                twins.update(zip(attribute.value.inputs, new.attributes[name].value.inputs, strict=True))
    first, second = ({b: facts[a] for a, b in twins.items() if a in facts} for facts in known.facts)
    return first, second


def prune_dead(value: ir.Value) -> None:
    """Removes what only computed `value`, where nothing reads it."""
    if value.uses() or value.is_graph_output():
        return
    producer = value.producer()
    if producer is None:
        if value.is_initializer() and not value.is_graph_input() and value.graph is not None:
            value.graph.initializers.pop(value.name or "", None)
    elif producer.graph is not None and not any(v.uses() or v.is_graph_output() for v in producer.outputs):
        inputs = [v for v in producer.inputs if v is not None]
        producer.graph.remove(producer, safe=True)
        for source in inputs:
            prune_dead(source)


def integers(name: str, values: Sequence[Any]) -> ir.Attr:
    return ir.AttrInt64s(name, [int(n) for n in values])
