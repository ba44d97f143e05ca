"""Activations: one line each, with what their gradient is multiplied by and the bounds between which they do nothing.

`kind="activation"` lets edits replace one by another.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf, pi, sqrt

import numpy as np

from onnxsurgeon.arrays import Array
from onnxsurgeon.ops.call import Call, ValueCall
from onnxsurgeon.ops.elementwise import NARY, UNARY
from onnxsurgeon.ops.gradient import GradientCall, GradientRule, back, derivative
from onnxsurgeon.ops.registry import MICROSOFT, Operator, add
from onnxsurgeon.ops.shape_inference import ShapeRule, like
from onnxsurgeon.ops.signatures import signature
from onnxsurgeon.ops.size_arrays import maximum, minimum

ACTIVATION = replace(UNARY, kind="activation")


def _leaky(call: GradientCall) -> str:
    slope = float(call.attributes["alpha"])
    return call.emit("Add", call.emit("Mul", call.emit.mask("Greater", call.inputs[0], 0.0), 1 - slope), slope)


def _elu(call: GradientCall) -> str:
    emit, y, slope = call.emit, call.outputs[0], float(call.attributes["alpha"])
    positive = emit.mask("Greater", call.inputs[0], 0.0)
    return emit("Add", positive, emit("Mul", emit("Sub", 1.0, positive), emit("Add", y, slope)))


def _between(call: GradientCall, value: str, low: float, high: float) -> str:
    emit = call.emit
    return emit("Mul", emit.mask("Greater", value, low), emit.mask("Less", value, high))


def _hard_swish(call: GradientCall) -> str:
    emit, x = call.emit, call.inputs[0]
    slope = emit("Mul", _between(call, x, -3.0, 3.0), emit("Add", emit("Mul", x, 1 / 3), 0.5))
    return emit("Add", slope, emit.number(emit("Not", emit("Less", x, 3.0))))


def _celu(call: GradientCall) -> str:
    emit, positive = call.emit, call.emit.mask("Greater", call.inputs[0], 0.0)
    below = emit("Add", emit("Div", call.outputs[0], float(call.attributes["alpha"])), 1.0)
    return emit("Add", positive, emit("Mul", emit("Sub", 1.0, positive), below))


def _selu(call: GradientCall) -> str:
    emit, positive = call.emit, call.emit.mask("Greater", call.inputs[0], 0.0)
    gamma, alpha = float(call.attributes["gamma"]), float(call.attributes["alpha"])
    below = emit("Mul", emit("Sub", 1.0, positive), emit("Add", call.outputs[0], gamma * alpha))
    return emit("Add", emit("Mul", positive, gamma), below)


def _mish(call: GradientCall) -> str:
    emit, x = call.emit, call.inputs[0]
    bent = emit("Tanh", emit("Softplus", x))
    slope = emit("Mul", emit("Mul", x, emit("Sub", 1.0, emit("Mul", bent, bent))), emit("Sigmoid", x))
    return emit("Add", bent, slope)


def _softsign(call: GradientCall) -> str:
    low = call.emit("Add", call.emit("Abs", call.inputs[0]), 1.0)
    return call.emit("Reciprocal", call.emit("Mul", low, low))


def _swish(call: GradientCall) -> str:
    emit, x, alpha = call.emit, call.inputs[0], float(call.attributes.get("alpha", QUICK))
    share = emit("Sigmoid", emit("Mul", x, alpha))
    return emit("Add", share, emit("Mul", emit("Mul", x, alpha), emit("Mul", share, emit("Sub", 1.0, share))))


def _gelu(call: GradientCall) -> str:
    return _gelu_slope(call, call.inputs[0], exact=call.attributes.get("approximate", "none") == "none")


def _gelu_slope(call: GradientCall, x: str, *, exact: bool) -> str:
    emit = call.emit
    if exact:
        share = emit("Add", emit("Mul", emit("Erf", emit("Mul", x, sqrt(0.5))), 0.5), 0.5)
        bell = emit("Exp", emit("Mul", emit("Mul", x, x), -0.5))
        return emit("Add", share, emit("Mul", emit("Mul", x, bell), 1 / sqrt(2 * pi)))
    a, b = sqrt(2 / pi), 0.044715
    square = emit("Mul", x, x)
    bent = emit("Tanh", emit("Mul", emit("Mul", x, emit("Add", emit("Mul", square, b), 1.0)), a))
    inner = emit("Mul", emit("Add", emit("Mul", square, 3 * b), 1.0), a)
    slope = emit("Mul", emit("Mul", x, emit("Sub", 1.0, emit("Mul", bent, bent))), inner)
    return emit("Mul", emit("Add", emit("Add", bent, 1.0), slope), 0.5)


def _hard_sigmoid(call: GradientCall) -> str:
    return call.emit("Mul", _between(call, call.outputs[0], 0.0, 1.0), float(call.attributes["alpha"]))


QUICK = 1.702  # the factor in a quick Gelu

add("Celu", ACTIVATION, gradient=derivative(_celu))
add("Mish", ACTIVATION, gradient=derivative(_mish))
add("Selu", ACTIVATION, gradient=derivative(_selu))
add("Softsign", ACTIVATION, gradient=derivative(_softsign))
add("Swish", ACTIVATION, gradient=derivative(_swish))
add(
    "ThresholdedRelu",
    ACTIVATION,
    gradient=derivative(lambda call: call.emit.mask("Greater", call.inputs[0], float(call.attributes["alpha"]))),
)
add("Elu", ACTIVATION, gradient=derivative(_elu))
add("Gelu", ACTIVATION, gradient=derivative(_gelu))
add("HardSigmoid", ACTIVATION, gradient=derivative(_hard_sigmoid))
add("HardSwish", ACTIVATION, gradient=derivative(_hard_swish))
add("LeakyRelu", ACTIVATION, gradient=derivative(_leaky))
add(
    "Sigmoid",
    ACTIVATION,
    squashes=True,
    gradient=derivative(lambda call: call.emit("Mul", call.outputs[0], call.emit("Sub", 1.0, call.outputs[0]))),
)
add("Softplus", ACTIVATION, gradient=derivative(lambda call: call.emit("Sigmoid", call.inputs[0])))
add(
    "Tanh",
    ACTIVATION,
    gradient=derivative(lambda call: call.emit("Sub", 1.0, call.emit("Mul", call.outputs[0], call.outputs[0]))),
)
add(
    "Relu",
    ACTIVATION,
    bounds=lambda call: (0.0, inf),
    gradient=derivative(lambda call: call.emit.mask("Greater", call.inputs[0], 0.0)),
)

# --- with parameters -------------------------------------------------------------------------------------------------


TOP = 2  # the input of Clip with the upper bound


def clip_gradient(call: GradientCall, index: int) -> str:
    """To what is clipped where it lies within the bounds, and to a bound from where it lies beyond."""
    emit, result, x = call.emit, call.gradient, call.inputs[0]
    if index and call.has(1):  # the upper bound holds even where the lower one is above it
        x = emit("Max", x, call.inputs[1])
    for name, place, comparison in (("max", TOP, "Greater"), ("min", 1, "Less")):
        bound = call.inputs[place] if call.has(place) else call.attributes.get(name)
        if bound is None:
            continue
        beyond = emit(comparison, x if place == TOP else call.inputs[0], bound)
        if place == index:
            return back(call, emit("Mul", result, emit.number(beyond)), index)
        result = emit("Mul", result, emit.number(emit("Not", beyond)))
    return result


def prelu_gradient(call: GradientCall, index: int) -> str:
    emit, positive = call.emit, call.emit.mask("Greater", call.inputs[0], 0.0)
    if index == 1:
        return back(call, emit("Mul", call.gradient, emit("Mul", emit("Sub", 1.0, positive), call.inputs[0])), 1)
    below = emit("Mul", emit("Sub", 1.0, positive), call.inputs[1])
    return emit("Mul", call.gradient, emit("Add", positive, below))


def clip_bounds(call: Call) -> tuple[float, float] | None:
    limits = []
    for name, index, default in (("min", 1, -inf), ("max", 2, inf)):
        given = call.attributes.get(name, call.static(index))
        if given is None and call.has(index):
            return None
        limits.append(default if given is None else float(given))
    return limits[0], limits[1]


def clipped(call: ValueCall) -> Array:
    low, high = (call.parameter(name, index) for name, index in (("min", 1), ("max", 2)))
    result = np.asarray(call.inputs[0])
    result = result if low is None else maximum(result, low)
    return (result if high is None else minimum(result, high)).astype(call.inputs[0].dtype)


add("Clip", ACTIVATION, value=clipped, bounds=clip_bounds, gradient=clip_gradient)
add("PRelu", NARY, kind="activation", gradient=prelu_gradient)
add("SwiGLU", NARY)

# --- of com.microsoft, and of old experiments ------------------------------------------------------------------------

MAPPED = Operator(signature("... -> ..."), silence="none", shape=ShapeRule(like(0)))
BIASED = Operator(signature("..., ... -> ..."), silence="none", shape=ShapeRule(like(0)), neutral={0: 0.0, 1: 0.0})


def biased_gelu(*, exact: bool) -> GradientRule:
    """Of Gelu, and of what is added before it."""

    def rule(call: GradientCall, index: int) -> str:
        x = call.emit("Add", *call.inputs[:2]) if call.has(1) else call.inputs[0]
        return back(call, call.emit("Mul", call.gradient, _gelu_slope(call, x, exact=exact)), index)

    return rule


add("Gelu", MAPPED, kind="activation", gradient=derivative(_gelu), domain=MICROSOFT)
add("QuickGelu", MAPPED, kind="activation", gradient=derivative(_swish), domain=MICROSOFT)
add("BiasGelu", BIASED, gradient=biased_gelu(exact=True), domain=MICROSOFT)
add("FastGelu", BIASED, gradient=biased_gelu(exact=False), domain=MICROSOFT)
add("ParametricSoftplus ScaledTanh", MAPPED)
