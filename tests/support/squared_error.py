"""Models that compute the gradient of squared errors, from the tape of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from onnxsurgeon.arrays import Arrays
from onnxsurgeon.ops.emitter import Emitter
from onnxsurgeon.options.shared import Device
from onnxsurgeon.training.differentiate import Tape

LOSS = "gradient loss"
GRADIENT = "gradient of "  # prefix of the name of a weight
EXPECTED = "expected "  # prefix of the name of an output: the input with its target


@dataclass(frozen=True)
class Backward:
    """A model whose inputs are those of the original model, targets and weights, by name. It computes LOSS and
    gradients.

    gradients: the output with the gradient of each weight; a weight is missing if no gradient reaches it, or not on all
    paths.
    """

    model: bytes
    gradients: Mapping[str, str]


def backward(
    model: ir.Model, weights: Sequence[ir.Value], ends: Mapping[ir.Value, float], feed: Arrays, device: Device = "cpu"
) -> Backward:
    """The model for the gradient of the loss: the sum over `ends` of factor times squared error.

    weights: float initializers; their gradients are float32, or float64 if all of them are. feed: example inputs; the
    model is only valid for their shapes.
    """
    names = [weight.name or "" for weight in weights]
    tape = Tape(model, ends, names, feed, device=device)
    emit, errors, starts = tape.emit, list[str](), dict[str, str]()
    for end, factor in ends.items():
        name = end.name or ""
        emit.shapes[EXPECTED + name] = emit.shapes[name]
        error, starts[name] = _squared_error(emit, name, EXPECTED + name, factor)
        errors.append(error)
    emit.named(emit.sum(errors), LOSS)
    found, _ = tape.gradients(starts)
    outputs = {name: GRADIENT + name for name in names if name in found}
    for name, output in outputs.items():
        emit.named(found[name], output)
    expected = [EXPECTED + (end.name or "") for end in ends]
    proto = tape.proto([*expected, *names], [LOSS, *outputs.values()])
    return Backward(bytes(proto.SerializeToString()), outputs)


def _squared_error(emit: Emitter, value: str, expected: str, factor: float) -> tuple[str, str]:
    """`factor` times the sum of squares, a scalar; and its gradient by `value`."""
    wrong = emit("Sub", value, expected)
    squares = emit("Mul", emit("Mul", wrong, wrong), factor)
    loss = emit.reshaped(emit.total(squares, range(len(emit.shapes[value]))), ())
    return loss, emit("Mul", wrong, 2 * factor)
