"""Operators with graphs inside: how facts and neurons pass into their bodies and out of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx

from onnxsurgeon.neurons.relations import WORKED, Axes, Axis
from onnxsurgeon.ops.call import Call, Fact
from onnxsurgeon.ops.registry import Flow, Given, add
from onnxsurgeon.ops.shape_inference import Attributes
from onnxsurgeon.ops.size_arrays import agreed
from onnxsurgeon.ops.size_expressions import UndecidedError

UNTIED = "what goes around a loop can't be cut alike"
SCAN_SINCE = 9  # before, it is a loop over batches


def _shape_of(fact: Fact | None) -> Fact:
    """Without the value, which changes from turn to turn."""
    return Fact() if fact is None else Fact(fact.dtype, fact.shape)


def branch_outputs(attributes: Attributes, given: Given, returned: Mapping[str, Sequence[Fact]]) -> Sequence[Fact]:
    """The outputs of the live branch, where it is known; else what both agree on."""
    then, other = returned["then_branch"], returned["else_branch"]
    live = branch(given)
    if live is not None:
        return returned[live]
    return [Fact(a.dtype, agreed(a.shape, b.shape)) for a, b in zip(then, other, strict=True)]


def branch(given: Given) -> str | None:
    condition = given[0]
    if condition is None or condition.value is None:
        return None
    try:
        return "then_branch" if bool(np.all(condition.value)) else "else_branch"
    except UndecidedError:  # it depends on a dynamic dim
        return None


def if_(call: Call) -> Sequence[Axes | None]:
    """Both branches see the outer neurons; they return the same neurons, output by output."""
    then, other = call.body("then_branch", []), call.body("else_branch", [])
    results = []
    for index, (a, b) in enumerate(zip(then, other, strict=True)):
        results.append(_tie(call, a, b, call.blank(index), "branches whose outputs can't be cut alike"))
    return results


def _tie(call: Call, a: Axes | None, b: Axes | None, blank: Axes | None, why: str) -> Axes | None:
    """The neurons of a value that comes from either branch; `blank`: its axes without neurons."""
    if a is None or b is None or len(a) != len(b):
        for axis in (*(a or ()), *(b or ())):
            call.relations.freeze(axis, f"{why}: their ranks differ")
        return blank
    return tuple(_tie_axis(call, x, y, why) for x, y in zip(a, b, strict=True))


def _tie_axis(call: Call, a: Axis, b: Axis, why: str) -> Axis:
    if a is None or b is None or len(a) != len(b):
        for axis in (a, b):
            call.relations.freeze(axis, why)
        return None
    call.relations.same(a, b)
    return a


add(
    "If",
    if_,
    silence="none",
    flow=Flow(lambda attributes, given, count: [], branch_outputs, lambda attributes, count: [], live=branch),
)


def loop_enter(attributes: Attributes, given: Given, count: int) -> Sequence[Fact]:
    """The facts of a body's inputs: the number of the iteration, the condition, and the carried values."""
    turn = Fact(int(onnx.TensorProto.INT64), ())
    goes_on = Fact(int(onnx.TensorProto.BOOL), (), np.array(True))
    return [turn, goes_on, *(_shape_of(fact) for fact in given[2:])]


def loop_leave(attributes: Attributes, given: Given, returned: Mapping[str, Sequence[Fact]]) -> Sequence[Fact]:
    goes_on, *found = returned["body"]
    carried, turns = len(given) - 2, _turns(given, goes_on)
    stacked = [Fact(f.dtype, None if f.shape is None or turns is None else (turns, *f.shape)) for f in found[carried:]]
    return [*(_shape_of(fact) for fact in found[:carried]), *stacked]


def _turns(given: Given, goes_on: Fact) -> int | None:
    """How often the body runs, where that follows from sizes."""
    most, conditions = given[0], [fact for fact in (given[1], goes_on) if fact is not None]
    if most is None or most.value is None or any(f.value is None or not np.all(f.value) for f in conditions):
        return None
    return max(int(np.ravel(most.value)[0]), 0)


