"""The shapes of outputs: as onnx infers them; and of what it has no schema for, com.microsoft and old experiments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx

from onnxsurgeon.arrays import Array, Shape
from onnxsurgeon.ops.call import Key
from onnxsurgeon.ops.table import NARY, UNARY

MICROSOFT = "com.microsoft"
Attributes = Mapping[str, Any]
Shapes = Sequence[Shape]
Infer = Callable[[Attributes, Shapes], Sequence[Shape]]


class Refused(ValueError):
    """Sizes on which no graph with this node runs."""


class Known(NamedTuple):
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


def elementwise(attributes: Attributes, shapes: Shapes) -> Sequence[Shape]:
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


def product(a: int, b: int) -> Infer:
    """A matrix product, with the transpositions that attributes ask for."""

    def infer(attributes: Attributes, shapes: Shapes) -> Sequence[Shape]:
        left, right = shapes[a], shapes[b]
        rows = () if len(left) < 2 else left[-1:] if attributes.get("transA") else left[-2:-1]
        columns = () if len(right) < 2 else right[-2:-1] if attributes.get("transB") else right[-1:]
        return [(*np.broadcast_shapes(left[:-2], right[:-2]), *rows, *columns)]

    return infer


# --- windows over spatial axes ---------------------------------------------------------------------------------------


def windows(attributes: Attributes, spatial: Shape, kernel: Sequence[int]) -> Shape:
    """How many windows fit along each axis."""
    count, automatic = len(spatial), attributes.get("auto_pad", "NOTSET")
    strides = attributes.get("strides") or [1] * count
    if automatic in ("SAME_UPPER", "SAME_LOWER"):
        return tuple(-(-n // s) for n, s in zip(spatial, strides, strict=True))
    pads = [0] * 2 * count if automatic == "VALID" else attributes.get("pads") or [0] * 2 * count
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, attributes.get("dilations") or [1] * count, strict=True)]
    room = [n + low + high - r for n, low, high, r in zip(spatial, pads, pads[count:], reach, strict=False)]
    if not attributes.get("ceil_mode"):
        return tuple(n // s + 1 for n, s in zip(room, strides, strict=True))
    starts = [n + low for n, low in zip(spatial, pads, strict=False)]  # no window starts in the padding behind
    return tuple(min(-(-n // s), (m - 1) // s) + 1 for n, m, s in zip(room, starts, strides, strict=True))


def pooled(attributes: Attributes, shapes: Shapes) -> Sequence[Shape]:
    n, *spatial = shapes[0]
    kernel = attributes["kernel_shape"]
    if attributes.get("channels_last"):
        return [(n, *windows(attributes, tuple(spatial[:-1]), kernel), spatial[-1])]
    return [(n, spatial[0], *windows(attributes, tuple(spatial[1:]), kernel))]


def pooled_last(attributes: Attributes, shapes: Shapes) -> Sequence[Shape]:
    return pooled({**attributes, "channels_last": 1}, shapes)


def pooled_away(attributes: Attributes, shapes: Shapes) -> Sequence[Shape]:
    n, *rest = shapes[0]
    ones = (1,) * (len(rest) - 1)
    return [(n, *ones, rest[-1]) if attributes.get("channels_last") else (n, rest[0], *ones)]


def convolved(weight: int) -> Infer:
    """A convolution whose weight is input `weight`, outputs first."""

    def infer(attributes: Attributes, shapes: Shapes) -> Sequence[Shape]:
        (n, *spatial), kernel = shapes[0], shapes[weight]
        if attributes.get("channels_last"):
            return [(n, *windows(attributes, tuple(spatial[:-1]), kernel[2:]), kernel[0])]
        return [(n, kernel[0], *windows(attributes, tuple(spatial[1:]), kernel[2:]))]

    return infer


def cropped(attributes: Attributes, shapes: Shapes) -> Sequence[Shape]:
    left, top, right, bottom = attributes["border"]
    n, c, height, width = shapes[0]
    size = attributes.get("scale") or (height - top - bottom, width - left - right)
    return [(n, c, int(size[0]), int(size[1]))]


# --- normalisation, reduction, concatenation -------------------------------------------------------------------------


def normalised(attributes: Attributes, shapes: Shapes) -> Sequence[Shape]:
    """The result and its statistics; input + skip last."""
    shape = shapes[0]
    axis = int(attributes.get("axis", -1)) % len(shape)
    statistics = (*shape[:axis], *(1,) * (len(shape) - axis))
    return [shape, statistics, statistics, shape]


def embedded(attributes: Attributes, shapes: Shapes) -> Sequence[Shape]:
    """Three tables looked up, summed and normalised; an index of each mask; the sum."""
    ids, words = shapes[0], shapes[2]
    index = (3 * ids[0] + 2,) if attributes.get("mask_index_type") == 2 else ids[:1]
    return [(*ids, words[1]), index, (*ids, words[1])]


def joined(attributes: Attributes, shapes: Shapes) -> Sequence[Shape]:
    """The tensors stand in threes, with their scale and zero point, behind those of the result."""
    parts, axis = shapes[2::3], int(attributes["axis"])
    whole = list(parts[0])
    whole[axis] = sum(part[axis] for part in parts)
    return [tuple(whole)]


# --- attention -------------------------------------------------------------------------------------------------------


def _cache(attributes: Attributes, past: Shape, batch: int, heads: int, new: int, size: int) -> Shape:
    return (batch, heads, new + (past[2] if past else 0), size)


def fused_attention(past: int) -> Infer:
    """Queries, keys and values by one weight; input `past` is what came before."""

    def infer(attributes: Attributes, shapes: Shapes) -> Sequence[Shape]:
        (batch, length, _), (_, width) = shapes[0], shapes[1]
        sizes = attributes.get("qkv_hidden_sizes") or [width // 3] * 3
        heads, before = int(attributes["num_heads"]), shapes[past] if len(shapes) > past else ()
        return [(batch, length, sizes[2]), (2, batch, heads, length + (before[3] if before else 0), sizes[1] // heads)]

    return infer


def multi_head(attributes: Attributes, shapes: Shapes) -> Sequence[Shape]:
    query, key, value, *more = shapes
    past, heads = more[3] if len(more) > 3 else (), int(attributes["num_heads"])
    if (len(query), len(key), len(value)) != (3, 3, 3):
        raise ValueError("packed keys and values")
    keys = _cache(attributes, past, key[0], heads, key[1], key[2] // heads)
    values = _cache(attributes, past, key[0], heads, key[1], value[2] // heads)
    return [(*query[:2], value[2]), keys, values, (query[0], heads, query[1], keys[2])]


def grouped_query(attributes: Attributes, shapes: Shapes) -> Sequence[Shape]:
    heads, shared = int(attributes["num_heads"]), int(attributes["kv_num_heads"])
    batch, length, width = shapes[0]
    size = width // (heads if shapes[1] else heads + 2 * shared)
    return [(batch, length, heads * size)]  # of the caches it depends on the value of an input


def linear_attention(attributes: Attributes, shapes: Shapes) -> Sequence[Shape]:
    heads, shared = int(attributes["q_num_heads"]), int(attributes["kv_num_heads"])
    batch, length, width = shapes[0]
    size = shapes[2][2] // shared
    return [(batch, length, heads * size), (batch, shared, width // heads, size)]


def causal_conv(attributes: Attributes, shapes: Shapes) -> Sequence[Shape]:
    return [shapes[0], (*shapes[0][:2], shapes[1][2] - 1)]


# --- quantised -------------------------------------------------------------------------------------------------------


def by_rows(attributes: Attributes, shapes: Shapes) -> Sequence[Shape]:
    return [(*shapes[0][:-1], int(attributes["N"]))]


def recurrent(attributes: Attributes, shapes: Shapes) -> Sequence[Shape]:
    (steps, batch, _), (directions, hidden, _) = shapes[0], shapes[2]
    return [(steps, directions, batch, hidden), *[(directions, batch, hidden)] * 2]


def _table(domain: str, entries: Mapping[str, Known]) -> dict[Key, Known]:
    return {(domain, name): known for names, known in entries.items() for name in names.split()}


# Element by element; what these make of shapes is worth the short way.
SHAPES: dict[Key, Known] = _table(
    "",
    {
        UNARY: Known(mapped, whole=False),
        NARY: Known(elementwise),
        "Equal Greater GreaterOrEqual Less LessOrEqual And Or Xor": Known(elementwise, cast=truth),
        "Not IsNaN IsInf": Known(like(0), cast=truth, whole=False),
        "Cast": Known(like(0), cast=lambda attributes: int(attributes["to"]), whole=False),
        "CastLike": Known(like(0), ((1,),), whole=False),
        "Where": Known(elementwise, ((1,),)),
        "SimplifiedLayerNormalization": Known(normalised),
        "GroupNormalization MeanVarianceNormalization": Known(like(0)),
        "Affine ImageScaler ParametricSoftplus ScaledTanh": Known(like(0)),
        "Crop": Known(cropped),
    },
) | _table(
    MICROSOFT,
    {
        "Attention": Known(fused_attention(4)),
        "BiasGelu FastGelu Gelu Inverse QuickGelu RotaryEmbedding": Known(like(0)),
        "CausalConvWithState": Known(causal_conv),
        "CDist": Known(lambda attributes, shapes: [(shapes[0][0], shapes[1][0])]),
        "DequantizeLinear": Known(like(0), ((1,),)),
        "DynamicQuantizeLSTM": Known(recurrent),
        "DynamicQuantizeMatMul": Known(product(0, 1)),
        "EmbedLayerNormalization": Known(embedded, ((2,), (0,), (2,))),
        "FusedConv": Known(convolved(1)),
        "FusedMatMul TransposeMatMul": Known(product(0, 1)),
        "GroupQueryAttention": Known(grouped_query),
        "LinearAttention": Known(linear_attention),
        "MatMulIntegerToFloat": Known(product(0, 1), ((2,),)),
        "MatMulNBits": Known(by_rows),
        "MultiHeadAttention": Known(multi_head),
        "NhwcMaxPool": Known(pooled_last),
        "QAttention": Known(fused_attention(8), ((3,),)),
        "QGemm": Known(product(0, 3), ((8, 1),)),
        "QLinearAdd QLinearMul": Known(broadcast(0, 3)),
        "QLinearAveragePool": Known(pooled),
        "QLinearConcat": Known(joined, ((1,),)),
        "QLinearConv": Known(convolved(3), ((7,),)),
        "QLinearGlobalAveragePool": Known(pooled_away),
        "QLinearLeakyRelu QLinearSigmoid QLinearSoftmax": Known(like(0)),
        "QLinearWhere": Known(broadcast(0, 1, 4), ((1,),)),
        "QuantizeLinear": Known(like(0), ((2,),)),
        "SkipLayerNormalization SkipSimplifiedLayerNormalization": Known(normalised),
    },
)

# The operator of onnx that answers in its place, and the version of that.
STANDS_FOR: dict[Key, tuple[str, int]] = {
    (MICROSOFT, "FusedGemm"): ("Gemm", 13),
    (MICROSOFT, "GridSample"): ("GridSample", 16),
    (MICROSOFT, "Pad"): ("Pad", 13),
    (MICROSOFT, "Trilu"): ("Trilu", 14),
}


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
