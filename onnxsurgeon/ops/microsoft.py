"""Operators of com.microsoft: what onnxruntime's optimiser, quantiser and model builder write. Here are their shapes too."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import sqrt
from typing import Any

import numpy as np

from onnxsurgeon.neurons import POSITIONS, Axes, Axis
from onnxsurgeon.ops.call import OPERATORS, Call, Changes, Factors, Keep, Macs, Rule, register
from onnxsurgeon.ops.table import conv, conv_macs, counted, everything, gemm_text, group_share, matmul_text, read, signature
from onnxsurgeon.signature import Shape

MICROSOFT = "com.microsoft"
Shapes = Sequence[Shape | None]
Infer = Callable[[Mapping[str, Any], Shapes], Sequence[Shape | None]]

# What the shape of an output is; of the others it is not known. The first entry of a pair is the first output's.
SHAPES: dict[tuple[str, str], Infer] = {}


def known(names: str, infer: Infer, *, domain: str = MICROSOFT) -> None:
    SHAPES.update({(domain, name): infer for name in names.split()})


def like(index: int) -> Infer:
    return lambda attributes, shapes: [shapes[index]]


def broadcast(*indices: int) -> Infer:
    def infer(attributes: Mapping[str, Any], shapes: Shapes) -> Sequence[Shape | None]:
        given = [shapes[i] for i in indices]
        return [None] if any(s is None for s in given) else [np.broadcast_shapes(*(s for s in given if s is not None))]

    return infer


def pooled(attributes: Mapping[str, Any], shapes: Shapes) -> Sequence[Shape | None]:
    x = shapes[0]
    if x is None:
        return [None]
    ones = (1,) * (len(x) - 2)
    return [(x[0], *ones, x[-1]) if attributes.get("channels_last") else (x[0], x[1], *ones)]


def product(a: int, b: int) -> Infer:
    """A matrix product, with the transpositions that attributes ask for."""

    def infer(attributes: Mapping[str, Any], shapes: Shapes) -> Sequence[Shape | None]:
        left, right = shapes[a], shapes[b]
        if left is None or right is None or min(len(left), len(right)) < 2:
            return [None]
        rows = left[-1] if attributes.get("transA") else left[-2]
        columns = right[-2] if attributes.get("transB") else right[-1]
        return [(*np.broadcast_shapes(left[:-2], right[:-2]), rows, columns)]

    return infer


def _attention(attributes: Mapping[str, Any], shapes: Shapes) -> Sequence[Shape | None]:
    x, weight = shapes[0], shapes[1]
    sizes = attributes.get("qkv_hidden_sizes")
    return [None if x is None or weight is None else (*x[:2], sizes[2] if sizes else weight[1] // 3)]


def _embed(attributes: Mapping[str, Any], shapes: Shapes) -> Sequence[Shape | None]:
    ids, words = shapes[0], shapes[2]
    out = None if ids is None or words is None else (*ids, words[1])
    return [out, None if ids is None else ids[:1], out]


# --- fused with an activation or a transposition ---------------------------------------------------------------------


def define(names: str, rule: Rule, infer: Infer | None = None, *, domain: str = MICROSOFT, **options: Any) -> None:
    register(names, domain=domain, **options)(rule)
    if infer is not None:
        known(names, infer, domain=domain)


define(
    "FusedConv",
    signature(conv("n (g i) *, (g o) i *, (g o), n (g o) * -> n (g o) *"), g="group"),
    silence="data",
    resize=counted("group", 1, 0, group_share(1)),
    macs=conv_macs(1),
)


def inner(index: int, flag: str) -> Macs:
    """Multiply-accumulates of a product whose operand `index` is transposed where `flag` says so."""

    def macs(call: Call) -> list[Factors]:
        factors = everything(call, call.operand(index))
        k = factors[-2:-1] if call.attributes.get(flag) else factors[-1:]
        return [everything(call, call.result(0)) + k]

    return macs


def fused_matmul(call: Call) -> Sequence[Axes | None]:
    if call.attributes.get("transBatchA") or call.attributes.get("transBatchB"):
        return call.freeze_all("its batches are transposed")
    left = "... k i" if call.attributes.get("transA") else "... i k"
    right = "... j k" if call.attributes.get("transB") else "... k j"
    return read(call, f"{left}, {right} -> ... i j")


define("FusedMatMul TransposeMatMul", fused_matmul, product(0, 1), silence="data", macs=inner(0, "transA"))
define("FusedGemm", signature(gemm_text), silence="data", macs=inner(0, "transA"))
define("Gelu QuickGelu", signature("... -> ..."), like(0), silence="none")
define("FastGelu BiasGelu", signature("..., ... -> ..."), like(0), silence="none")


# --- normalisations --------------------------------------------------------------------------------------------------


def skip_norm(call: Call) -> Sequence[Axes | None]:
    """input + skip (+ bias), normalised along the last axis; output 3 is the sum."""
    texts = ["..."] * len(call.inputs)
    results = read(call, ", ".join(texts) + " -> ..., , , ...")
    call.normalises(0, [-1])
    return results


def _skip_shapes(attributes: Mapping[str, Any], shapes: Shapes) -> Sequence[Shape | None]:
    x = shapes[0]
    statistic = None if x is None else (*x[:-1], 1)
    return [x, statistic, statistic, x]


define("SkipLayerNormalization SkipSimplifiedLayerNormalization", skip_norm, _skip_shapes)


def simplified(call: Call) -> Sequence[Axes | None]:
    results = read(call, "..., ... -> ...")
    rank = len(call.shape(0) or ())
    call.normalises(0, range(int(call.attributes.get("axis", -1)) % max(rank, 1), rank))
    return results


define("SimplifiedLayerNormalization", simplified, like(0), domain="")


def embed(call: Call) -> Sequence[Axes | None]:
    """Tables of words, positions and segments, summed and normalised."""
    results = read(call, ", , _ d, _ d, _ d, d, d -> _ _ d, , _ _ d")
    call.normalises(2, [1])
    return results


define("EmbedLayerNormalization", embed, _embed, ignores=(0, 1, 7, 8))


# --- attention -------------------------------------------------------------------------------------------------------


def heads(call: Call) -> int:
    return max(int(call.attributes.get("num_heads") or 1), 1)


def attention_sizes(size: Callable[[Call], int], axis: Callable[[Call], Axis]) -> Callable[[Call, Keep], Changes]:
    """The number of heads; and the scale, which follows from the head size unless it is spelled out."""

    def resize(call: Call, keep: Keep) -> Changes:
        labels = axis(call)
        if labels is None or keep(labels).all():
            return {}
        left = keep(labels).reshape(heads(call), -1)
        changes: Changes = {"num_heads": int(left.any(axis=1).sum())}
        if not call.attributes.get("scale"):
            changes["scale"] = 1.0 / sqrt(size(call))
        return changes

    return resize


def fused_axis(call: Call) -> Axis:
    """The neurons of the queries in the fused weight."""
    labels = (call.axes(1) or (None, None))[1]
    return None if labels is None else labels[: len(labels) // 3]


def attention(call: Call) -> Sequence[Axes | None]:
    """Queries, keys and values by one weight."""
    if call.attributes.get("qkv_hidden_sizes") or call.has(4):
        return call.freeze_all("attention with a past, or with heads of different sizes")
    bias = " ".join(["_", "h", "_", "_"][4 - len(call.shape(5) or ()) :])
    return read(call, f"b s i, i (3 h d), (3 h d), , , {bias} -> b s (h d)", h=heads(call))


def attention_macs(call: Call) -> list[Factors]:
    x, out = everything(call, call.operand(0)), everything(call, call.result(0))
    return [x + everything(call, call.operand(1))[1:], out + x[1:2], out + x[1:2]]


define(
    "Attention",
    attention,
    _attention,
    resize=attention_sizes(lambda call: (call.shape(1) or (1, 3))[1] // 3 // heads(call), fused_axis),
    macs=attention_macs,
    ignores=(3,),
)


def multi_head(call: Call) -> Sequence[Axes | None]:
    """Separate queries, keys and values, each `b s (h d)`; their biases lie behind each other in one vector."""
    ranks = [len(call.shape(i) or ()) for i in range(3)]
    if ranks != [3, 3, 3] or call.has(6) or call.has(7) or any(t.used for t in call.outputs[1:]):
        return call.freeze_all("packed keys and values, or a past")
    bias = " ".join(["_", "h", "_", "_"][4 - len(call.shape(5) or ()) :])
    results = read(call, f"b s (h d), b t (h d), b t (h e), , , {bias} -> b s (h e)", h=heads(call))
    biases = call.axes(3)
    if biases and biases[0] is not None:
        start = 0
        for index in range(3):
            labels = (call.axes(index) or (None,))[-1]
            part = biases[0][start : start + (call.shape(index) or (0,))[-1]]
            start += len(part)
            if labels is None:
                call.relations.freeze(part, POSITIONS)
            else:
                call.relations.same(part, labels)
    return results


def multi_head_macs(call: Call) -> list[Factors]:
    q, k, v = (everything(call, call.operand(i)) for i in range(3))
    return [q + k[1:2], everything(call, call.result(0)) + v[1:2]] if v else []


define(
    "MultiHeadAttention",
    multi_head,
    lambda attributes, shapes: [
        None if shapes[0] is None or len(shapes) < 3 or shapes[2] is None or len(shapes[2]) != 3
        else (*shapes[0][:2], shapes[2][2])
    ],
    resize=attention_sizes(
        lambda call: (call.shape(0) or (1,))[-1] // heads(call), lambda call: (call.axes(0) or (None,))[-1]
    ),
    macs=multi_head_macs,
    ignores=(4,),
)  # fmt: skip


def grouped_query(call: Call) -> Sequence[Axes | None]:
    """r heads of queries for each head of keys and values; the head size stays: caches and rotations spell it."""
    shared = int(call.attributes.get("kv_num_heads") or 1)
    size = (call.shape(0) or (0, 0, 1))[2] // heads(call)
    if len(call.shape(1) or ()) != 3 or len(call.shape(2) or ()) != 3:
        return call.freeze_all("packed queries, keys and values")
    text = f"b s (g r {size}), b s (g {size}), b s (g {size}), b g _ _, b g _ _ -> b s (g r {size}), b g _ _, b g _ _"
    return read(call, text, g=shared)


def grouped_sizes(call: Call, keep: Keep) -> Changes:
    changes: Changes = {}
    for index, name in ((0, "num_heads"), (1, "kv_num_heads")):
        labels, count = (call.axes(index) or (None,))[-1], int(call.attributes.get(name) or 1)
        if labels is not None and not keep(labels).all():
            changes[name] = int(keep(labels).reshape(count, -1).any(axis=1).sum())
    return changes


define(
    "GroupQueryAttention",
    grouped_query,
    lambda attributes, shapes: [shapes[0]],
    resize=grouped_sizes,
    macs=multi_head_macs,
    ignores=(5, 6, 7, 8, 9),
)


def rotary(call: Call) -> Sequence[Axes | None]:
    """Heads may go, the head size stays."""
    if len(call.shape(0) or ()) == 4:
        return read(call, "b h s _ -> b h s _")
    size = 2 * (call.shape(2) or (0, 1))[1]
    if call.attributes.get("rotary_embedding_dim"):
        size = (call.shape(0) or (0, 0, 1))[2] // heads(call)
    return read(call, f"b s (h {size}) -> b s (h {size})")


def rotary_sizes(call: Call, keep: Keep) -> Changes:
    spelled = bool(call.attributes.get("num_heads"))
    return counted("num_heads", 0, 2, lambda c: (c.shape(0) or (0, 0, 1))[2] // heads(c))(call, keep) if spelled else {}


define("RotaryEmbedding", rotary, like(0), resize=rotary_sizes, silence="none", ignores=(1, 2, 3))


# --- quantised -------------------------------------------------------------------------------------------------------


def by_blocks(call: Call) -> Sequence[Axes | None]:
    """The rows of a weight that is quantised in blocks along its columns: outputs may go, inputs stay."""
    scales = "(j c)" if len(call.shape(2) or ()) == 1 else "j *"
    points = {0: "", 1: "(j p)"}.get(len(call.shape(3) or ()), "j *")
    return read(call, f"... _, j *, {scales}, {points}, , j -> ... j", j=int(call.attributes["N"]))


def blocks_left(call: Call, keep: Keep) -> Changes:
    labels = call.result(0).axes[-1]
    return {} if labels is None or keep(labels).all() else {"N": int(keep(labels).sum())}


def blocks_macs(call: Call) -> list[Factors]:
    return [[*everything(call, call.result(0)), (int(call.attributes["K"]), None)]]


define(
    "MatMulNBits",
    by_blocks,
    lambda attributes, shapes: [None if shapes[0] is None else (*shapes[0][:-1], int(attributes["N"]))],
    resize=blocks_left,
    macs=blocks_macs,
)

define("QLinearAdd QLinearMul", signature("..., , , ..., , , , -> ..."), broadcast(0, 3), silence="none")
define("QLinearLeakyRelu QLinearSigmoid", signature("..., , , , -> ..."), like(0), silence="none")


def channels(call: Call) -> str:
    return "n * c -> n * c" if call.attributes.get("channels_last") else "n c * -> n c *"


define("QLinearGlobalAveragePool", signature(channels), pooled, silence="none")
define("QLinearAveragePool", signature(channels), silence="none")


def quantised_concat(call: Call) -> Sequence[Axes | None]:
    """The tensors stand among their scales and zero points; otherwise it is a Concat."""
    tensors = range(2, len(call.inputs), 3)
    inside = Call(
        call.name, "Concat", call.version, call.attributes, [call.inputs[i] for i in tensors], call.outputs,
        call.relations, lambda k: call.axes(tensors[k]), call.body, call.capture,
    )  # fmt: skip
    for index in tensors:
        call.axes(index)
    return OPERATORS["", "Concat"].rule(inside)


def _concat_shapes(attributes: Mapping[str, Any], shapes: Shapes) -> Sequence[Shape | None]:
    parts = [shapes[i] for i in range(2, len(shapes), 3)]
    if any(p is None for p in parts):
        return [None]
    axis, first = int(attributes["axis"]), list(parts[0] or ())
    first[axis] = sum(p[axis] for p in parts if p is not None)
    return [tuple(first)]


define("QLinearConcat", quantised_concat, _concat_shapes, silence="none")


def scaled_matmul(call: Call) -> Sequence[Axes | None]:
    """A float product by an integer weight: per-column scales and zero points, and a bias."""
    text = matmul_text(0, 1)(call).partition(" -> ")
    extra = ", j, j, j" if call.operator == "DynamicQuantizeMatMul" else ", , j, , j, j"
    results = read(call, f"{text[0]}{extra} -> {text[2]}")
    if call.operator == "DynamicQuantizeMatMul":
        call.normalises(0, range(len(call.shape(0) or ())))
    return results


define("DynamicQuantizeMatMul MatMulIntegerToFloat", scaled_matmul, product(0, 1), zeros={0: 4}, macs=inner(0, ""))


def quantised_gemm(call: Call) -> str:
    left = "k i" if call.attributes.get("transA") else "i k"
    return f"{left}, , , {'j k' if call.attributes.get('transB') else 'k j'}, j, j, j -> i j"


define("QGemm", signature(quantised_gemm), product(0, 3), zeros={0: 2}, macs=inner(0, "transA"))


def per_axis(call: Call) -> Sequence[Axes | None]:
    return OPERATORS["", call.operator].rule(call)


define("QuantizeLinear DequantizeLinear", per_axis, like(0), silence="none")
