"""Gradients of convolutions. Which formula of the weight is the quickest depends on the shapes.

Measured on a CPU: tap by tap where the window moves by one (it also holds no patches), patches where it moves faster or
sees few channels, and a convolution by the gradient itself where each channel is on its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from onnxsurgeon.arrays import Shape
from onnxsurgeon.ops.emitter import Emitter
from onnxsurgeon.ops.gradient import GradientCall
from onnxsurgeon.ops.windows import UPPER, unslid, window_of

LARGE = 2**25  # numbers in the patches that are held at a time
FEW = 8  # channels of a group below which patches are read together


@dataclass(frozen=True)
class Sliding:
    """A window over `data`, shape (n, channels, *size), and what is given for each of its places, `given`, shape
    (n, others, *places). padded: of each spatial axis, before it and after it."""

    emit: Emitter
    data: str
    given: str
    kernel: Shape
    groups: int
    strides: Sequence[int]
    dilations: Sequence[int]
    padded: Sequence[tuple[int, int]]

    @property
    def share(self) -> int:
        """The channels of the data in a group."""
        return self.emit.shapes[self.data][1] // self.groups

    def weight(self) -> str:
        """What each element of the data, times what is given for its places, adds to each tap: the gradient of a
        weight, shape (others, channels of a group, *kernel)."""
        n, others, *places = self.emit.shapes[self.given]
        patches = n * self.groups * self.share * prod(self.kernel) * prod(places)
        shape = (others, self.share, *self.kernel)
        if self.share == 1 and others == self.groups:
            return self.emit.reshaped(self._alone(), shape)
        pointwise = prod(self.kernel) == 1
        if patches > LARGE or pointwise or (self.share >= FEW and set(self.strides) == {1}):
            found = self._by_tap()
        else:
            found = self._by_patch()
        parted = self.emit.reshaped(found, (self.groups, self.share, prod(self.kernel), others // self.groups))
        return self.emit.reshaped(self.emit.transposed(parted, [0, 3, 1, 2]), shape)

    def _given(self) -> str:
        """What is given, by group, with places before channels."""
        n, others, *places = self.emit.shapes[self.given]
        parted = self.emit.reshaped(self.given, (n, self.groups, others // self.groups, prod(places)))
        return self.emit.swapped(parted)

    def _by_tap(self) -> str:
        """A product for each tap; no patches are held."""
        emit, given, (n, _, *places) = self.emit, self._given(), self.emit.shapes[self.given]
        data, found = emit.widened(self.data, {2 + a: ends for a, ends in enumerate(self.padded)}), []
        for tap in np.ndindex(*self.kernel):
            steps = zip(tap, self.dilations, self.strides, places, strict=True)
            at = {2 + a: k * d + np.arange(m) * s for a, (k, d, s, m) in enumerate(steps)}
            seen = emit.reshaped(emit.places(data, at), (n, self.groups, self.share, prod(places)))
            summed = emit.total(emit.product(seen, given), [0])
            found.append(emit.reshaped(summed, (self.groups, self.share, 1, emit.shapes[summed][3])))
        return emit.joined(found, 2)

    def _by_patch(self) -> str:
        """All taps are read by a convolution of each channel, whose filters have a single 1; then one product."""
        emit, (n, channels, *_), taps = self.emit, self.emit.shapes[self.data], prod(self.kernel)
        places = self.emit.shapes[self.given][2:]
        filters = np.tile(np.eye(taps).reshape(taps, 1, *self.kernel), (channels, *(1,) * (1 + len(self.kernel))))
        patches = self._slide(self.data, emit.constant(filters), channels, (n, channels * taps, *places))
        rows = emit.reshaped(patches, (n, self.groups, self.share * taps, prod(places)))
        return emit.total(emit.product(rows, self._given()), [0])

    def _alone(self) -> str:
        """Channel by channel: what is given is the filter, which slides over the data by the dilations."""
        emit, (n, channels, *size), places = self.emit, self.emit.shapes[self.data], self.emit.shapes[self.given][2:]
        data = emit.reshaped(self.data, (1, n * channels, *size))
        filters = emit.reshaped(self.given, (n * channels, 1, *places))
        made = [
            (m + low + high - (p - 1) * s - 1) // d + 1
            for m, (low, high), p, s, d in zip(size, self.padded, places, self.strides, self.dilations, strict=True)
        ]
        found = emit(
            "Conv", data, filters, shape=(1, n * channels, *made), group=n * channels, strides=list(self.dilations),
            dilations=list(self.strides), pads=_ends(self.padded), kernel_shape=list(places),
        )  # fmt: skip
        taps = emit.places(found, {2 + axis: np.arange(k) for axis, k in enumerate(self.kernel)})
        return emit.total(emit.reshaped(taps, (n, channels, *self.kernel)), [0])

    def _slide(self, data: str, weight: str, groups: int, shape: Shape) -> str:
        return self.emit(
            "Conv", data, weight, shape=shape, group=groups, strides=list(self.strides),
            dilations=list(self.dilations), pads=_ends(self.padded), kernel_shape=list(self.kernel),
        )  # fmt: skip

    def forward(self, weight: str, channels: int) -> str:
        """The convolution of the data, with as many places as what is given."""
        n, _, *places = self.emit.shapes[self.given]
        return self._slide(self.data, weight, self.groups, (n, channels, *places))


def _ends(padded: Sequence[tuple[int, int]]) -> list[int]:
    return [low for low, _ in padded] + [high for _, high in padded]


# --- convolution -----------------------------------------------------------------------------------------------------


def conv_data(call: GradientCall, index: int) -> str:
    """A convolution with the turned weight, where the window moves by one; else a transposed convolution."""
    emit, seen, (n, channels, *size), weight = call.emit, window_of(call), call.shape(0), call.shape(1)
    low = [reach - 1 - before for reach, before in zip(seen.reach, seen.before, strict=True)]
    sizes = zip(size, call.result()[2:], seen.reach, low, strict=True)
    high = [m - p + reach - 1 - before for m, p, reach, before in sizes]
    if set(seen.strides) != {1} or min(*low, *high) < 0:
        behind = list(zip(seen.before, seen.after, strict=True))
        return unslid(call, call.gradient, call.inputs[1], channels, call.group, behind)
    parted = emit.reshaped(call.inputs[1], (call.group, weight[0] // call.group, weight[1], prod(weight[2:])))
    turned = emit.transposed(emit.selected(parted, 3, np.arange(prod(weight[2:]))[::-1]), [0, 2, 1, 3])
    return emit(
        "Conv", call.gradient, emit.reshaped(turned, (channels, weight[0] // call.group, *weight[2:])),
        shape=(n, channels, *size), group=call.group, dilations=seen.dilations, pads=[*low, *high],
        kernel_shape=list(weight[2:]),
    )  # fmt: skip


def conv_weight(call: GradientCall, index: int) -> str:
    seen, size, places = window_of(call), call.shape(0)[2:], call.result()[2:]
    ends = [
        (before, max(0, (p - 1) * s + reach - before - m))
        for m, p, s, reach, before in zip(size, places, seen.strides, seen.reach, seen.before, strict=True)
    ]
    kernel = call.shape(1)[2:]
    return Sliding(
        call.emit, call.inputs[0], call.gradient, kernel, call.group, seen.strides, seen.dilations, ends
    ).weight()


def conv_bias(call: GradientCall, index: int) -> str:
    total = call.emit.total(call.gradient, [0, *range(2, len(call.result()))])
    return call.emit.reshaped(total, call.shape(2))


CONV_GRADIENTS = (conv_data, conv_weight, conv_bias)


def activated_conv(call: GradientCall) -> Sequence[str] | None:
    """A convolution, what is added to it, and the activation behind it."""
    emit, name, added = call.emit, str(call.attributes.get("activation", "")), 3
    if name not in ("", "Relu", "Sigmoid", "Tanh"):
        return None
    own = {key: value for key, value in call.attributes.items() if not key.startswith("activation")}
    given = [one for one in call.inputs[:added] if one]
    result = emit("Conv", *given, shape=call.result(), **own)
    result = emit("Add", result, call.inputs[added]) if call.has(added) else result
    return [emit(name, result) if name else result]


# --- transposed convolution ------------------------------------------------------------------------------------------


def _back_again(call: GradientCall) -> Sliding:
    """The convolution of which it is the transpose: it slides over the result, with a place for each input element."""
    kernel, rank, options = call.shape(1)[2:], len(call.shape(1)) - 2, call.attributes
    strides = list(options.get("strides") or [1] * rank)
    dilations = list(options.get("dilations") or [1] * rank)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    more = list(options.get("output_padding") or [0] * rank)
    mode, pads = str(options.get("auto_pad") or "NOTSET"), options.get("pads")
    ends = []
    for a, (n, m) in enumerate(zip(call.shape(0)[2:], call.result()[2:], strict=True)):
        total = max(0, (n - 1) * strides[a] + reach[a] + more[a] - m)
        low = total // 2 if mode == UPPER else total - total // 2
        if mode == "VALID":
            low = 0
        elif mode == "NOTSET" and not options.get("output_shape"):
            low = int(pads[a]) if pads else 0
        ends.append((low, max(0, (n - 1) * strides[a] + reach[a] - low - m)))
    gradient, data = call.gradient, call.inputs[0]
    return Sliding(call.emit, gradient, data, kernel, call.group, strides, dilations, ends)


def transposed_data(call: GradientCall, index: int) -> str:
    return _back_again(call).forward(call.inputs[1], call.shape(0)[1])


def transposed_weight(call: GradientCall, index: int) -> str:
    return _back_again(call).weight()


TRANSPOSED_GRADIENTS = (transposed_data, transposed_weight, conv_bias)
