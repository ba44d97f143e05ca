"""A model that computes how wrong another's outputs are, and the gradient of that by each of some weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir

from onnxsurgeon.arrays import Arrays
from onnxsurgeon.ops.emitter import Emitter
from onnxsurgeon.ops.gradient import GradientCall
from onnxsurgeon.ops.nodes import attributes, constant, operator_of
from onnxsurgeon.runtime.partial_runs import behind, serialised
from onnxsurgeon.runtime.session import Device, Session

FREE_CONSTANTS = 4  # the IR version since which an initializer is no input
LOSS = "gradient loss"
GRADIENT = "gradient of "  # before the name of a weight
EXPECTED = "expected "  # before the name of an output, that of the input which says what it should be


@dataclass(frozen=True)
class Backward:
    """Two models whose inputs are the model's and the weights by name; `model` is also told what to expect.

    forward: computes the ends alone, for a batch of any size that the model takes. model: computes LOSS and gradients.
    gradients: by weight, the output that holds its gradient; a weight is missing where none reaches it, or not
    on all ways.
    """

    forward: bytes
    model: bytes
    gradients: Mapping[str, str]


def backward(
    model: ir.Model, weights: Sequence[ir.Value], ends: Mapping[ir.Value, float], feed: Arrays, device: Device = "cpu"
) -> Backward:
    """The gradients of the sum over `ends` of their factor times the squared error.

    weights: float32 initializers. feed: what the inputs are like; the sizes of the batch that it has are final.
    """
    nodes, fed = behind(model, ends)
    feed = {value.name or "": feed[value.name or ""] for value in fed}
    constants = _constants(nodes)
    seen = {**feed, **constants, **_values(model, nodes, feed, device)}
    emit = Emitter(model.opset_imports[""], {name: array.shape for name, array in seen.items()})
    gradients = dict[str, list[str]]()
    loss = []
    for end, factor in ends.items():
        name = end.name or ""
        emit.shapes[EXPECTED + name] = emit.shapes[name]
        wrong, slope = emit.squared_error(name, EXPECTED + name, factor)
        loss.append(wrong)
        gradients.setdefault(name, []).append(slope)
    moving = _moving(nodes, weights, seen)
    sized = _sized(nodes, constants, seen)
    lost = set[str]()
    for node in reversed(nodes):
        _pull(node, model.opset_imports[""], emit, gradients, lost, moving, sized)
    emit.named(emit.sum(loss), LOSS)
    found = {name: GRADIENT + name for w in weights if (name := w.name or "") in gradients.keys() - lost}
    for name, output in found.items():
        emit.named(emit.sum(gradients[name]), output)
    names, expected = [w.name or "" for w in weights], [EXPECTED + (end.name or "") for end in ends]
    proto = onnx.ModelProto()
    proto.ParseFromString(serialised(model, nodes, feed, ends))
    proto.ir_version = max(proto.ir_version, FREE_CONSTANTS)
    _open(proto.graph, names, emit)
    forward = bytes(proto.SerializeToString())
    _open(proto.graph, expected, emit)
    _extend(proto.graph, emit, [LOSS, *found.values()])
    return Backward(forward, bytes(proto.SerializeToString()), found)


def _values(model: ir.Model, nodes: Sequence[ir.Node], feed: Arrays, device: Device) -> Arrays:
    """All tensors that are computed from `feed`."""
    made = [value for node in nodes for value in node.outputs if value.name]
    found = Session(serialised(model, nodes, feed, made), device, optimise=False).run(feed)
    return {name: array for name, array in found.items() if isinstance(array, np.ndarray)}


def _constants(nodes: Sequence[ir.Node]) -> Arrays:
    read = dict.fromkeys(value for node in nodes for value in node.inputs if value is not None)
    return {value.name or "": tensor.numpy() for value in read if (tensor := constant(value)) is not None}


def _moving(nodes: Sequence[ir.Node], weights: Sequence[ir.Value], seen: Arrays) -> set[str]:
    """Names of the float32 values that the weights change."""
    moving = {weight.name or "" for weight in weights}
    for node in nodes:
        if any(value is not None and value.name in moving for value in node.inputs):
            names = [value.name or "" for value in node.outputs]
            moving |= {name for name in names if name in seen and seen[name].dtype == np.float32}
    return moving


def _sized(nodes: Sequence[ir.Node], constants: Arrays, seen: Arrays) -> Arrays:
    """What depends on constants and sizes alone."""
    result = dict(constants)
    for node in nodes:
        operator = operator_of(node)
        ignored = () if operator is None else operator.ignores
        read = [v for i, v in enumerate(node.inputs) if v is not None and i not in ignored]
        inner = any(a.type == ir.AttributeType.GRAPH for a in node.attributes.values())
        if operator is not None and not inner and node.inputs and all(value.name in result for value in read):
            result |= {v.name: seen[v.name] for v in node.outputs if v.name in seen}
    return result


def _pull(
    node: ir.Node, version: int, emit: Emitter, gradients: dict[str, list[str]], lost: set[str], moving: set[str],
    sized: Arrays,
) -> None:  # fmt: skip
    """Adds the gradients of a node's inputs, where those of its outputs are there; to `lost` what can't be told."""
    made = [name for value in node.outputs if (name := value.name or "") in moving]
    wanted = [i for i, v in enumerate(node.inputs) if v is not None and v.name in moving]
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
    slopes = [gradients[name][0] if name in gradients else "" for name in outputs]
    call = GradientCall(attributes(node, version), names, outputs, slopes, sized.get, emit)
    for index in wanted:
        rule = operator.gradient_of(index)
        found = None if rule is None else rule(call, index)
        if found is None:
            lost.add(names[index])
        else:
            gradients.setdefault(names[index], []).append(found)


def _open(graph: onnx.GraphProto, names: Sequence[str], emit: Emitter) -> None:
    """Makes inputs of these names, of constants where there are any."""
    kept = [tensor for tensor in graph.initializer if tensor.name not in names]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    for name in names:
        graph.input.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, emit.shapes[name]))


def _extend(graph: onnx.GraphProto, emit: Emitter, outputs: Sequence[str]) -> None:
    """Adds what was emitted; `outputs` take the place of those that were there."""
    nodes, read = list[onnx.NodeProto](), set(outputs)
    for node in reversed(emit.nodes):  # what leads to no weight is left out
        if read.intersection(node.output):
            nodes.append(node)
            read.update(node.input)
    used = {name: array for name, array in emit.constants.items() if name in read}
    graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in used.items())
    graph.node.extend(reversed(nodes))
    del graph.output[:]
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
