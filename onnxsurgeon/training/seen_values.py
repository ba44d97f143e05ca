"""What is known of the values of a model for inputs of some shapes: their shapes, their types, and what is constant.

Shapes are inferred; what can't be inferred is run, and so is what depends on nothing but constants and sizes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from onnxsurgeon.arrays import Arrays, Shape, is_float
from onnxsurgeon.ops.nodes import constant, operator_of
from onnxsurgeon.options.shared import Device
from onnxsurgeon.runtime.partial_runs import nodes_for, reads, serialise
from onnxsurgeon.runtime.session import Session

SMALL = 64  # numbers of a constant that may be sizes; others are not needed to infer shapes


@dataclass(frozen=True)
class SeenValues:
    """shapes: by name. floats: the types of those that hold floats. static: the arrays that depend only on constants
    and sizes. constants: the model's own."""

    shapes: dict[str, Shape]
    floats: dict[str, np.dtype[Any]]
    static: Arrays
    constants: Arrays


def seen_values(
    model: ir.Model, nodes: Sequence[ir.Node], feed: Arrays, weights: Collection[str], device: Device
) -> SeenValues:
    """All about the values that `nodes` read and compute from `feed`. weights: names of constants that vary."""
    constants = _constants(nodes)
    static = {name: array for name, array in constants.items() if name not in weights}
    fixed = static_names(nodes, static)
    inferred = _inferred(model, nodes, feed)
    values = [value for node in nodes for value in node.outputs if value.name]
    wanted = [value for value in values if value.name in fixed or value.name not in inferred]
    found: Arrays = {}
    if wanted:
        needed, _ = nodes_for(model, wanted)
        found = Session(serialise(model, needed, feed, wanted), device, optimise=False).run(feed)
        found = {name: array for name, array in found.items() if isinstance(array, np.ndarray)}
    arrays = {**feed, **constants, **found}
    shapes = {name: shape for name, (shape, _) in inferred.items()} | {n: a.shape for n, a in arrays.items()}
    types = {name: kind for name, (_, kind) in inferred.items()} | {n: a.dtype for n, a in arrays.items()}
    floats = {name: kind for name, kind in types.items() if is_float(np.empty(0, kind))}
    return SeenValues(shapes, floats, static | {n: a for n, a in found.items() if n in fixed}, constants)


def _constants(nodes: Sequence[ir.Node]) -> Arrays:
    read = dict.fromkeys(value for node in nodes for value in reads(node))
    return {value.name or "": tensor.numpy() for value in read if (tensor := constant(value)) is not None}


def static_names(nodes: Sequence[ir.Node], constants: Collection[str]) -> set[str]:
    """The names of computed values that depend only on constants and sizes."""
    known, found = set(constants), set[str]()
    for node in nodes:
        operator = operator_of(node)
        ignored = () if operator is None else operator.ignores
        read = [v for i, v in enumerate(node.inputs) if v is not None and i not in ignored]
        inner = any(a.type == ir.AttributeType.GRAPH for a in node.attributes.values())
        if operator is not None and not inner and node.inputs and all(value.name in known for value in read):
            made = {value.name or "" for value in node.outputs}
            known |= made
            found |= made
    return found


def _inferred(model: ir.Model, nodes: Sequence[ir.Node], feed: Arrays) -> Mapping[str, tuple[Shape, np.dtype[Any]]]:
    """Shape and type of each value for which onnx infers both in full."""
    proto = onnx.ModelProto()
    proto.ParseFromString(serialise(model, nodes, feed, ()))
    large = [t for t in proto.graph.initializer if int(np.prod(t.dims)) > SMALL]
    small = [t for t in proto.graph.initializer if int(np.prod(t.dims)) <= SMALL]
    held = [onnx.helper.make_tensor_value_info(t.name, t.data_type, list(t.dims)) for t in large]
    given = [
        onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in feed.items()
    ]
    for field, content in (("initializer", small), ("input", [*given, *held])):
        proto.graph.ClearField(field)
        getattr(proto.graph, field).extend(content)
    try:
        graph = onnx.shape_inference.infer_shapes(proto, data_prop=True).graph
    except Exception:  # noqa: BLE001 - onnx raises many types; then all is run
        return {}
    found = {}
    for value in graph.value_info:
        tensor = value.type.tensor_type
        if tensor.elem_type and tensor.HasField("shape") and all(d.HasField("dim_value") for d in tensor.shape.dim):
            kind = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))
            found[value.name] = tuple(d.dim_value for d in tensor.shape.dim), kind
    return found
