"""Narrow floats in float32: bfloat16, for which onnxruntime has few kernels, and float16 while it is trained."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx_ir as ir

from onnxsurgeon.model.editor import set_tensor

NARROW, WIDE = ir.DataType.BFLOAT16, ir.DataType.FLOAT
TYPES = ("to", "dtype", "output_dtype", "stash_type")  # attributes that hold an element type


def is_narrow(nodes: Iterable[ir.Node], narrow: ir.DataType = NARROW) -> bool:
    """Whether nodes read or make tensors of the narrow type, as far as types are stated."""
    for node in nodes:
        if any(v is not None and v.dtype == narrow for v in (*node.inputs, *node.outputs)):
            return True
        for name, attribute in node.attributes.items():
            if attribute.type == ir.AttributeType.GRAPH and is_narrow(attribute.value, narrow):
                return True
            if attribute.type == ir.AttributeType.TENSOR and attribute.value.dtype == narrow:
                return True
            if name in TYPES and attribute.type == ir.AttributeType.INT and attribute.value == narrow:
                return True
    return False


def widen(model: ir.Model, narrow: ir.DataType = NARROW) -> None:
    """Changes all tensors of the narrow type to float32, in place."""
    values = [*model.graph.inputs, *model.graph.outputs, *model.graph.initializers.values()]
    for node in model.graph.all_nodes():
        values += [v for v in (*node.inputs, *node.outputs) if v is not None]
        for name, attribute in list(node.attributes.items()):
            if attribute.type == ir.AttributeType.TENSOR and attribute.value.dtype == narrow:
                node.attributes[name] = ir.AttrTensor(name, _wide(attribute.value))
            elif name in TYPES and attribute.type == ir.AttributeType.INT and attribute.value == narrow:
                node.attributes[name] = ir.AttrInt64(name, int(WIDE))
            elif attribute.type == ir.AttributeType.GRAPH:
                values += [*attribute.value.inputs, *attribute.value.outputs, *attribute.value.initializers.values()]
    for value in dict.fromkeys(values):
        if value.is_initializer() and value.const_value is not None and value.const_value.dtype == narrow:
            set_tensor(value, _wide(value.const_value))
        if value.dtype == narrow:
            value.type = ir.TensorType(WIDE)


def _wide(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    return ir.Tensor(np.asarray(tensor.numpy(), np.float32), name=tensor.name)
