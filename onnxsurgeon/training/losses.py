"""How far the outputs of a model are from those of another."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import FloatArray
from onnxsurgeon.ops.nodes import operator_of


def scored(model: ir.Model) -> list[ir.Value]:
    """The outputs that losses are measured of: numbers, before they become probabilities."""
    ends = [_before_squashing(value) for value in model.graph.outputs]
    return [end for end in ends if end.dtype in (None, ir.DataType.FLOAT)]


def _before_squashing(value: ir.Value) -> ir.Value:
    """The scores behind probabilities, whose differences tell more."""
    node = value.producer()
    operator = None if node is None else operator_of(node)
    scores = node.inputs[0] if node is not None and operator is not None and operator.squashes else None
    return value if scores is None else scores


def relative(expected: list[FloatArray], found: list[FloatArray]) -> float:
    """The mean over outputs of the squared error beside the variance."""
    losses = []
    for a, b in zip(expected, found, strict=True):
        spread = float(((a - a.mean(axis=0)) ** 2).sum(dtype=np.float64))
        losses.append(float(((a - b) ** 2).sum(dtype=np.float64)) / spread if spread else 0.0)
    return float(np.mean(losses)) if losses else 0.0
