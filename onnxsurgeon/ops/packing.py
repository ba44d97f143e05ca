"""What nodes do to a tensor that holds several, stacked along an axis: where the parts are in what comes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from onnxsurgeon.ops.call import Call
from onnxsurgeon.ops.table import NARY, UNARY

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


Handle = Callable[[Call, int, int, Parts], Unpacking | None]  # the node, its packed input, the axis, the parts


def step(call: Call, index: int, axis: int, parts: Parts) -> Unpacking | None:
    """What the node does to its input `index`; None where that is not known to leave the parts apart."""
    handle = STEPS.get(call.operator)
    return None if handle is None or call.shape(index) is None else handle(call, index, axis, parts)


def _integers(call: Call, name: str, index: int) -> list[int] | None:
    given = call.parameter(name, index)
    return None if given is None else [int(n) for n in given.ravel()]


def _rank(call: Call, index: int = 0) -> int:
    return len(call.shape(index) or ())


def _transpose(call: Call, index: int, axis: int, parts: Parts) -> Unpacking | None:
    order = list(call.attributes.get("perm") or range(_rank(call))[::-1])
    rest = [a - (a > axis) for a in order if a != axis]
    return Unpacking((PackedPart(order.index(axis), parts),), rest != sorted(rest), {"perm": rest})


def _squeeze(call: Call, index: int, axis: int, parts: Parts) -> Unpacking | None:
    axes = _integers(call, "axes", 1)
    if axes is None:
        return None
    axes = [a % _rank(call) for a in axes]
    if axis in axes:
        return Unpacking((PackedPart(None, parts),)) if len(axes) == 1 else None
    return _renumbered(call, axis - sum(a < axis for a in axes), [a - (a > axis) for a in axes], parts)


def _unsqueeze(call: Call, index: int, axis: int, parts: Parts) -> Unpacking | None:
    shape, axes = call.outputs[0].shape, _integers(call, "axes", 1)
    if shape is None or axes is None:
        return None
    axes = [a % len(shape) for a in axes]
    place = [a for a in range(len(shape)) if a not in axes][axis]
    return _renumbered(call, place, [a - (a > place) for a in axes], parts)


def _renumbered(call: Call, place: int, axes: Sequence[int], parts: Parts) -> Unpacking:
    if call.version < 13:
        return Unpacking((PackedPart(place, parts),), True, {"axes": axes})
    return Unpacking((PackedPart(place, parts),), True, {}, {1: axes})


def _gather(call: Call, index: int, axis: int, parts: Parts) -> Unpacking | None:
    taken = call.static(1)
    if index != 0 or taken is None or int(call.attributes.get("axis") or 0) % _rank(call) != axis or taken.ndim > 1:
        return None
    chosen = tuple(parts[int(i)] for i in taken.ravel())
    return Unpacking((PackedPart(axis if taken.ndim else None, chosen),))


def _slice(call: Call, index: int, axis: int, parts: Parts) -> Unpacking | None:
    starts, ends = _integers(call, "starts", 1), _integers(call, "ends", 2)
    axes, steps = _integers(call, "axes", 3), _integers(call, "steps", 4)
    stated = sum(call.has(i) for i in (3, 4))
    if starts is None or ends is None or len(starts) != 1:
        return None
    if stated > (axes is not None) + (steps is not None) or (steps or [1]) != [1]:
        return None
    if (axes or [0])[0] % _rank(call) != axis:
        return None
    return Unpacking((PackedPart(axis, parts[starts[0] : ends[0]]),))


def _split(call: Call, index: int, axis: int, parts: Parts) -> Unpacking | None:
    shapes = [tensor.shape for tensor in call.outputs]
    if int(call.attributes.get("axis") or 0) % _rank(call) != axis or any(shape is None for shape in shapes):
        return None
    pieces, start = [], 0
    for shape in shapes:
        end = start + (shape or ())[axis]
        pieces.append(PackedPart(axis, parts[start:end]))
        start = end
    return Unpacking(tuple(pieces))


def _elementwise(call: Call, index: int, axis: int, parts: Parts) -> Unpacking | None:
    """Everything but the packed tensor is a scalar."""
    others = [tensor for i, tensor in enumerate(call.inputs) if tensor is not None and i != index]
    if any(tensor.shape != () for tensor in others) or any(tensor.used for tensor in call.outputs[1:]):
        return None
    return Unpacking((PackedPart(axis, parts),), True)


STEPS: dict[str, Handle] = {
    **dict.fromkeys([*UNARY.split(), *NARY.split(), "QuantizeLinear", "DequantizeLinear"], _elementwise),
    "Gather": _gather,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
