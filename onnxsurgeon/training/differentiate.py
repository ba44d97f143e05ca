"""Differentiates a model: a tape holds its nodes, what they compute and how; gradients are more nodes behind them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial

import numpy as np
import onnx
import onnx_ir as ir

from onnxsurgeon.arrays import Array, Arrays
from onnxsurgeon.model.editor import detached
from onnxsurgeon.ops.composition import Entry, GradientFlow, call_of
from onnxsurgeon.ops.emitter import Emitter
from onnxsurgeon.ops.gradient import GradientCall
from onnxsurgeon.ops.nodes import is_constant, operator_of
from onnxsurgeon.ops.training_form import TrainingForm, TrainingState
from onnxsurgeon.options.shared import Device
from onnxsurgeon.runtime.partial_runs import reads, serialise
from onnxsurgeon.training.live_branches import with_live_branches
from onnxsurgeon.training.seen_values import seen_values

FREE_CONSTANTS = 4  # the IR version since which an initializer need not be an input


class Tape:
    """The nodes of a model that compute `ends`, as they train. emit: collects them and all that is computed with them.

    weights: names of what is differentiated by. feed: example inputs; all holds only for their shapes. trains: the
    nodes that work in training as their operator does there; others work as they infer. state: what training forms
    need and update. constants: those of the model that its nodes read. uses: of the gradients that were made last, the
    part of each input of a node, by the node's first output and the input's index.
    """

    def __init__(
        self, model: ir.Model, ends: Collection[ir.Value], weights: Collection[str], feed: Arrays, *,
        device: Device = "cpu", trains: Collection[ir.Node] = (),
    ) -> None:  # fmt: skip
        model, self.nodes, fed = with_live_branches(model, ends, feed, weights, device)
        self.model = model
        self.version = model.opset_imports[""]
        self.feed = {value.name or "": feed[value.name or ""] for value in fed}
        seen = seen_values(model, self.nodes, self.feed, weights, device)
        self.constants, self._static, self._floats = seen.constants, seen.static, set(seen.floats)
        double = {seen.floats.get(name) for name in weights} == {np.dtype(np.float64)}
        self.emit = Emitter(self.version, seen.shapes, seen.floats, np.float64 if double else np.float32)
        working = {node.outputs[0].name for node in trains}
        self._varied, self._entries = set(weights), list[Entry]()
        self.state, self.uses = TrainingState(), dict[tuple[str, int], str]()
        for node in self.nodes:
            if is_constant(node) and (node.outputs[0].name or "") in self._varied:
                continue
            operator = operator_of(node)
            form = operator.training if operator is not None and node.outputs[0].name in working else None
            if form is None:
                self.emit.nodes.append(ir.serde.serialize_node(node))
            else:
                form.forward(call_of(node, self.emit, self.known, {}), self.state)
            self._record(node, form)
        self.emit.made.clear()  # what is emitted from here on does not rest on what forms emitted

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
            read = [name for value in reads(node) if (name := value.name or "") in self._varied]
            made = [name for value in node.outputs if (name := value.name or "") in self._floats]
            self._varied.update(made)
            rule = None if form is None else partial(_in_training, form, self.state)
            self._entries.append(Entry(node, read, made, rule))

    def gradients(self, starts: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
        """(gradients, lost): the gradient of each value that one reaches, by name, and for those that none reaches on
        all paths the node that ends it.

        starts: the gradients of some values.
        """
        flow = GradientFlow(self.emit, self.known, {name: [gradient] for name, gradient in starts.items()}, {})
        flow.back(self._entries)
        self.uses = flow.uses
        return {name: self.emit.sum(parts) for name, parts in flow.found.items() if name not in flow.lost}, flow.lost

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
            kind = onnx.helper.np_dtype_to_tensor_dtype(self.emit.types.get(name, self.emit.dtype))
            graph.input.append(onnx.helper.make_tensor_value_info(name, kind, self.emit.shapes[name]))
        graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
        return proto


def _in_training(form: TrainingForm, state: TrainingState, call: GradientCall, index: int) -> str | None:
    return form.gradient(call, index, state)


def _read(node: onnx.NodeProto) -> list[str]:
    """All names that a node and its bodies read; those of values inside a body are among them."""
    bodies = [attribute.g for attribute in node.attribute if attribute.HasField("g")]
    inner = [name for body in bodies for inside in body.node for name in _read(inside)]
    return [*node.input, *inner, *(value.name for body in bodies for value in body.output)]
