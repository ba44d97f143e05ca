"""All that is known of operators: how each relates the neurons on its axes, and what its size-bearing constants become."""

from onnxsurgeon.ops import control, movement, reduction, table
from onnxsurgeon.ops.call import OPERATORS, Call, Operator, Tensor
from onnxsurgeon.ops.table import NARY, UNARY

__all__ = ["NARY", "OPERATORS", "UNARY", "Call", "Operator", "Tensor", "control", "movement", "reduction", "table"]
