"""Compares the outputs of two models, within a tolerance that fits their data types."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import Arrays
from onnxsurgeon.dependency.labels import Labels

COARSE = {ir.DataType.INT8, ir.DataType.UINT8, ir.DataType.INT4, ir.DataType.UINT4}


@dataclass(frozen=True)
class Tolerance:
    """The largest accepted difference of an output: atol + rtol * its largest magnitude."""

    atol: float
    rtol: float


@dataclass(frozen=True)
class Comparison:
    """error: the largest difference over all outputs and samples, relative to the output's largest magnitude.

    margin: the same in units of the tolerance; at most 1 passes. provider: the execution provider that ran the edited
    model. samples: number of input sets. worst: the output with the largest difference.
    """

    error: float
    margin: float
    provider: str
    samples: int
    worst: str = ""

    @property
    def passed(self) -> bool:
        return self.margin <= 1.0


def tolerance(labels: Labels, atol: float | None, rtol: float | None) -> Tolerance:
    """The stated tolerance, or the default for the least precise type in the graph."""
    dtypes = {ir.DataType(f.dtype) for f in labels.facts[0].values() if f.dtype}
    half = dtypes & {ir.DataType.FLOAT16, ir.DataType.BFLOAT16}
    default = 5e-2 if dtypes & COARSE else 2e-2 if half else 1e-3
    return Tolerance(1e-5 if atol is None else atol, default if rtol is None else rtol)


def compare(expected: Sequence[Arrays], found: Sequence[Arrays], allowed: Tolerance, provider: str) -> Comparison:
    """The largest differences between two sets of outputs."""
    error, margin, worst = 0.0, 0.0, ""
    for a, b in zip(expected, found, strict=True):
        if list(a) != list(b):
            return Comparison(np.inf, np.inf, provider, len(expected), f"outputs {list(a)} and {list(b)}")
        for name in a:
            relative, tolerances, why = _difference(a[name], b[name], allowed)
            if tolerances > margin:
                worst = f"{name}{why}"
            error, margin = max(error, relative), max(margin, tolerances)
    return Comparison(error, margin, provider, len(expected), worst)


def _difference(a: Any, b: Any, allowed: Tolerance) -> tuple[float, float, str]:
    """(error, margin, note): the largest difference, relative to the largest magnitude and to the tolerance."""
    if isinstance(a, list):
        pairs = [_difference(x, y, allowed) for x, y in zip(a, b, strict=False)]
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
    scale = float(np.abs(x[np.isfinite(x)]).max(initial=0.0))
    gap = float(np.abs(x - y)[unequal].max())
    if not np.isfinite(gap):
        return np.inf, np.inf, ": NaN or infinity on one side"
    tolerances = _ratio(gap, allowed.atol + allowed.rtol * scale)
    if a.dtype in (np.int32, np.int64, np.bool_):  # indices and choices: a few may be near ties
        tolerances = min(tolerances, _ratio(float(unequal.mean()), allowed.rtol))
    return _ratio(gap, max(scale, allowed.atol)), tolerances, ""


def _ratio(a: float, b: float) -> float:
    return a / b if b else np.inf