def loop(call: Call) -> Sequence[Axes | None]:
    """Loop-carried values keep their neurons in each iteration; collected values get an axis in front."""
    carried = [call.axes(index) for index in range(2, len(call.inputs))]
    _, *found = call.body("body", [None, None, *carried])
    states = [_tie(call, a, b, call.blank(k), UNTIED) for k, (a, b) in enumerate(zip(carried, found, strict=False))]
    return [*states, *(None if axes is None else (None, *axes) for axes in found[len(carried) :])]


add(
    "Loop",
    loop,
    silence="none",
    flow=Flow(loop_enter, loop_leave, lambda attributes, count: [(k - 1, k) for k in range(2, count)]),
)


def _scanned(attributes: Attributes, ranks: Sequence[int], name: str) -> list[int]:
    """The axis along which each tensor of the given rank is taken apart or put together."""
    axes = attributes.get(name) or [0] * len(ranks)
    return [int(axis) % max(rank, 1) for axis, rank in zip(axes, ranks, strict=True)]


def _apart(attributes: Attributes, inputs: int) -> int:
    """How many inputs a Scan takes apart. Raises ValueError if it has no such number of them."""
    count = int(attributes["num_scan_inputs"])
    if not 1 <= count <= inputs:
        raise ValueError(f"{count} of {inputs} inputs can't be sequences")
    return count


def _without(fact: Fact | None, axis: int) -> Fact:
    if fact is None or fact.shape is None:
        return _shape_of(fact)
    return Fact(fact.dtype, (*fact.shape[:axis], *fact.shape[axis + 1 :]))


def scan_enter(attributes: Attributes, given: Given, count: int) -> Sequence[Fact]:
    first = count - _apart(attributes, count)
    sequences = given[first:]
    ranks = [len(f.shape or ()) if f is not None else 0 for f in sequences]
    axes = _scanned(attributes, ranks, "scan_input_axes")
    return [*map(_shape_of, given[:first]), *map(_without, sequences, axes)]


def scan_leave(attributes: Attributes, given: Given, returned: Mapping[str, Sequence[Fact]]) -> Sequence[Fact]:
    count, found = _apart(attributes, len(given)), returned["body"]
    first, states = given[-count], len(given) - count
    pieces = found[states:]
    if first is None or not first.shape or any(piece.shape is None for piece in pieces):
        return [*map(_shape_of, found[:states]), *(Fact(piece.dtype) for piece in pieces)]
    along = _scanned(attributes, [len(first.shape)] + [1] * (count - 1), "scan_input_axes")[0]
    turns, result = first.shape[along], [_shape_of(fact) for fact in found[:states]]
    axes = _scanned(attributes, [len(piece.shape or ()) + 1 for piece in pieces], "scan_output_axes")
    for piece, axis in zip(pieces, axes, strict=True):
        shape = piece.shape or ()
        result.append(Fact(piece.dtype, (*shape[:axis], turns, *shape[axis:])))
    return result


def scan(call: Call) -> Sequence[Axes | None]:
    """Sequences are taken apart along an axis that stays; the others pass, like what goes around."""
    if call.version < SCAN_SINCE:
        call.capture("captured by a loop over batches")
        return call.freeze_all("a loop over batches")
    given = [call.axes(index) for index in range(len(call.inputs))]
    states = len(given) - _apart(call.attributes, len(given))
    axes = _scanned(call.attributes, [len(known or ()) for known in given[states:]], "scan_input_axes")
    slices: list[Axes | None] = []
    for known, along in zip(given[states:], axes, strict=True):
        if known:
            call.relations.freeze(known[along], WORKED)
        slices.append(known and (*known[:along], *known[along + 1 :]))
    found = call.body("body", [*given[:states], *slices])
    carried = zip(given[:states], found[:states], strict=True)
    results = [_tie(call, a, b, call.blank(k), UNTIED) for k, (a, b) in enumerate(carried)]
    pieces = found[states:]
    where = _scanned(call.attributes, [len(piece or ()) + 1 for piece in pieces], "scan_output_axes")
    return results + [p if p is None else (*p[:a], None, *p[a:]) for p, a in zip(pieces, where, strict=True)]


def _scan_carried(attributes: Attributes, count: int) -> Sequence[tuple[int, int]]:
    return [(k, k) for k in range(count - _apart(attributes, count))]


add("Scan", scan, silence="none", flow=Flow(scan_enter, scan_leave, _scan_carried, since=SCAN_SINCE))
