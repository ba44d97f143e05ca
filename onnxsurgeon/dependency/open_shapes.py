"""The ranks of inputs for which a model states no shape: those that all nodes accept, where there is only one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import onnx_ir as ir

from onnxsurgeon.arrays import Shape
from onnxsurgeon.dependency.demands import unfit
from onnxsurgeon.dependency.dynamic_dims import NEWEST
from onnxsurgeon.errors import ModelError
from onnxsurgeon.model.editor import copied
from onnxsurgeon.ops.nodes import operator_of, schema

if TYPE_CHECKING:
    from onnxsurgeon.dependency.labels import Labels

RANKS = range(1, 7)


def open_inputs(model: ir.Model) -> list[ir.Value]:
    """The inputs of which the model says no more than their type."""
    return [
        value
        for value in model.graph.inputs
        if value.shape is None and not value.is_initializer() and isinstance(value.type, ir.TensorType)
    ]


def _foreign(model: ir.Model) -> list[ir.Value]:
    """Results of operators that nothing is known about, without a shape, that a known operator reads."""
    return [
        value
        for node in model.graph
        if operator_of(node) is None and schema(node.domain, node.op_type, NEWEST) is None
        for value in node.outputs
        if value.shape is None and any(operator_of(use.node) is not None for use in value.uses())
    ]


def shaped(model: ir.Model, given: Mapping[str, Shape], label: Callable[[ir.Model], Labels]) -> ir.Model:
    """`model` itself if all shapes are stated, else a copy with a rank for each that can be told.

    given: shapes that the user states, by input. label: labels a model as it is. Raises ModelError where the rank of an
    input follows from nothing.
    """
    inputs, others = open_inputs(model), _foreign(model)
    if not inputs and not others:
        return model
    copy = copied(model)
    names = {value.name for value in (*inputs, *others)}
    made = [v for v in (*copy.graph.inputs, *(v for node in copy.graph for v in node.outputs)) if v.name in names]
    for value in made:
        if value.name in given:
            value.shape = _dims(len(given[value.name or ""]))
    settled = True
    while settled:  # each that is known may settle others
        settled = any(_settled(copy, value, label) for value in made if value.shape is None)
    for value in open_inputs(copy):
        raise ModelError(
            f"the rank of input {value.name} is not known",
            why="the model states no shape for it, and what reads it accepts several ranks",
            fix="give its shape: `input_shape`",
        )
    return copy


def _settled(model: ir.Model, value: ir.Value, label: Callable[[ir.Model], Labels]) -> bool:
    """Gives a value the only rank at which the fewest nodes don't fit; whether there is one."""
    counts: dict[int, int] = {}
    for rank in RANKS:
        value.shape = _dims(rank)
        value.type = value.type or ir.TensorType(ir.DataType.FLOAT)  # a result of a foreign operator
        try:
            counts[rank] = unfit(label(model))
        except ModelError:  # it has not as many axes as a node asks for
            continue
    best = [rank for rank, count in counts.items() if count == min(counts.values())]
    value.shape = _dims(best[0]) if len(best) == 1 else None
    return len(best) == 1


def _dims(rank: int) -> ir.Shape:
    return ir.Shape([None] * rank)
