"""Operators that reduce or normalise along an axis: cutting there is legal, but not the same as silencing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onnxsurgeon.neurons.relations import Axes
from onnxsurgeon.ops.call import Call, register
from onnxsurgeon.ops.indexing import letters, text
from onnxsurgeon.ops.table import counted, read

# What is silent adds nothing to these: their axes may be cut like those of a product.
SUMS = frozenset("CumSum ReduceL1 ReduceL2 ReduceLogSum ReduceSum ReduceSumSquare".split())


@register(
    "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare"
)
def reduce(call: Call) -> Sequence[Axes | None]:
    axes, given = call.axes(0), call.parameter("axes", 1)
    if axes is None or (call.has(1) and given is None):
        return call.freeze_all("reduced along axes that are not known")
    rank = len(axes)
    if given is None or (given.size == 0):
        over = set() if call.attributes.get("noop_with_empty_axes") else set(range(rank))
    else:
        over = {int(a) % rank for a in given.ravel()}
    if call.operator not in SUMS:
        call.normalises(0, sorted(over))
    if call.attributes.get("keepdims", 1):
        return [tuple(None if a in over else axis for a, axis in enumerate(axes))]
    return [tuple(axis for a, axis in enumerate(axes) if a not in over)]


@register("Softmax LogSoftmax Hardmax LpNormalization CumSum CumProd")
def along(call: Call) -> Sequence[Axes | None]:
    axes = call.axes(0)
    if axes is None:
        return call.freeze_all("an input of unknown shape")
    old_softmax = call.version < 13 and call.operator in ("Softmax", "LogSoftmax", "Hardmax")
    axis = call.attributes.get("axis")
    if call.operator in ("CumSum", "CumProd"):
        static = call.static(1)
        axis = None if static is None else int(static.ravel()[0])
        if axis is None:
            return call.freeze_all("accumulated along an axis that is not known")
    start = int((1 if old_softmax else -1) if axis is None else axis) % max(len(axes), 1)
    if call.operator not in SUMS:
        call.normalises(0, range(start, len(axes)) if old_softmax else [start])
    return [axes]


@register("LayerNormalization RMSNormalization SimplifiedLayerNormalization", scale=1)
def layer_norm(call: Call) -> Sequence[Axes | None]:
    """The statistics run over the axes from `axis` on; outputs 1 and 2 are the statistics."""
    axis = int(call.attributes.get("axis", -1))
    rank = len(call.shape(0) or ())
    results = read(call, "..., ..., ... -> ...")
    call.normalises(0, range(axis % max(rank, 1), rank))
    if results[0] is None:
        return results
    statistics = (*results[0][: axis % max(rank, 1)], *(None,) * (rank - axis % max(rank, 1)))
    return [results[0], *(statistics for _ in results[1:])]


@register("MeanVarianceNormalization")
def mean_variance(call: Call) -> Sequence[Axes | None]:
    results = read(call, "... -> ...")
    call.normalises(0, [int(a) for a in call.attributes.get("axes") or (0, 2, 3)])
    return results


@register("BatchNormalization", silence="none", scale=1)
def batch_norm(call: Call) -> Sequence[Axes | None]:
    results = read(call, "n c ..., c, c, c, c -> n c ..., c, c, c, c")
    if call.attributes.get("training_mode"):
        call.normalises(0, [a for a in range(len(call.shape(0) or ())) if a != 1])
    return results


@register("InstanceNormalization", scale=1)
def instance_norm(call: Call) -> Sequence[Axes | None]:
    results = read(call, "n c ..., c, c -> n c ...")
    call.normalises(0, range(2, len(call.shape(0) or ())))
    return results


def norm_groups(call: Call) -> int:
    return int((call.shape(0) or (1, 1))[1]) // int(call.attributes["num_groups"])


@register("GroupNormalization", resize=counted("num_groups", 0, 1, norm_groups), scale=1)
def group_norm(call: Call) -> Sequence[Axes | None]:
    """Before opset 21 scale and shift are per group, from then on per channel."""
    groups = int(call.attributes["num_groups"])
    per = "g" if (call.shape(1) or (0,))[0] == groups and groups != (call.shape(0) or (0, 0))[1] else "(g c)"
    results = read(call, f"n (g c) *, {per}, {per} -> n (g c) *", g=groups)
    call.normalises(0, [1])
    return results


@register("LRN")
def local_response(call: Call) -> Sequence[Axes | None]:
    results = read(call, "n c ... -> n c ...")
    call.normalises(0, [1])
    return results


# --- quantisation ----------------------------------------------------------------------------------------------------


@register("QuantizeLinear DequantizeLinear", silence="none")
def quantize(call: Call) -> Sequence[Axes | None]:
    """Scales and zero points are per tensor, or along `axis`."""
    axes, scale = call.axes(0), call.shape(1)
    if axes is None or scale is None:
        return call.freeze_all("an input of unknown shape")
    axis = int(call.attributes.get("axis", 1)) % max(len(axes), 1)
    own = letters(len(axes))
    if len(scale) == len(axes) > 0 and np.prod(scale) > 1 and scale != call.shape(0):
        own[axis] = "_"  # a scale for each block along this axis
        return read(call, text(own, own, own, own))
    if np.prod(scale) > 1:
        per = own if len(scale) > 1 else [own[axis]]
        return read(call, text(own, per, per, own))
    return [axes]


@register("DynamicQuantizeLinear")
def dynamic_quantize(call: Call) -> Sequence[Axes | None]:
    """The range of which it takes the scale holds 0, whether a neuron is silent or gone."""
    return read(call, "... -> ..., ,")
