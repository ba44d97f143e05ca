"""Gradients of what works element by element: what they are multiplied by, and summed back to."""

from __future__ import annotations

from collections.abc import Callable
from math import pi, sqrt

import numpy as np

from onnxsurgeon.ops.step import GradientCall, Rule


def through(derivative: Callable[[GradientCall], str]) -> Rule:
    """The rule of an operator of one tensor, whose derivative is made of names."""
    return lambda step, index: step.emit("Mul", step.gradient, derivative(step))


def same(step: GradientCall, index: int) -> str:
    return step.gradient


def back(step: GradientCall, value: str, index: int) -> str:
    """The sum over what input `index` was broadcast along."""
    return step.emit.summed_to(value, step.shape(index))


def added(step: GradientCall, index: int) -> str:
    return back(step, step.gradient, index)


def subtracted(step: GradientCall, index: int) -> str:
    return back(step, step.emit("Neg", step.gradient), 1)


def multiplied(step: GradientCall, index: int) -> str:
    return back(step, step.emit("Mul", step.gradient, step.inputs[1 - index]), index)


def divided(step: GradientCall, index: int) -> str:
    return back(step, step.emit("Div", step.gradient, step.inputs[1]), 0)


def divisor(step: GradientCall, index: int) -> str:
    share = step.emit("Div", step.outputs[0], step.inputs[1])
    return back(step, step.emit("Neg", step.emit("Mul", step.gradient, share)), 1)


def power(step: GradientCall, index: int) -> str | None:
    exponent = step.value(1)
    if exponent is None:
        return None
    exponent = np.asarray(exponent, np.float32)
    emit = step.emit
    slope = emit("Mul", emit("Pow", step.inputs[0], emit.constant(exponent - 1)), emit.constant(exponent))
    return back(step, emit("Mul", step.gradient, slope), 0)


def _leaky(step: GradientCall) -> str:
    slope = float(step.attributes["alpha"])
    return step.emit("Add", step.emit("Mul", step.emit.mask("Greater", step.inputs[0], 0.0), 1 - slope), slope)


def prelu(step: GradientCall, index: int) -> str:
    emit, positive = step.emit, step.emit.mask("Greater", step.inputs[0], 0.0)
    below = emit("Mul", emit("Sub", 1.0, positive), step.inputs[1])
    return emit("Mul", step.gradient, emit("Add", positive, below))


def _elu(step: GradientCall) -> str:
    emit, y, slope = step.emit, step.outputs[0], float(step.attributes["alpha"])
    positive = emit.mask("Greater", step.inputs[0], 0.0)
    return emit("Add", positive, emit("Mul", emit("Sub", 1.0, positive), emit("Add", y, slope)))


def clip(step: GradientCall, index: int) -> str:
    emit, result = step.emit, step.gradient
    for name, place, comparison in (("min", 1, "Less"), ("max", 2, "Greater")):
        bound = step.inputs[place] if step.has(place) else step.attributes.get(name)
        if bound is not None:
            result = emit("Mul", result, emit.number(emit("Not", emit(comparison, step.inputs[0], bound))))
    return result


def _between(step: GradientCall, value: str, low: float, high: float) -> str:
    emit = step.emit
    return emit("Mul", emit.mask("Greater", value, low), emit.mask("Less", value, high))


def _hard_swish(step: GradientCall) -> str:
    emit, x = step.emit, step.inputs[0]
    slope = emit("Mul", _between(step, x, -3.0, 3.0), emit("Add", emit("Mul", x, 1 / 3), 0.5))
    return emit("Add", slope, emit.number(emit("Not", emit("Less", x, 3.0))))


def _gelu(step: GradientCall) -> str:
    emit, x = step.emit, step.inputs[0]
    if step.attributes.get("approximate", "none") == "none":
        share = emit("Add", emit("Mul", emit("Erf", emit("Mul", x, sqrt(0.5))), 0.5), 0.5)
        bell = emit("Exp", emit("Mul", emit("Mul", x, x), -0.5))
        return emit("Add", share, emit("Mul", emit("Mul", x, bell), 1 / sqrt(2 * pi)))
    a, b = sqrt(2 / pi), 0.044715
    square = emit("Mul", x, x)
    bent = emit("Tanh", emit("Mul", emit("Mul", x, emit("Add", emit("Mul", square, b), 1.0)), a))
    inner = emit("Mul", emit("Add", emit("Mul", square, 3 * b), 1.0), a)
    slope = emit("Mul", emit("Mul", x, emit("Sub", 1.0, emit("Mul", bent, bent))), inner)
    return emit("Mul", emit("Add", emit("Add", bent, 1.0), slope), 0.5)


def chosen(step: GradientCall, index: int) -> str:
    truth = step.inputs[0] if index == 1 else step.emit("Not", step.inputs[0])
    return back(step, step.emit("Mul", step.gradient, step.emit.number(truth)), index)


SLOPES: dict[str, Callable[[GradientCall], str]] = {
    "Abs": lambda step: step.emit(
        "Sub", step.emit.mask("Greater", step.inputs[0], 0.0), step.emit.mask("Less", step.inputs[0], 0.0)
    ),
    "Elu": _elu,
    "Erf": lambda step: step.emit(
        "Mul", step.emit("Exp", step.emit("Neg", step.emit("Mul", step.inputs[0], step.inputs[0]))), 2 / sqrt(pi)
    ),
    "Exp": lambda step: step.outputs[0],
    "Gelu": _gelu,
    "HardSigmoid": lambda step: step.emit(
        "Mul", _between(step, step.outputs[0], 0.0, 1.0), float(step.attributes["alpha"])
    ),
    "HardSwish": _hard_swish,
    "LeakyRelu": _leaky,
    "Log": lambda step: step.emit("Reciprocal", step.inputs[0]),
    "Reciprocal": lambda step: step.emit("Neg", step.emit("Mul", step.outputs[0], step.outputs[0])),
    "Relu": lambda step: step.emit.mask("Greater", step.inputs[0], 0.0),
    "Sigmoid": lambda step: step.emit("Mul", step.outputs[0], step.emit("Sub", 1.0, step.outputs[0])),
    "Softplus": lambda step: step.emit("Sigmoid", step.inputs[0]),
    "Sqrt": lambda step: step.emit("Div", 0.5, step.outputs[0]),
    "Tanh": lambda step: step.emit("Sub", 1.0, step.emit("Mul", step.outputs[0], step.outputs[0])),
}
