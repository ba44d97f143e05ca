"""Cases of com.microsoft and of experimental operators of old opsets, all of which onnxruntime runs on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
from onnx import helper

from law_cases import RNG, below, case, floats, ints, seven_bits
from onnxsurgeon.ops.registry import MICROSOFT
from operator_case import Array, Case

own = partial(case, domain=MICROSOFT)
BYTE, SCALE = np.array(7, np.uint8), np.float32(0.02)


def cases() -> Iterator[Case]:
    yield from fused()
    yield from normalised()
    yield from attention()
    yield from quantised()
    yield from blocks()
    yield from old()


def fused() -> Iterator[Case]:
    for activation in ("Relu", "Tanh"):
        yield own("FusedConv", (2, 3, 6, 6), (5, 3, 3, 3), (5,), activation=activation)
    clip = {"activation": "Clip", "activation_params": [-0.5, 0.5]}
    yield own("FusedConv", (2, 6, 6, 6), (8, 3, 3, 3), (8,), (2, 8, 6, 6), group=2, pads=[1, 1, 1, 1], **clip)
    yield own("FusedConv", (2, 6, 6, 6), (6, 1, 3, 3), None, group=6, activation="Relu", auto_pad="SAME_UPPER")
    yield own("FusedConv", (2, 5, 4), (6, 5, 1), (6,), (2, 6, 4), activation="Relu")
    for trans_a in (0, 1):
        for trans_b in (0, 1):
            a, b = ((4, 3), (3, 4))[1 - trans_a], ((4, 5), (5, 4))[trans_b]
            yield own("FusedMatMul", (2, *a), (2, *b), transA=trans_a, transB=trans_b, alpha=0.5)
            yield own("FusedMatMul", a, b, transA=trans_a, transB=trans_b)
            yield own("FusedGemm", a, b, (5,), transA=trans_a, transB=trans_b, activation="Relu")
            yield own("TransposeMatMul", a, b, transA=trans_a, transB=trans_b)
    yield own("FusedGemm", (3, 4), (4, 5), (3, 1), activation="LeakyRelu", activation_alpha=0.2)
    yield own("FusedMatMul", (2, 3, 4), (4, 5))
    yield own("FusedMatMul", (2, 4, 3), (2, 3, 5), transBatchA=1, transA=1)
    yield own("FusedMatMul", (4,), (4, 5))
    yield own("CDist", (3, 4), (5, 4), metric="euclidean")
    for operator in ("Gelu", "QuickGelu", "FastGelu", "Inverse"):
        yield own(operator, (2, 3, 3))
    for operator in ("BiasGelu", "FastGelu"):
        yield own(operator, (2, 3, 4), (4,))
    yield own("GridSample", (2, 5, 4, 4), (2, 3, 3, 2))
    yield own("Trilu", (2, 3, 4, 4))
    yield own("Pad", (3, 5, 4), ints(0, 1, 0, 0, 2, 0), np.float32(2.0))
    yield own("CausalConvWithState", (2, 6, 8), (6, 1, 4), (6,), (2, 6, 3), outputs=2)


def normalised() -> Iterator[Case]:
    for there in ("+", "+..+", "++++"):
        yield own("SkipLayerNormalization", (2, 3, 4), (2, 3, 4), (4,), (4,), (4,), outputs=there)
        yield own("SkipSimplifiedLayerNormalization", (2, 3, 4), (2, 3, 4), (4,), (4,), outputs=there)
    yield own("SkipLayerNormalization", (2, 3, 4), (3, 4), (4,))
    yield own("SkipLayerNormalization", (2, 3, 4), (1, 3, 4), (4,), None, (4,))
    yield case("SimplifiedLayerNormalization", (2, 3, 4), (4,))
    yield case("SimplifiedLayerNormalization", (2, 3, 4), (3, 4), axis=1, outputs=2)
    ids = [below(9, (2, 3), np.int32), below(2, (2, 3), np.int32)]
    tables = [(9, 6), (5, 6), (2, 6), (6,), (6,)]
    yield own("EmbedLayerNormalization", *ids, *tables, outputs=3)
    yield own("EmbedLayerNormalization", *ids, *tables, np.ones((2, 3), np.int32), outputs=2)
    yield own("EmbedLayerNormalization", ids[0], None, *tables[:2], None, *tables[3:], outputs=2)


def attention() -> Iterator[Case]:
    b, s, t, h, d, e = 2, 4, 5, 3, 4, 6
    wide = {"num_heads": h}
    masks: list[Array | None] = [
        None,
        below(s, (b,), np.int32) + 1,
        np.array([3, 4, 0, 1], np.int32),
        below(2, (b, s), np.int32),
        below(2, (b, s, s), np.int32),
    ]
    for mask in masks:
        yield own("Attention", (b, s, 5), (5, 3 * h * d), (3 * h * d,), mask, **wide)
    yield own("Attention", (b, s, 5), (5, 3 * h * d), (3 * h * d,), None, None, (b, h, s, s), scale=0.3, **wide)
    yield own("Attention", (b, s, 5), (5, 3 * h * d), (3 * h * d,), None, None, (1, 1, s, s), **wide)
    sizes = {"qkv_hidden_sizes": [h * d, h * d, h * e]}
    yield own("Attention", (b, s, 5), (5, h * (2 * d + e)), (h * (2 * d + e),), unidirectional=1, **sizes, **wide)
    past = (2, b, h, 3, d)
    yield own("Attention", (b, s, 5), (5, 3 * h * d), (3 * h * d,), None, past, outputs=2, **wide)
    q, k, v = (b, s, h * d), (b, t, h * d), (b, t, h * e)
    yield own("MultiHeadAttention", q, k, v, **wide)
    yield own("MultiHeadAttention", q, k, v, scale=0.3, unidirectional=0, **wide)
    yield own("MultiHeadAttention", q, k, v, (h * (2 * d + e),), **wide)
    yield own("MultiHeadAttention", q, k, v, None, below(2, (b, t), np.int32), (b, h, s, t), **wide)
    yield own("MultiHeadAttention", q, k, (b, t, h * d), None, None, (1, h, s, t), outputs=3, **wide)
    cache = [(b, h, 3, d), (b, h, 3, d)]
    yield own("MultiHeadAttention", q, q, q, None, None, None, *cache, outputs=3, **wide)
    yield own("MultiHeadAttention", (b, s, h, 3, d), **wide)
    yield own("Attention", (b, s, 5), (5, 3 * h * d), (3 * h * d,), outputs=2, scale=0.3, **wide)
    yield own("QAttention", *integers(b, s, h, d), None, BYTE, np.array(0, np.int8), **wide)
    yield own("QAttention", *integers(b, s, h, d), None, BYTE, np.array(5, np.int8), scale=0.4, **wide)
    yield from grouped()
    for interleaved in (0, 1):
        for rotated in (0, 4, 8):
            c, extra = (rotated or 8) // 2, {"interleaved": interleaved, "rotary_embedding_dim": rotated}
            given = [below(10, (2, 3)), (10, c), (10, c)]
            yield own("RotaryEmbedding", (2, 4, 3, 8), *given, num_heads=4, **extra)
            yield own("RotaryEmbedding", (2, 3, 32), *given, num_heads=4, **extra)
        yield own("RotaryEmbedding", (2, 3, 32), below(5, (1,)), (10, 4), (10, 4), interleaved=interleaved)
    linear = {"q_num_heads": 6, "kv_num_heads": 3, "outputs": 2}
    tensors = [(2, 4, 24), (2, 4, 12), (2, 4, 15)]
    yield own("LinearAttention", *tensors, (2, 3, 4, 5), update_rule="linear", scale=0.5, **linear)
    yield own("LinearAttention", *tensors, (2, 3, 4, 5), (2, 4, 12), update_rule="gated", **linear)
    yield own("LinearAttention", *tensors, (2, 3, 4, 5), (2, 4, 3), (2, 4, 3), update_rule="gated_delta", **linear)


def integers(b: int, s: int, h: int, d: int) -> list[Array]:
    """The first inputs of QAttention: data, weight, bias and the two scales."""
    bias = RNG.standard_normal(3 * h * d).astype(np.float32)
    scales = RNG.uniform(0.01, 0.02, 3 * h * d).astype(np.float32)
    return [below(256, (b, s, 5), np.uint8), below(256, (5, 3 * h * d), np.int8), bias, np.float32(0.02), scales]


def grouped() -> Iterator[Case]:
    b, s, h, r, d, old = 2, 3, 2, 3, 16, 4
    shape = {"num_heads": h * r, "kv_num_heads": h}
    first = [np.full(b, s - 1, np.int32), np.array(s, np.int32)]
    q, k = (b, s, h * r * d), (b, s, h * d)
    yield own("GroupQueryAttention", q, k, k, None, None, *first, outputs=3, **shape)
    cache = [(b, h, old, d), (b, h, old, d)]
    later = [np.full(b, old, np.int32), np.array(old + 1, np.int32)]
    q1, k1 = (b, 1, h * r * d), (b, 1, h * d)
    yield own("GroupQueryAttention", q1, k1, k1, *cache, *later, outputs=3, **shape)
    angles = [(8, d // 2), (8, d // 2)]
    yield own("GroupQueryAttention", q1, k1, k1, *cache, *later, *angles, do_rotary=1, outputs=3, **shape)
    for interleaved in (0, 1):
        for size, rotated in ((32, 32), (48, 32)):
            q2, k2 = (b, s, h * r * size), (b, s, h * size)
            angles = [(8, rotated // 2), (8, rotated // 2)]
            extra = {"do_rotary": 1, "rotary_interleaved": interleaved, "outputs": 3}
            yield own("GroupQueryAttention", q2, k2, k2, None, None, *first, *angles, **extra, **shape)
    wide = [(b, h, old, 32)] * 2
    q2, k2 = (b, 1, h * r * 32), (b, 1, h * 32)
    yield own("GroupQueryAttention", q2, k2, k2, *wide, *later, scale=0.2, outputs=3, **shape)
    yield own("GroupQueryAttention", (b, s, (h * r + 2 * h) * 32), None, None, None, None, *first, outputs=1, **shape)
    packed = (b, s, (h * r + 2 * h) * d)
    yield own("GroupQueryAttention", packed, None, None, None, None, *first, outputs=3, **shape)
    bias = [None, None, None, (b, h * r, s, s)]
    yield own("GroupQueryAttention", q, k, k, None, None, *first, *bias, scale=0.3, outputs=3, **shape)
    sink = [None, None, None, None, (h * r,)]
    yield own("GroupQueryAttention", q, k, k, None, None, *first, *sink, outputs=3, **shape)


def quantised() -> Iterator[Case]:
    a, b = below(256, (2, 3, 4), np.uint8), below(256, (2, 3, 4), np.uint8)
    to = [np.float32(0.03), BYTE]
    for operator in ("QLinearAdd", "QLinearMul"):
        yield own(operator, a, SCALE, BYTE, b, SCALE, BYTE, *to)
        yield own(operator, a, SCALE, BYTE, below(256, (4,), np.uint8), SCALE, BYTE, *to)
    yield own("QLinearWhere", below(2, (2, 3, 4), np.bool_), a, SCALE, BYTE, b, SCALE, BYTE, *to)
    for operator in ("QLinearLeakyRelu", "QLinearSigmoid"):
        yield own(operator, a, SCALE, BYTE, *to)
    for axis, opset in ((-1, 13), (1, 13), (1, 12)):
        softmax = own("QLinearSoftmax", a, SCALE, BYTE, np.float32(1 / 256), np.array(0, np.uint8), axis=axis)
        softmax.node.attribute.append(helper.make_attribute("opset", opset))
        yield softmax
    parts = [a, SCALE, BYTE, below(256, (2, 5, 4), np.uint8), np.float32(0.01), BYTE]
    yield own("QLinearConcat", *to, *parts, axis=1)
    x, last = below(256, (2, 5, 6, 6), np.uint8), below(256, (2, 6, 6, 5), np.uint8)
    for data, flag in ((x, 0), (last, 1)):
        yield own("QLinearGlobalAveragePool", data, SCALE, BYTE, *to, channels_last=flag)
        kernel = {"kernel_shape": [3, 2], "strides": [2, 1], "channels_last": flag}
        yield own("QLinearAveragePool", data, SCALE, BYTE, *to, **kernel)
        yield own("QLinearAveragePool", data, SCALE, BYTE, *to, pads=[1, 0, 1, 1], ceil_mode=1, **kernel)
    yield own("NhwcMaxPool", last, kernel_shape=[2, 2], strides=[2, 2])
    signed, per = below(256, (8, 3, 3, 3), np.int8), RNG.uniform(0.01, 0.02, 8).astype(np.float32)
    zeros, bias = np.zeros(8, np.int8), below(1000, (8,), np.int32)
    for channels_last in (0, 1):
        data = below(256, (2, 5, 5, 6) if channels_last else (2, 6, 5, 5), np.uint8)
        given = [data, SCALE, BYTE, signed, per, zeros, np.float32(1.5), BYTE, bias]
        yield own("QLinearConv", *given, group=2, channels_last=channels_last)
    for trans_a in (0, 1):
        for trans_b in (0, 1):
            a, b = below(256, ((3, 4), (4, 3))[trans_a], np.uint8), below(256, ((4, 5), (5, 4))[trans_b], np.int8)
            columns = [RNG.uniform(0.01, 0.02, 5).astype(np.float32), np.zeros(5, np.int8)]
            flags = {"transA": trans_a, "transB": trans_b}
            yield own("QGemm", a, SCALE, BYTE, b, *columns, below(99, (5,), np.int32), np.float32(0.5), BYTE, **flags)
            yield own("QGemm", a, SCALE, BYTE, b, SCALE, np.array(3, np.int8), below(99, (5,), np.int32), **flags)
    yield from dynamic()
    for axis, size in ((0, 3), (1, 4), (-1, 5)):
        scales, points = RNG.uniform(0.5, 1.5, size).astype(np.float32), below(9, (size,), np.int16)
        yield own("QuantizeLinear", (3, 4, 5), scales, points, axis=axis)
        yield own("DequantizeLinear", below(99, (3, 4, 5), np.uint16), scales, points.astype(np.uint16), axis=axis)
    yield own("QuantizeLinear", (3, 4, 5), np.float32(0.1), np.array(3, np.uint16))


def dynamic() -> Iterator[Case]:
    """Integer weights, with data quantised in the graph."""
    scales, points = RNG.uniform(0.01, 0.02, 5).astype(np.float32), below(9, (5,), np.uint8)
    a, b = below(256, (2, 3, 4), np.uint8), below(256, (4, 5), np.uint8)
    yield own("DynamicQuantizeMatMul", (2, 3, 4), b, scales, points, (5,))
    yield own("DynamicQuantizeMatMul", (3, 4), b, np.float32(0.02), BYTE)
    yield own("MatMulIntegerToFloat", a, b, SCALE, scales, BYTE, points, (5,))
    yield own("MatMulIntegerToFloat", a, seven_bits(b), SCALE, SCALE, BYTE)
    s, n, i, h = 5, 3, 4, 6
    for directions, direction in ((1, "forward"), (2, "bidirectional")):
        matrices = [below(256, (directions, rows, 4 * h), np.int8) for rows in (i, h)]
        each = [np.full((directions,), 0.01, np.float32), np.zeros(directions, np.int8)]
        columns = [np.full((directions, 4 * h), 0.01, np.float32), np.zeros((directions, 4 * h), np.int8)]
        for quantiser in (each, columns):
            given = [(s, n, i), *matrices, (directions, 8 * h), None, (directions, n, h), (directions, n, h), None]
            extra = {"hidden_size": h, "direction": direction, "outputs": 3}
            yield own("DynamicQuantizeLSTM", *given, *quantiser, *quantiser, **extra)


def blocks() -> Iterator[Case]:
    """Weights with few bits: n rows in blocks of k."""
    n, k, size = 6, 32, 16
    packed, scales = below(256, (n, k // size, size // 2), np.uint8), RNG.uniform(0.1, 0.2, (n, k // size))
    points = below(256, (n, k // size // 2), np.uint8)
    plain = {"N": n, "K": k, "bits": 4, "block_size": size}
    scales = scales.astype(np.float32)
    for flat in (False, True):
        s, p = (scales.ravel(), points.ravel()) if flat else (scales, points)
        yield own("MatMulNBits", (2, 3, k), packed, s, **plain)
        yield own("MatMulNBits", (3, k), packed, s, p, None, (n,), **plain)
        yield own("MatMulNBits", (3, k), packed, s, s * 40, **plain)
    k, packed = 96, below(256, (n, 6, size // 2), np.uint8)
    scales, points = RNG.uniform(0.1, 0.2, (n, 6)).astype(np.float32), below(256, (n, 3), np.uint8)
    plain["K"] = k
    for flat in (False, True):
        s, p = (scales.ravel(), points.ravel()) if flat else (scales, points)
        yield own("MatMulNBits", (2, 3, k), packed, s, **plain)
        yield own("MatMulNBits", (3, k), packed, s, p, None, (n,), **plain)
        yield own("MatMulNBits", (3, k), packed, s, s * 40, **plain)
    group = (np.arange(k) // size).astype(np.int32)
    yield own("MatMulNBits", (3, k), packed, scales, points, group, **plain)
    wide = {"N": n, "K": k, "bits": 8, "block_size": size}
    yield own("MatMulNBits", (3, k), below(256, (n, k // size, size), np.uint8), scales, **wide)
    points = below(256, (n, k // size), np.uint8)
    yield own("MatMulNBits", (3, k), below(256, (n, k // size, size), np.uint8), scales, points, **wide)
    yield own("MatMulNBits", (3, 40), packed[:, :3], scales[:, :3], **{**plain, "K": 40})


def old() -> Iterator[Case]:
    for operator in ("Affine", "ParametricSoftplus", "ScaledTanh"):
        yield case(operator, (2, 3, 4), alpha=0.5, beta=0.3, opset=9)
    yield case("ImageScaler", (2, 3, 4, 4), scale=2.0, bias=[0.1, 0.2, 0.3], opset=9)
    yield case("Crop", (2, 3, 6, 6), border=[1, 2, 1, 1], opset=9)
    yield case("Crop", (2, 3, 6, 6), border=[1, 2, 1, 1], scale=[2, 3], opset=9)
    yield case("MeanVarianceNormalization", floats(*range(24)).reshape(1, 2, 3, 4), opset=9)
