"""Operators of com.microsoft that onnxruntime's optimiser writes, and experimental ones of old opsets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onnxsurgeon.neurons.relations import Axes
from onnxsurgeon.ops.attention import count_heads, linear_attention, rotary, rotary_sizes
from onnxsurgeon.ops.call import Call, Changes, Factors, Keep, Macs, register, unchanged
from onnxsurgeon.ops.expansion import pad, pad_amounts
from onnxsurgeon.ops.reduction import quantize
from onnxsurgeon.ops.shapes import MICROSOFT
from onnxsurgeon.ops.table import (
    conv,
    conv_macs,
    everything,
    gemm_macs,
    gemm_text,
    group_share,
    groups,
    read,
    signature,
)  # fmt: skip

register(
    "FusedConv",
    domain=MICROSOFT,
    silence="data",
    resize=groups(1, 0, group_share(1)),
    macs=conv_macs(1),
)(signature(conv("n (g i) *, (g o) i *, (g o), n (g o) * -> n (g o) *"), g="group"))

# --- products --------------------------------------------------------------------------------------------------------


def inner(index: int) -> Macs:
    """Multiply-accumulates of a product whose operand `index` is transposed where `transA` says so."""

    def macs(call: Call) -> list[Factors]:
        factors = everything(call, call.operand(index))
        k = factors[-2:-1] if call.attributes.get("transA") else factors[-1:]
        return [everything(call, call.result(0)) + k]

    return macs


@register("FusedMatMul TransposeMatMul", domain=MICROSOFT, silence="data", macs=inner(0))
def fused_matmul(call: Call) -> Sequence[Axes | None]:
    ranks = [len(call.shape(i) or ()) for i in (0, 1)]
    if call.attributes.get("transBatchA") or call.attributes.get("transBatchB"):
        return call.freeze_all("its batches are transposed")
    if min(ranks) < 2:
        return call.freeze_all("a product with a vector")
    left = "... k i" if call.attributes.get("transA") else "... i k"
    right = "... j k" if call.attributes.get("transB") else "... k j"
    return read(call, f"{left}, {right} -> ... i j")


register("FusedGemm", domain=MICROSOFT, silence="data", macs=gemm_macs)(signature(gemm_text))
register("CDist", domain=MICROSOFT)(signature("i k, j k -> i j"))


# --- element by element ----------------------------------------------------------------------------------------------

register("Gelu QuickGelu", domain=MICROSOFT, silence="none")(signature("... -> ..."))
register("FastGelu BiasGelu", domain=MICROSOFT, silence="none")(signature("..., ... -> ..."))
register("Affine ParametricSoftplus ScaledTanh", silence="none")(signature("... -> ..."))
register("Crop", silence="none")(signature("n c * -> n c *"))
register("NhwcMaxPool", domain=MICROSOFT, silence="none")(signature("n * c -> n * c"))
register("Inverse", domain=MICROSOFT, silence="none")(signature("... _ _ -> ... _ _"))


def offsets(call: Call, keep: Keep) -> Changes:
    labels = (call.axes(0) or (None, None))[1]
    if labels is None or unchanged(keep, labels):
        return {}
    return {"bias": np.repeat(call.attributes["bias"], keep(labels)).tolist()}


register("ImageScaler", silence="none", resize=offsets)(signature("n c * -> n c *"))


# --- normalisations --------------------------------------------------------------------------------------------------


@register("SkipLayerNormalization SkipSimplifiedLayerNormalization", domain=MICROSOFT, scale=2)
def skip_norm(call: Call) -> Sequence[Axes | None]:
    """input + skip (+ bias), normalised along the last axis; output 3 is the sum."""
    results = read(call, ", ".join(["..."] * len(call.inputs)) + " -> ..., , , ...")
    call.normalises(0, [-1])
    rows = None if results[0] is None else (*results[0][:-1], None)
    return [rows if i in (1, 2) else axes for i, axes in enumerate(results)]


@register("EmbedLayerNormalization", domain=MICROSOFT, looks_up={0: 2, 1: 4}, scale=5)
def embed(call: Call) -> Sequence[Axes | None]:
    """Tables of words, positions and segments, summed and normalised."""
    results = read(call, "_ _, _ _, _ d, _ d, _ d, d, d, _ _, _ _ -> _ _ d, , _ _ d")
    call.normalises(2, [1])
    return results


# --- as in ONNX ------------------------------------------------------------------------------------------------------

register("RotaryEmbedding", domain=MICROSOFT, silence="none", resize=rotary_sizes(2))(rotary(2, 1))
register("LinearAttention", domain=MICROSOFT, resize=count_heads)(linear_attention)

register("Pad", domain=MICROSOFT, silence="none", resize=pad_amounts)(pad)
register("QuantizeLinear DequantizeLinear", domain=MICROSOFT, silence="none")(quantize)
register("GridSample", domain=MICROSOFT, silence="none")(signature("n c *, n * -> n c *"))
register("Trilu", domain=MICROSOFT, silence="none")(signature("... _ _ -> ... _ _"))
register("CausalConvWithState", domain=MICROSOFT)(signature("n c _, c _ _, c, n c _ -> n c _, n c _"))
