"""What nodes do to a tensor that holds several, stacked along an axis: where the parts are in what comes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from onnxsurgeon.ops.call import Call

Parts = tuple[int, ...]


class PackedPart(NamedTuple):
    """What an output holds: `parts` stacked along `axis`; None: one of them alone, without that axis."""

    axis: int | None
    parts: Parts


class Unpacking(NamedTuple):
    """What a node does to a packed tensor.

    pieces: one for each output. copied: whether it is done to each part (else the parts stay as they are); then
    `attributes` and the constants in `inputs` are what the copies have in place of the node's own.
    """

    pieces: tuple[PackedPart, ...]
    copied: bool = False
    attributes: Mapping[str, Sequence[int]] = {}
    inputs: Mapping[int, Sequence[int]] = {}


Unpack = Callable[[Call, int, int, Parts], Unpacking | None]  # the node, its packed input, the axis, the parts


def elementwise_parts(call: Call, index: int, axis: int, parts: Parts) -> Unpacking | None:
    """Everything but the packed tensor is a scalar."""
    others = [tensor for i, tensor in enumerate(call.inputs) if tensor is not None and i != index]
    if any(tensor.shape != () for tensor in others) or any(tensor.used for tensor in call.outputs[1:]):
        return None
    return Unpacking((PackedPart(axis, parts),), True)
