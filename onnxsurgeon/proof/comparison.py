"""Compares the outputs of two models, within a tolerance that fits their data types."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import Array, Arrays, FloatArray
from onnxsurgeon.dependency.labels import Labels
from onnxsurgeon.errors import ModelError, ProofError

FEW = 4  # elements of a slice that has a scale of its own
COARSE = {ir.DataType.INT8, ir.DataType.UINT8, ir.DataType.INT4, ir.DataType.UINT4}


@dataclass(frozen=True)
class Tolerance:
    """The largest accepted difference of an element: atol + rtol * its scale (see `slice_scale`)."""

    atol: float
    rtol: float


@dataclass(frozen=True)
class Comparison:
    """error: the largest difference over all outputs and samples, relative to the scale of the element.

    margin: the same in units of the tolerance; at most 1 passes. provider: the execution provider that ran the edited
    model. samples: number of input sets. worst: the output with the largest difference. inside: it is no output, but a
    value inside, computed from equal inputs. rounding: 0; or how far rounding alone moves the outputs, where that is as
    much as they differ: then each value inside was compared instead.
    """

    error: float
    margin: float
    provider: str
    samples: int
    worst: str = ""
    inside: bool = False
    rounding: float = 0.0

    @property
    def passed(self) -> bool:
        return self.margin <= 1.0


def tolerance(labels: Labels, atol: float | None, rtol: float | None) -> Tolerance:
    """The stated tolerance, or the default for the least precise type in the graph."""
    dtypes = {ir.DataType(f.dtype) for f in labels.facts[0].values() if f.dtype}
    half = dtypes & {ir.DataType.FLOAT16, ir.DataType.BFLOAT16}
    default = 5e-2 if dtypes & COARSE else 2e-2 if half else 1e-3
    return Tolerance(1e-5 if atol is None else atol, default if rtol is None else rtol)


def compare(expected: Sequence[Arrays], actual: Sequence[Arrays], allowed: Tolerance, provider: str) -> Comparison:
    """The largest differences between two sets of outputs, each element judged by the scale of its slices."""
    error, margin, worst = 0.0, 0.0, ""
    for a, b in zip(expected, actual, strict=True):
        if list(a) != list(b):
            return Comparison(np.inf, np.inf, provider, len(expected), f"outputs {list(a)} and {list(b)}")
        for name in a:
            relative, tolerances, why = _difference(a[name], b[name], [run[name] for run in expected], allowed)
            if tolerances > margin:
                worst = f"{name}{why}"
            error, margin = max(error, relative), max(margin, tolerances)
    return Comparison(error, margin, provider, len(expected), worst)


def require(found: Comparison, what: str, allowed: Tolerance, fix: str = "report this model") -> None:
    """Raise ProofError, which says `what` and carries the comparison, if that failed."""
    if not found.passed:
        what_differs = "of equal inputs, the value" if found.inside else "output"
        why = f"{what_differs} {found.worst} differs by {found.error:.3g} of its scale, {allowed.rtol:g} is allowed"
        error = ProofError(f"{what}; nothing was written", why=why, fix=fix)
        error.proof = found
        raise error


def does_not_run(what: str, problem: ModelError) -> ProofError:
    """The error for a model that does not run, though the original does."""
    return ProofError(
        f"{what} does not run in onnxruntime; nothing was written", why=problem.why, fix="report this model"
    )


def _difference(a: Any, b: Any, runs: Sequence[Any], allowed: Tolerance) -> tuple[float, float, str]:
    """(error, margin, note): the largest difference, relative to the scale and to the tolerance.

    runs: the output `a` in every run.
    """
    if isinstance(a, list):
        pairs = [_difference(x, y, [x], allowed) for x, y in zip(a, b, strict=False)]
        if len(a) != len(b):
            return np.inf, np.inf, f": {len(a)} and {len(b)} elements"
        return max((p[0] for p in pairs), default=0.0), max((p[1] for p in pairs), default=0.0), ""
    if isinstance(a, dict) or np.asarray(a).dtype.kind in "OUS":
        return (0.0, 0.0, "") if str(a) == str(b) else (np.inf, np.inf, ": values differ")
    if a.shape != b.shape:
        return np.inf, np.inf, f": shapes {a.shape} and {b.shape}"
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    unequal = ~((x == y) | (np.isnan(x) & np.isnan(y)))
    if not unequal.any():
        return 0.0, 0.0, ""
    if not np.isfinite(x[unequal]).all() or not np.isfinite(y[unequal]).all():
        return np.inf, np.inf, ": NaN or infinity on one side"
    gap, scale = np.abs(np.where(unequal, x - y, 0.0)), slice_scale(x, [np.asarray(run) for run in runs])
    with np.errstate(divide="ignore"):
        tolerances = np.divide(gap, allowed.atol + allowed.rtol * scale, where=unequal, out=np.zeros_like(gap))
        relative = np.divide(gap, np.maximum(scale, allowed.atol), where=unequal, out=np.zeros_like(gap))
    margin, at = float(tolerances.max()), np.unravel_index(int(tolerances.argmax()), x.shape)
    if a.dtype in (np.int32, np.int64, np.bool_):  # indices and choices: a few may be near ties
        share = float(unequal.mean())
        margin = min(margin, share / allowed.rtol if allowed.rtol else np.inf)
    return float(relative.max()), margin, f" at {list(map(int, at))}"


def slice_scale(x: Array, runs: Sequence[Array]) -> FloatArray:
    """The scale of each element of an output, in a shape that broadcasts to that of `x`.

    An element lies in one slice per axis. Its scale is the largest magnitude in a slice, of the slice where that is
    least: if one tensor holds boxes in pixels and scores from 0 to 1, a score is judged by other scores. Slices of
    fewer than `FEW` elements, counted over all runs, are not used.
    """
    sizes = [np.where(np.isfinite(run), np.abs(run), 0).astype(np.float64) for run in runs if run.ndim == x.ndim]
    scale = np.full((1,) * x.ndim, max((float(size.max(initial=0.0)) for size in sizes), default=0.0))
    for axis, length in enumerate(x.shape):
        alike = [size for size in sizes if size.shape[axis] == length]
        if sum(size.size for size in alike) >= FEW * length:
            others = tuple(a for a in range(x.ndim) if a != axis)
            largest = np.max([size.max(axis=others, initial=0.0, keepdims=True) for size in alike], axis=0)
            scale = np.minimum(scale, largest)
    return scale
