"""A model with the facts about its values, and an editor that keeps these facts up to date."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import onnx
import onnx_ir as ir

from onnxsurgeon.arrays import Array, Shape
from onnxsurgeon.dependency.facts import Evaluator, tensor
from onnxsurgeon.dependency.size_facts import AllFacts, visit
from onnxsurgeon.model.editor import Editor, copied, feed, remove_dead
from onnxsurgeon.neurons.relations import Relations
from onnxsurgeon.ops.call import Call
from onnxsurgeon.ops.making import new_axis, split_into
from onnxsurgeon.ops.nodes import constant, schema
from onnxsurgeon.ops.size_expressions import Size

NON_DETERMINISTIC = onnx.defs.OpSchema.NodeDeterminism.NonDeterministic


@dataclass(frozen=True)
class KnownModel:
    """A model, and the facts about its values: at two samples of its dynamic dims, and as expressions over these."""

    model: ir.Model
    evaluator: Evaluator
    facts: AllFacts

    def shapes(self, value: ir.Value | None) -> tuple[Shape, Shape] | None:
        """The shape at both samples; None if one is unknown, or two samples say too little: a size is clamped."""
        if value is None:
            return None
        sizes = self.evaluator.fact(value, self.facts[2]).shape
        if sizes is None or any(isinstance(n, Size) and n.clamps for n in sizes):
            return None
        a, b = (self.evaluator.fact(value, facts).shape for facts in self.facts[:2])
        return None if a is None or b is None or len(a) != len(b) else (a, b)

    @cached_property
    def computable(self) -> dict[ir.Node, None]:
        """The nodes of the outermost graph that data and randomness don't go into, in order; Constant nodes apart."""
        found: dict[ir.Node, None] = {}
        for node in self.model.graph:
            given = [v for v in node.inputs if v is not None]
            if not given or not all(constant(v) is not None or v.producer() in found for v in given):
                continue
            described = schema(node.domain, node.op_type, self.evaluator.version(node))
            bodies = any(a.type == ir.AttributeType.GRAPH for a in node.attributes.values())
            random = getattr(described, "node_determinism", None) == NON_DETERMINISTIC
            if described is not None and not bodies and not random:
                found[node] = None
        return found

    def call(self, node: ir.Node) -> Call:
        """The node as its operator sees it, without neurons."""
        inputs = [None if v is None else tensor(v, *self.facts) for v in node.inputs]
        outputs = [replace(tensor(v, *self.facts), used=bool(v.uses()) or v.is_graph_output()) for v in node.outputs]
        version, attributes = self.evaluator.version(node), self.evaluator.attributes(node)
        return Call(node.name or "", node.op_type, version, attributes, inputs, outputs, Relations())

    def is_tensor(self, value: ir.Value) -> bool:
        """Whether a value is data, not a number computed from shapes."""
        return self.evaluator.fact(value, self.facts[0]).value is None


class FactEditor(Editor):
    """Edits a copy of a known model, and evaluates each node that it adds."""

    def __init__(self, known: KnownModel) -> None:
        super().__init__(copied(known.model), self._evaluate)
        self.known = KnownModel(self.model, Evaluator(self.model), _translate(known, self.model))
        self._renamed: set[ir.Value] = set()  # values that have the name of a value that they replaced

    def _evaluate(self, node: ir.Node) -> None:
        visit(node, self.known.evaluator, self.known.facts)

    def add(
        self,
        before: ir.Node,
        operator: str,
        inputs: Sequence[ir.Value | None],
        name: str,
        output: str,
        attributes: Iterable[ir.Attr] = (),
    ) -> ir.Value:
        """The only output of a new node, inserted before `before`."""
        return self.node(operator, inputs, attributes, name=name, outputs=[output], before=before)[0]

    def replace(self, old: ir.Value, new: ir.Value) -> None:
        """Make all readers of `old` read `new`, which gets its name, and remove nodes that only computed `old`."""
        if old.is_graph_output() and (new in self._renamed or new.is_graph_output()):  # two outputs are one value
            producer = new.producer()
            assert producer is not None
            new = self.node("Identity", [new], name=f"{producer.name}.same", after=producer)[0]
        if new not in self._renamed:
            self._renamed.add(new)
            self.take_over(old, new, None)
        feed(list(old.uses()), new)
        remove_dead(old)

    def integers(self, name: str, values: Array | Sequence[int]) -> ir.Value:
        """A new int64 initializer."""
        return self.weight(name, np.asarray(values, np.int64))

    def split(
        self, before: ir.Node, source: ir.Value, axis: int, sizes: Sequence[int], name: str, outputs: Sequence[str]
    ) -> Sequence[ir.Value]:
        """Parts of `source`, of these sizes along an axis, from a Split inserted before `before`."""
        inputs, attributes = split_into(self, name, axis, sizes)
        return self.node("Split", [source, *inputs], attributes, name=name, outputs=outputs, before=before)

    def unsqueeze(self, before: ir.Node, source: ir.Value, axis: int, name: str) -> ir.Value:
        """`source` with a new axis of length 1, from an Unsqueeze inserted before `before`."""
        inputs, attributes = new_axis(self, name, axis)
        return self.add(before, "Unsqueeze", [source, *inputs], name, name, attributes)

    def squeeze(self, before: ir.Node, source: ir.Value, axis: int, name: str) -> ir.Value:
        """`source` without an axis of length 1, from a Squeeze inserted before `before`."""
        inputs, attributes = new_axis(self, name, axis)
        return self.add(before, "Squeeze", [source, *inputs], name, name, attributes)

    def equal(self, source: ir.Value, axis: int, count: int) -> list[int]:
        """The sizes of `count` equal parts along an axis."""
        shapes = self.known.shapes(source)
        assert shapes is not None
        return [shapes[0][axis] // count] * count


def _translate(known: KnownModel, model: ir.Model) -> AllFacts:
    """The facts about the values of `model`, a clone of the known one."""
    twins: dict[ir.Value, ir.Value] = dict(zip(known.model.graph.inputs, model.graph.inputs, strict=True))
    for old, new in zip(known.model.graph.all_nodes(), model.graph.all_nodes(), strict=True):
        pairs = zip((*old.inputs, *old.outputs), (*new.inputs, *new.outputs), strict=True)
        twins.update((a, b) for a, b in pairs if a is not None and b is not None)
        for name, inner in old.attributes.items():
            if inner.type == ir.AttributeType.GRAPH:
                twins.update(zip(inner.value.inputs, new.attributes[name].value.inputs, strict=True))
    first, second, expressions = ({b: facts[a] for a, b in twins.items() if a in facts} for facts in known.facts)
    return first, second, expressions
