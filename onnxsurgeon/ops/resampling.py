"""The gradient of Resize and Upsample: along each axis they are products with a matrix, whose transpose is applied."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import ceil
from typing import Any, NamedTuple

import numpy as np

from onnxsurgeon.arrays import Array, FloatArray
from onnxsurgeon.ops.gradient import GradientCall


class Resampling(NamedTuple):
    """Along one axis: its lengths before and after, their ratio, and the region that is read, as shares of it."""

    before: int
    after: int
    scale: float
    region: tuple[float, float] = (0.0, 1.0)


def _centred(axis: Resampling, at: FloatArray) -> FloatArray:
    return (at + np.float32(0.5)) / np.float32(axis.scale) - np.float32(0.5)


def _from_ends(axis: Resampling, at: FloatArray) -> FloatArray:
    return at * np.float32(axis.before - 1) / np.float32(axis.after - 1) if axis.after > 1 else at * 0


def _symmetric(axis: Resampling, at: FloatArray) -> FloatArray:
    whole = axis.scale * axis.before
    return np.float32(axis.before / 2 * (1 - axis.after / whole)) + _centred(axis, at)


def _region(axis: Resampling, at: FloatArray) -> FloatArray:
    start, end = axis.region
    if axis.after == 1:
        return at * 0 + np.float32(0.5 * (start + end) * (axis.before - 1))
    return np.float32(start * (axis.before - 1)) + at * np.float32((end - start) * (axis.before - 1) / (axis.after - 1))


COORDINATES: Mapping[str, Callable[[Resampling, FloatArray], FloatArray]] = {
    "align_corners": _from_ends,
    "asymmetric": lambda axis, at: at / np.float32(axis.scale),
    "half_pixel": _centred,
    "half_pixel_symmetric": _symmetric,
    "pytorch_half_pixel": lambda axis, at: _centred(axis, at) if axis.after > 1 else at * 0,
    "tf_crop_and_resize": _region,
    "tf_half_pixel_for_nn": lambda axis, at: (at + np.float32(0.5)) / np.float32(axis.scale),
}
NEAREST: Mapping[str, Callable[[FloatArray], FloatArray]] = {
    "ceil": np.ceil,
    "floor": np.floor,
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
}


def _triangle(distance: FloatArray, a: float) -> FloatArray:
    return np.asarray(np.maximum(0.0, 1 - np.abs(distance)))


def _cubic(distance: FloatArray, a: float) -> FloatArray:
    """Keys 1981."""
    x = np.abs(distance)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


def nearest(axis: Resampling, options: Mapping[str, Any]) -> Array:
    """The position that is read at each place."""
    found = _read(axis, options)
    rounded = NEAREST[str(options.get("nearest_mode", "round_prefer_floor"))](found)
    return np.clip(rounded, 0, axis.before - 1).astype(np.int64)


def _read(axis: Resampling, options: Mapping[str, Any]) -> FloatArray:
    mode = str(options.get("coordinate_transformation_mode", "half_pixel"))
    return COORDINATES[mode](axis, np.arange(axis.after, dtype=np.float32)).astype(np.float64)


def weights(axis: Resampling, options: Mapping[str, Any]) -> FloatArray:
    """What each position adds to each place, shape (after, before)."""
    cubic = options.get("mode") == "cubic"
    at, kernel, a = _read(axis, options), _cubic if cubic else _triangle, float(options.get("cubic_coeff_a", -0.75))
    shrink = min(1.0, axis.scale) if options.get("antialias") else 1.0
    reach = ceil((2 if cubic else 1) / shrink)
    inside = at if cubic or shrink < 1 else np.clip(at, 0, axis.before - 1)
    near = np.floor(inside)[:, None] + np.arange(-reach, reach + 2)
    found = kernel((near - inside[:, None]) * shrink, a)
    if options.get("exclude_outside"):
        found = np.where((near < 0) | (near > axis.before - 1), 0.0, found)
    if options.get("exclude_outside") or options.get("antialias"):
        found = found / found.sum(axis=1, keepdims=True)
    matrix = np.zeros((axis.after, axis.before))
    rows = np.broadcast_to(np.arange(axis.after)[:, None], near.shape)
    np.add.at(matrix, (rows, np.clip(near, 0, axis.before - 1).astype(np.int64)), found)
    return matrix


def _axes(call: GradientCall) -> dict[int, Resampling] | None:
    """The axes that change; None where the region that is read is not known, or of one that keeps its length."""
    shape, result, options, late = call.shape(0), call.result(), call.attributes, _late(call)
    where = [int(a) % len(shape) for a in options.get("axes") or range(len(shape))]
    given = call.static(2) if late else call.parameter("scales", 1)
    wanted, policy = call.static(3), options.get("keep_aspect_ratio_policy", "stretch")
    by = {a: result[a] / shape[a] for a in where}
    if given is not None and np.size(given):
        by = dict(zip(where, np.ravel(given).tolist(), strict=True))
    elif wanted is not None and policy != "stretch":
        choose = min if policy == "not_larger" else max
        by = dict.fromkeys(where, choose(int(n) / shape[a] for n, a in zip(wanted, where, strict=True)))
    bounds = dict.fromkeys(where, (0.0, 1.0))
    if options.get("coordinate_transformation_mode") == "tf_crop_and_resize":
        region = call.static(1)
        if region is None:
            return None
        bounds = {a: (float(low), float(high)) for a, low, high in zip(where, *np.split(region, 2), strict=True)}
        if any(by[a] == 1 and bounds[a] != (0.0, 1.0) for a in where):
            return None
    found = {a: Resampling(shape[a], result[a], by[a], bounds[a]) for a in where}
    return {a: axis for a, axis in found.items() if axis != Resampling(axis.before, axis.before, 1.0)}


def _late(call: GradientCall) -> bool:
    """Whether it is a Resize since its second version: the first one, and Upsample, have two inputs at most."""
    return len(call.inputs) > 2


def resampled_back(call: GradientCall, index: int) -> str | None:
    options, value, axes = dict(call.attributes), call.gradient, _axes(call)
    if axes is None:
        return None
    if not _late(call):
        options |= {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    for axis, change in axes.items():
        if options.get("mode", "nearest") == "nearest":
            value = call.emit.scattered(value, axis, nearest(change, options), change.before)
            continue
        matrix = weights(change, options)
        if options["coordinate_transformation_mode"] == "tf_crop_and_resize":
            read = _read(change, options)
            matrix[(read < 0) | (read > change.before - 1)] = 0
        value = call.emit.mixed(value, axis, matrix.T)
    return value
