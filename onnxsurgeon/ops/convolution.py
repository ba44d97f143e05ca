"""Convolutions: Conv, ConvTranspose, DeformConv, and those of com.microsoft. Quantised ones are in `quantised`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import numpy as np

from onnxsurgeon.arrays import FloatArray, IntArray, Shape
from onnxsurgeon.errors import InfeasibleError
from onnxsurgeon.neurons.relations import Axes, Axis
from onnxsurgeon.ops.call import Call, Changes, Keep, blocks
from onnxsurgeon.ops.composition import composed
from onnxsurgeon.ops.convolution_gradients import CONV_GRADIENTS, TRANSPOSED_GRADIENTS, activated_conv
from onnxsurgeon.ops.linear import LinearForm
from onnxsurgeon.ops.registry import MICROSOFT, Factors, Macs, Operator, Resize, add
from onnxsurgeon.ops.rescaling import CONVOLVED, TRANSPOSED
from onnxsurgeon.ops.sampling_gradients import deformed_conv
from onnxsurgeon.ops.shape_inference import Attributes, Infer, ShapeRule, Shapes
from onnxsurgeon.ops.signatures import counted, everything, read, signature
from onnxsurgeon.ops.windows import Convolution, Window, places, window


def groups(weight: int, axis: int, share: Callable[[Call], int]) -> Resize:
    """The number of groups of a convolution, on which its input and output must agree."""
    resize = counted("group", weight, axis, share)

    def resized(call: Call, keep: Keep) -> Changes:
        changes, group = resize(call, keep), call.group
        channels = -1 if call.attributes.get("channels_last") else 1
        for operand in (call.operand(0), call.result(0)) if group > 1 else ():
            labels = operand.axes[channels] if operand is not None and len(operand.axes) > 1 else None
            if labels is None or len(labels) % group:
                continue
            if blocks(keep, labels, len(labels) // group) != changes.get("group", group):
                raise InfeasibleError(
                    f"{call.name} ({call.operator}) can't change so",
                    why="its input and output would have different numbers of groups",
                    fix="ask for another width, or change another node",
                )
        return changes

    return resized


def conv_macs(weight: int) -> Macs:
    """Multiply-accumulates of a convolution: every output element x the weights behind it."""

    def macs(call: Call) -> list[Factors]:
        kernel = call.operand(weight)
        return [everything(call, call.result(0)) + everything(call, kernel)[1:]]

    return macs


def transposed_macs(call: Call) -> list[Factors]:
    return [everything(call, call.operand(0)) + everything(call, call.operand(1))[1:]]


def conv(text: str, weight: int = 1) -> Callable[[Call], str]:
    """A pointwise convolution lets labels through its spatial axes; any other works along them."""

    def choose(call: Call) -> str:
        kernel = call.shape(weight) or (0, 0, 2)
        plain = all(set(call.attributes.get(key) or [good]) == {good} for key, good in (("strides", 1), ("pads", 0)))
        plain = plain and call.attributes.get("auto_pad", "NOTSET") in ("NOTSET", "VALID")
        pointwise = plain and set(kernel[2:]) == {1}
        return text.replace("n (g i) *", "n (g i) ...").replace("n (g o) *", "n (g o) ...") if pointwise else text

    return choose


def group_share(weight: int) -> Callable[[Call], int]:
    def share(call: Call) -> int:
        return int((call.shape(weight) or (1,))[0]) // call.group

    return share


def input_share(call: Call) -> int:
    return int((call.shape(0) or (1, 1))[1]) // call.group


def convolved(weight: int) -> Infer:
    """A convolution whose weight is input `weight`, outputs first."""

    def infer(attributes: Attributes, shapes: Shapes) -> Sequence[Shape]:
        (n, *spatial), kernel = shapes[0], shapes[weight]
        if attributes.get("channels_last"):
            return [(n, *places(attributes, tuple(spatial[:-1]), kernel[2:]), kernel[0])]
        return [(n, kernel[0], *places(attributes, tuple(spatial[1:]), kernel[2:]))]

    return infer


def _window_at(call: Call, size: Sequence[int]) -> Window:
    return window(call.attributes, (call.shape(1) or ())[2:], size)


def _sees_padding(call: Call) -> bool:
    window = _window_at(call, (call.shape(0) or ())[2:])
    return any((*window.before, *window.after))


def _positions(call: Call, x: FloatArray) -> int:
    return int(x.shape[0]) * prod(places(call.attributes, x.shape[2:], (call.shape(1) or ())[2:]))


def _rows(call: Call, x: FloatArray, picked: IntArray) -> FloatArray:
    """Patches, shape (picked, groups, channels of a group * kernel)."""
    window, rank = _window_at(call, x.shape[2:]), x.ndim - 2
    if any((*window.before, *window.after)):
        return _padded_rows(call, x, picked, window)
    windows = np.lib.stride_tricks.sliding_window_view(x, window.reach, axis=tuple(range(2, 2 + rank)))
    steps = tuple(slice(None, None, s) for s in (*window.strides, *window.dilations))
    windows = np.moveaxis(windows[(slice(None), slice(None), *steps)], 1, 1 + rank)  # n, *positions, c, *kernel
    rows: FloatArray = windows[np.unravel_index(picked, windows.shape[: 1 + rank])]
    return rows.reshape(len(picked), call.group, -1)


def _padded_rows(call: Call, x: FloatArray, picked: IntArray, window: Window) -> FloatArray:
    """As `_rows`, patch by patch: a padded copy of all inputs would take far longer than the picked ones."""
    kernel = (call.shape(1) or ())[2:]
    at, *position = np.unravel_index(picked, (len(x), *places(call.attributes, x.shape[2:], kernel)))
    starts = [p * s - b for p, s, b in zip(position, window.strides, window.before, strict=True)]
    here, there = list[list[slice]](), list[list[slice]]()  # along each axis, by patch: in the patch, and in `x`
    for start, length, size, step in zip(starts, kernel, x.shape[2:], window.dilations, strict=True):
        first = np.maximum(0, -(start // step))  # the first tap that is not in the padding
        last = np.clip(-(-(size - start) // step), first, length)
        here.append([slice(a, b) for a, b in zip(first.tolist(), last.tolist(), strict=True)])
        ends = zip((start + first * step).tolist(), (start + last * step).tolist(), strict=True)
        there.append([slice(a, b, step) for a, b in ends])
    rows = np.zeros((len(picked), x.shape[1], *kernel), x.dtype)
    patches = zip(*here, strict=True), zip(*there, strict=True)
    for row, sample, to, of in zip(rows, at, *patches, strict=True):
        row[(..., *to)] = x[sample][(..., *of)]
    return rows.reshape(len(picked), call.group, -1)


def _matrix(call: Call, weight: FloatArray) -> FloatArray:
    return weight.reshape(call.group, weight.shape[0] // call.group, -1).transpose(0, 2, 1)


def _weight(call: Call, matrix: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    return matrix.transpose(0, 2, 1).reshape(shape)


def _inputs(call: Call) -> Axis:
    axes = call.axes(0)
    return None if axes is None else axes[1]


PATCHES = LinearForm(
    data=0,
    weight=1,
    bias=2,
    channels=1,
    groups=lambda call: call.group,
    kernel=lambda call: prod((call.shape(1) or ())[2:]),
    fits=lambda call: call.shape(0) is not None,
    positions=_positions,
    rows=_rows,
    matrix=_matrix,
    weight_of=_weight,
    inputs=_inputs,
    pads=_sees_padding,
)


CONV = Operator(
    signature(conv("n (g i) *, (g o) i *, (g o) -> n (g o) *"), g="group"),
    silence="data",
    resize=groups(1, 0, group_share(1)),
    macs=conv_macs(1),
    neutral={2: 0.0},
)

add(
    "Conv",
    CONV,
    sizes=lambda call: convolved(1)(call.attributes, call.shapes)[0],
    linear=PATCHES,
    rescaling=CONVOLVED,
    convolution=Convolution(),
    gradient=CONV_GRADIENTS,
)
add(
    "ConvTranspose",
    signature("n (g i) *, (g i) o *, (g o) -> n (g o) *", g="group"),
    silence="data",
    resize=groups(0, 1, input_share),
    macs=transposed_macs,
    neutral={2: 0.0},
    rescaling=TRANSPOSED,
    convolution=Convolution(transposed=True),
    gradient=TRANSPOSED_GRADIENTS,
)
add(
    "FusedConv",
    CONV,
    rule=signature(conv("n (g i) *, (g o) i *, (g o), n (g o) * -> n (g o) *"), g="group"),
    shape=ShapeRule(convolved(1)),
    gradient=composed(activated_conv),
    domain=MICROSOFT,
)


def deformable(call: Call) -> Sequence[Axes | None]:
    if int(call.attributes.get("offset_group") or 1) > 1:
        return call.freeze_all("its channels share offsets in groups")
    return read(call, "n (g i) *, (g o) i *, n *, (g o), n * -> n (g o) *", g=call.group)


add("DeformConv", CONV, rule=deformable, gradient=composed(deformed_conv))


CAUSAL = Operator(signature("n c _, c _ _, c, n c _ -> n c _, n c _"))

add("CausalConvWithState", CAUSAL, macs=conv_macs(1))
add(
    "CausalConvWithState",
    CAUSAL,
    shape=ShapeRule(lambda attributes, shapes: [shapes[0], (*shapes[0][:2], shapes[1][2] - 1)]),
    domain=MICROSOFT,
)
