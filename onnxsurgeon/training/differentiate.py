"""Builds a model that computes the loss of another model, and the loss's gradient with respect to weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir

from onnxsurgeon.arrays import Arrays
from onnxsurgeon.ops.gradient import Emitter, GradientCall
from onnxsurgeon.ops.nodes import attributes, constant, operator_of
from onnxsurgeon.options.shared import Device
from onnxsurgeon.runtime.partial_runs import nodes_for, serialise
from onnxsurgeon.runtime.session import Session

FREE_CONSTANTS = 4  # the IR version since which an initializer need not be an input
LOSS = "gradient loss"
GRADIENT = "gradient of "  # prefix of the name of a weight
EXPECTED = "expected "  # prefix of the name of an output: the input with its target


@dataclass(frozen=True)
class Backward:
    """Two models whose inputs are those of the original model and its weights, by name.

    forward: computes only the ends, for any batch size that the original takes. model: computes LOSS and gradients; it
    also takes the targets. gradients: the output with the gradient of each weight; a weight is missing if no gradient
    reaches it, or not on all paths.
    """

    forward: bytes
    model: bytes
    gradients: Mapping[str, str]


def backward(
    model: ir.Model, weights: Sequence[ir.Value], ends: Mapping[ir.Value, float], feed: Arrays, device: Device = "cpu"
) -> Backward:
    """Models for the gradient of the loss: the sum over `ends` of factor times squared error.

    weights: float32 initializers. feed: example inputs; the gradient model is only valid for their shapes.
    """
    nodes, fed = nodes_for(model, ends)
    feed = {value.name or "": feed[value.name or ""] for value in fed}
    constants = _constants(nodes)
    seen = {**feed, **constants, **_values(model, nodes, feed, device)}
    emit = Emitter(model.opset_imports[""], {name: array.shape for name, array in seen.items()})
    gradients = dict[str, list[str]]()
    loss = []
    for end, factor in ends.items():
        name = end.name or ""
        emit.shapes[EXPECTED + name] = emit.shapes[name]
        error, gradient = emit.squared_error(name, EXPECTED + name, factor)
        loss.append(error)
        gradients.setdefault(name, []).append(gradient)
    trainable = _trainable(nodes, weights, seen)
    static = _static(nodes, constants, seen)
    lost = set[str]()
    for node in reversed(nodes):
        _backpropagate(node, model.opset_imports[""], emit, gradients, lost, trainable, static)
    emit.named(emit.sum(loss), LOSS)
    outputs = {name: GRADIENT + name for w in weights if (name := w.name or "") in gradients.keys() - lost}
    for name, output in outputs.items():
        emit.named(emit.sum(gradients[name]), output)
    names, expected = [w.name or "" for w in weights], [EXPECTED + (end.name or "") for end in ends]
    proto = onnx.ModelProto()
    proto.ParseFromString(serialise(model, nodes, feed, ends))
    proto.ir_version = max(proto.ir_version, FREE_CONSTANTS)
    _add_inputs(proto.graph, names, emit)
    forward = bytes(proto.SerializeToString())
    _add_inputs(proto.graph, expected, emit)
    _extend(proto.graph, emit, [LOSS, *outputs.values()])
    return Backward(forward, bytes(proto.SerializeToString()), outputs)


def _values(model: ir.Model, nodes: Sequence[ir.Node], feed: Arrays, device: Device) -> Arrays:
    """All tensors that `nodes` compute from `feed`."""
    values = [value for node in nodes for value in node.outputs if value.name]
    arrays = Session(serialise(model, nodes, feed, values), device, optimise=False).run(feed)
    return {name: array for name, array in arrays.items() if isinstance(array, np.ndarray)}


def _constants(nodes: Sequence[ir.Node]) -> Arrays:
    read = dict.fromkeys(value for node in nodes for value in node.inputs if value is not None)
    return {value.name or "": tensor.numpy() for value in read if (tensor := constant(value)) is not None}


def _trainable(nodes: Sequence[ir.Node], weights: Sequence[ir.Value], seen: Arrays) -> set[str]:
    """Names of the float32 values that depend on the weights."""
    names = {weight.name or "" for weight in weights}
    for node in nodes:
        if any(value is not None and value.name in names for value in node.inputs):
            outputs = [value.name or "" for value in node.outputs]
            names |= {name for name in outputs if name in seen and seen[name].dtype == np.float32}
    return names


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


def _backpropagate(
    node: ir.Node, version: int, emit: Emitter, gradients: dict[str, list[str]], lost: set[str], trainable: set[str],
    static: Arrays,
) -> None:  # fmt: skip
    """Add the gradients of a node's inputs to `gradients`, if its outputs have some. Add inputs whose gradient has no
    rule to `lost`."""
    made = [name for value in node.outputs if (name := value.name or "") in trainable]
    wanted = [i for i, v in enumerate(node.inputs) if v is not None and v.name in trainable]
    if not any(name in gradients or name in lost for name in made):
        return
    operator = operator_of(node)
    names = ["" if v is None else v.name or "" for v in node.inputs]
    if operator is None or any(name in lost for name in made) or node.outputs[0].name not in made:
        lost |= {names[index] for index in wanted}
        return
    for name in made:
        gradients[name] = [emit.sum(gradients[name]) if name in gradients else emit.filled(emit.shapes[name], 0.0)]
    outputs = [value.name or "" for value in node.outputs]
    of_outputs = [gradients[name][0] if name in gradients else "" for name in outputs]
    call = GradientCall(attributes(node, version), names, outputs, of_outputs, static.get, emit)
    for index in wanted:
        rule = operator.gradient_of(index)
        gradient = None if rule is None else rule(call, index)
        if gradient is None:
            lost.add(names[index])
        else:
            gradients.setdefault(names[index], []).append(gradient)


def _add_inputs(graph: onnx.GraphProto, names: Sequence[str], emit: Emitter) -> None:
    """Add float inputs with these names; they replace initializers of the same name."""
    kept = [tensor for tensor in graph.initializer if tensor.name not in names]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    for name in names:
        graph.input.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, emit.shapes[name]))


def _extend(graph: onnx.GraphProto, emit: Emitter, outputs: Sequence[str]) -> None:
    """Add the emitted nodes and constants to `graph`, and replace its outputs by `outputs`."""
    nodes, read = list[onnx.NodeProto](), set(outputs)
    for node in reversed(emit.nodes):  # skips nodes that no output needs
        if read.intersection(node.output):
            nodes.append(node)
            read.update(node.input)
    used = {name: array for name, array in emit.constants.items() if name in read}
    graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in used.items())
    graph.node.extend(reversed(nodes))
    del graph.output[:]
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
