"""Differentiates a model: a tape holds its nodes, what they compute and how; gradients are more nodes behind them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir

from onnxsurgeon.arrays import Array, Arrays
from onnxsurgeon.model.editor import detached
from onnxsurgeon.ops.gradient import Emitter, GradientCall
from onnxsurgeon.ops.nodes import attributes, constant, is_constant, operator_of
from onnxsurgeon.ops.training_form import TrainingForm, TrainingState
from onnxsurgeon.options.shared import Device
from onnxsurgeon.runtime.partial_runs import nodes_for, reads, serialise
from onnxsurgeon.runtime.session import Session

FREE_CONSTANTS = 4  # the IR version since which an initializer need not be an input
LOSS = "gradient loss"
GRADIENT = "gradient of "  # prefix of the name of a weight
EXPECTED = "expected "  # prefix of the name of an output: the input with its target


@dataclass(frozen=True)
class Entry:
    """One node on the tape. outputs: those that depend on weights. form: how it trains, if not as it infers."""

    node: ir.Node
    outputs: Sequence[str]
    form: TrainingForm | None


class Tape:
    """The nodes of a model that compute `ends`, as they train. emit: collects them and all that is computed with them.

    weights: names of what is differentiated by. feed: example inputs; all holds only for their shapes. trains: the
    nodes that work in training as their operator does there; others work as they infer. state: what training forms
    need and update. constants: those of the model that its nodes read.
    """

    def __init__(
        self, model: ir.Model, ends: Collection[ir.Value], weights: Collection[str], feed: Arrays, *,
        device: Device = "cpu", trains: Collection[ir.Node] = (),
    ) -> None:  # fmt: skip
        self.model, (self.nodes, fed) = model, nodes_for(model, ends)
        self.version = model.opset_imports[""]
        self.feed = {value.name or "": feed[value.name or ""] for value in fed}
        self.constants = _constants(self.nodes)
        seen = {**self.feed, **self.constants, **_values(model, self.nodes, self.feed, device)}
        self.emit = Emitter(self.version, {name: array.shape for name, array in seen.items()})
        fixed = {name: array for name, array in self.constants.items() if name not in weights}
        self._static = _static(self.nodes, fixed, seen)
        self._floats = {name for name, array in seen.items() if array.dtype == np.float32}
        self._varied, self._entries = set(weights), list[Entry]()
        self.state = TrainingState()
        for node in self.nodes:
            if is_constant(node) and (node.outputs[0].name or "") in self._varied:
                continue
            operator = operator_of(node)
            form = operator.training if operator is not None and node in trains else None
            if form is None:
                self.emit.nodes.append(ir.serde.serialize_node(node))
            else:
                form.forward(self._call(node, []), self.state)
            self._record(node, form)

    def add(self, nodes: Sequence[onnx.NodeProto]) -> None:
        """Records nodes that were emitted since, so that gradients pass through them."""
        for proto in nodes:
            self._floats.update(proto.output)
            self._record(detached(proto), None)

    def known(self, name: str) -> Array | None:
        """The value of what depends on nothing but constants and sizes."""
        return self._static[name] if name in self._static else self.emit.constants.get(name)

    def _record(self, node: ir.Node, form: TrainingForm | None) -> None:
        if any(value.name in self._varied for value in reads(node)):
            made = [name for value in node.outputs if (name := value.name or "") in self._floats]
            self._varied.update(made)
            self._entries.append(Entry(node, made, form))

    def _call(self, node: ir.Node, gradients: Sequence[str]) -> GradientCall:
        names = ["" if value is None else value.name or "" for value in node.inputs]
        outputs = [value.name or "" for value in node.outputs]
        return GradientCall(attributes(node, self.version), names, outputs, gradients, self.known, self.emit)

    def gradients(self, starts: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
        """(gradients, lost): the gradient of each value that one reaches, by name, and for those that none reaches on
        all paths the node that ends it.

        starts: the gradients of some values.
        """
        found, lost = {name: [gradient] for name, gradient in starts.items()}, dict[str, str]()
        for entry in reversed(self._entries):
            self._backpropagate(entry, found, lost)
        return {name: self.emit.sum(parts) for name, parts in found.items() if name not in lost}, lost

    def _backpropagate(self, entry: Entry, found: dict[str, list[str]], lost: dict[str, str]) -> None:
        """Adds the gradients of a node's inputs, if its outputs have some."""
        node, made, emit = entry.node, entry.outputs, self.emit
        if not any(name in found or name in lost for name in made):
            return
        operator, ended = operator_of(node), next((lost[name] for name in made if name in lost), "")
        if operator is None or ended or node.outputs[0].name not in made:
            wanted = (value.name or "" for value in reads(node))
            lost.update(dict.fromkeys((name for name in wanted if name in self._varied), ended or _said(node)))
            return
        for name in made:
            found[name] = [emit.sum(found[name]) if name in found else emit.filled(emit.shapes[name], 0.0)]
        outputs = [value.name or "" for value in node.outputs]
        call = self._call(node, [found[name][0] if name in found else "" for name in outputs])
        for index, value in enumerate(node.inputs):
            if value is None or (name := value.name or "") not in self._varied:
                continue
            if entry.form is not None:
                gradient: str | None = entry.form.gradient(call, index, self.state)
            else:
                rule = operator.gradient_of(index)
                gradient = None if rule is None else rule(call, index)
            if gradient is None:
                lost[name] = _said(node)
            else:
                found.setdefault(name, []).append(gradient)

    def proto(self, inputs: Sequence[str], outputs: Sequence[str]) -> onnx.ModelProto:
        """A model of all that was emitted and `outputs` need. inputs: names of float inputs beside those of the data,
        in place of constants of the same name."""
        nodes, read = list[onnx.NodeProto](), set(outputs)
        for node in reversed(self.emit.nodes):  # skips nodes that no output needs
            if read.intersection(node.output):
                nodes.append(node)
                read.update(_read(node))
        model, made = serialise(self.model, [], self.feed, ()), {name for node in nodes for name in node.output}
        proto = onnx.ModelProto()
        proto.ParseFromString(model)
        proto.ir_version = max(proto.ir_version, FREE_CONSTANTS)
        graph, given = proto.graph, {*inputs, *made}
        held = {**self.constants, **self.emit.constants}
        used = {name: array for name, array in held.items() if name in read and name not in given}
        graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in used.items())
        graph.node.extend(reversed(nodes))
        for name in inputs:
            graph.input.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, self.emit.shapes[name]))
        graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
        return proto


