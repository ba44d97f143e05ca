"""How an operator is linear in its data, with a weight as the coefficients: its rows, features and outputs.

    output[row, group, o] = sum over features f of rows[row, group, f] * matrix[group, f, o] + bias

A row is one position of one sample: a patch for a convolution, a token or a sample for a matrix product. The features
of one input neuron stand together: `kernel` of them for a convolution, 1 elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from onnxsurgeon.arrays import FloatArray, IntArray
from onnxsurgeon.neurons.relations import Axis
from onnxsurgeon.ops.call import Call

SEES = "strides", "pads", "dilations", "auto_pad", "group", "transA"  # attributes that choose the rows


def only(value: Any) -> Callable[[Call], Any]:
    """A function that returns `value` for every node."""
    return lambda call: value


class LinearForm(NamedTuple):
    """How one operator is linear. All functions take the node first; `picked` are numbers of rows.

    data, weight: inputs. bias: the input that holds one number an output; None where the operator has none.
    groups: independent parts that inputs and outputs fall into.
    kernel: features of one input neuron.
    channels: the axis of the output that its neurons lie on.
    positions: how many rows there are. rows: the features of some, shape (picked, groups, features).
    matrix: the weight as coefficients, shape (groups, features, outputs); `weight_of` is its inverse.
    inputs: the axis of the data whose neurons are multiplied.
    scale: what a number in the bias input counts for. pads: whether it sees zeros beside the data.
    """

    data: int
    weight: int
    bias: int | None
    channels: int
    fits: Callable[[Call], bool]
    positions: Callable[[Call, FloatArray], int]
    rows: Callable[[Call, FloatArray, IntArray], FloatArray]
    matrix: Callable[[Call, FloatArray], FloatArray]
    weight_of: Callable[[Call, FloatArray, tuple[int, ...]], FloatArray]
    inputs: Callable[[Call], Axis]
    groups: Callable[[Call], int] = only(1)
    kernel: Callable[[Call], int] = only(1)
    scale: Callable[[Call], float] = only(1.0)
    pads: Callable[[Call], bool] = only(value=False)

    def count(self, output: FloatArray) -> int:
        """Rows of an output."""
        return int(output.size // max(1, output.shape[self.channels]))

    def outputs(self, call: Call, output: FloatArray, picked: IntArray) -> FloatArray:
        """Some rows of an output, shape (picked, groups, outputs)."""
        moved = np.moveaxis(output, self.channels, -1)
        where = np.unravel_index(picked, moved.shape[:-1])
        rows: FloatArray = moved[where].reshape(len(picked), self.groups(call), -1)
        return rows

    def sees(self, call: Call) -> str:
        """Nodes of one operator and one input that agree in this see the same rows."""
        return f"{(call.shape(self.weight) or ())[2:]} {[call.attributes.get(name) for name in SEES]}"
