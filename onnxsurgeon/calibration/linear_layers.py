"""The linear layers of a labelled graph whose weights can be refitted in closed form, and their fit targets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import FloatArray, Ids, Mask
from onnxsurgeon.dependency.facts import Evaluator
from onnxsurgeon.dependency.labels import Labels
from onnxsurgeon.neurons.relations import Axis
from onnxsurgeon.ops import Call
from onnxsurgeon.ops.linear import LinearForm
from onnxsurgeon.ops.nodes import constant, operator_of

ALWAYS = -1  # replaces a neuron id on an axis that carries no neurons, so that its positions always stay
Bounds = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Consumer:
    """A linear layer: a node that is linear in its data and whose weight no other node reads.

    inputs: neurons of each group's inputs, shape (groups, inputs). outputs: likewise, shape (groups, outputs).
    tensor: returns the tensor of a weight, as `weight_tensor` does.
    """

    node: ir.Node
    call: Call
    linear: LinearForm
    inputs: Ids
    outputs: Ids
    tensor: Callable[[ir.Value | None], ir.TensorProtocol | None]

    @property
    def name(self) -> str:
        return self.call.name

    @property
    def data(self) -> str:
        tensor = self.call.inputs[self.linear.data]
        return "" if tensor is None else tensor.name

    @property
    def output(self) -> str:
        return self.call.outputs[0].name

    @property
    def kernel(self) -> int:
        return self.linear.kernel(self.call)

    @property
    def pads(self) -> bool:
        return self.linear.pads(self.call)

    @property
    def features(self) -> int:
        """Features of one group."""
        return int(self.inputs.shape[1]) * self.kernel

    @property
    def key(self) -> str:
        """A key that consumers share if they see the same rows."""
        return f"{self.data} {self.call.operator} {self.linear.sees(self.call)}"

    def matrix(self) -> FloatArray:
        """The weight as a matrix per group, shape (groups, features, outputs)."""
        tensor = self.tensor(self.node.inputs[self.linear.weight])
        assert tensor is not None  # see `consumers`
        return self.linear.matrix(self.call, tensor.numpy()).astype(np.float64)

    def twin(self, node: ir.Node) -> Consumer:
        """This consumer in a cut model, where it is `node`. Its neurons are still those of the original."""
        tensor = self.tensor(node.inputs[self.linear.weight])
        assert tensor is not None
        weight = self.call.inputs[self.linear.weight]
        assert weight is not None
        inputs = list(self.call.inputs)
        inputs[self.linear.weight] = replace(weight, shape=tuple(tensor.shape.numpy()))
        own = {name: attribute.value for name, attribute in node.attributes.items() if name in self.call.attributes}
        call = replace(self.call, attributes={**self.call.attributes, **own}, inputs=inputs)
        return replace(self, node=node, call=call)


@dataclass(frozen=True, eq=False)
class FitTarget:
    """The fit target of a consumer: `value` of the original, which is its output, plus `other` or `shift` if there.

    shift: a constant, shape (groups, outputs). bounds: the range that the only reader of `value` does not clip.
    """

    consumer: Consumer
    value: ir.Value
    other: ir.Value | None
    shift: FloatArray | None
    bounds: Bounds | None


def consumers(labels: Labels) -> list[Consumer]:
    """All linear layers of the main graph, in graph order."""
    return list(_consumers(labels))


def _consumers(labels: Labels) -> Iterator[Consumer]:
    of = partial(weight_tensor, labels.evaluator)
    for node in labels.model.graph:
        call = labels.calls.get(node)
        operator = labels.operator(node)
        linear = None if operator is None else operator.linear
        if call is None or linear is None or call.misfit or not linear.fits(call):
            continue
        if not call.results or call.results[0] is None:
            continue
        weight = node.inputs[linear.weight]
        tensor = of(weight)
        if weight is None or tensor is None or len(weight.uses()) > 1 or tensor.dtype != ir.DataType.FLOAT:
            continue
        if constant(node.inputs[linear.data]) is not None or call.shape(linear.data) is None:
            continue
        groups, shape = linear.groups(call), tuple(tensor.shape.numpy())
        features, outputs = linear.matrix(call, np.empty(shape, np.int8)).shape[1:]
        inputs = _ids(linear.inputs(call), groups, features // linear.kernel(call))
        yield Consumer(node, call, linear, inputs, _ids(call.results[0][linear.channels], groups, outputs), of)


def weight_tensor(evaluator: Evaluator, value: ir.Value | None) -> ir.TensorProtocol | None:
    """The tensor of a constant, or of a rearranged constant (Transpose, Reshape); None for any other value."""
    tensor, node = constant(value), None if value is None else value.producer()
    operator = None if node is None else operator_of(node)
    if tensor is not None or node is None or operator is None or operator.moves != "rearranged":
        return tensor
    given = [weight_tensor(evaluator, v) for v in node.inputs]
    if any(t is None and v is not None for t, v in zip(given, node.inputs, strict=True)):
        return None
    array = evaluator.compute(node, [None if t is None else t.numpy() for t in given])
    return None if array is None else ir.Tensor(array)


def _ids(axis: Axis, groups: int, size: int) -> Ids:
    return np.full((groups, size), ALWAYS) if axis is None else axis.reshape(groups, size)


def kept(keep: Mask, neurons: Ids) -> Mask:
    """Mask of the `neurons` that stay, shape as `neurons`."""
    return np.append(keep, True)[neurons]


def goals(labels: Labels) -> list[FitTarget]:
    """The fit target of each consumer.

    If its output is only added to a term that is computed earlier (a residual), the target is the sum: so a block also
    corrects the error of its shortcut.
    """
    order = {node: number for number, node in enumerate(labels.model.graph)}
    return [_goal(labels, consumer, order) for consumer in consumers(labels)]


def _goal(labels: Labels, consumer: Consumer, order: dict[ir.Node, int]) -> FitTarget:
    value, other, shift = consumer.node.outputs[0], None, None
    user = _only_reader(value)
    operator = None if user is None else operator_of(user)
    if user is not None and operator is not None and operator.kind == "sum" and len(user.inputs) == 2:
        term = user.inputs[1 if user.inputs[0] is value else 0]
        assert term is not None
        producer, call = term.producer(), labels.calls.get(user)
        shapes = {call.shape(0), call.shape(1)} if call else set()
        if constant(term) is not None:
            shift = _per_output(consumer, term)
            value = value if shift is None else user.outputs[0]
        elif len(shapes) == 1 and producer is not None and order.get(producer, len(order)) < order[consumer.node]:
            value, other = user.outputs[0], term
    user = _only_reader(value)
    operator = labels.operator(user) if user in labels.calls else None
    bounds = operator.bounds(labels.calls[user]) if user and operator and operator.bounds else None
    return FitTarget(consumer, value, other, shift, bounds)


def _per_output(consumer: Consumer, term: ir.Value) -> FloatArray | None:
    """A constant that is added to an output, shape (groups, outputs); None if it isn't one number per channel."""
    tensor = constant(term)
    assert tensor is not None
    shape, at = tuple(tensor.shape.numpy()), consumer.linear.channels
    rank = len(consumer.call.outputs[0].shape or ())
    padded = (1,) * (rank - len(shape)) + shape
    if len(padded) != rank or padded[at] != consumer.outputs.size or tensor.size != consumer.outputs.size:
        return None
    return np.asarray(tensor.numpy(), np.float64).reshape(consumer.outputs.shape)


def _only_reader(value: ir.Value) -> ir.Node | None:
    """The only node that reads `value`; None if there are others or it is a graph output."""
    uses = value.uses()
    return next(iter(uses)).node if len(uses) == 1 and not value.is_graph_output() else None
