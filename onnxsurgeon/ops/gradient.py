"""What a gradient rule sees of one node, and rules that many operators share.

A rule returns the gradient of one input, made from those of the outputs; None if it does not cover the case. All
shapes are known (a gradient is made for one batch size).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from onnxsurgeon.arrays import Array, Shape
from onnxsurgeon.ops.call import Parameters
from onnxsurgeon.ops.emitter import Emitter


@dataclass(frozen=True)
class GradientCall(Parameters):
    """One node while its gradients are made. inputs, outputs, gradients (of the outputs): names; "" for what is absent,
    and for the gradient of an output on which nothing depends.

    known: the value of an input that depends on nothing but sizes.
    """

    attributes: Mapping[str, Any]
    inputs: Sequence[str]
    outputs: Sequence[str]
    gradients: Sequence[str]
    known: Callable[[str], Array | None]
    emit: Emitter

    @property
    def gradient(self) -> str:
        """Of the first output."""
        return self.of(0)

    def of(self, output: int) -> str:
        """The gradient of an output."""
        return self.gradients[output] or self.emit.filled(self.emit.shapes[self.outputs[output]], 0.0)

    def has(self, index: int) -> bool:
        return index < len(self.inputs) and bool(self.inputs[index])

    def static(self, index: int) -> Array | None:
        return self.known(self.inputs[index]) if self.has(index) else None

    def is_float(self, index: int) -> bool:
        """Whether input `index` holds floats."""
        return self.inputs[index] in self.emit.floats

    def shape(self, index: int) -> Shape:
        return self.emit.shapes[self.inputs[index]]

    def result(self) -> Shape:
        return self.emit.shapes[self.outputs[0]]


GradientRule = Callable[[GradientCall, int], str | None]  # the node, the input


def derivative(made: Callable[[GradientCall], str]) -> tuple[GradientRule]:
    """The gradient of an operator of one tensor, element by element. made: emits the derivative."""
    return (lambda call, index: call.emit("Mul", call.gradient, made(call)),)


def same(call: GradientCall, index: int) -> str:
    return call.gradient


def back(call: GradientCall, value: str, index: int) -> str:
    """The sum over what input `index` was broadcast along."""
    return call.emit.summed_to(value, call.shape(index))


def added(call: GradientCall, index: int) -> str:
    return back(call, call.gradient, index)
