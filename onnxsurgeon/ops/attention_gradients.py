"""Attention as other operators compute it: its gradients pass through scores, softmax and values."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import numpy as np

from onnxsurgeon.arrays import Array
from onnxsurgeon.ops.emitter import Emitter
from onnxsurgeon.ops.gradient import GradientCall

MASKED = -10000.0  # what com.microsoft adds to the score of a key that is not seen


def attended(emit: Emitter, query: str, key: str, value: str, scale: float, bias: Sequence[str]) -> str:
    """Values weighed by the softmax of scores. query, key, value: shapes (batch, heads, length, size). bias: what is
    added to scores."""
    scores = emit("Mul", emit.product(query, emit.swapped(key)), scale)
    for more in bias:
        scores = emit("Add", scores, more)
    return emit.product(emit.softmax(scores), value)


def split_heads(emit: Emitter, value: str, heads: int) -> str:
    """(batch, length, heads * size) as (batch, heads, length, size)."""
    batch, length, width = emit.shapes[value]
    return emit.transposed(emit.reshaped(value, (batch, length, heads, width // heads)), [0, 2, 1, 3])


def joined_heads(emit: Emitter, value: str) -> str:
    batch, heads, length, size = emit.shapes[value]
    return emit.reshaped(emit.transposed(value, [0, 2, 1, 3]), (batch, length, heads * size))


def _unseen(emit: Emitter, seen: str, shape: Sequence[int]) -> str:
    """What is added to scores: nothing where an integer mask is 1."""
    return emit.reshaped(emit("Mul", emit("Sub", 1.0, emit.number(seen)), MASKED), shape)


def _later(emit: Emitter, queries: int, keys: int) -> str:
    """Hides keys behind each query; the last query sees all."""
    hidden: Array = np.arange(keys)[None] > np.arange(queries)[:, None] + keys - queries
    return emit.constant(np.where(hidden, MASKED, 0.0)[None, None])


def by_one_weight(call: GradientCall) -> Sequence[str] | None:
    """Attention of com.microsoft: queries, keys and values by one weight. Its other inputs are a bias of the product,
    a mask, earlier keys and values, and a bias of scores."""
    mask, past, bias = 3, 4, 5
    emit, options, (batch, length, _), total = call.emit, call.attributes, call.shape(0), call.shape(1)[1]
    if call.has(past) or any(call.outputs[1:]) or options.get("do_rotary"):
        return None
    heads = int(options["num_heads"])
    widths = [int(n) for n in options.get("qkv_hidden_sizes") or [total // 3] * 3]
    product = emit.product(call.inputs[0], call.inputs[1])
    if call.has(2):
        product = emit("Add", product, call.inputs[2])
    query, key, value = (split_heads(emit, part, heads) for part in emit.parted(product, widths, 2))
    added = [call.inputs[bias]] if call.has(bias) else []
    if call.has(mask):
        shape = call.shape(mask)
        if shape not in ((batch, length), (batch, length, length)):
            return None
        added.append(
            _unseen(emit, call.inputs[mask], (batch, 1, *shape[1:-1], length) if shape[1:-1] else (batch, 1, 1, length))
        )
    if options.get("unidirectional"):
        added.append(_later(emit, length, length))
    scale = float(options.get("scale") or 1 / sqrt(widths[0] // heads))
    return [joined_heads(emit, attended(emit, query, key, value, scale, added))]


def by_three_inputs(call: GradientCall) -> Sequence[str] | None:
    """MultiHeadAttention of com.microsoft, with one bias for all three, a mask of keys, and a bias of scores."""
    shared, mask, bias = 3, 4, 5
    emit, options = call.emit, call.attributes
    if any(call.has(k) for k in range(6, 10)) or any(call.outputs[1:]) or not (call.has(1) and call.has(2)):
        return None
    if any(len(call.shape(k)) != 3 for k in range(3)):
        return None
    heads, parts = int(options["num_heads"]), list(call.inputs[:3])
    if call.has(shared):
        biases = emit.parted(call.inputs[shared], [call.shape(k)[2] for k in range(3)])
        parts = [emit("Add", part, more) for part, more in zip(parts, biases, strict=True)]
    query, key, value = (split_heads(emit, part, heads) for part in parts)
    (batch, queries, width), keys = call.shape(0), call.shape(1)[1]
    added = [call.inputs[bias]] if call.has(bias) else []
    if call.has(mask):
        if call.shape(mask) != (batch, keys):
            return None
        added.append(_unseen(emit, call.inputs[mask], (batch, 1, 1, keys)))
    if options.get("unidirectional"):
        added.append(_later(emit, queries, keys))
    scale = float(options.get("scale") or 1 / sqrt(width // heads))
    return [joined_heads(emit, attended(emit, query, key, value, scale, added))]


def standard(call: GradientCall) -> Sequence[str] | None:
    """Attention since opset 23: heads are an axis of their own, or lie in the last one; several may share keys."""
    mask, past_key, past_value = 3, 4, 5
    emit, options = call.emit, call.attributes
    if any(call.outputs[3:]) or call.has(6) or "left_window_size" in options:
        return None
    parts = list(call.inputs[:3])
    packed = len(call.shape(0)) == 3
    if packed:
        counts = [int(options["q_num_heads"]), *[int(options["kv_num_heads"])] * 2]
        parts = [split_heads(emit, part, count) for part, count in zip(parts, counts, strict=True)]
    query, key, value = parts
    if call.has(past_key):
        key, value = (emit.joined([call.inputs[past], new], 2) for past, new in ((past_key, key), (past_value, value)))
    present = [key, value]
    (_, heads, queries, size), (_, shared, keys, _) = emit.shapes[query], emit.shapes[key]
    if heads != shared:
        key, value = (_repeated(emit, one, heads // shared) for one in (key, value))
    scale = float(options.get("scale") or 1 / sqrt(size))
    scores = emit("Mul", emit.product(query, emit.swapped(key)), scale)
    cap = float(options.get("softcap") or 0.0)
    if cap:
        scores = emit("Mul", emit("Tanh", emit("Div", scores, cap)), cap)
    if options.get("is_causal"):
        later = np.arange(keys)[None] > np.arange(queries)[:, None] + (keys - queries if call.has(past_key) else 0)
        scores = emit("Add", scores, emit.constant(np.where(later, LOWEST, 0.0)[None, None]))
    if call.has(mask):
        if call.shape(mask)[-1] != keys:
            return None
        scores = emit("Add", scores, _added(call, mask))
    weights = emit.softmax(scores)
    if options.get("is_causal") or (call.has(mask) and not call.is_float(mask)):  # a query may see nothing
        weights = emit("Mul", weights, emit.mask("Greater", scores, LOWEST / 2))
    result = emit.product(weights, value)
    return [joined_heads(emit, result) if packed else result, *present]


def _added(call: GradientCall, index: int) -> str:
    """A mask as what is added to scores: one of truths hides where it is false."""
    emit, mask = call.emit, call.inputs[index]
    if call.is_float(index):
        return mask
    return emit("Mul", emit.number(emit("Not", mask)), LOWEST)


LOWEST = -1e30  # the score of a key that is not seen


def _repeated(emit: Emitter, value: str, times: int) -> str:
    """Each head several times in a row."""
    batch, heads, length, size = emit.shapes[value]
    wide = emit("Add", emit.reshaped(value, (batch, heads, 1, length, size)), emit.filled((times, 1, 1), 0.0))
    return emit.reshaped(wide, (batch, heads * times, length, size))
