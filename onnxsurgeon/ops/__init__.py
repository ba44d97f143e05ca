"""All that is known of operators: how each relates the neurons on its axes, and what its sizes become."""

from onnxsurgeon.ops import (
    attention,
    control,
    expansion,
    fused_attention,
    indexing,
    microsoft,
    movement,
    quantised,
    reduction,
    table,
    whole,
)
from onnxsurgeon.ops.call import OPERATORS, Call, Operator, Tensor
from onnxsurgeon.ops.table import NARY, UNARY

__all__ = [
    "NARY",
    "OPERATORS",
    "UNARY",
    "Call",
    "Operator",
    "Tensor",
    "attention",
    "control",
    "expansion",
    "fused_attention",
    "indexing",
    "microsoft",
    "movement",
    "quantised",
    "reduction",
    "table",
    "whole",
]
