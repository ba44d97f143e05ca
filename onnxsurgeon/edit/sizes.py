"""Corrects the sizes in an edited graph: attributes, constants and computed shapes that contain an axis' length."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import Array, Mask
from onnxsurgeon.dependency.labels import Labels
from onnxsurgeon.errors import ModelError, SurgeonError
from onnxsurgeon.model.editor import Editor, set_attribute, set_input, set_tensor
from onnxsurgeon.neurons.relations import Axes
from onnxsurgeon.neurons.selection import Selection
from onnxsurgeon.ops import Call
from onnxsurgeon.ops.call import Changes, Fact
from onnxsurgeon.ops.nodes import constant

Twins = Mapping[ir.Node, ir.Node]


def correct_sizes(labels: Labels, selection: Selection, model: ir.Model, twins: Twins) -> None:
    """Correct all sizes in `model`, whose weights are edited already, for the selection.

    twins: the model's nodes by those of `labels`. Raises ModelError if a size can't be written, SurgeonError if a
    resulting shape is wrong.
    """
    changed = {node: _changes(labels, selection, node, call) for node, call in labels.calls.items()}
    _correct_inputs(labels, selection, model)
    _drop_stale_shapes(labels, selection, twins)
    _Walk(labels, selection, model, twins).graph(labels.model.graph, changed)


def _changes(labels: Labels, selection: Selection, node: ir.Node, call: Call) -> Changes:
    operator = labels.operator(node)
    if operator is None or operator.resize is None or call.misfit or not any(call.results):
        return {}
    return operator.resize(call, selection)


class _Walk:
    """Evaluates the edited graph node by node, and writes each size that differs from the selection's."""

    def __init__(self, labels: Labels, selection: Selection, model: ir.Model, twins: Twins) -> None:
        self.labels, self.selection, self.twins = labels, selection, twins
        self.facts = labels.evaluator.begin(model, labels.sizes[0])
        self.editor = Editor(model, lambda node: labels.evaluator.visit(node, self.facts))

    def graph(self, graph: ir.Graph, changed: Mapping[ir.Node, Changes]) -> None:
        evaluator = self.labels.evaluator
        for node in graph:
            twin, call = self.twins[node], self.labels.calls.get(node)
            if call is not None:
                self._correct(node, call, changed[node])
                evaluator.enter(twin, self.facts)
                for attribute in node.attributes.values():
                    if attribute.type == ir.AttributeType.GRAPH:
                        self.graph(attribute.value, changed)
            evaluator.visit(twin, self.facts)
            if call is not None:
                self._check(node, call)

    def _correct(self, node: ir.Node, call: Call, changes: Changes) -> None:
        for name, new in changes.items():
            if isinstance(name, str):
                set_attribute(self.twins[node], name, new)
        for index in range(max([len(call.inputs), *(i + 1 for i in changes if isinstance(i, int))])):
            self._correct_input(node, call, index, changes.get(index))

    def _correct_input(self, node: ir.Node, call: Call, index: int, wanted: Array | None) -> None:
        """If input `index` is a size, make its value `wanted` or, if that is None, what it was."""
        twin = self.twins[node]
        tensor = call.inputs[index] if index < len(call.inputs) else None
        if wanted is None and (tensor is None or tensor.weight or tensor.value is None):
            return
        required = np.asarray(tensor.value if wanted is None and tensor is not None else wanted)
        current = self._value(twin, index)
        if current is not None and np.array_equal(current, required):
            return
        known = np.ones(1, np.bool_) if tensor is None or tensor.known is None else tensor.known
        if known.all():  # an index may get shorter
            self._write_in(twin, index, required)
            return
        known = np.broadcast_to(known, required.shape)
        if self._may_infer(node, index) and (~known).sum() == 1 and not (required[known] == -1).any():
            self._write_in(twin, index, np.where(known, required, -1))
        elif current is not None and np.array_equal(current[~known], required[~known]):
            self._write_part(twin, index, required, known)
        else:
            raise ModelError(
                f"{call.name} ({call.operator}) needs a size that depends on several dynamic dims",
                why=f"input {index} must be {required.tolist()}, is {None if current is None else current.tolist()}",
                fix=f"give the input shape with `input_shape`, or keep the node whole with `exclude={call.name}`",
            )

    def _may_infer(self, node: ir.Node, index: int) -> bool:
        operator = self.labels.operator(node)
        return operator is not None and operator.inferred == index

    def _value(self, node: ir.Node, index: int) -> Array | None:
        value = node.inputs[index] if index < len(node.inputs) else None
        return None if value is None else self.labels.evaluator.fact(value, self.facts).value

    def _write_in(self, node: ir.Node, index: int, value: Array) -> None:
        old = node.inputs[index] if index < len(node.inputs) else None
        value = np.ascontiguousarray(value)
        if old is not None and constant(old) is not None and len(old.uses()) == 1 and not old.is_graph_output():
            set_tensor(old, ir.Tensor(value, name=old.name))
            self.labels.evaluator.forget(old)
            self.facts.pop(old, None)
        else:
            name = old.name if old is not None and old.name else f"{node.name}_{index}"
            set_input(node, index, self.editor.weight(name, value))

    def _write_part(self, node: ir.Node, index: int, value: Array, known: Mask) -> None:
        """Write the static elements of a size; the dynamic ones stay computed."""
        static = self.editor.weight(f"{node.name}_static", known)
        sizes = self.editor.weight(f"{node.name}_sizes", value)
        choice = [static, sizes, node.inputs[index]]
        made = self.editor.node("Where", choice, name=f"{node.name}_size", before=node)[0]
        set_input(node, index, made)

    def _check(self, node: ir.Node, call: Call) -> None:
        """Raise SurgeonError if an output shape of the edited node differs from the selection's."""
        for value, old, new in zip(node.outputs, call.outputs, self.twins[node].outputs, strict=False):
            fact, axes = self.facts.get(new, Fact()), self.labels.axes.get(value)
            if axes is None or old.shape is None or fact.shape is None:
                continue
            expected = self.selection.shape(axes, old.shape)
            if fact.shape != expected:
                raise SurgeonError(
                    f"the rule of {call.operator} is wrong for {call.name}",
                    why=f"{new.name} should be {list(expected)}, but would be {list(fact.shape)}",
                    fix=f"keep it whole with `exclude={call.name}`, and report this model",
                )


