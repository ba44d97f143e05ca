"""How the channels of a layer's output are scaled and shifted by other weights: what a normalisation behind it does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from onnxsurgeon.arrays import FloatArray

Attributes = Mapping[str, Any]


def _whole(attributes: Attributes) -> float:
    return 1.0


class Rescaling(NamedTuple):
    """The weight and the bias of an operator, whose output has its channels on axis 1.

    weight, bias: inputs; the bias may be left out, and broadcasts to the channels from the last axis on. scaled: the
    weight (shape as in the file) with which channel c of the output is factor[c] times as large; factor: shape
    (channels,). counts: what a number in the bias input counts for; 0 if nothing.
    """

    weight: int
    bias: int
    scaled: Callable[[Attributes, FloatArray, FloatArray], FloatArray]
    counts: Callable[[Attributes], float] = _whole

    def biased(
        self, attributes: Attributes, bias: FloatArray | None, factor: FloatArray, shift: FloatArray
    ) -> FloatArray:
        """The bias with which the output is factor * output + shift; factor, shift: shape (channels,)."""
        own = np.zeros(1) if bias is None else bias
        found: FloatArray = own * factor + shift / self.counts(attributes)
        return found


def _rows(attributes: Attributes, weight: FloatArray, factor: FloatArray) -> FloatArray:
    """Shape (channels, ...)."""
    found: FloatArray = weight * factor.reshape(-1, *(1,) * (weight.ndim - 1))
    return found


def _grouped(attributes: Attributes, weight: FloatArray, factor: FloatArray) -> FloatArray:
    """Shape (groups * inputs of a group, channels of a group, ...)."""
    groups = int(attributes.get("group") or 1)
    parts = weight.reshape(groups, -1, *weight.shape[1:])
    factors = factor.reshape(groups, 1, -1, *(1,) * (weight.ndim - 2))
    return (parts * factors).reshape(weight.shape)


def _matrix(attributes: Attributes, weight: FloatArray, factor: FloatArray) -> FloatArray:
    """Shape (inputs, channels), or turned."""
    return _rows(attributes, weight, factor) if attributes.get("transB") else weight * factor


def _beta(attributes: Attributes) -> float:
    return float(attributes.get("beta", 1.0))


CONVOLVED = Rescaling(1, 2, _rows)
TRANSPOSED = Rescaling(1, 2, _grouped)
MULTIPLIED = Rescaling(1, 2, _matrix, _beta)
