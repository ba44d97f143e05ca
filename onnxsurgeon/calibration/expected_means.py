"""Means of layer inputs that follow from batch normalisation, without data."""

from __future__ import annotations

from collections.abc import Sequence
from math import erf, exp, pi, sqrt

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import FloatArray
from onnxsurgeon.calibration.linear_layers import Consumer
from onnxsurgeon.calibration.statistics import Moments
from onnxsurgeon.dependency.labels import Labels
from onnxsurgeon.ops.nodes import constant, operator_of


def expected(labels: Labels, found: Sequence[Consumer]) -> dict[str, Moments]:
    """Means of inputs that follow from batch normalisation, by `Consumer.key`, with zero covariance.

    Assumes that a normalised channel is normally distributed, with its shift as mean and its scale as deviation, and
    clipped by the bounds of the activation.
    """
    result = {}
    for consumer in found:
        mean = _mean(labels, consumer.node.inputs[consumer.linear.data])
        if mean is not None and len(mean) == consumer.inputs.size:
            features = np.repeat(mean.reshape(consumer.inputs.shape), consumer.kernel, axis=1)
            blank = np.zeros((*features.shape, features.shape[1]), np.float32)
            result[consumer.key] = Moments(blank, features, np.abs(features))
    return result


def _mean(labels: Labels, value: ir.Value | None) -> FloatArray | None:
    """The mean of each channel of `value`, through nodes that preserve or clip it; None if it is unknown."""
    node = None if value is None else value.producer()
    if node is None or node not in labels.calls:
        return None
    operator = operator_of(node)
    if operator is None or operator.statistics is not None:
        return _normal(node, (-np.inf, np.inf))
    if operator.keeps_mean:
        return _mean(labels, node.inputs[0])
    bounds = operator.bounds(labels.calls[node]) if operator.bounds is not None else None
    before = node.inputs[0].producer() if bounds is not None and node.inputs[0] is not None else None
    return None if bounds is None or before is None else _normal(before, bounds)


def _normal(norm: ir.Node, bounds: tuple[float, float]) -> FloatArray | None:
    """Means of the channels after a normalisation with fixed statistics, clipped to bounds; None for other nodes."""
    operator = operator_of(norm)
    held = None if operator is None else operator.statistics
    if held is None:
        return None
    scale, shift = (constant(norm.inputs[index]) for index in (held.scale, held.shift))
    return None if scale is None or shift is None else clipped(shift.numpy(), scale.numpy(), *bounds)


def clipped(mean: FloatArray, deviation: FloatArray, lower: float, upper: float) -> FloatArray:
    """The mean of normally distributed values clipped to bounds, shape as `mean`."""
    mean, deviation = mean.astype(np.float64), np.abs(deviation.astype(np.float64)) + 1e-12
    above = mean if lower == -np.inf else lower + _over((mean - lower) / deviation) * deviation
    return above if upper == np.inf else above - _over((mean - upper) / deviation) * deviation


def _over(z: FloatArray) -> FloatArray:
    """The mean of max(0, z + standard normal)."""
    density = np.array([exp(-0.5 * v * v) / sqrt(2 * pi) for v in z])
    below = np.array([0.5 * (1 + erf(v / sqrt(2))) for v in z])
    return np.asarray(density + z * below, np.float64)
