"""Quantised operators of ONNX and of com.microsoft. Scales are per tensor, per output or per block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

import numpy as np

from onnxsurgeon.arrays import Shape
from onnxsurgeon.neurons.relations import Axes
from onnxsurgeon.neurons.signature import Operand
from onnxsurgeon.ops.call import Call, Changes, Keep, unchanged
from onnxsurgeon.ops.convolution import conv, conv_macs, convolved, group_share, groups
from onnxsurgeon.ops.elementwise import elementwise_parts
from onnxsurgeon.ops.products import gemm_text, matmul_text, product_macs, product_shape
from onnxsurgeon.ops.recurrent import recurrent_macs
from onnxsurgeon.ops.registry import MICROSOFT, Operator, Rule, add
from onnxsurgeon.ops.shape_inference import Attributes, ShapeRule, Shapes, broadcast, like
from onnxsurgeon.ops.signatures import connect, counted, letters, read, signature, text

# --- to integers and back --------------------------------------------------------------------------------------------


def quantize(call: Call) -> Sequence[Axes | None]:
    """Scales and zero points are per tensor, or along `axis`."""
    axes, scale = call.known(0), call.sizes(1)
    axis = call.axis(len(axes), 1)
    own = letters(len(axes))
    if len(scale) == len(axes) > 0 and np.prod(scale) > 1 and scale != call.shape(0):
        return in_blocks(call, axis)
    if np.prod(scale) > 1:
        per = own if len(scale) > 1 else [own[axis]]
        return read(call, text(own, per, per, own))
    return [axes]


def in_blocks(call: Call, axis: int) -> Sequence[Axes | None]:
    """A scale for each block along `axis`: whole blocks may go."""
    length, count = call.sizes(0)[axis], call.sizes(1)[axis]
    size = int(call.attributes.get("block_size") or 0) or -(-length // count)
    own, parts = letters(call.rank()), letters(call.rank())
    if size * count != length or count == 1:  # the last block is not full, or there is only one
        own[axis] = parts[axis] = "_"
    else:
        own[axis], parts[axis] = f"(b {size})", "b"
    return read(call, text(own, parts, parts, own))


QUANTIZE = Operator(quantize, silence="none")
DEQUANTIZE = replace(QUANTIZE, zero_points={0: 2}, proportional=True)

add("QuantizeLinear", QUANTIZE, unpack=elementwise_parts)
add("DequantizeLinear", DEQUANTIZE, unpack=elementwise_parts)
add("QuantizeLinear", QUANTIZE, shape=ShapeRule(like(0), ((2,),)), domain=MICROSOFT)
add("DequantizeLinear", DEQUANTIZE, shape=ShapeRule(like(0), ((1,),)), domain=MICROSOFT)
add("DynamicQuantizeLinear", signature("... -> ..., ,"))

# --- convolutions ----------------------------------------------------------------------------------------------------


def quantised_conv(call: Call) -> Sequence[Axes | None]:
    x, y = ("n * (g i)", "n * (g o)") if call.attributes.get("channels_last") else ("n (g i) *", "n (g o) *")
    pattern = f"{x}, , , (g o) i *, (g o), (g o), , , (g o) -> {y}"
    return read(call, pattern, g=call.group)


QLINEAR_CONV = Operator(
    signature(conv("n (g i) *, , , (g o) i *, (g o), (g o), , , (g o) -> n (g o) *", 3), g="group"),
    zeros={0: 2},
    resize=groups(3, 0, group_share(3)),
    macs=conv_macs(3),
    neutral={2: 0.0},
    zero_points={3: 5},
)

add(
    "ConvInteger",
    signature(conv("n (g i) *, (g o) i *, , (g o) -> n (g o) *"), g="group"),
    zeros={0: 2},
    resize=groups(1, 0, group_share(1)),
    macs=conv_macs(1),
    zero_points={1: 3},
)
add("QLinearConv", QLINEAR_CONV)
add("QLinearConv", QLINEAR_CONV, rule=quantised_conv, shape=ShapeRule(convolved(3), ((7,),)), domain=MICROSOFT)

# --- products --------------------------------------------------------------------------------------------------------


def by_column(related: Rule, whole: Sequence[int]) -> Rule:
    """whole: inputs that quantise the data or the result, which must be one number for all rows."""

    def rule(call: Call) -> Sequence[Axes | None]:
        if any(prod(call.shape(i) or ()) > 1 for i in whole):
            return call.freeze_all("quantised by row")
        return related(call)

    return rule


def scaled_matmul(between: str) -> Rule:
    """A float product by an integer weight. between: scales and zero points per column, and a bias."""

    def choose(call: Call) -> str:
        inputs, _, output = matmul_text(0, 1)(call).partition(" -> ")
        return f"{inputs}{between} -> {output}"

    return signature(choose)


add(
    "MatMulInteger",
    by_column(signature(matmul_text(0, 1, (3,))), (2,)),
    zeros={0: 2},
    macs=product_macs(0),
    zero_points={1: 3},
)
add(
    "QLinearMatMul",
    by_column(signature(matmul_text(0, 3, (4, 5))), (1, 2, 6, 7)),
    zeros={0: 2},
    macs=product_macs(0),
    zero_points={3: 5},
)
add(
    "DynamicQuantizeMatMul",
    scaled_matmul(", j, j, j"),
    macs=product_macs(0),
    shape=ShapeRule(product_shape(0, 1)),
    domain=MICROSOFT,
)
add(
    "MatMulIntegerToFloat",
    by_column(scaled_matmul(", , j, , j, j"), (2, 4)),
    zeros={0: 4},
    macs=product_macs(0),
    shape=ShapeRule(product_shape(0, 1), ((2,),)),
    zero_points={1: 5},
    domain=MICROSOFT,
)
add(
    "QGemm",
    signature(gemm_text(6, first=", , ", second="j, j, ")),
    zeros={0: 2},
    macs=product_macs(0),
    shape=ShapeRule(product_shape(0, 3), ((8, 1),)),
    zero_points={3: 5},
    domain=MICROSOFT,
)

# --- weights in blocks of few bits -----------------------------------------------------------------------------------


def shared(call: Call, index: int) -> int:
    """How many blocks lie behind one element of the scales or zero points: several 4-bit ones are in one byte."""
    shape, blocks = call.shape(index) or (), (call.shape(1) or (1, 1))[1]
    there = prod(shape) // int(call.attributes["N"]) if shape else blocks
    return -(-blocks // max(there, 1))


def by_rows(call: Call, index: int, letter: str) -> str:
    """Scales or zero points, one for each row and block: in a matrix, or behind each other."""
    shape = call.shape(index) or ()
    return f"(j {letter})" if len(shape) == 1 else f"j {letter}" if shape else ""


def blocks_left(call: Call, keep: Keep) -> Changes:
    rows, columns = call.result(0).axes[-1], (call.axes(0) or (None,))[-1]
    changes: Changes = {}
    for name, labels in (("N", rows), ("K", columns)):
        changes |= {} if labels is None or unchanged(keep, labels) else {name: int(keep(labels).sum())}
    return changes


def by_blocks(call: Call) -> Sequence[Axes | None]:
    """A weight quantised in blocks along its columns: of its inputs, whole blocks may go."""
    if call.attributes.get("weight_prepacked"):
        return call.freeze_all("its weight is packed for one device")
    blocks, together, size = (call.shape(1) or (1, 1))[1], shared(call, 3), int(call.attributes["block_size"])
    points = call.relations.fresh(-(-blocks // together))  # the neurons of its zero points, in whichever form
    operands = [*(call.operand(i) for i in range(6)), Operand((len(points),), (points,))]
    text = f"... k, j b *, {by_rows(call, 2, 'b')}, {by_rows(call, 3, 'p')}, _, j, p -> ... j"
    results = connect(call, text, operands, {"j": int(call.attributes["N"]), "b": blocks, "p": len(points)})
    columns, block = (call.axes(0) or (None,))[-1], (call.axes(1) or (None, None))[1]
    if columns is None or block is None or len(columns) != blocks * size or blocks % together or call.has(4):
        for axis in (columns, block, points):
            call.relations.freeze(axis, "the last block is not full, or blocks are not in order")
        return results
    call.relations.same(columns.reshape(-1, size), np.repeat(block[:, None], size, axis=1))
    call.relations.same(block, np.repeat(points, together))
    return results


def rows_shape(attributes: Attributes, shapes: Shapes) -> Sequence[Shape]:
    return [(*shapes[0][:-1], int(attributes["N"]))]


add(
    "MatMulNBits",
    by_blocks,
    silence="data",
    resize=blocks_left,
    macs=product_macs(0),
    shape=ShapeRule(rows_shape),
    domain=MICROSOFT,
)

# --- recurrent -------------------------------------------------------------------------------------------------------


def lstm(call: Call) -> Sequence[Axes | None]:
    """Its weights are transposed, scaled by direction or by column; data is quantised over all of a batch."""
    points = [call.static(i) for i in (9, 11) if call.has(i)]
    if any(point is None or point.any() for point in points):
        return call.freeze_all("weights with a zero point")
    scales = ["_ (4 h)" if call.rank(i) > 1 else "_" for i in range(8, 12)]
    matrices = "_ i (4 h), _ h (4 h), _ (8 h), _, _ _ h, _ _ h, _ (3 h)"
    return read(call, f"_ _ i, {matrices}, {', '.join(scales)} -> _ _ _ h, _ _ h, _ _ h")


def lstm_shape(attributes: Attributes, shapes: Shapes) -> Sequence[Shape]:
    (steps, batch, _), (directions, hidden, _) = shapes[0], shapes[2]
    return [(steps, directions, batch, hidden), *[(directions, batch, hidden)] * 2]


add(
    "DynamicQuantizeLSTM",
    lstm,
    resize=counted("hidden_size", 2, 1, lambda call: 1),
    macs=recurrent_macs,
    shape=ShapeRule(lstm_shape),
    domain=MICROSOFT,
)

# --- element by element ----------------------------------------------------------------------------------------------

add(
    "QLinearAdd QLinearMul",
    signature("..., , , ..., , , , -> ..."),
    silence="none",
    shape=ShapeRule(broadcast(0, 3)),
    domain=MICROSOFT,
)
add(
    "QLinearWhere",
    signature("..., ..., , , ..., , , , -> ..."),
    silence="none",
    shape=ShapeRule(broadcast(0, 1, 4), ((1,),)),
    domain=MICROSOFT,
)
add(
    "QLinearLeakyRelu QLinearSigmoid",
    signature("..., , , , -> ..."),
    silence="none",
    shape=ShapeRule(like(0)),
    domain=MICROSOFT,
)
