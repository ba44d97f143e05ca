"""Operators that reduce, accumulate or compare along an axis.

Cutting along an axis that they normalise over is legal, but not the same as silencing (`Call.normalises`): what is
silent adds nothing to a sum, but it does count in a mean, a maximum or a softmax.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from onnxsurgeon.arrays import Array
from onnxsurgeon.neurons.relations import Axes
from onnxsurgeon.ops.call import Call, Parameters, ValueCall
from onnxsurgeon.ops.gradient import GradientCall, GradientRule
from onnxsurgeon.ops.registry import MICROSOFT, Compute, Operator, Rule, add
from onnxsurgeon.ops.shape_inference import ShapeRule, like
from onnxsurgeon.ops.signatures import read


def reduced_axes(call: Parameters, rank: int) -> list[int]:
    """The axes that are reduced, where they are known."""
    axes = call.listed_axes(rank) if rank else []
    return axes or ([] if call.attributes.get("noop_with_empty_axes") else list(range(rank)))


def reduce(*, sums: bool) -> Rule:
    """sums: whether what is silent adds nothing to the result."""

    def rule(call: Call) -> Sequence[Axes | None]:
        axes = call.axes(0)
        if axes is None or (call.has(1) and call.parameter("axes", 1) is None):
            return call.freeze_all("reduced along axes that are not known")
        over = reduced_axes(call, len(axes))
        if not sums:
            call.normalises(0, sorted(set(over)))
        if call.attributes.get("keepdims", 1):
            return [tuple(None if a in over else axis for a, axis in enumerate(axes))]
        return [tuple(axis for a, axis in enumerate(axes) if a not in over)]

    return rule


def _reduced(function: Callable[..., Any]) -> Compute:
    def compute(call: ValueCall) -> Array:
        data = np.asarray(call.inputs[0])
        axes = tuple(reduced_axes(call, data.ndim))
        result = function(data, axis=axes, keepdims=bool(call.attributes.get("keepdims", 1)))
        return np.asarray(result).astype(data.dtype)

    return compute


def sum_of(call: GradientCall, axes: list[int]) -> str:
    """The gradient of a sum along `axes`, at each of its terms."""
    shape = call.shape(0)
    return call.emit.spread(
        call.emit.reshaped(call.gradient, tuple(1 if a in axes else n for a, n in enumerate(shape))), shape
    )


def mean_of(call: GradientCall, axes: list[int]) -> str:
    return call.emit("Div", sum_of(call, axes), float(np.prod([call.shape(0)[a] for a in axes])))


def _reduce_gradient(spread: Callable[[GradientCall, list[int]], str]) -> tuple[GradientRule]:
    def rule(call: GradientCall, index: int) -> str | None:
        if call.has(1) and call.static(1) is None:
            return None
        return spread(call, reduced_axes(call, len(call.shape(0))))

    return (rule,)


SUMMED = Operator(reduce(sums=True))
COMPARED = Operator(reduce(sums=False))

add("ReduceL1 ReduceL2 ReduceLogSum ReduceSumSquare", SUMMED)
add("ReduceLogSumExp", COMPARED)
add("ReduceSum", SUMMED, value=_reduced(np.sum), linear_in="first", gradient=_reduce_gradient(sum_of))
add("ReduceMean", COMPARED, linear_in="first", gradient=_reduce_gradient(mean_of))
add("ReduceMax", COMPARED, value=_reduced(np.max))
add("ReduceMin", COMPARED, value=_reduced(np.min))
add("ReduceProd", COMPARED, value=_reduced(np.prod))


def accumulated(*, sums: bool) -> Rule:
    """sums: whether what is silent adds nothing to the result."""

    def rule(call: Call) -> Sequence[Axes | None]:
        axes, axis = call.known(0), call.static(1)
        if axis is None:
            return call.freeze_all("accumulated along an axis that is not known")
        if not sums:
            call.normalises(0, [int(axis.ravel()[0]) % max(len(axes), 1)])
        return [axes]

    return rule


def _cumulative_sum(call: ValueCall) -> Array:
    if call.attributes.get("exclusive") or call.attributes.get("reverse"):
        raise ValueError("an unusual cumulative sum")
    return np.cumsum(call.inputs[0], axis=int(np.ravel(call.inputs[1])[0]), dtype=call.inputs[0].dtype)


add("CumSum", accumulated(sums=True), value=_cumulative_sum)
add("CumProd", accumulated(sums=False))


def softmax_axes(call: Parameters, rank: int, *, old: bool) -> list[int]:
    """One axis, or, where the opset is `old` (before 13), all from it on."""
    axis = call.axis(rank, 1 if old else -1)
    return list(range(axis, rank)) if old else [axis]


def softmax(call: Call) -> Sequence[Axes | None]:
    axes = call.known(0)
    call.normalises(0, softmax_axes(call, len(axes), old=call.version < 13))
    return [axes]


def lp_normalization(call: Call) -> Sequence[Axes | None]:
    axes = call.known(0)
    call.normalises(0, [call.axis(len(axes), -1)])
    return [axes]


def quantised_softmax(call: Call) -> Sequence[Axes | None]:
    results, rank = read(call, "..., , , , -> ..."), call.rank()
    old, axis = int(call.attributes.get("opset") or 13) < 13, call.axis(rank, -1)
    call.normalises(0, range(axis, rank) if old else [axis])
    return results


def softmax_gradient(call: GradientCall, index: int) -> str:
    emit, y = call.emit, call.outputs[0]
    mean = emit.total(emit("Mul", call.gradient, y), softmax_axes(call, len(call.shape(0)), old=call.emit.version < 13))
    return emit("Mul", y, emit("Sub", call.gradient, mean))


def log_softmax_gradient(call: GradientCall, index: int) -> str:
    emit = call.emit
    sum_ = emit.total(call.gradient, softmax_axes(call, len(call.shape(0)), old=call.emit.version < 13))
    return emit("Sub", call.gradient, emit("Mul", emit("Exp", call.outputs[0]), sum_))


SOFTMAX = Operator(softmax)

add("Hardmax", SOFTMAX)
add("Softmax", SOFTMAX, squashes=True, gradient=(softmax_gradient,))
add("LogSoftmax", SOFTMAX, squashes=True, gradient=(log_softmax_gradient,))
add("LpNormalization", lp_normalization)
add("QLinearSoftmax", quantised_softmax, shape=ShapeRule(like(0)), domain=MICROSOFT)
