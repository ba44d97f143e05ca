"""Operators of com.microsoft on integers: what onnxruntime's quantiser writes. Scales are per tensor or per output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

import numpy as np

from onnxsurgeon.neurons.relations import Axes
from onnxsurgeon.neurons.signature import Operand
from onnxsurgeon.ops.call import OPERATORS, Call, Changes, Factors, Keep, register, unchanged
from onnxsurgeon.ops.microsoft import inner
from onnxsurgeon.ops.shapes import MICROSOFT
from onnxsurgeon.ops.table import (
    connect,
    conv_macs,
    counted,
    everything,
    group_share,
    groups,
    matmul_text,
    read,
    signature,
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


def blocks_macs(call: Call) -> list[Factors]:
    return [everything(call, call.result(0)) + everything(call, call.operand(0))[-1:]]


@register("MatMulNBits", domain=MICROSOFT, silence="data", resize=blocks_left, macs=blocks_macs)
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


# --- products --------------------------------------------------------------------------------------------------------


@register("DynamicQuantizeMatMul", domain=MICROSOFT, macs=inner(0))
@register("MatMulIntegerToFloat", domain=MICROSOFT, zeros={0: 4}, macs=inner(0))
def scaled_matmul(call: Call) -> Sequence[Axes | None]:
    """A float product by an integer weight: per-column scales and zero points, and a bias."""
    if call.operator == "MatMulIntegerToFloat" and any(prod(call.shape(i) or ()) > 1 for i in (2, 4)):
        return call.freeze_all("quantised by row")
    inputs, _, output = matmul_text(0, 1)(call).partition(" -> ")
    extra = ", j, j, j" if call.operator == "DynamicQuantizeMatMul" else ", , j, , j, j"
    return read(call, f"{inputs}{extra} -> {output}")


def gemm_text(call: Call) -> str:
    left = "k i" if call.attributes.get("transA") else "i k"
    bias = {0: "", 1: "j", 2: "i j"}[len(call.shape(6) or ())]
    return f"{left}, , , {'j k' if call.attributes.get('transB') else 'k j'}, j, j, {bias} -> i j"


register("QGemm", domain=MICROSOFT, zeros={0: 2}, macs=inner(0))(signature(gemm_text))


@register("QLinearConv", domain=MICROSOFT, zeros={0: 2}, resize=groups(3, 0, group_share(3)), macs=conv_macs(3))
def conv(call: Call) -> Sequence[Axes | None]:
    x, y = ("n * (g i)", "n * (g o)") if call.attributes.get("channels_last") else ("n (g i) *", "n (g o) *")
    text = f"{x}, , , (g o) i *, (g o), (g o), , , (g o) -> {y}"
    return read(call, text, g=int(call.attributes.get("group") or 1))


def lstm_macs(call: Call) -> list[Factors]:
    steps = everything(call, call.operand(0))[:2]
    return [steps + everything(call, call.operand(1)), steps + everything(call, call.operand(2))]


@register("DynamicQuantizeLSTM", domain=MICROSOFT, resize=counted("hidden_size", 2, 1, lambda call: 1), macs=lstm_macs)
def lstm(call: Call) -> Sequence[Axes | None]:
    """Its weights are transposed, scaled by direction or by column; data is quantised over all of a batch."""
    points = [call.static(i) for i in (9, 11) if call.has(i)]
    if any(point is None or point.any() for point in points):
        return call.freeze_all("weights with a zero point")
    scales = ["_ (4 h)" if len(call.shape(i) or ()) > 1 else "_" for i in range(8, 12)]
    matrices = "_ i (4 h), _ h (4 h), _ (8 h), _, _ _ h, _ _ h, _ (3 h)"
    return read(call, f"_ _ i, {matrices}, {', '.join(scales)} -> _ _ _ h, _ _ h, _ _ h")


# --- element by element ----------------------------------------------------------------------------------------------

register("QLinearAdd QLinearMul", domain=MICROSOFT, silence="none")(signature("..., , , ..., , , , -> ..."))
register("QLinearWhere", domain=MICROSOFT, silence="none")(signature("..., ..., , , ..., , , , -> ..."))
register("QLinearLeakyRelu QLinearSigmoid", domain=MICROSOFT, silence="none")(signature("..., , , , -> ..."))


@register("QLinearConcat", domain=MICROSOFT, silence="none")
def concat(call: Call) -> Sequence[Axes | None]:
    """The tensors stand in threes, with their scale and zero point; otherwise it is a Concat."""
    tensors = range(2, len(call.inputs), 3)
    chosen = [call.inputs[i] for i in tensors]
    return OPERATORS["", "Concat"].rule(replace(call, inputs=chosen, label=lambda k: call.axes(tensors[k])))


# --- along axes ------------------------------------------------------------------------------------------------------


def channels(call: Call) -> str:
    return "n * c -> n * c" if call.attributes.get("channels_last") else "n c * -> n c *"


register("QLinearGlobalAveragePool QLinearAveragePool", domain=MICROSOFT, silence="none")(signature(channels))


@register("QLinearSoftmax", domain=MICROSOFT)
def softmax(call: Call) -> Sequence[Axes | None]:
    results = read(call, "..., , , , -> ...")
    rank, old = len(call.shape(0) or ()), int(call.attributes.get("opset") or 13) < 13
    start = int(call.attributes.get("axis", -1)) % max(rank, 1)
    call.normalises(0, range(start, rank) if old else [start])
    return results
