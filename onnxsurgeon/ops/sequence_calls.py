"""What rules about sequences receive and say: which tensors are in one, where positions are static.

A tensor is any object here: rules only pass them on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from onnxsurgeon.ops.call import ValueCall
from onnxsurgeon.ops.size_arrays import Sizes


class Piece(NamedTuple):
    """One of the pieces, of these sizes along an axis, into which a tensor is split. keeps: the axis, if it is 1."""

    tensor: Any
    axis: int
    sizes: tuple[int, ...]
    place: int
    keeps: bool = True


class Joined(NamedTuple):
    """Tensors joined along an axis, which is a new one if `stacked`."""

    tensors: tuple[Any, ...]
    axis: int
    stacked: bool


@dataclass(frozen=True)
class SequenceCall(ValueCall):
    """One node. inputs: values where they are static. tensors: its inputs. shape: of the first; None if unknown.

    elements: of the sequence that is its first input; None if they are unknown.
    """

    tensors: Sequence[Any] = ()
    shape: Sizes | None = None
    elements: Sequence[Any] | None = None

    def position(self, index: int, default: int) -> int | None:
        """The position in input `index`; None if it depends on data."""
        if index >= len(self.tensors) or self.tensors[index] is None:
            return default
        found = self.static(index)
        return None if found is None else int(found.item())


Elements = Callable[[SequenceCall], "list[Any] | None"]
FromElements = Callable[[SequenceCall], Any]  # an element, Joined, or None
