"""The shapes of outputs: as onnx infers them, and rules for what it has no schema for or answers slowly."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx

from onnxsurgeon.arrays import Array, Shape

Attributes = Mapping[str, Any]


Shapes = Sequence[Shape]


Infer = Callable[[Attributes, Shapes], Sequence[Shape]]


class Refused(ValueError):
    """Sizes on which no graph with this node runs."""


class ShapeRule(NamedTuple):
    """`infer`: the attributes and the inputs' shapes, () where absent -> the outputs' shapes, of those that there are.

    types: for each output, the inputs of whose element type it is: of the first that is there. The last entry holds for
    all outputs that follow. cast: the element type that the attributes say instead. whole: whether the shape of every
    input matters (of the first alone otherwise, where there is no more to know). `infer` may raise IndexError, KeyError
    or ValueError on what it knows nothing of, and Refused.
    """

    infer: Infer
    types: tuple[tuple[int, ...], ...] = ((0,),)
    cast: Callable[[Attributes], int] | None = None
    whole: bool = True


def like(index: int) -> Infer:
    return lambda attributes, shapes: [shapes[index]]


def mapped(attributes: Attributes, shapes: Shapes) -> Sequence[Shape]:
    """The result and, of what drops out, the mask."""
    return [shapes[0], shapes[0]]


def broadcast(*indices: int) -> Infer:
    return lambda attributes, shapes: [np.broadcast_shapes(*(shapes[i] for i in indices))]


def broadcast_all(attributes: Attributes, shapes: Shapes) -> Sequence[Shape]:
    """All inputs broadcast."""
    given = set(shapes)
    if len(given) == 1:
        return [given.pop()]
    try:
        return [np.broadcast_shapes(*given)]
    except ValueError as problem:
        raise Refused(str(problem)) from problem


def truth(attributes: Attributes) -> int:
    return int(onnx.TensorProto.BOOL)


# --- by onnx ---------------------------------------------------------------------------------------------------------


def inferred(
    schema: onnx.defs.OpSchema,
    attributes: Sequence[onnx.AttributeProto],
    inputs: Sequence[tuple[int, Shape, Array | None] | None],
    count: int,
    versions: Mapping[str, int],
) -> list[tuple[int, Shape | None]]:
    """The element types and shapes of `count` outputs, as onnx infers them for one operator; (0, None) where it can't.

    inputs: element type, shape and, where it is known, the value of each.
    """
    names = ["" if given is None else f"i{k}" for k, given in enumerate(inputs)]
    outputs = [f"o{k}" for k in range(count)]
    proto = onnx.helper.make_node(schema.name, names, outputs, domain=schema.domain)
    proto.attribute.extend(attributes)
    types, data = {}, {}
    for name, given in zip(names, inputs, strict=True):
        if given is not None:
            types[name] = onnx.helper.make_tensor_type_proto(given[0], given[1])
            if given[2] is not None:
                data[name] = onnx.numpy_helper.from_array(np.asarray(given[2]), name)
    imports = [onnx.helper.make_opsetid(d, v) for d, v in versions.items()]
    try:
        result = onnx.shape_inference.infer_node_outputs(schema, proto, types, data, opset_imports=imports)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, RuntimeError, ValueError):
        return [(0, None)] * count
    return [_read_type(result.get(name)) for name in outputs]


def _read_type(proto: onnx.TypeProto | None) -> tuple[int, Shape | None]:
    if proto is None or not proto.HasField("tensor_type"):
        return 0, None
    tensor = proto.tensor_type
    if not tensor.HasField("shape") or not all(d.HasField("dim_value") for d in tensor.shape.dim):
        return tensor.elem_type, None
    return tensor.elem_type, tuple(d.dim_value for d in tensor.shape.dim)
