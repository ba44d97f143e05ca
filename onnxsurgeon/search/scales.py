"""How a path scales space: the algebra of strides, pools, dilations and flattening.

A size n becomes floor((n * times + plus) / by) along each step. Steps that follow each other are one step where that is
exact, so that equal scales are the same tuple. Flattened, there is no space.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from math import gcd, prod

import onnx_ir as ir

from onnxsurgeon.arrays import Shape
from onnxsurgeon.dependency.labels import Labels
from onnxsurgeon.ops.nodes import constant, convolution_of, operator_of
from onnxsurgeon.ops.windows import slid
from onnxsurgeon.surgery.widths import value_axis

Step = tuple[int, int, int]  # times, plus, by
SAME: Step = (1, 0, 1)
ONE: Step = (0, 1, 1)  # pooled whole


@dataclass(frozen=True)
class Scale:
    """axes: steps along each spatial axis, from the origin. channels: the axis of channels.

    space: the size along each spatial axis, where the dims of inputs are as labelled.
    origin: the value behind which space is followed, where that is not the input of the graph.
    """

    axes: tuple[tuple[Step, ...], ...]
    channels: int
    space: Shape
    origin: str = ""

    @property
    def ratio(self) -> tuple[Fraction, ...]:
        """The size over that at the origin, along each axis."""
        return tuple(prod((Fraction(times, by) for times, _, by in steps), start=Fraction(1)) for steps in self.axes)

    def fits(self, other: Scale) -> bool:
        """Whether values of the two scales can be joined: they have the same origin, ratio and size."""
        return (self.origin, self.ratio, self.channels, self.space) == (
            other.origin, other.ratio, other.channels, other.space,
        )  # fmt: skip


def then(steps: tuple[Step, ...], step: Step) -> tuple[Step, ...]:
    """The steps, and one more."""
    times, plus, by = _reduced(step)
    if times == 0:
        return ((0, plus // by, 1),)
    if not steps:
        return () if (times, plus, by) == SAME else ((times, plus, by),)
    m, a, d = steps[-1]
    if times == 1:  # floor((floor(x / d) + plus) / by) is floor((x + plus * d) / (d * by))
        return _ended(steps[:-1], _reduced((m, a + plus * d, d * by)))
    if d == 1:
        return _ended(steps[:-1], _reduced((m * times, a * times + plus, by)))
    return (*steps, (times, plus, by))


def _ended(steps: tuple[Step, ...], last: Step) -> tuple[Step, ...]:
    return steps if last == SAME else (*steps, last)


def _reduced(step: Step) -> Step:
    """The same step in lowest terms: floor((g m n + a) / (g d)) is floor((m n + floor(a / g)) / d)."""
    times, plus, by = step
    common = gcd(times, by)
    return (times // common, plus // common, by // common) if common > 1 else step


def scales(labels: Labels) -> dict[str, Scale]:
    """The scale of each value of the graph that has channels, by name.

    Where nothing is known of how a node scales space, it is followed from there on.
    """
    found: dict[str, Scale] = {}
    shapes = {v: f.shape for v, f in labels.facts[0].items() if f.shape is not None}
    for value in labels.model.graph.inputs:
        shape = shapes.get(value)
        if shape is not None and not value.is_initializer():
            found[value.name or ""] = Scale(((),) * max(0, len(shape) - 2), 1, shape[2:])
    for node in labels.model.graph:
        for value in node.outputs[:1]:
            scale = _scaled(labels, node, shapes, found) or _begun(labels, value, shapes.get(value))
            if scale is not None:
                found[value.name or ""] = scale
    return found


def _scaled(
    labels: Labels, node: ir.Node, shapes: dict[ir.Value, Shape], known: dict[str, Scale]
) -> Scale | None:  # fmt: skip
    after = shapes.get(node.outputs[0])
    if after is None or len(after) < 2:
        return None
    if len(after) == 2:
        return Scale((), 1, ())
    convolution, operator = convolution_of(node), operator_of(node)
    windows = "none" if operator is None else operator.windows
    if convolution is not None or windows != "none":
        value = node.inputs[0 if convolution is None else convolution.data]
        before, scale = (None, None) if value is None else (shapes.get(value), known.get(value.name or ""))
        if before is None or scale is None or scale.channels != 1:
            return None
        steps = _steps(labels, node, before[2:], after[2:])
        axes = tuple(then(old, new) for old, new in zip(scale.axes, steps, strict=True))
        return Scale(axes, 1, after[2:], scale.origin)
    return _passed(labels, node, after, (v for v in node.inputs if v is not None and constant(v) is None), known)


def _begun(labels: Labels, value: ir.Value, shape: Shape | None) -> Scale | None:
    """The scale of a value behind which space is followed."""
    found = value_axis(labels, value) if shape is not None and len(shape) > 2 else None
    if shape is None or found is None or not found[0]:
        return None
    space = tuple(n for a, n in enumerate(shape) if a not in (0, found[0]))
    return Scale(((),) * len(space), found[0], space, value.name or "")


def _steps(labels: Labels, node: ir.Node, before: Shape, after: Shape) -> list[Step]:
    convolution, operator = convolution_of(node), operator_of(node)
    if operator is not None and operator.windows == "whole":
        return [ONE] * len(after)
    given = labels.evaluator.attributes(node)
    if convolution is None:
        return slid(given, None, before, after)
    tensor = constant(node.inputs[convolution.weight])
    kernel = None if tensor is None else tuple(tensor.shape.numpy())[2:]
    return slid(given, kernel, before, after, transposed=convolution.transposed)


def _passed(
    labels: Labels, node: ir.Node, after: Shape, inputs: Iterable[ir.Value], known: dict[str, Scale]
) -> Scale | None:
    """The scale of an input that has the same space as the output, and its channels on the same axis."""
    found = value_axis(labels, node.outputs[0])
    for value in inputs:
        scale = known.get(value.name or "")
        if scale is None or len(after) != len(scale.space) + 2:
            continue
        channels = scale.channels
        moved = found is not None and found[0] != channels and after[channels] > 1  # one channel has no neurons
        if not moved and scale.space == tuple(n for a, n in enumerate(after) if a not in (0, channels)):
            return scale
    return None
