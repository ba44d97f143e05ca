"""Operators with graphs inside."""

from __future__ import annotations

from collections.abc import Sequence

from onnxsurgeon.neurons import Axes, Axis
from onnxsurgeon.ops.call import Call, register


@register("If", silence="none")
def if_(call: Call) -> Sequence[Axes | None]:
    """Both branches see the outer neurons; what they return is the same, output by output."""
    branches = [call.body(name) for name in ("then_branch", "else_branch")]
    results: list[Axes | None] = []
    for index, (a, b) in enumerate(zip(*branches, strict=True)):
        blank = call.blank(index)
        if blank is None or a is None or b is None or len({len(a), len(b), len(blank)}) > 1:
            for axis in (*(a or ()), *(b or ())):
                call.relations.freeze(axis, "branches whose outputs differ in rank")
            results.append(blank)
        else:
            results.append(tuple(_tie(call, x, y) for x, y in zip(a, b, strict=True)))
    return results


def _tie(call: Call, a: Axis, b: Axis) -> Axis:
    if a is None or b is None or len(a) != len(b):
        for axis in (a, b):
            call.relations.freeze(axis, "the other branch can't be cut alike")
        return None
    call.relations.same(a, b)
    return a


@register("Loop Scan")
def loop(call: Call) -> Sequence[Axes | None]:
    """What goes in, what comes out and what the body captures stays whole."""
    call.capture("captured by the body of a loop")
    return call.freeze_all("carried by a loop")