@dataclass(frozen=True)
class Backward:
    """A model whose inputs are those of the original model, targets and weights, by name. It computes LOSS and
    gradients.

    gradients: the output with the gradient of each weight; a weight is missing if no gradient reaches it, or not on all
    paths.
    """

    model: bytes
    gradients: Mapping[str, str]


def backward(
    model: ir.Model, weights: Sequence[ir.Value], ends: Mapping[ir.Value, float], feed: Arrays, device: Device = "cpu"
) -> Backward:
    """The model for the gradient of the loss: the sum over `ends` of factor times squared error.

    weights: float32 initializers. feed: example inputs; the model is only valid for their shapes.
    """
    names = [weight.name or "" for weight in weights]
    tape = Tape(model, ends, names, feed, device=device)
    emit, errors, starts = tape.emit, list[str](), dict[str, str]()
    for end, factor in ends.items():
        name = end.name or ""
        emit.shapes[EXPECTED + name] = emit.shapes[name]
        error, starts[name] = emit.squared_error(name, EXPECTED + name, factor)
        errors.append(error)
    emit.named(emit.sum(errors), LOSS)
    found, _ = tape.gradients(starts)
    outputs = {name: GRADIENT + name for name in names if name in found}
    for name, output in outputs.items():
        emit.named(found[name], output)
    expected = [EXPECTED + (end.name or "") for end in ends]
    proto = tape.proto([*expected, *names], [LOSS, *outputs.values()])
    return Backward(bytes(proto.SerializeToString()), outputs)


def _said(node: ir.Node) -> str:
    return f"{node.name or node.outputs[0].name} ({node.op_type})"


def _read(node: onnx.NodeProto) -> list[str]:
    """All names that a node and its bodies read; those of values inside a body are among them."""
    bodies = [attribute.g for attribute in node.attribute if attribute.HasField("g")]
    inner = [name for body in bodies for inside in body.node for name in _read(inside)]
    return [*node.input, *inner, *(value.name for body in bodies for value in body.output)]


def _values(model: ir.Model, nodes: Sequence[ir.Node], feed: Arrays, device: Device) -> Arrays:
    """All tensors that `nodes` compute from `feed`."""
    values = [value for node in nodes for value in node.outputs if value.name]
    arrays = Session(serialise(model, nodes, feed, values), device, optimise=False).run(feed)
    return {name: array for name, array in arrays.items() if isinstance(array, np.ndarray)}


def _constants(nodes: Sequence[ir.Node]) -> Arrays:
    read = dict.fromkeys(value for node in nodes for value in reads(node))
    return {value.name or "": tensor.numpy() for value in read if (tensor := constant(value)) is not None}


def _static(nodes: Sequence[ir.Node], constants: Arrays, seen: Arrays) -> Arrays:
    """The arrays that depend only on constants and sizes, by name."""
    result = dict(constants)
    for node in nodes:
        operator = operator_of(node)
        ignored = () if operator is None else operator.ignores
        read = [v for i, v in enumerate(node.inputs) if v is not None and i not in ignored]
        inner = any(a.type == ir.AttributeType.GRAPH for a in node.attributes.values())
        if operator is not None and not inner and node.inputs and all(value.name in result for value in read):
            result |= {v.name: seen[v.name] for v in node.outputs if v.name in seen}
    return result
