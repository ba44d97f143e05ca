"""Operators that reduce, accumulate or compare along an axis.

Cutting along an axis that they normalise over is legal, but not the same as silencing (`Call.normalises`): what is
silent adds nothing to a sum, but it does count in a mean, a maximum or a softmax.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from onnxsurgeon.arrays import Array
from onnxsurgeon.neurons.relations import Axes
from onnxsurgeon.ops.call import Call, Parameters, ValueCall
from onnxsurgeon.ops.emitter import Emitter
from onnxsurgeon.ops.gradient import GradientCall, GradientRule, derivative
from onnxsurgeon.ops.registry import MICROSOFT, Compute, Operator, Rule, add
from onnxsurgeon.ops.shape_inference import ShapeRule, like
from onnxsurgeon.ops.signatures import read

MOST_FACTORS = 1024  # of a product that is differentiated


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


def kept(call: GradientCall, value: str, axes: list[int]) -> str:
    """The result, or its gradient, with length 1 along the axes that were reduced."""
    return call.emit.reshaped(value, tuple(1 if a in axes else n for a, n in enumerate(call.shape(0))))


def _times(slope: Callable[[GradientCall, str], str]) -> Callable[[GradientCall, list[int]], str]:
    """slope: emits the derivative of the result, which is given with all its axes, by each element."""

    def made(call: GradientCall, axes: list[int]) -> str:
        found = slope(call, kept(call, call.outputs[0], axes))
        return call.emit("Mul", kept(call, call.gradient, axes), found)

    return made


def to_extremes(call: GradientCall, axes: list[int]) -> str:
    """Shared by all that are as large as the result, or as small."""
    emit, x, y = call.emit, call.inputs[0], kept(call, call.outputs[0], axes)
    largest = emit.number(emit("Not", emit("Or", emit("Less", x, y), emit("Greater", x, y))))
    share = emit("Div", kept(call, call.gradient, axes), emit.total(largest, axes))
    return emit("Mul", share, largest)


def signs(emit: Emitter, value: str) -> str:
    return emit("Sub", emit.mask("Greater", value, 0.0), emit.mask("Less", value, 0.0))


def no_zero(emit: Emitter, value: str) -> str:
    """A value that is not negative, with 1 in place of 0."""
    return emit("Add", value, emit.number(emit("Not", emit("Greater", value, 0.0))))


def to_factors(call: GradientCall, axes: list[int]) -> str | None:
    """Each element's gradient is the product of the others: what lies before it times what lies behind it."""
    emit, shape = call.emit, call.shape(0)
    rest = [a for a in range(len(shape)) if a not in axes]
    count, rows = prod(shape[a] for a in axes), prod(shape[a] for a in rest)
    if count > MOST_FACTORS:
        return None
    flat = emit.reshaped(emit.transposed(call.inputs[0], [*rest, *axes]), (rows, count))
    factors = [emit.selected(flat, 1, np.array([k])) for k in range(count)]
    before, behind = [emit.filled((rows, 1), 1.0)], [emit.filled((rows, 1), 1.0)]
    for first, last in zip(factors[:-1], factors[:0:-1], strict=True):
        before.append(emit("Mul", before[-1], first))
        behind.append(emit("Mul", behind[-1], last))
    others = emit.joined([emit("Mul", a, b) for a, b in zip(before, behind[::-1], strict=True)], 1)
    turned = emit.reshaped(others, [shape[a] for a in (*rest, *axes)])
    order = np.argsort([*rest, *axes]).tolist()
    return emit("Mul", kept(call, call.gradient, axes), emit.transposed(turned, order))


def _reduce_gradient(spread: Callable[[GradientCall, list[int]], str | None]) -> tuple[GradientRule]:
    def rule(call: GradientCall, index: int) -> str | None:
        if call.has(1) and call.static(1) is None:
            return None
        axes = reduced_axes(call, len(call.shape(0)))
        return spread(call, axes)

    return (rule,)


SUMMED = Operator(reduce(sums=True))
COMPARED = Operator(reduce(sums=False))

LENGTH = _times(lambda call, y: call.emit("Div", call.inputs[0], no_zero(call.emit, y)))
TWICE = _times(lambda call, y: call.emit("Mul", call.inputs[0], 2.0))

add("ReduceL1", SUMMED, gradient=_reduce_gradient(_times(lambda call, y: signs(call.emit, call.inputs[0]))))
add("ReduceL2", SUMMED, gradient=_reduce_gradient(LENGTH))
add(
    "ReduceLogSum",
    SUMMED,
    gradient=_reduce_gradient(
        lambda call, axes: call.emit.spread(
            call.emit("Div", kept(call, call.gradient, axes), call.emit("Exp", kept(call, call.outputs[0], axes))),
            call.shape(0),
        )
    ),
)
add("ReduceSumSquare", SUMMED, gradient=_reduce_gradient(TWICE))
add(
    "ReduceLogSumExp",
    COMPARED,
    gradient=_reduce_gradient(_times(lambda call, y: call.emit("Exp", call.emit("Sub", call.inputs[0], y)))),
)
add("ReduceSum", SUMMED, value=_reduced(np.sum), linear_in="first", gradient=_reduce_gradient(sum_of))
add("ReduceMean", COMPARED, linear_in="first", gradient=_reduce_gradient(mean_of))
add("ReduceMax", COMPARED, value=_reduced(np.max), gradient=_reduce_gradient(to_extremes))
add("ReduceMin", COMPARED, value=_reduced(np.min), gradient=_reduce_gradient(to_extremes))
add("ReduceProd", COMPARED, value=_reduced(np.prod), gradient=_reduce_gradient(to_factors))


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


def cumulative_gradient(call: GradientCall, index: int) -> str:
    """Accumulated from the other end."""
    back = 1 - int(call.attributes.get("reverse", 0))
    exclusive = int(call.attributes.get("exclusive", 0))
    return call.emit("CumSum", call.gradient, call.inputs[1], reverse=back, exclusive=exclusive, shape=call.shape(0))


add("CumSum", accumulated(sums=True), value=_cumulative_sum, gradient=(cumulative_gradient,))
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


def unit_gradient(call: GradientCall, index: int) -> str:
    """Of a vector over its length: without what lies along the result."""
    emit, x, y, axes = call.emit, call.inputs[0], call.outputs[0], [call.axis(len(call.shape(0)), -1)]
    if int(call.attributes.get("p", 2)) == 1:
        length, along = emit.total(emit("Abs", x), axes), signs(emit, x)
    else:
        length, along = emit("Sqrt", emit.total(emit("Mul", x, x), axes)), y
    inner = emit.total(emit("Mul", call.gradient, y), axes)
    return emit("Div", emit("Sub", call.gradient, emit("Mul", along, inner)), no_zero(emit, length))


SOFTMAX = Operator(softmax)

add("Hardmax", SOFTMAX, gradient=derivative(lambda call: call.emit.filled((), 0.0)))
add("Softmax", SOFTMAX, squashes=True, gradient=(softmax_gradient,))
add("LogSoftmax", SOFTMAX, squashes=True, gradient=(log_softmax_gradient,))
add("LpNormalization", lp_normalization, gradient=(unit_gradient,))
add("QLinearSoftmax", quantised_softmax, shape=ShapeRule(like(0)), domain=MICROSOFT)
