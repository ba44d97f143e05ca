"""One node while its gradients are made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from onnxsurgeon.arrays import Array, Shape
from onnxsurgeon.ops.emitter import Emitter


@dataclass(frozen=True)
class GradientCall:
    """inputs, outputs, gradients (of the outputs): names; "" for what is absent.

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
        return self.gradients[0]

    def has(self, index: int) -> bool:
        return index < len(self.inputs) and bool(self.inputs[index])

    def shape(self, index: int) -> Shape:
        return self.emit.shapes[self.inputs[index]]

    def result(self) -> Shape:
        return self.emit.shapes[self.outputs[0]]

    def value(self, index: int) -> Array | None:
        return self.known(self.inputs[index]) if self.has(index) else None

    def parameter(self, name: str, index: int) -> Array | None:
        """What old opsets give as attribute `name` and new ones as input `index`."""
        given: Array | None = self.attributes.get(name)
        return self.value(index) if given is None else given


Rule = Callable[[GradientCall, int], str | None]  # the gradient of one input; None where it can't be told
