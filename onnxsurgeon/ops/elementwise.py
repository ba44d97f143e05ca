"""Operators that work element by element: arithmetic, comparisons, logic, types. Activations have a file of their own.

`UNARY` and `NARY` are what all of one tensor, or of several that broadcast, have in common.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import reduce
from math import pi, sqrt
from typing import Any

import numpy as np
import onnx

from onnxsurgeon.arrays import Array
from onnxsurgeon.neurons.relations import Axes
from onnxsurgeon.ops.call import Call, Changes, Keep, PackedPart, Parts, Unpacking, ValueCall, unchanged
from onnxsurgeon.ops.gradient import GradientCall, GradientRule, added, back, derivative, same
from onnxsurgeon.ops.registry import Compute, Operator, add
from onnxsurgeon.ops.shape_inference import ShapeRule, broadcast_all, like, mapped, truth
from onnxsurgeon.ops.signatures import read, signature
from onnxsurgeon.ops.size_arrays import cast, divided_by, maximum, minimum, modulo, rounded_down, rounded_up
from onnxsurgeon.ops.training_form import MASKED


def elementwise(call: Call) -> Sequence[Axes | None]:
    return read(call, ", ".join(["..."] * len(call.inputs)) + " -> ...")


def elementwise_parts(call: Call, index: int, axis: int, parts: Parts) -> Unpacking | None:
    """Everything but the packed tensor is a scalar."""
    others = [tensor for i, tensor in enumerate(call.inputs) if tensor is not None and i != index]
    if any(tensor.shape != () for tensor in others) or any(tensor.used for tensor in call.outputs[1:]):
        return None
    return Unpacking((PackedPart(axis, parts),), True)


def plain(function: Callable[..., Any]) -> Compute:
    """A numpy function of all inputs."""
    return lambda call: np.asarray(function(*call.inputs))


def typed(function: Callable[..., Any]) -> Compute:
    """A numpy function of all inputs; its result in the type of the first."""
    return lambda call: np.asarray(function(*call.inputs)).astype(np.asarray(call.inputs[0]).dtype)


SQUARE = 2.0  # the exponent of most powers

UNARY = Operator(
    signature("... -> ..., ..."),
    silence="none",
    ignores=(1,),
    shape=ShapeRule(mapped, whole=False),
    unpack=elementwise_parts,
)
NARY = Operator(elementwise, silence="none", shape=ShapeRule(broadcast_all), unpack=elementwise_parts)
TEST = replace(NARY, shape=ShapeRule(broadcast_all, cast=truth))

# --- of one tensor ---------------------------------------------------------------------------------------------------

TEST_ONE = replace(UNARY, shape=ShapeRule(like(0), cast=truth, whole=False))


def _sign(call: GradientCall) -> str:
    emit, x = call.emit, call.inputs[0]
    return emit("Sub", emit.mask("Greater", x, 0.0), emit.mask("Less", x, 0.0))


def _bell(call: GradientCall) -> str:
    emit, x = call.emit, call.inputs[0]
    return emit("Mul", emit("Exp", emit("Neg", emit("Mul", x, x))), 2 / sqrt(pi))


def _drops(call: Call) -> bool:
    """Whether it is, or may be, in training mode and drops anything."""
    if call.version < 12:  # the mode is an attribute, or there is none
        return call.version < 7 and not call.attributes.get("is_test")
    ratio, training = (call.static(index) if call.has(index) else default for index, default in ((1, 0.5), (2, False)))
    return (training is None or bool(training)) and (ratio is None or bool(ratio))


def _square_plus(call: GradientCall, factor: float, number: float) -> str:
    """factor * x ** 2 + number."""
    square = call.emit("Mul", call.inputs[0], call.inputs[0])
    return call.emit("Add", call.emit("Mul", square, factor), number)


def _over_root(sign: float, factor: float, number: float) -> tuple[GradientRule]:
    """The derivative sign / sqrt(factor * x ** 2 + number)."""
    return derivative(lambda call: call.emit("Div", sign, call.emit("Sqrt", _square_plus(call, factor, number))))


def _over(factor: float) -> tuple[GradientRule]:
    """The derivative 1 / (factor * x ** 2 + 1)."""
    return derivative(lambda call: call.emit("Reciprocal", _square_plus(call, factor, 1.0)))


def _half_sum(sign: float) -> tuple[GradientRule]:
    """The derivative (exp(x) + sign * exp(-x)) / 2; not every runtime has hyperbolic functions."""

    def made(call: GradientCall) -> str:
        up, down = call.emit("Exp", call.inputs[0]), call.emit("Exp", call.emit("Neg", call.inputs[0]))
        return call.emit("Mul", call.emit("Add", up, call.emit("Mul", down, sign)), 0.5)

    return derivative(made)


def _shrunk(call: GradientCall) -> str:
    return call.emit.mask("Greater", call.emit("Abs", call.inputs[0]), float(call.attributes["lambd"]))


def dropout_gradient(call: GradientCall, index: int) -> str | None:
    """It passes everything, unless it is in training mode."""
    return None if call.has(2) and (call.static(2) is None or bool(call.static(2))) else call.gradient


FLAT = derivative(lambda call: call.emit.filled((), 0.0))

add("BitwiseNot", UNARY)
add("Abs", UNARY, value=plain(np.abs), gradient=derivative(_sign))
add("Acos", UNARY, gradient=_over_root(-1.0, -1.0, 1.0))
add("Acosh", UNARY, gradient=_over_root(1.0, 1.0, -1.0))
add("Asin", UNARY, gradient=_over_root(1.0, -1.0, 1.0))
add("Asinh", UNARY, gradient=_over_root(1.0, 1.0, 1.0))
add("Atan", UNARY, gradient=_over(1.0))
add("Atanh", UNARY, gradient=_over(-1.0))
add("Ceil", UNARY, value=plain(rounded_up), gradient=FLAT)
add(
    "Cos",
    UNARY,
    value=typed(np.cos),
    gradient=derivative(lambda call: call.emit("Neg", call.emit("Sin", call.inputs[0]))),
)
add("Cosh", UNARY, gradient=_half_sum(-1.0))
add(
    "Dropout",
    UNARY,
    shape=None,
    linear_in="first",
    keeps_mean=True,
    gradient=(dropout_gradient,),
    random=_drops,
    training=MASKED,
)
add("Erf", UNARY, gradient=derivative(_bell))
add("Exp", UNARY, value=typed(np.exp), gradient=derivative(lambda call: call.outputs[0]))
add("Floor", UNARY, value=plain(rounded_down), gradient=FLAT)
add(
    "Identity",
    UNARY,
    value=lambda call: call.inputs[0],
    proportional=True,
    linear_in="first",
    keeps_mean=True,
    kind="activation",
    gradient=(same,),
)
add("IsInf IsNaN", TEST_ONE)
add("Log", UNARY, value=typed(np.log), gradient=derivative(lambda call: call.emit("Reciprocal", call.inputs[0])))
add(
    "Neg",
    UNARY,
    value=plain(np.negative),
    linear_in="first",
    gradient=(lambda call, index: call.emit("Neg", call.gradient),),
)
add("Not", TEST_ONE, value=plain(np.logical_not))
add(
    "Reciprocal",
    UNARY,
    value=typed(np.reciprocal),
    gradient=derivative(lambda call: call.emit("Neg", call.emit("Mul", call.outputs[0], call.outputs[0]))),
)
add("Round", UNARY, value=plain(np.round), gradient=FLAT)
add("Shrink", UNARY, gradient=derivative(_shrunk))
add("Sign", UNARY, value=plain(np.sign), gradient=FLAT)
add("Sin", UNARY, value=typed(np.sin), gradient=derivative(lambda call: call.emit("Cos", call.inputs[0])))
add("Sinh", UNARY, gradient=_half_sum(1.0))
add("Sqrt", UNARY, value=typed(np.sqrt), gradient=derivative(lambda call: call.emit("Div", 0.5, call.outputs[0])))

add(
    "Tan",
    UNARY,
    gradient=derivative(lambda call: call.emit("Add", call.emit("Mul", call.outputs[0], call.outputs[0]), 1.0)),
)

# --- types -----------------------------------------------------------------------------------------------------------


def _cast(call: ValueCall) -> Array:
    return cast(call.inputs[0], onnx.helper.tensor_dtype_to_np_dtype(int(call.attributes["to"])))


add(
    "Cast",
    UNARY,
    shape=ShapeRule(like(0), cast=lambda attributes: int(attributes["to"]), whole=False),
    value=_cast,
    proportional=True,
    gradient=(same,),
)
add(
    "CastLike",
    UNARY,
    shape=ShapeRule(like(0), ((1,),), whole=False),
    value=lambda call: cast(call.inputs[0], call.inputs[1].dtype),
    gradient=(same,),
)
add("BitCast", signature("... -> ..."), silence="none")

# --- arithmetic ------------------------------------------------------------------------------------------------------


def subtracted(call: GradientCall, index: int) -> str:
    return back(call, call.emit("Neg", call.gradient), 1)


def multiplied(call: GradientCall, index: int) -> str:
    return back(call, call.emit("Mul", call.gradient, call.inputs[1 - index]), index)


def divided(call: GradientCall, index: int) -> str:
    return back(call, call.emit("Div", call.gradient, call.inputs[1]), 0)


def divisor(call: GradientCall, index: int) -> str:
    share = call.emit("Div", call.outputs[0], call.inputs[1])
    return back(call, call.emit("Neg", call.emit("Mul", call.gradient, share)), 1)


def power(call: GradientCall, index: int) -> str:
    emit, base, exponent = call.emit, call.inputs[0], call.static(1)
    if index == 1:  # a power of nothing, or of less, does not move
        positive = emit.mask("Greater", base, 0.0)
        log = emit("Log", emit("Add", emit("Mul", base, positive), emit("Sub", 1.0, positive)))
        return back(call, emit("Mul", call.gradient, emit("Mul", call.outputs[0], log)), 1)
    if exponent is not None and (exponent == SQUARE).all():
        return back(call, emit("Mul", call.gradient, emit("Mul", base, SQUARE)), 0)
    factor = emit.number(call.inputs[1]) if exponent is None else emit.constant(exponent.astype(np.float64))
    slope = emit("Mul", emit("Pow", base, emit("Sub", factor, 1.0)), factor)
    return back(call, emit("Mul", call.gradient, slope), 0)


def modulus(call: GradientCall, index: int) -> str:
    """a - n * b, where n is a whole number."""
    emit = call.emit
    if index == 0:
        return back(call, call.gradient, 0)
    times = emit("Round", emit("Div", emit("Sub", call.outputs[0], call.inputs[0]), call.inputs[1]))
    return back(call, emit("Mul", call.gradient, times), 1)


def first_of(beats: str) -> GradientRule:
    """To the first input that no other beats."""

    def rule(call: GradientCall, index: int) -> str:
        emit, free = call.emit, call.gradient
        for place, given in enumerate(call.inputs):
            best = emit("Not", emit(beats, call.outputs[0], given))
            if place == index:
                return back(call, emit("Mul", free, emit.number(best)), index)
            free = emit("Mul", free, emit.number(emit("Not", best)))
        return free

    return rule


def averaged(call: GradientCall, index: int) -> str:
    return back(call, call.emit("Div", call.gradient, float(len(call.inputs))), index)


def _across(function: Callable[..., Array]) -> Compute:
    return lambda call: reduce(function, np.broadcast_arrays(*call.inputs))


ADDITION = "Sum"  # what a sum of any number of tensors is called
SUM = replace(NARY, neutral={0: 0.0, 1: 0.0}, linear_in="all", kind="sum", gradient=added)
PRODUCT = replace(NARY, neutral={0: 1.0, 1: 1.0})

add("Add", SUM, value=plain(np.add))
add("Sum", SUM, value=lambda call: np.sum(np.broadcast_arrays(*call.inputs), axis=0, dtype=call.inputs[0].dtype))
add("Sub", SUM, value=plain(np.subtract), kind="other", gradient=(added, subtracted))
add("Mul", PRODUCT, value=plain(np.multiply), linear_in="each", gradient=(multiplied, multiplied))
add("Div", PRODUCT, value=plain(divided_by), linear_in="first", gradient=(divided, divisor))
add("Pow", PRODUCT, value=typed(np.power), gradient=power)
add(
    "Mod",
    NARY,
    value=lambda call: (np.fmod if call.attributes.get("fmod") else modulo)(*call.inputs),
    gradient=modulus,
)
add("Max", NARY, value=_across(maximum), kind="combination", gradient=first_of("Greater"))
add("Min", NARY, value=_across(minimum), kind="combination", gradient=first_of("Less"))
add("Mean", NARY, kind="combination", gradient=averaged)

# --- comparisons and logic -------------------------------------------------------------------------------------------


def chosen(call: GradientCall, index: int) -> str:
    truth = call.inputs[0] if index == 1 else call.emit("Not", call.inputs[0])
    return back(call, call.emit("Mul", call.gradient, call.emit.number(truth)), index)


add("BitShift BitwiseAnd BitwiseOr BitwiseXor", NARY)
add("And", TEST, value=plain(np.logical_and))
add("Or", TEST, value=plain(np.logical_or))
add("Xor", TEST, value=plain(np.logical_xor))
add("Equal", TEST, value=plain(np.equal))
add("Greater", TEST, value=plain(np.greater))
add("GreaterOrEqual", TEST, value=plain(np.greater_equal))
add("Less", TEST, value=plain(np.less))
add("LessOrEqual", TEST, value=plain(np.less_equal))
add("Where", NARY, shape=ShapeRule(broadcast_all, ((1,),)), value=plain(np.where), gradient=(None, chosen, chosen))

# --- of old experiments ----------------------------------------------------------------------------------------------


def offsets(call: Call, keep: Keep) -> Changes:
    labels = (call.axes(0) or (None, None))[1]
    if labels is None or unchanged(keep, labels):
        return {}
    return {"bias": np.repeat(call.attributes["bias"], keep(labels)).tolist()}


def scaled(name: str) -> tuple[GradientRule]:
    """The factor is an attribute."""
    return derivative(lambda call: call.emit.filled((), float(call.attributes.get(name, 1.0))))


add("Affine", signature("... -> ..."), silence="none", shape=ShapeRule(like(0)), gradient=scaled("alpha"))
add(
    "ImageScaler",
    signature("n c * -> n c *"),
    silence="none",
    resize=offsets,
    shape=ShapeRule(like(0)),
    gradient=scaled("scale"),
)
