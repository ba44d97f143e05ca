"""Facts about each tensor of a graph that follow from input sizes: its shape, and its value if it is small.

The graph is evaluated at two samples of its dynamic dims: what agrees is static. Exporters compute sizes from shapes,
so small integers and all that is computed from a Shape have values; other tensors have a shape, inferred node by node.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import zip_longest
from math import prod
from typing import Any, NamedTuple

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import Array, Shape
from onnxsurgeon.ops import Operator
from onnxsurgeon.ops.call import Fact, Tensor, ValueCall
from onnxsurgeon.ops.nodes import attributes, constant, domain_of, is_constant, operator_of, schema
from onnxsurgeon.ops.registry import Flow
from onnxsurgeon.ops.shape_inference import Refused, ShapeRule, inferred
from onnxsurgeon.ops.size_arrays import key_of, static
from onnxsurgeon.ops.size_expressions import Number, is_static

LARGEST_VALUE = 4096  # elements of the largest integer tensor whose value is kept
WRONG = (ArithmeticError, AttributeError, IndexError, KeyError, TypeError, ValueError)  # raised at an invalid node
PICKED = (11, 13)  # sizes that stand for those that depend on data, at the two samples
FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE)
INDEX_TYPES = (ir.DataType.INT64, ir.DataType.INT32, ir.DataType.BOOL)

Facts = dict[ir.Value, Fact]
Sizes = Mapping[tuple[str, int], int]  # (input, axis) -> size, for each dynamic dim


class NodeInfo(NamedTuple):
    """What evaluating a node needs, read from it once."""

    key: tuple[str, str]  # domain, operator
    operator: Operator | None
    version: int
    attributes: dict[str, Any]
    comparable: tuple[tuple[str, str], ...]  # the attributes as sorted text
    bodies: dict[str, ir.Graph]


class Evaluator:
    """Evaluates graphs at samples. Caches what onnx infers for an operator on given shapes."""

    def __init__(self, model: ir.Model) -> None:
        self.model = model
        self.versions = {domain or "": v for domain, v in model.opset_imports.items()}
        self.versions.setdefault("", self.versions.get("ai.onnx", 1))
        self._inferred: dict[Any, list[Fact]] = {}
        self.picked: Callable[[], Number] = lambda: PICKED[0]  # a size that depends on data
        self.sizes: Sizes = {}  # of the dynamic dims of inputs, and of other values whose shape nothing says
        self.lenient = False  # whether nodes may refuse their sizes
        self._nodes: dict[ir.Node, NodeInfo] = {}
        self._constants: Facts = {}
        self._ahead: dict[Any, Facts] = {}

    def again(self) -> Evaluator:
        """An evaluator of the same model that knows what this one found out."""
        other = Evaluator(self.model)
        other._nodes, other._constants, other._inferred = self._nodes, self._constants, self._inferred
        other._ahead = {key: dict(facts) for key, facts in self._ahead.items()}
        return other

    def keep(self, facts: Facts, sizes: Sizes, picked: int = PICKED[0]) -> None:
        """Keeps the facts of a run for the next one at the same sizes."""
        self._ahead[tuple(sizes.items()), picked] = facts

    def version(self, node: ir.Node) -> int:
        return self.versions.get(domain_of(node), 1)

    def attributes(self, node: ir.Node) -> dict[str, Any]:
        return self.info(node).attributes

    def info(self, node: ir.Node) -> NodeInfo:
        info = self._nodes.get(node)
        if info is None:
            version = self.version(node)
            given = attributes(node, version)
            bodies = {a.name: a.value for a in node.attributes.values() if a.type == ir.AttributeType.GRAPH}
            comparable = tuple(sorted((name, str(value)) for name, value in given.items() if name not in bodies))
            key, operator = (domain_of(node), node.op_type), operator_of(node)
            info = self._nodes[node] = NodeInfo(key, operator, version, given, comparable, bodies)
        return info

    def constant_fact(self, value: ir.Value) -> Fact | None:
        """The fact of a constant, with its value if it is small."""
        if value not in self._constants:
            tensor = constant(value)
            if tensor is None:
                return None
            shape = tuple(tensor.shape.numpy())
            limit = LARGEST_VALUE if tensor.dtype in INDEX_TYPES else 16 if len(shape) <= 1 else 1
            small = prod(shape) <= limit and tensor.dtype != ir.DataType.STRING
            self._constants[value] = Fact(int(tensor.dtype), shape, tensor.numpy() if small else None)
        return self._constants[value]

    def forget(self, value: ir.Value) -> None:
        self._constants.pop(value, None)

    def run(self, sizes: Sizes, picked: int = PICKED[0]) -> Facts:
        """Facts about all values of the main graph and its subgraphs, with dynamic dims set to `sizes`.

        picked: a size for each dim that depends on data.
        """
        facts = self.begin(self.model, sizes, picked)
        if (tuple(sizes.items()), picked) in self._ahead:
            return self._ahead.pop((tuple(sizes.items()), picked))
        self.evaluate(self.model.graph, facts)
        return facts

    def begin(self, model: ir.Model, sizes: Sizes, picked: int = PICKED[0]) -> Facts:
        """The facts of the inputs, with which an evaluation at these sizes begins."""
        self.picked, self.sizes = lambda: picked, sizes
        return self.input_facts(model, sizes)

    def input_facts(self, model: ir.Model, sizes: Sizes) -> Facts:
        return {v: self.input_fact(v, sizes) for v in model.graph.inputs if not v.is_initializer()}

    def input_fact(self, value: ir.Value, sizes: Sizes) -> Fact:
        if value.shape is None or not isinstance(value.type, ir.TensorType):
            return Fact(int(value.dtype or 0))
        shape = tuple(
            n if isinstance(n, int) else sizes.get((value.name or "", axis), 1) for axis, n in enumerate(value.shape)
        )
        return Fact(int(value.dtype or 0), shape)

    def evaluate(self, graph: ir.Graph, facts: Facts) -> None:
        for node in graph:
            try:
                self.visit(node, facts)
            except WRONG as error:
                error.add_note(f"{node.op_type} {node.name or [v.name for v in node.outputs]}")
                raise

    def fact(self, value: ir.Value, facts: Facts) -> Fact:
        fact = facts.get(value)
        if fact is None:
            fact = facts[value] = self.constant_fact(value) or Fact()
        return fact

    def visit(self, node: ir.Node, facts: Facts) -> None:
        """Add the facts of the node's outputs to `facts`."""
        described = self.info(node)
        if is_constant(node):
            return
        inputs = [None if v is None else self.fact(v, facts) for v in node.inputs]
        if described.bodies:
            outputs: list[Fact] | None = self._visit_bodies(node, described, inputs, facts)
        else:
            outputs = self._compute(node, described, inputs)
        outputs = outputs or self._shapes(node, described, inputs)
        for value, fact in zip(node.outputs, outputs, strict=False):
            facts[value] = fact if fact.shape is not None else self._declared(value, fact, described)

    def _declared(self, value: ir.Value, fact: Fact, described: NodeInfo) -> Fact:
        """`fact` with the shape that the model declares, if that is static or nothing else is known of the operator:
        then its dynamic dims may be anything."""
        if value.shape is None or not (is_foreign(described) or all(isinstance(n, int) for n in value.shape)):
            return fact
        return Fact(fact.dtype or int(value.dtype or 0), self.declared(value), fact.value)

    def declared(self, value: ir.Value) -> Shape:
        """The declared shape, with sizes for its dynamic dims."""
        shape: Any = value.shape
        return tuple(
            n if isinstance(n, int) else self.sizes.get((value.name or "", axis), PICKED[0])
            for axis, n in enumerate(shape)
        )

    def _flow(self, described: NodeInfo) -> Flow | None:
        flow = None if described.operator is None else described.operator.flow
        return flow if flow is not None and described.version >= flow.since else None

    def enter(self, node: ir.Node, facts: Facts) -> None:
        """Add the facts of the inputs of the node's bodies, as in the first iteration, to `facts`."""
        described = self.info(node)
        if not described.bodies:
            return
        flow, inputs = self._flow(described), [None if v is None else self.fact(v, facts) for v in node.inputs]
        for body in described.bodies.values():
            given = [] if flow is None else flow.enter(described.attributes, inputs, len(body.inputs))
            for value, fact in zip_longest(body.inputs, given):
                known = fact or Fact()
                facts[value] = known if known.dtype else Fact(int(value.dtype or 0), known.shape, known.value)

    def _visit_bodies(self, node: ir.Node, described: NodeInfo, inputs: list[Fact | None], facts: Facts) -> list[Fact]:
        """The outputs of a node with bodies, after evaluating these until the shapes of loop states are stable."""
        self.enter(node, facts)
        flow, returned = self._flow(described), {}
        for name, body in described.bodies.items():
            self.evaluate(body, facts)
            while flow is not None and self._forget_varying(flow, described, body, facts):
                self.evaluate(body, facts)
            returned[name] = [self.fact(v, facts) for v in body.outputs]
        if flow is None:
            return [Fact(int(v.dtype or 0)) for v in node.outputs]
        return list(flow.leave(described.attributes, inputs, returned))

    def _forget_varying(self, flow: Flow, described: NodeInfo, body: ir.Graph, facts: Facts) -> bool:
        """Set loop states whose shape an iteration changes to unknown; returns whether there were any."""
        varying = False
        for output, index in flow.carried(described.attributes, len(body.inputs)):
            before, after = facts[body.inputs[index]], self.fact(body.outputs[output], facts)
            if before.shape is not None and before.shape != after.shape:
                facts[body.inputs[index]], varying = Fact(before.dtype), True
        return varying

    def _compute(self, node: ir.Node, described: NodeInfo, inputs: list[Fact | None]) -> list[Fact] | None:
        """The outputs' values, if the operator is shape arithmetic on known values."""
        operator = described.operator
        if operator is None:
            return None
        if operator.from_shape is not None and inputs[0] is not None and inputs[0].shape is not None:
            size = operator.from_shape(described.attributes, inputs[0].shape)
            return [Fact(_dtype(size), size.shape, size, True)]
        if operator.value is None or not any(f is not None for f in inputs) or not _is_arithmetic(inputs):
            return None
        values = [None if f is None else f.value for f in inputs]
        arrays = operator.compute(ValueCall(described.attributes, values, len(node.outputs)))
        if arrays is None:
            return None
        derived = any(f is not None and f.derived for f in inputs)
        if any(a.size > LARGEST_VALUE or _is_data(a) for a in arrays):
            return [Fact(_dtype(a), a.shape) for a in arrays]
        return [Fact(_dtype(a), a.shape, a, derived) for a in arrays]

    def from_shape(self, node: ir.Node, shape: Shape) -> Array | None:
        """The node's output for an input of `shape`; None if it depends on more than the shape."""
        operator = self.info(node).operator
        compute = None if operator is None else operator.from_shape
        return None if compute is None else compute(self.attributes(node), shape)

    def compute(self, node: ir.Node, inputs: list[Array | None], output: int = 0) -> Array | None:
        """An output of the node for these inputs; None if numpy can't compute it."""
        described = self.info(node)
        if described.operator is None:
            return None
        results = described.operator.compute(ValueCall(described.attributes, inputs, len(node.outputs)))
        return None if results is None else results[output]

    def _shapes(self, node: ir.Node, described: NodeInfo, inputs: list[Fact | None]) -> list[Fact]:
        key, count, operator = described.key, len(node.outputs), described.operator
        if operator is not None and operator.shape is not None:
            return self._ruled(operator.shape, described, inputs, count) or [Fact()] * count
        definition = schema(*key, described.version)
        if definition is None or any(f is not None and (f.shape is None or not f.dtype) for f in inputs):
            return [Fact()] * count
        if operator is not None and operator.macs is not None:  # weights of a layer decide no shape
            inputs = [None if f is None else Fact(f.dtype, f.shape) for f in inputs]
        values = tuple(None if f is None or f.value is None else f.value.tobytes() for f in inputs)
        types = tuple(None if f is None else (f.dtype, key_of(f.shape)) for f in inputs)
        memo, picks = (*key, described.comparable, types, values, count), operator is not None and operator.counts
        if picks or memo not in self._inferred:
            given = [None if f is None else (f.dtype, f.shape or (), f.value) for f in inputs]
            protos = [
                ir.serde.serialize_attribute(a) for name, a in node.attributes.items() if name in definition.attributes
            ]
            unknown = self.picked if picks else None
            found = inferred(definition, protos, given, count, self.versions, unknown)
            self._inferred[memo] = [Fact(*f) for f in found]
        return self._inferred[memo]

    def _ruled(self, rule: ShapeRule, described: NodeInfo, inputs: list[Fact | None], count: int) -> list[Fact] | None:
        """The outputs by the operator's own shape rule; None if its inputs' shapes are unknown or refused."""
        if any(f is not None and f.shape is None for f in (inputs if rule.whole else inputs[:1])):
            return None
        given = [f.shape or () if f is not None else () for f in inputs]
        try:
            shapes = rule.infer(described.attributes, given)
        except Refused:
            if self.lenient:
                return None
            raise
        except (IndexError, KeyError, TypeError, ValueError, ZeroDivisionError):
            return None
        if rule.cast is not None:
            types = [rule.cast(described.attributes)]
        else:
            types = [next((f.dtype for i in asked if (f := _at(inputs, i)) is not None), 0) for asked in rule.types]
        types += types[-1:] * count
        found = [Fact(dtype, shape) for dtype, shape in zip(types, shapes, strict=False)]
        return (found + [Fact()] * count)[:count]


