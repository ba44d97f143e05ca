"""Attention as com.microsoft has it: queries, keys and values by one weight, or with their biases in one vector."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onnxsurgeon.arrays import Shape
from onnxsurgeon.neurons.relations import Axes, Axis
from onnxsurgeon.neurons.signature import Operand
from onnxsurgeon.ops.attention import count_heads, heads, left, same_scale, tie_angles
from onnxsurgeon.ops.attention_gradients import by_one_weight, by_three_inputs
from onnxsurgeon.ops.call import Call, Changes, Keep
from onnxsurgeon.ops.composition import composed
from onnxsurgeon.ops.registry import MICROSOFT, Factors, add
from onnxsurgeon.ops.shape_inference import Attributes, Infer, ShapeRule, Shapes
from onnxsurgeon.ops.signatures import connect, everything, read

EIGHT = 8


def parts(operand: Operand | None, sizes: Sequence[int]) -> list[Operand | None]:
    """The last axis of an operand, split: first queries, then keys, then values."""
    if operand is None:
        return [None] * len(sizes)
    found: list[Operand | None] = []
    start, labels = 0, operand.axes[-1]
    for size in sizes:
        piece = None if labels is None else labels[start : start + size]
        found.append(Operand((*operand.shape[:-1], size), (*operand.axes[:-1], piece)))
        start += size
    return found


def last(operand: Operand | None) -> Axis:
    return None if operand is None else operand.axes[-1]


def own_heads(rank: int) -> str:
    """A bias on the scores: one for each head, or one for all."""
    return " ".join(["_", "h", "_", "_"][4 - rank :])


def _cache(attributes: Attributes, past: Shape, batch: int, heads: int, new: int, size: int) -> Shape:
    return (batch, heads, new + (past[2] if past else 0), size)


# --- one weight ------------------------------------------------------------------------------------------------------


def widths(call: Call) -> list[int]:
    """The widths of queries, keys and values."""
    given = call.attributes.get("qkv_hidden_sizes")
    return [int(n) for n in given] if given else [(call.shape(1) or (0, 0))[1] // 3] * 3


def fused_sizes(call: Call, keep: Keep) -> Changes:
    """The number of heads and the scale; also the widths if values and queries differ in width."""
    count, old = heads(call, "num_heads"), widths(call)
    labels = [last(part) for part in parts(call.operand(1), old)]
    kept = [left(keep, axis, count, size // count) for axis, size in zip(labels, old, strict=True)]
    new = [number * size for number, size in kept]
    if new == old:
        return {}
    spelled = len(set(new)) > 1 or call.attributes.get("qkv_hidden_sizes")
    changes: Changes = {"num_heads": kept[0][0]}
    changes |= {"qkv_hidden_sizes": new} if spelled else {}
    return changes | same_scale(call, old[0] // count, kept[0][1])


def fused_macs(call: Call) -> list[Factors]:
    x, out = everything(call, call.operand(0)), everything(call, call.result(0))
    queries = everything(call, parts(call.operand(1), widths(call))[0])[1:]
    return [x + everything(call, call.operand(1))[1:], x[:2] + queries + x[1:2], out + x[1:2]]


def one_weight(call: Call) -> Sequence[Axes | None]:
    if call.attributes.get("do_rotary"):
        return call.freeze_all("it rotates its heads")
    sizes = widths(call)
    shared = [call.operand(i) for i in (5, 4)]
    operands = [call.operand(0), *parts(call.operand(1), sizes), *parts(call.operand(2), sizes), *shared]
    if operands[0] is None or operands[1] is None or sum(sizes) != (call.shape(1) or (0, 0))[1]:
        return call.freeze_all("an input of unknown shape")
    bias = own_heads(call.rank(5))
    text = f"_ _ i, i (h d), i (h d), i (h e), (h d), (h d), (h e), {bias}, _ _ h _ d -> _ _ (h e), _ _ h _ d"
    if call.has(4) or (call.outputs[1:2] and call.outputs[1].used):  # keys and values of one size in one tensor
        text = text.replace("e", "d")
    return connect(call, text, operands, {"h": heads(call, "num_heads")})


def quantised_attention(call: Call) -> Sequence[Axes | None]:
    """The rule with an integer weight; queries, keys and values have the same width."""
    text = "_ _ i, i (3 h d), (3 h d), , (3 h d), , , (3 h d), _ _ h _ d -> _ _ (h d), _ _ h _ d"
    return read(call, text, h=heads(call, "num_heads"))


def fused_shape(past: int) -> Infer:
    """Queries, keys and values by one weight; input `past` holds the earlier keys and values."""

    def infer(attributes: Attributes, shapes: Shapes) -> Sequence[Shape]:
        (batch, length, _), (_, width) = shapes[0], shapes[1]
        sizes = attributes.get("qkv_hidden_sizes") or [width // 3] * 3
        heads, before = int(attributes["num_heads"]), shapes[past] if len(shapes) > past else ()
        return [(batch, length, sizes[2]), (2, batch, heads, length + (before[3] if before else 0), sizes[1] // heads)]

    return infer


add(
    "Attention",
    one_weight,
    resize=fused_sizes,
    macs=fused_macs,
    shape=ShapeRule(fused_shape(4)),
    neutral={2: 0.0},
    gradient=composed(by_one_weight),
    domain=MICROSOFT,
)
add(
    "QAttention",
    quantised_attention,
    zeros={0: 6, 1: 7},
    resize=count_heads(lambda call: {"num_heads": parts(call.operand(1), widths(call))[0]}),
    macs=fused_macs,
    shape=ShapeRule(fused_shape(8), ((3,),)),
    zero_points={1: 7},
    domain=MICROSOFT,
)

# --- queries, keys and values from elsewhere -------------------------------------------------------------------------


def scores_macs(call: Call) -> list[Factors]:
    """Every query with every key, every weight with every value; keys lie along axis 1."""
    query, key = call.operand(0), everything(call, call.operand(1))
    return [everything(call, query) + key[1:2], everything(call, call.result(0)) + key[1:2]] if key else []


def multi_head(call: Call) -> Sequence[Axes | None]:
    """Each of the three is `b s (h d)`; their biases are concatenated in one vector."""
    if [call.rank(i) for i in range(3)] != [3, 3, 3]:
        return call.freeze_all("packed keys and values")
    if any(call.has(i) for i in (8, 9)):
        return call.freeze_all("attention with a shared past")
    sizes = [(call.shape(i) or (0,))[-1] for i in range(3)]
    shared = [call.operand(i) for i in (5, 6, 7)]
    operands = [*(call.operand(i) for i in range(3)), *parts(call.operand(3), sizes), *shared]
    inputs = f"_ _ (h d), _ _ (h d), _ _ (h e), (h d), (h d), (h e), {own_heads(call.rank(5))}"
    text = f"{inputs}, _ h _ d, _ h _ e -> _ _ (h e), _ h _ d, _ h _ e, _ h _ _"
    if shared[1]:  # then all heads are of one size
        text = text.replace("e", "d")
    return connect(call, text, operands, {"h": heads(call, "num_heads")})


def multi_head_shape(attributes: Attributes, shapes: Shapes) -> Sequence[Shape]:
    query, key, value, *more = shapes
    past, heads = more[3] if len(more) > 3 else (), int(attributes["num_heads"])
    if (len(query), len(key), len(value)) != (3, 3, 3):
        raise ValueError("packed keys and values")
    keys = _cache(attributes, past, key[0], heads, key[1], key[2] // heads)
    values = _cache(attributes, past, key[0], heads, key[1], value[2] // heads)
    return [(*query[:2], value[2]), keys, values, (query[0], heads, query[1], keys[2])]


add(
    "MultiHeadAttention",
    multi_head,
    resize=count_heads(lambda call: {"num_heads": call.operand(0)}),
    macs=scores_macs,
    shape=ShapeRule(multi_head_shape),
    neutral={3: 0.0},
    gradient=composed(by_three_inputs),
    domain=MICROSOFT,
)


def separated(call: Call) -> list[Operand | None]:
    """Queries, keys and values, which may be concatenated in one tensor."""
    if call.has(1):
        return [call.operand(i) for i in range(3)]
    count, shared = heads(call, "num_heads"), heads(call, "kv_num_heads")
    size = (call.shape(0) or (0,))[-1] // (count + 2 * shared)
    return parts(call.operand(0), [count * size, shared * size, shared * size])


def grouped_query(call: Call) -> Sequence[Axes | None]:
    """r heads of queries for each head of keys and values. Heads shrink in steps of eight: onnxruntime takes no other
    sizes."""
    count, shared = heads(call, "num_heads"), heads(call, "kv_num_heads")
    operands = separated(call)
    if operands[0] is None:
        return call.freeze_all("an input of unknown shape")
    size = operands[0].shape[-1] // count
    head = call.relations.fresh(size)
    keys = "_ _ (g d), _ _ (g d), _ g _ d, _ g _ d"
    text = f"_ _ (g r d), {keys}, _ c, _ c, _ (g r) _ _, (g r), d -> _ _ (g r d), _ g _ d, _ g _ d, _ (g r) _ _"
    operands += [*(call.operand(i) for i in (3, 4, 7, 8, 10, 11)), Operand((size,), (head,))]
    cache = (operands[0].shape[0], shared, 1, size)  # how long it is, an input says
    sizes = {"g": shared, "r": count // shared, "d": size}
    results = connect(call, text, operands, sizes, given={1: cache, 2: cache})
    if call.attributes.get("do_rotary"):  # then the whole is a multiple of sixteen
        angle = (call.axes(7) or (None,))[-1]
        in_blocks(call, angle, EIGHT)
        tie_angles(call, head, angle, 1)
        in_blocks(call, head if angle is None else head[2 * len(angle) :], 2 * EIGHT)
    else:
        in_blocks(call, head, EIGHT)
    return results


def in_blocks(call: Call, labels: Axis, size: int) -> None:
    """Blocks of this many neighbouring neurons stay or go together."""
    if labels is not None and labels.size:
        if len(labels) % size:
            call.relations.freeze(labels, f"it takes multiples of {size}")
        else:
            blocks = labels.reshape(-1, size)
            call.relations.same(blocks[:, 1:], np.repeat(blocks[:, :1], size - 1, axis=1))


def grouped_query_shape(attributes: Attributes, shapes: Shapes) -> Sequence[Shape]:
    heads, shared = int(attributes["num_heads"]), int(attributes["kv_num_heads"])
    batch, length, width = shapes[0]
    size = width // (heads if shapes[1] else heads + 2 * shared)
    return [(batch, length, heads * size)]  # of the caches it depends on the value of an input


add(
    "GroupQueryAttention",
    grouped_query,
    resize=count_heads(lambda call: dict(zip(("num_heads", "kv_num_heads"), separated(call), strict=False))),
    macs=scores_macs,
    shape=ShapeRule(grouped_query_shape),
    domain=MICROSOFT,
)