def _correct_inputs(labels: Labels, selection: Selection, model: ir.Model) -> None:
    """Correct the declared shapes of inputs that are not frozen: the caller carries them round, or they are ports."""
    for old, new in zip(labels.model.graph.inputs, model.graph.inputs, strict=True):
        axes = labels.axes.get(old)
        if not old.is_initializer() and axes and new.shape is not None and not selection.stays(axes):
            new.shape = _shortened(new.shape, axes, selection)


def _shortened(shape: ir.Shape, axes: Axes, selection: Selection) -> ir.Shape:
    pairs = zip(shape, axes, strict=True)
    return ir.Shape([selection.width(n, axis) if isinstance(n, int) else n for n, axis in pairs])


def _drop_stale_shapes(labels: Labels, selection: Selection, twins: Twins) -> None:
    """Remove declared shapes of inner values that are wrong now, and correct those of outputs."""
    for node in labels.model.graph.all_nodes():
        pairs = list(zip(node.outputs, twins[node].outputs, strict=True))
        for name, body in labels.evaluator.info(node).bodies.items():
            pairs += zip(body.inputs, twins[node].attributes[name].value.inputs, strict=True)
        for old, new in pairs:
            axes, held = labels.axes.get(old), constant(new)
            if held is not None and new.shape is not None:
                new.shape = ir.Shape(held.shape.numpy())
            if held is not None or not axes or selection.stays(axes):
                continue
            stated = new.shape if new.is_graph_output() else None
            new.shape = None if stated is None else _shortened(stated, axes, selection)
