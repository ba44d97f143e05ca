"""Attention: heads are groups of an axis, or an axis of their own. That of com.microsoft is in `fused_attention`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import sqrt

from onnxsurgeon.arrays import Shape
from onnxsurgeon.neurons.relations import POSITIONS, Axes, Axis
from onnxsurgeon.neurons.signature import Operand
from onnxsurgeon.ops.attention_gradients import standard
from onnxsurgeon.ops.call import Call, Changes, Keep, blocks, unchanged
from onnxsurgeon.ops.composition import composed
from onnxsurgeon.ops.registry import MICROSOFT, Factors, Operator, Resize, Rule, add
from onnxsurgeon.ops.shape_inference import Attributes, ShapeRule, Shapes, like
from onnxsurgeon.ops.signatures import counted, everything, read

SEPARATE = "b (h r) _ d, b h _ d, b h _ e", "b (h r) _ e"
PACKED = "b _ (h r d), b _ (h d), b _ (h e)", "b _ (h r e)"


def heads(call: Call, name: str) -> int:
    return int(call.attributes.get(name) or 0)


def head_size(index: int, name: str) -> Callable[[Call], int]:
    return lambda call: (call.shape(index) or (0, 0, 0))[-1] // max(heads(call, name), 1)


def left(keep: Keep, labels: Axis, number: int, size: int) -> tuple[int, int]:
    """How many blocks of `size` neurons keep one, and how many each of them keeps."""
    if labels is None:
        return number, size
    count = blocks(keep, labels, len(labels) // number)
    return count, int(keep(labels).sum()) // max(count, 1)


def same_scale(call: Call, old: int, new: int) -> Changes:
    """Writes the scale as an attribute if it follows from the head size and that changes."""
    return {} if new == old or call.attributes.get("scale") else {"scale": 1.0 / sqrt(old)}


def count_heads(of: Callable[[Call], Mapping[str, Operand | None]]) -> Resize:
    """Rewrites the attributes that hold numbers of heads, and the scale. of: the operand with the heads of each
    attribute; where heads are an axis of their own, the node has no such attribute."""

    def resize(call: Call, keep: Keep) -> Changes:
        changes: Changes = {}
        for name, operand in of(call).items():
            number, width, labels = heads(call, name), 0, None
            if operand is not None:
                width, labels = operand.shape[-1], operand.axes[-1]
            size = width // max(number, 1)
            count, kept = left(keep, labels, max(number, 1), size)
            changes |= {name: count} if number not in (0, count) else {}
            changes |= same_scale(call, size, kept)
        return changes

    return resize


def separate_heads(call: Call) -> dict[str, Operand | None]:
    return {"kv_num_heads": call.operand(1), "q_num_heads": call.operand(0)}


def attention_macs(call: Call) -> list[Factors]:
    """Every query with every key, every weight with every value."""
    keys = everything(call, call.operand(1))[-2:-1] if call.rank(1) == 4 else everything(call, call.operand(1))[1:2]
    return [everything(call, call.operand(0)) + keys, everything(call, call.result(0)) + keys]


def grouped(call: Call) -> dict[str, int]:
    """The sizes of h and r where attributes say them."""
    kv = heads(call, "kv_num_heads")
    return {"h": kv, "r": heads(call, "q_num_heads") // kv} if kv else {}


def attention(call: Call) -> Sequence[Axes | None]:
    """Sequences are frozen."""
    inputs, output = PACKED if call.rank() == 3 else SEPARATE
    mask = " ".join(["b", "(h r)", "_", "_"][4 - call.rank(3) :])
    pattern = f"{inputs}, {mask}, b h _ d, b h _ e, b -> {output}, b h _ d, b h _ e, b (h r) _ _"
    return read(call, pattern, **grouped(call))


def linear_attention(call: Call) -> Sequence[Axes | None]:
    decay = "b _ h" if (call.shape(4) or (0,))[-1] == heads(call, "kv_num_heads") else "b _ (h d)"
    return read(call, f"{PACKED[0]}, b h d e, {decay}, b _ h -> {PACKED[1]}, b h d e", **grouped(call))


def linear_shape(attributes: Attributes, shapes: Shapes) -> Sequence[Shape]:
    heads, shared = int(attributes["q_num_heads"]), int(attributes["kv_num_heads"])
    batch, length, width = shapes[0]
    size = shapes[2][2] // shared
    return [(batch, length, heads * size), (batch, shared, width // heads, size)]


LINEAR = Operator(linear_attention, resize=count_heads(separate_heads))

add("Attention", attention, resize=count_heads(separate_heads), macs=attention_macs, gradient=composed(standard))
add("LinearAttention", LINEAR)
add("LinearAttention", LINEAR, shape=ShapeRule(linear_shape), domain=MICROSOFT)

# --- rotations -------------------------------------------------------------------------------------------------------


def rotated_heads(call: Call, angles: int) -> int:
    """The number of heads along an axis; for com.microsoft, it may follow only from the angles."""
    given, width = heads(call, "num_heads"), (call.shape(0) or (0, 0, 1))[-1]
    return given or max(width // (2 * (call.shape(angles) or (1, 1))[-1]), 1)


def rotary_sizes(angles: int) -> Callable[[Call, Keep], Changes]:
    def resize(call: Call, keep: Keep) -> Changes:
        labels, changes = (call.axes(angles) or (None,))[-1], Changes()
        if heads(call, "num_heads") and call.rank() == 3:
            changes = counted("num_heads", 0, 2, head_size(0, "num_heads"))(call, keep)
        if heads(call, "rotary_embedding_dim") and labels is not None and not unchanged(keep, labels):
            changes["rotary_embedding_dim"] = 2 * int(keep(labels).sum())
        return changes

    return resize


def rotary(angles: int, positions: int) -> Rule:
    """Two neurons that are rotated together, and their angle, are one; a head's other neurons pass.

    angles: the first of the two inputs of cosines and sines. positions: the input that picks among them.
    """

    def rule(call: Call) -> Sequence[Axes | None]:
        packed = call.rank() == 3
        first = call.rank(positions) == 1  # the position of the first; the others follow
        where, s = ("_", "_") if first else ("b s", "s")
        x, table = f"b {s} f" if packed else f"b h {s} f", "_ c" if call.rank(angles) == 2 else "b s c"
        inputs = {0: x, angles: table, angles + 1: table, positions: where}
        results = read(call, ", ".join(inputs[i] for i in sorted(inputs)) + f" -> {x}")
        flat, angle = (call.axes(0) or (None,))[-1], (call.axes(angles) or (None,))[-1]
        tie_angles(call, flat, angle, rotated_heads(call, angles) if packed else 1)
        return results

    return rule


def tie_angles(call: Call, flat: Axis, angle: Axis, count: int) -> None:
    """`flat` is an axis of `count` heads, one behind the other."""
    if flat is None:
        call.relations.freeze(angle, POSITIONS)
        return
    head = flat
    if count > 1:
        head = call.relations.fresh(len(flat) // count)
        call.relations.product(flat, [call.relations.fresh(count), head])
    rotated = head[: heads(call, "rotary_embedding_dim") or len(head)] if angle is None else head[: 2 * len(angle)]
    interleaved = call.attributes.get("interleaved") or call.attributes.get("rotary_interleaved")
    pairs = rotated.reshape(-1, 2).T if interleaved else rotated.reshape(2, -1)
    call.relations.same(pairs[0], pairs[1])
    if angle is None:
        call.relations.freeze(pairs[0], POSITIONS)
    else:
        call.relations.same(pairs[0], angle)


add("RotaryEmbedding", rotary(1, 3), silence="none", resize=rotary_sizes(1))
add("RotaryEmbedding", rotary(2, 1), silence="none", resize=rotary_sizes(2), shape=ShapeRule(like(0)), domain=MICROSOFT)
