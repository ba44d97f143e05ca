"""Attention: heads are groups of an axis, or an axis of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from onnxsurgeon.neurons import POSITIONS, Axes
from onnxsurgeon.ops.call import Call, Changes, Factors, Keep, register
from onnxsurgeon.ops.table import counted, everything, read

# q: query, k: key and v: value heads of sizes d and e; h heads of k and v, each for r heads of q.
SEPARATE = "b (h r) _ d, b h _ d, b h _ e", "b (h r) _ e"
PACKED = "b _ (h r d), b _ (h d), b _ (h e)", "b _ (h r e)"


def heads(call: Call, name: str) -> int:
    return int(call.attributes.get(name) or 0)


def head_size(index: int, name: str) -> Callable[[Call], int]:
    return lambda call: (call.shape(index) or (0, 0, 0))[-1] // max(heads(call, name), 1)


def count_heads(call: Call, keep: Keep) -> Changes:
    """The attributes that spell numbers of heads; where heads are an axis there are none."""
    changes: Changes = {}
    for index, name in ((0, "q_num_heads"), (1, "kv_num_heads")):
        if heads(call, name):
            changes |= counted(name, index, 2, head_size(index, name))(call, keep)
    return changes


def attention_macs(call: Call) -> list[Factors]:
    """Every query with every key, every weight with every value."""
    keys = (
        everything(call, call.operand(1))[-2:-1]
        if len(call.shape(1) or ()) == 4
        else everything(call, call.operand(1))[1:2]
    )
    return [everything(call, call.operand(0)) + keys, everything(call, call.result(0)) + keys]


def grouped(call: Call) -> dict[str, int]:
    """The sizes of h and r where attributes say them."""
    kv = heads(call, "kv_num_heads")
    return {"h": kv, "r": heads(call, "q_num_heads") // kv} if kv else {}


@register("Attention", resize=count_heads, macs=attention_macs)
def attention(call: Call) -> Sequence[Axes | None]:
    """Sequences stay whole. So does the head size where the scale follows from it."""
    inputs, output = PACKED if len(call.shape(0) or ()) == 3 else SEPARATE
    mask = " ".join(["b", "(h r)", "_", "_"][4 - len(call.shape(3) or ()) :])
    pattern = f"{inputs}, {mask}, b h _ d, b h _ e, b -> {output}, b h _ d, b h _ e, b (h r) _ _"
    return scaled(call, pattern)


@register("LinearAttention", resize=count_heads)
def linear_attention(call: Call) -> Sequence[Axes | None]:
    decay = "b _ h" if (call.shape(4) or (0,))[-1] == heads(call, "kv_num_heads") else "b _ (h d)"
    return scaled(call, f"{PACKED[0]}, b h d e, {decay}, b _ h -> {PACKED[1]}, b h d e")


def scaled(call: Call, pattern: str) -> list[Axes | None]:
    """Relates the vertex, its head size a literal where there is no `scale`."""
    if not call.attributes.get("scale"):
        size = head_size(0, "q_num_heads")(call)
        pattern = " ".join(str(size) if word == "d" else word for word in _words(pattern))
    return read(call, pattern, **grouped(call))


def _words(pattern: str) -> list[str]:
    return pattern.replace("(", "( ").replace(")", " )").replace(",", " ,").split()


def rotary_sizes(call: Call, keep: Keep) -> Changes:
    angles = (call.axes(1) or (None,))[-1]
    changes = counted("num_heads", 0, 2, head_size(0, "num_heads"))(call, keep) if heads(call, "num_heads") else {}
    if heads(call, "rotary_embedding_dim") and angles is not None and not keep(angles).all():
        changes["rotary_embedding_dim"] = 2 * int(keep(angles).sum())
    return changes


@register("RotaryEmbedding", silence="none", resize=rotary_sizes)
def rotary(call: Call) -> Sequence[Axes | None]:
    """The two neurons that are rotated together, and their angle, are one; a head's neurons beyond those pass."""
    packed = len(call.shape(0) or ()) == 3
    x, angles = "b s f" if packed else "b h s f", "_ c" if len(call.shape(1) or ()) == 2 else "b s c"
    results = read(call, f"{x}, {angles}, {angles}, b s -> {x}")
    flat, angle = (call.axes(0) or (None,))[-1], (call.axes(1) or (None,))[-1]
    if flat is None:
        call.relations.freeze(angle, POSITIONS)
        return results
    head = flat
    if packed:
        head = call.relations.fresh(head_size(0, "num_heads")(call))
        call.relations.product(flat, [call.relations.fresh(len(flat) // len(head)), head])
    rotated = head[: heads(call, "rotary_embedding_dim") or len(head)]
    pairs = rotated.reshape(-1, 2).T if call.attributes.get("interleaved") else rotated.reshape(2, -1)
    call.relations.same(pairs[0], pairs[1])
    if angle is None:
        call.relations.freeze(pairs[0], POSITIONS)
    else:
        call.relations.same(pairs[0], angle)
    return results
