"""Operators on sequences of tensors: where positions are static, they are rewritten to Split and Concat."""

from __future__ import annotations

from typing import Any

from onnxsurgeon.ops.registry import add
from onnxsurgeon.ops.sequence_calls import Joined, Piece, SequenceCall
from onnxsurgeon.ops.signatures import frozen
from onnxsurgeon.ops.size_expressions import Size

UNKNOWN = frozen("positions in a sequence depend on data")


def _inserted(call: SequenceCall) -> list[Any] | None:
    if call.elements is None:
        return None
    known = list(call.elements)
    at = call.position(2, len(known))
    if at is None or not -len(known) <= at <= len(known):
        return None
    known.insert(at, call.tensors[1])
    return known


def _erased(call: SequenceCall) -> list[Any] | None:
    if call.elements is None:
        return None
    known = list(call.elements)
    at = call.position(1, -1)
    if at is None or not -len(known) <= at < len(known):
        return None
    del known[at]
    return known


def _split(call: SequenceCall) -> list[Any] | None:
    """Pieces of stated sizes, of one size with a smaller last one, or of size 1, whose axis may go."""
    if not call.shape:
        return None
    axis = call.axis(len(call.shape))
    length, given = call.shape[axis], call.static(1)
    if (given is None and len(call.tensors) > 1 and call.tensors[1] is not None) or isinstance(length, Size):
        return None
    if given is not None and given.ndim:
        sizes = [int(n) for n in given]
    else:
        step = 1 if given is None else int(given)
        sizes = [min(step, int(length) - start) for start in range(0, int(length), step)]
    keeps = given is not None or bool(call.attributes.get("keepdims", 1))
    return [Piece(call.tensors[0], axis, tuple(sizes), k, keeps) for k in range(len(sizes))]


def _at(call: SequenceCall) -> Any:
    at = call.position(1, 0)
    known = call.elements
    return None if known is None or at is None or not -len(known) <= at < len(known) else known[at]


def _joined(call: SequenceCall) -> Any:
    if not call.elements:
        return None
    return Joined(tuple(call.elements), int(call.attributes["axis"]), bool(call.attributes.get("new_axis")))


add("SequenceEmpty", UNKNOWN, elements=lambda call: [])
add("SequenceConstruct", UNKNOWN, elements=lambda call: list(call.tensors))
add("SequenceInsert", UNKNOWN, elements=_inserted)
add("SequenceErase", UNKNOWN, elements=_erased)
add("SplitToSequence", UNKNOWN, elements=_split)
add("SequenceAt", UNKNOWN, from_elements=_at)
add("ConcatFromSequence", UNKNOWN, from_elements=_joined)