def is_foreign(node: NodeInfo) -> bool:
    """Whether nothing is known of the operator."""
    return node.operator is None and schema(*node.key, node.version) is None


def _at(inputs: list[Fact | None], index: int) -> Fact | None:
    return inputs[index] if index < len(inputs) else None


def _is_arithmetic(inputs: list[Fact | None]) -> bool:
    known = [f for f in inputs if f is not None]
    plain = all(f.value is not None and (f.value.size <= 1 or f.dtype in INDEX_TYPES) for f in known)
    return plain or (all(f.value is not None for f in known) and any(f.derived for f in known))


def _is_data(array: Array) -> bool:
    """Whether an array is data although it is computed from sizes: a float matrix (a token, a zero initial state)."""
    return array.dtype.kind == "f" and array.ndim > 1 and array.size > 1


def _dtype(array: Array) -> int:
    return int(ir.DataType.from_numpy(array.dtype))


UNKNOWN = Fact()


def tensor(value: ir.Value, first: Facts, second: Facts, expressions: Facts) -> Tensor:
    """The value as a rule sees it: its facts at two samples, and what of them follows from static sizes alone."""
    a, b, e = first.get(value, UNKNOWN), second.get(value, UNKNOWN), expressions.get(value, UNKNOWN)
    name, weight = value.name or "", constant(value) is not None
    if a.shape is None:
        return Tensor(name, weight=weight)
    other = b.shape if b.shape is not None and len(b.shape) == len(a.shape) else None
    dynamic = tuple(not is_static(n) for n in (a.shape if weight else e.shape or (None,) * len(a.shape)))
    known = None
    if a.value is not None:
        known = np.full(np.shape(a.value), weight) if weight or e.value is None else static(e.value)
    return Tensor(name, a.shape, dynamic, a.value, known, other, weight)
