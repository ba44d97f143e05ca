"""Many tensors as one flat vector: a training step then treats all weights at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from onnxsurgeon.arrays import Array, Arrays, Shape
from onnxsurgeon.ops.emitter import Emitter


@dataclass(frozen=True)
class Packing:
    """Which tensors a vector holds, one after another. shapes: by name."""

    shapes: Mapping[str, Shape]

    @property
    def size(self) -> int:
        return sum(prod(shape) for shape in self.shapes.values())

    def pack(self, arrays: Arrays) -> Array:
        """The vector, float32, shape (size,)."""
        parts = [np.asarray(arrays[name], np.float32).ravel() for name in self.shapes]
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)

    def unpack(self, vector: Array) -> Arrays:
        """The tensors by name."""
        ends = np.cumsum([prod(shape) for shape in self.shapes.values()])
        parts = np.split(vector, ends)[:-1]
        return {name: part.reshape(shape) for (name, shape), part in zip(self.shapes.items(), parts, strict=True)}

    def read(self, emit: Emitter, vector: str) -> None:
        """Emits the tensors, under their own names, from the vector."""
        parts = emit.parted(vector, [prod(shape) for shape in self.shapes.values()])
        for (name, shape), part in zip(self.shapes.items(), parts, strict=True):
            emit.named(emit.reshaped(part, shape), name)

    def join(self, emit: Emitter, values: Mapping[str, str]) -> str:
        """Emits the vector of these values, by the names of the tensors."""
        flat = [emit.reshaped(values[name], (prod(shape),)) for name, shape in self.shapes.items()]
        return emit.joined(flat, 0)

    def numbers(self, emit: Emitter, by_name: Mapping[str, float]) -> str | float:
        """A number for each element, that of its tensor: one for all if they agree."""
        values = [float(by_name[name]) for name in self.shapes]
        if len(set(values)) <= 1:
            return values[0] if values else 0.0
        return emit.joined(_runs(emit, values, [prod(shape) for shape in self.shapes.values()]), 0)


def _runs(emit: Emitter, values: Sequence[float], lengths: Sequence[int]) -> list[str]:
    """Each value repeated; neighbours that agree are one run. onnxruntime expands them when it loads the model."""
    found, at = list[str](), 0
    while at < len(values):
        end = next((k for k in range(at, len(values)) if values[k] != values[at]), len(values))
        length = np.array([sum(lengths[at:end])], np.int64)
        one = emit.constant(np.array([values[at]], np.float32))
        found.append(emit("Expand", one, emit.constant(length), shape=(int(length[0]),)))
        at = end
    return found
