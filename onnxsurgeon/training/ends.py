"""The values that a loss judges, and how far those of two models are apart."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import FloatArray
from onnxsurgeon.ops.nodes import operator_of


def loss_values(model: ir.Model, states: Mapping[str, str]) -> list[ir.Value]:
    """The values that losses compare: the float outputs, or the logits before a final softmax or sigmoid.

    states: the outputs in it, by input, are left out: they are there for the next run.
    """
    carried = states.values()
    ends = [logits(value) for value in model.graph.outputs if value.name not in carried]
    return [end for end in ends if end.dtype in (None, ir.DataType.FLOAT)]


def logits(value: ir.Value) -> ir.Value:
    """What is behind probabilities: its differences are more informative. Other values as they are."""
    node = value.producer()
    operator = None if node is None else operator_of(node)
    scores = node.inputs[0] if node is not None and operator is not None and operator.squashes else None
    return value if scores is None else scores


def relative_error(expected: list[FloatArray], actual: list[FloatArray]) -> float:
    """The mean over outputs of the squared error relative to the variance."""
    losses = []
    for a, b in zip(expected, actual, strict=True):
        spread = float(((a - a.mean(axis=0)) ** 2).sum(dtype=np.float64))
        losses.append(float(((a - b) ** 2).sum(dtype=np.float64)) / spread if spread else 0.0)
    return float(np.mean(losses)) if losses else 0.0
