"""Importance of neurons from the activations that their consumers read."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from onnxsurgeon.arrays import FloatArray
from onnxsurgeon.calibration.linear_layers import ALWAYS, Consumer
from onnxsurgeon.calibration.statistics import Moments

if TYPE_CHECKING:
    from onnxsurgeon.compensation.evidence import Evidence

Weigh = Callable[[Consumer, Moments], FloatArray]  # -> importance of each feature, shape (groups, features)


def _activation(consumer: Consumer, moments: Moments) -> FloatArray:
    return moments.magnitude


def _variance(consumer: Consumer, moments: Moments) -> FloatArray:
    return np.asarray(np.diagonal(moments.covariance, axis1=1, axis2=2))


def _wanda(consumer: Consumer, moments: Moments) -> FloatArray:
    """Sum of |w| * ||x||: Sun et al., A Simple and Effective Pruning Approach for Large Language Models (2024)."""
    norm = np.sqrt(np.diagonal(moments.gram, axis1=1, axis2=2).clip(0))
    return np.asarray(norm * np.abs(consumer.matrix()).sum(axis=2))


OBSERVED: dict[str, Weigh] = {"activation": _activation, "variance": _variance, "wanda": _wanda}


def observed(evidence: Evidence, word: str) -> FloatArray:
    """Importance per neuron, shape (neurons,): the sum over its consumers, each scaled to a mean of 1.

    word: a key of `OBSERVED`.
    """
    result = np.zeros(evidence.labels.relations.count)
    for consumer in evidence.layers:
        if consumer.key not in evidence.statistics.moments:
            continue
        worth = OBSERVED[word](consumer, evidence.statistics.moments[consumer.key])
        worth = worth.reshape(*consumer.inputs.shape, consumer.kernel).sum(axis=2)
        mean = float(worth.mean())
        known = consumer.inputs != ALWAYS
        if mean > 0:
            np.add.at(result, consumer.inputs[known], worth[known] / mean)
    return result
