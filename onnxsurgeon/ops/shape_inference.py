"""The shapes of outputs: as onnx infers them, and rules for what it has no schema for or answers slowly."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx

from onnxsurgeon.arrays import Array, Shape
from onnxsurgeon.ops.size_arrays import broadcast_sizes
from onnxsurgeon.ops.size_expressions import Number, Size, opaque

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
    """The result and, for Dropout, the mask."""
    return [shapes[0], shapes[0]]


def broadcast(*indices: int) -> Infer:
    return lambda attributes, shapes: [broadcast_sizes(*(shapes[i] for i in indices))]


def broadcast_all(attributes: Attributes, shapes: Shapes) -> Sequence[Shape]:
    """All inputs broadcast."""
    if all(shape is shapes[0] for shape in shapes):
        return [shapes[0]]
    try:
        return [broadcast_sizes(*shapes)]
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
    unknown: Callable[[], Number] | None = None,
) -> list[tuple[int, Shape | None]]:
    """The element types and shapes of `count` outputs, as onnx infers them for one operator; (0, None) where it can't.

    inputs: element type, shape and, where it is known, the value of each. unknown: what stands for a size that
    depends on data; None: then the shape is unknown.
    """
    names = ["" if given is None else f"i{k}" for k, given in enumerate(inputs)]
    outputs = [f"o{k}" for k in range(count)]
    symbols: dict[str, Size] = {}
    proto = onnx.helper.make_node(schema.name, names, outputs, domain=schema.domain)
    proto.attribute.extend(attributes)
    types, data = {}, {}
    for name, given in zip(names, inputs, strict=True):
        if given is not None:
            types[name] = onnx.helper.make_tensor_type_proto(given[0], [_named(n, symbols) for n in given[1]])
            if given[2] is not None:
                data[name] = onnx.numpy_helper.from_array(np.asarray(given[2]), name)
    imports = [onnx.helper.make_opsetid(d, v) for d, v in versions.items()]
    try:
        result = onnx.shape_inference.infer_node_outputs(schema, proto, types, data, opset_imports=imports)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, RuntimeError, ValueError):
        return [(0, None)] * count
    return [_read_type(result.get(name), symbols, unknown) for name in outputs]


def _named(size: Number, symbols: dict[str, Size]) -> Any:
    """A size as onnx takes it: an expression by a name, which `symbols` knows."""
    if not isinstance(size, Size):
        return size
    name = next((name for name, known in symbols.items() if known.key == size.key), f"d{len(symbols)}")
    symbols[name] = size
    return name


def _read_type(
    proto: onnx.TypeProto | None, symbols: Mapping[str, Size], unknown: Callable[[], Number] | None
) -> tuple[int, Any]:
    if proto is None or not proto.HasField("tensor_type"):
        return 0, None
    tensor = proto.tensor_type
    known = all(d.HasField("dim_value") for d in tensor.shape.dim)
    if not tensor.HasField("shape") or not (known or symbols or unknown):
        return tensor.elem_type, None
    other = unknown or (lambda: opaque(0))
    return tensor.elem_type, tuple(
        d.dim_value if d.HasField("dim_value") else symbols[d.dim_param] if d.dim_param in symbols else other()
        for d in tensor.shape.dim
    )
