"""Pairs the linear layers of a cut model with those of the original, and writes refitted weights to them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import FloatArray, Mask
from onnxsurgeon.calibration.linear_layers import Consumer, consumers, kept
from onnxsurgeon.dependency.labels import Labels
from onnxsurgeon.model.editor import Editor, feed, set_input, set_tensor, with_free_weights
from onnxsurgeon.ops.nodes import constant, operator_of


@dataclass(frozen=True, eq=False)
class CutLayer:
    """A consumer of the original and its `twin` in the cut model.

    groups: mask of the original's groups that stayed, shape (groups,). features, outputs: masks within these, shapes
    (remaining groups, features) and (remaining groups, outputs).
    """

    editor: Editor
    consumer: Consumer
    twin: Consumer
    groups: Mask
    features: Mask
    outputs: Mask

    def matrix(self) -> FloatArray:
        return self.twin.matrix()

    def within(self, whole: FloatArray) -> FloatArray:
        """`whole`, the weights of the remaining groups, with 0 for features that are gone."""
        return whole * self.features[:, :, None]

    def bias(self) -> FloatArray:
        """The bias, shape (remaining groups, remaining outputs); 0 if there is none."""
        linear, node = self.consumer.linear, self.twin.node
        shape = len(self.outputs), int(self.outputs[0].sum())
        given = node.inputs[linear.bias] if linear.bias is not None and linear.bias < len(node.inputs) else None
        tensor = constant(given)
        if tensor is None:
            return np.zeros(shape)
        flat = np.asarray(tensor.numpy(), np.float64).ravel() * linear.scale(self.twin.call)
        return np.broadcast_to(flat, (shape[0] * shape[1],)).reshape(shape)

    def values(self) -> list[ir.Value]:
        """The initializers of the layer's weight and bias, and of an Add that follows."""
        linear, node = self.consumer.linear, self.twin.node
        behind = self._adder()
        index = linear.bias if linear.bias is not None and linear.bias < len(node.inputs) else None
        given = [node.inputs[linear.weight], None if index is None else node.inputs[index]]
        given.append(None if behind is None else behind[0].inputs[behind[1]])
        return [v for v in given if v is not None and v.is_initializer() and v.dtype == ir.DataType.FLOAT]

    def write(self, matrix: FloatArray, bias: FloatArray) -> None:
        """Write a new weight and bias to the cut model."""
        linear, node, call = self.consumer.linear, self.twin.node, self.twin.call
        shape = call.shape(linear.weight)
        assert shape is not None
        shift = (bias - self.bias()).ravel()
        put(self.editor, node, linear.weight, linear.weight_of(call, matrix, shape))
        if linear.bias is None and shift.any():
            self._shift(shift)
        elif linear.bias is not None and (bias.any() or linear.bias < len(node.inputs)):
            put(self.editor, node, linear.bias, (bias / linear.scale(call)).ravel())

    def _shift(self, by: FloatArray) -> None:
        """Add `by` to the outputs of an operator without a bias: in the Add that follows, or in a new one."""
        if (behind := self._adder()) is not None:
            user, index = behind
            tensor = constant(user.inputs[index])
            if tensor is not None and tensor.size == len(by) == (tensor.shape.numpy() or (0,))[-1]:
                old = tensor.numpy()
                put(self.editor, user, index, old + by.reshape(old.shape))
                return
        node = self.twin.node
        output, name = node.outputs[0], node.outputs[0].name or ""
        uses = list(output.uses())
        held = self.editor.weight(f"{name}_1_fitted", by.astype(np.float32))
        shifted = self.editor.node("Add", [output, held], name=f"{name}_compensated", after=node)[0]
        feed(uses, shifted)
        self.editor.take_over(output, shifted, f"{name}_before")
        with_free_weights(self.editor.model)

    def _adder(self) -> tuple[ir.Node, int] | None:
        """(node, index): the Add that is the output's only reader, and the index of its other input; else None."""
        output = self.twin.node.outputs[0]
        uses = list(output.uses())
        if len(uses) != 1 or output.is_graph_output():
            return None
        node, index = uses[0].node, uses[0].idx
        operator = operator_of(node)
        adds = operator is not None and operator.kind == "sum" and len(node.inputs) == 2
        return (node, 1 - index) if adds else None


def put(editor: Editor, node: ir.Node, index: int, array: FloatArray) -> None:
    """Set the weight at one input of a node: in place if no other node reads it, else as a new initializer."""
    old = node.inputs[index] if index < len(node.inputs) else None
    array = np.ascontiguousarray(array, np.float32)
    own = old is not None and old.is_initializer() and len(old.uses()) == 1
    if old is not None and own and not (old.is_graph_input() or old.is_graph_output()):
        set_tensor(old, ir.Tensor(array, name=old.name))
        return
    name = old.name if old is not None and old.name else f"{node.outputs[0].name}_{index}"
    set_input(node, index, editor.weight(f"{name}_fitted", array))
    with_free_weights(editor.model)


def layers(
    labels: Labels, keep: Mask, editor: Editor, outputs_of: Collection[str | None] | None = None
) -> Iterator[CutLayer]:
    """The remaining layers of the editor's model, the original cut to `keep`, in graph order.

    outputs_of: the names of the outputs of those that are wanted, instead of all.
    """
    made = {value.name: node for node in editor.model.graph for value in node.outputs}
    for consumer in consumers(labels):
        node = made.get(consumer.output) if outputs_of is None or consumer.output in outputs_of else None
        outputs = kept(keep, consumer.outputs)
        groups = np.asarray(outputs.any(axis=1))
        if node is None or node.op_type != consumer.node.op_type or not groups.any():
            continue
        features = np.repeat(kept(keep, consumer.inputs), consumer.kernel, axis=1)
        yield CutLayer(editor, consumer, consumer.twin(node), groups, features[groups], outputs[groups])
