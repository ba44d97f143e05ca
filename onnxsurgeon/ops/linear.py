"""Nodes that are linear in one input, with a weight as the coefficients: their rows, features and outputs.

    output[row, group, o] = sum over features f of rows[row, group, f] * matrix[group, f, o] + bias

A row is one position of one sample: a patch for a convolution, a token or a sample for a matrix product. The features
of one input neuron stand together: `kernel` of them for a convolution, 1 elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import ceil, inf, prod
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from onnxsurgeon.neurons.relations import Axes, Axis
from onnxsurgeon.ops.call import Call

FloatArray = npt.NDArray[Any]
Indices = npt.NDArray[np.int64]


class LinearForm(NamedTuple):
    """How one operator is linear. All functions take the node first; `picked` are numbers of rows.

    data, weight: inputs. bias: the input that holds one number an output; None where the operator has none.
    groups: independent parts that inputs and outputs fall into.
    kernel: features of one input neuron.
    channels: the axis of the output that its neurons lie on.
    positions: how many rows there are. rows: the features of some, shape (picked, groups, features).
    matrix: the weight as coefficients, shape (groups, features, outputs); `weight_of` is its inverse.
    """

    data: int
    weight: int
    bias: int | None
    groups: Callable[[Call], int]
    kernel: Callable[[Call], int]
    channels: int
    fits: Callable[[Call], bool]
    positions: Callable[[Call, FloatArray], int]
    rows: Callable[[Call, FloatArray, Indices], FloatArray]
    matrix: Callable[[Call, FloatArray], FloatArray]
    weight_of: Callable[[Call, FloatArray, tuple[int, ...]], FloatArray]
    inputs: Callable[[Call], Axis]
    scale: Callable[[Call], float]  # what a number in the bias input counts for
    pads: Callable[[Call], bool]  # whether it sees zeros beside the data

    def count(self, output: FloatArray) -> int:
        """Rows of an output."""
        return int(output.size // max(1, output.shape[self.channels]))

    def outputs(self, call: Call, output: FloatArray, picked: Indices) -> FloatArray:
        """Some rows of an output, shape (picked, groups, outputs)."""
        moved = np.moveaxis(output, self.channels, -1)
        where = np.unravel_index(picked, moved.shape[:-1])
        rows: FloatArray = moved[where].reshape(len(picked), self.groups(call), -1)
        return rows


# --- convolutions ----------------------------------------------------------------------------------------------------


class Window(NamedTuple):
    """Of a convolution or of pooling, by spatial axis. reach: positions from the first to the last that it looks at."""

    reach: list[int]
    strides: list[int]
    dilations: list[int]
    before: list[int]
    after: list[int]


def window(attributes: Mapping[str, Any], kernel: Sequence[int], size: Sequence[int]) -> Window:
    """kernel, size: of the window and of the data, by spatial axis."""
    strides = list(attributes.get("strides") or [1] * len(kernel))
    dilations = list(attributes.get("dilations") or [1] * len(kernel))
    reach = [d * (k - 1) + 1 for d, k in zip(dilations, kernel, strict=True)]
    return Window(reach, strides, dilations, *_pads(attributes, size, reach, strides))


def _window(call: Call, size: Sequence[int]) -> Window:
    kernel = call.shape(1)
    assert kernel is not None
    return window(call.attributes, kernel[2:], size)


def _padded(call: Call) -> bool:
    window = _window(call, (call.shape(0) or ())[2:])
    return any((*window.before, *window.after))


def _conv_positions(call: Call, x: FloatArray) -> int:
    size = x.shape[2:]
    window = _window(call, size)
    rows = int(x.shape[0])
    for axis, n in enumerate(size):
        free = n + window.before[axis] + window.after[axis] - window.reach[axis]
        rows *= free // window.strides[axis] + 1
    return rows


def _conv_rows(call: Call, x: FloatArray, picked: Indices) -> FloatArray:
    """Patches, shape (picked, groups, channels of a group * kernel)."""
    window, rank = _window(call, x.shape[2:]), x.ndim - 2
    pads = [(0, 0), (0, 0), *zip(window.before, window.after, strict=True)]
    padded = np.pad(x, pads) if any((*window.before, *window.after)) else x
    windows = np.lib.stride_tricks.sliding_window_view(padded, window.reach, axis=tuple(range(2, 2 + rank)))
    steps = tuple(slice(None, None, s) for s in (*window.strides, *window.dilations))
    windows = np.moveaxis(windows[(slice(None), slice(None), *steps)], 1, 1 + rank)  # n, *positions, c, *kernel
    rows: FloatArray = windows[np.unravel_index(picked, windows.shape[: 1 + rank])]
    return rows.reshape(len(picked), _conv_groups(call), -1)


def _pads(
    attributes: Mapping[str, Any], size: Sequence[int], reach: Sequence[int], strides: Sequence[int]
) -> tuple[list[int], list[int]]:
    """Padding before and after each spatial axis."""
    mode, rank = attributes.get("auto_pad") or "NOTSET", len(size)
    if mode in ("NOTSET", "VALID"):
        pads = list(attributes.get("pads") or [0] * 2 * rank) if mode == "NOTSET" else [0] * 2 * rank
        return pads[:rank], pads[rank:]
    total = [max(0, (ceil(n / s) - 1) * s + r - n) for n, r, s in zip(size, reach, strides, strict=True)]
    small, large = [t // 2 for t in total], [t - t // 2 for t in total]
    return (small, large) if mode == "SAME_UPPER" else (large, small)


def _conv_groups(call: Call) -> int:
    return int(call.attributes.get("group") or 1)


def _conv_matrix(call: Call, weight: FloatArray) -> FloatArray:
    groups = _conv_groups(call)
    return weight.reshape(groups, weight.shape[0] // groups, -1).transpose(0, 2, 1)


def _conv_weight(call: Call, matrix: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    return matrix.transpose(0, 2, 1).reshape(shape)


# --- matrix products -------------------------------------------------------------------------------------------------


def _one(call: Call) -> int:
    return 1


def _matmul_rows(call: Call, x: FloatArray, picked: Indices) -> FloatArray:
    rows: FloatArray = x[np.unravel_index(picked, x.shape[:-1])][:, None, :]
    return rows


def _matmul_fits(call: Call) -> bool:
    return len(call.shape(1) or ()) == 2 and len(call.shape(0) or ()) >= 2


def _gemm_rows(call: Call, x: FloatArray, picked: Indices) -> FloatArray:
    rows: FloatArray = (x.T if call.attributes.get("transA") else x)[picked]
    return rows[:, None, :]


def _gemm_matrix(call: Call, weight: FloatArray) -> FloatArray:
    alpha = float(call.attributes.get("alpha", 1.0))
    return ((weight.T if call.attributes.get("transB") else weight) * alpha)[None]


def _gemm_weight(call: Call, matrix: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    weight: FloatArray = matrix[0] / float(call.attributes.get("alpha", 1.0))
    return weight.T if call.attributes.get("transB") else weight


def _axis(call: Call, index: int, axis: int) -> Axis:
    axes: Axes | None = call.axes(index)
    return None if axes is None else axes[axis]


LINEAR: dict[tuple[str, str], LinearForm] = {
    ("", "Conv"): LinearForm(
        data=0,
        weight=1,
        bias=2,
        groups=_conv_groups,
        kernel=lambda call: prod((call.shape(1) or ())[2:]),
        channels=1,
        fits=lambda call: call.shape(0) is not None,
        positions=_conv_positions,
        rows=_conv_rows,
        matrix=_conv_matrix,
        weight_of=_conv_weight,
        inputs=lambda call: _axis(call, 0, 1),
        scale=lambda call: 1.0,
        pads=_padded,
    ),
    ("", "Gemm"): LinearForm(
        data=0,
        weight=1,
        bias=2,
        groups=_one,
        kernel=_one,
        channels=-1,
        fits=lambda call: len(call.shape(2) or ()) < 2 and bool(call.attributes.get("alpha", 1.0)),
        positions=lambda call, x: x.shape[1 if call.attributes.get("transA") else 0],
        rows=_gemm_rows,
        matrix=_gemm_matrix,
        weight_of=_gemm_weight,
        inputs=lambda call: _axis(call, 0, 0 if call.attributes.get("transA") else 1),
        scale=lambda call: float(call.attributes.get("beta", 1.0)),
        pads=lambda call: False,
    ),
    ("", "MatMul"): LinearForm(
        data=0,
        weight=1,
        bias=None,
        groups=_one,
        kernel=_one,
        channels=-1,
        fits=_matmul_fits,
        positions=lambda call, x: x.size // max(1, x.shape[-1]),
        rows=_matmul_rows,
        matrix=lambda call, weight: weight[None],
        weight_of=lambda call, matrix, shape: matrix[0],
        inputs=lambda call: _axis(call, 0, -1),
        scale=lambda call: 1.0,
        pads=lambda call: False,
    ),
}


# --- what comes behind them ------------------------------------------------------------------------------------------

SUMS = frozenset({("", "Add"), ("", "Sum")})
SUMMED = SUMS | {("", "Sub")}
PRODUCTS = frozenset({("", "Mul"), ("", "MatMul")})  # linear in each input
ALIKE = frozenset(  # linear in the first input, and the same to all its neurons beside those that they reduce
    ("", name)
    for name in "AveragePool Div Dropout Expand Gather GlobalAveragePool Identity Neg ReduceMean ReduceSum Tile".split()
)
ZEROS = frozenset({("", "ConstantOfShape")})  # unless they are told otherwise
SQUASHING = frozenset({("", name) for name in "Softmax LogSoftmax Sigmoid".split()})  # what scores of classes end in


def _clipped(call: Call) -> tuple[float, float] | None:
    limits = []
    for name, index, default in (("min", 1, -inf), ("max", 2, inf)):
        given = call.attributes.get(name, call.static(index))
        if given is None and call.has(index):
            return None
        limits.append(default if given is None else float(given))
    return limits[0], limits[1]


# Between which bounds an activation lets a number through unchanged: what is below the lower one is all the same to it.
BOUNDS: dict[tuple[str, str], Callable[[Call], tuple[float, float] | None]] = {
    ("", "Relu"): lambda call: (0.0, inf),
    ("", "Clip"): _clipped,
}


class Held(NamedTuple):
    """Inputs that hold one number a channel."""

    scale: int
    shift: int
    mean: int
    variance: int


# Behind these, which take out the statistics of the data, a channel's mean is its shift and its deviation its scale.
STATISTICS = {("", "BatchNormalization"): Held(scale=1, shift=2, mean=3, variance=4)}

# The mean of a channel behind these is the mean before them.
MEAN_KEEPING = frozenset({("", name) for name in "AveragePool Dropout GlobalAveragePool Identity".split()})
