"""Operators that reduce or normalise along an axis: cutting there is legal, but not the same as silencing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onnxsurgeon.neurons import Axes, Axis
from onnxsurgeon.ops.call import Call, register
from onnxsurgeon.ops.table import counted, read


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
    call.normalises(0, range(start, len(axes)) if old_softmax else [start])
    return [axes]


@register("LayerNormalization RMSNormalization")
def layer_norm(call: Call) -> Sequence[Axes | None]:
    """The statistics run over the axes from `axis` on; outputs 1 and 2 are the statistics."""
    axis = int(call.attributes.get("axis", -1))
    results = read(call, "..., ..., ... -> ...")
    rank = len(call.shape(0) or ())
    call.normalises(0, range(axis % max(rank, 1), rank))
    return results


@register("MeanVarianceNormalization")
def mean_variance(call: Call) -> Sequence[Axes | None]:
    results = read(call, "... -> ...")
    call.normalises(0, [int(a) for a in call.attributes.get("axes") or (0, 2, 3)])
    return results


@register("BatchNormalization", silence="none")
def batch_norm(call: Call) -> Sequence[Axes | None]:
    results = read(call, "n c ..., c, c, c, c -> n c ..., c, c")
    if call.attributes.get("training_mode"):
        call.normalises(0, [a for a in range(len(call.shape(0) or ())) if a != 1])
    return results


@register("InstanceNormalization")
def instance_norm(call: Call) -> Sequence[Axes | None]:
    results = read(call, "n c ..., c, c -> n c ...")
    call.normalises(0, range(2, len(call.shape(0) or ())))
    return results


def norm_groups(call: Call) -> int:
    return int((call.shape(0) or (1, 1))[1]) // int(call.attributes["num_groups"])


@register("GroupNormalization", resize=counted("num_groups", 0, 1, norm_groups))
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


@register("ArgMax ArgMin TopK ReverseSequence", silence="none")
def ordered(call: Call) -> Sequence[Axes | None]:
    """Positions along the axis have a meaning of their own: it stays whole."""
    axes = call.axes(0)
    if axes is None:
        return call.freeze_all("an input of unknown shape")
    default = -1 if call.operator == "TopK" else 0
    axis = int(call.attributes.get("axis", default)) % max(len(axes), 1)
    frozen = range(2) if call.operator == "ReverseSequence" else [axis]
    for a in frozen:
        call.relations.freeze(axes[a], "positions along this axis have a meaning")
    result: list[Axis] = [None if a in frozen else labels for a, labels in enumerate(axes)]
    if call.operator in ("ArgMax", "ArgMin") and not call.attributes.get("keepdims", 1):
        del result[axis]
    return [tuple(result)] * len(call.outputs)


# --- quantisation ----------------------------------------------------------------------------------------------------


@register("QuantizeLinear DequantizeLinear", silence="none")
def quantize(call: Call) -> Sequence[Axes | None]:
    """Scales and zero points are per tensor, or along `axis`."""
    axes, scale = call.axes(0), call.shape(1)
    if axes is None or scale is None:
        return call.freeze_all("an input of unknown shape")
    if len(scale) == 1 and scale[0] > 1:
        axis = int(call.attributes.get("axis", 1)) % len(axes)
        letters = [f"x{a}" for a in range(len(axes))]
        return read(call, f"{' '.join(letters)}, {letters[axis]}, {letters[axis]} -> {' '.join(letters)}")
    if np.prod(scale) > 1:
        return call.freeze_all("quantised in blocks")
    return [axes]


@register("DynamicQuantizeLinear")
def dynamic_quantize(call: Call) -> Sequence[Axes | None]:
    results = read(call, "... -> ..., ,")
    call.normalises(0, range(len(call.shape(0) or ())))
    return [results[0], *(call.blank(i) for i in range(1, len(call.outputs)))]


# Which input of a normalisation scales each channel.
SCALES = {
    name: 1
    for name in "BatchNormalization InstanceNormalization GroupNormalization LayerNormalization RMSNormalization".split()
}
