"""The linear consumers of a labelled graph: whose weights can be fitted anew in closed form, and to which neurons."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnxsurgeon.facts import constant, domain_of
from onnxsurgeon.graph import Labels
from onnxsurgeon.neurons import Axis, Ids, Mask
from onnxsurgeon.ops import Call
from onnxsurgeon.ops.linear import LINEAR, Linear
from onnxsurgeon.problem import FloatArray

ALWAYS = -1  # in place of a neuron, on an axis that has none: it stays


@dataclass(frozen=True)
class Consumer:
    """One vertex that is linear in its data, with a weight of its own.

    inputs: neurons of each group's inputs, shape (groups, inputs). outputs: likewise, shape (groups, outputs).
    """

    node: ir.Node
    call: Call
    linear: Linear
    inputs: Ids
    outputs: Ids

    @property
    def name(self) -> str:
        return self.call.name

    @property
    def data(self) -> str:
        return self.call.inputs[self.linear.data].name  # type: ignore[union-attr]

    @property
    def output(self) -> str:
        return self.call.outputs[0].name

    @property
    def kernel(self) -> int:
        return self.linear.kernel(self.call)

    @property
    def features(self) -> int:
        """Of one group."""
        return self.inputs.shape[1] * self.kernel

    @property
    def key(self) -> str:
        """Vertices of one key see the same rows."""
        window = [self.call.attributes.get(k) for k in ("strides", "pads", "dilations", "auto_pad", "group", "transA")]
        kernel = (self.call.shape(self.linear.weight) or ())[2:] if self.kernel > 1 else ()
        return f"{self.data} {self.call.operator} {kernel} {window}"

    def matrix(self) -> FloatArray:
        """The weight as coefficients, shape (groups, features, outputs)."""
        tensor = constant(self.node.inputs[self.linear.weight])
        assert tensor is not None
        return self.linear.matrix(self.call, tensor.numpy()).astype(np.float64)


def consumers(labels: Labels) -> list[Consumer]:
    """Every vertex whose weight is its own, in the graph's order."""
    return list(_consumers(labels))


def _consumers(labels: Labels) -> Iterator[Consumer]:
    for node in labels.model.graph:
        call = labels.calls.get(node)
        linear = LINEAR.get((domain_of(node), node.op_type))
        if call is None or linear is None or not call.results or call.results[0] is None or not linear.fits(call):
            continue
        weight = node.inputs[linear.weight]
        tensor = constant(weight)
        if weight is None or tensor is None or len(weight.uses()) > 1 or tensor.dtype != ir.DataType.FLOAT:
            continue
        if constant(node.inputs[linear.data]) is not None:
            continue
        groups, shape = linear.groups(call), tuple(tensor.shape.numpy())
        features, outputs = linear.matrix(call, np.empty(shape, np.int8)).shape[1:]
        yield Consumer(
            node,
            call,
            linear,
            _ids(linear.inputs(call), groups, features // linear.kernel(call)),
            _ids(call.results[0][linear.channels], groups, outputs),
        )


def _ids(axis: Axis, groups: int, size: int) -> Ids:
    return np.full((groups, size), ALWAYS) if axis is None else axis.reshape(groups, size)


def kept(keep: Mask, neurons: Ids) -> Mask:
    """Which of `neurons` stay, shape as they."""
    return np.append(keep, True)[neurons]
