"""A profile: how the latency of a model on a device follows the widths of its layers.

The time of each kernel is a sum of four terms, none negative: a constant, and one for each of its kinds of size (work,
elements written, elements read; see `kernels`), at widths rounded up to the blocks in which the device works.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from onnxsurgeon.arrays import FloatArray
from onnxsurgeon.dependency.labels import Labels
from onnxsurgeon.errors import UsageError
from onnxsurgeon.files import require_regular
from onnxsurgeon.latency.bench import Conditions
from onnxsurgeon.latency.kernels import KINDS, Kernels
from onnxsurgeon.ops.registry import Factors

SCHEMA = 1
BLOCKS = (1, 4, 8, 16, 32)  # channels that a device may handle together


@dataclass(frozen=True)
class KernelTime:
    """The terms of a kernel's time in seconds: `fixed`, and per element of each kind of size."""

    fixed: float
    work: float = 0.0
    written: float = 0.0
    read: float = 0.0


@dataclass(frozen=True)
class Profile:
    """seconds: the measured latency of the whole model. fixed: what no kernel's time tells.

    block: widths between its multiples cost as much as the next one. error: by which the profile missed measured
    latencies, relative, the median.
    """

    seconds: float
    fixed: float
    block: int
    error: float
    kernels: Mapping[str, KernelTime]
    conditions: Conditions

    def terms(self, labels: Labels) -> Iterator[tuple[float, Factors]]:
        """The latency as a sum of products of axis lengths, but for `constant`."""
        found = Kernels(labels)
        for name, time in self.kernels.items():
            kernel = found.find(name)
            for kind, sums in zip(KINDS, kernel.terms if kernel else (), strict=False):
                yield from ((getattr(time, kind), factors) for factors in sums if getattr(time, kind))

    @property
    def constant(self) -> float:
        """The part of the latency that does not depend on widths."""
        return self.fixed + sum(time.fixed for time in self.kernels.values())

    def text(self) -> str:
        """The profile as JSON."""
        return json.dumps({"schema": SCHEMA, **asdict(self)}, indent=2) + "\n"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the profile as JSON, for the option `profile`."""
        Path(path).write_text(self.text(), encoding="utf-8")


def load_profile(path: Path) -> Profile:
    """The profile in a file. Raises UsageError if it is not one."""
    try:
        require_regular(path)
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if found.pop("schema") != SCHEMA:
            raise ValueError("it has another schema")
        kernels = {str(name): KernelTime(**times) for name, times in found.pop("kernels").items()}
        profile = Profile(kernels=kernels, conditions=Conditions(**found.pop("conditions")), **found)
        numbers = [
            profile.seconds,
            profile.fixed,
            profile.block,
            *(n for t in kernels.values() for n in asdict(t).values()),
        ]
        if not all(isinstance(n, int | float) and n >= 0 for n in numbers) or profile.block < 1 or not profile.seconds:
            raise ValueError("its numbers must be positive")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
        raise UsageError(
            f"{path} is not a profile",
            why=f"{type(problem).__name__}: {problem}",
            fix="make it with onnxsurgeon profile",
        ) from None
    return profile


def fitted(
    names: Sequence[str], sizes: Mapping[int, FloatArray], times: FloatArray, totals: FloatArray, conditions: Conditions
) -> Profile:
    """The profile that fits measured runs best; the first run is that of the whole model.

    sizes: by block, of each kernel in each run, shape (runs, kernels, kinds). times: of each kernel, in seconds, shape
    (runs, kernels). totals: of whole runs, shape (runs,).
    """
    by_block = {block: _fit(rows, times) for block, rows in sizes.items()}
    errors = {block: float(np.abs(found - times).sum()) for block, (_, found) in by_block.items()}
    block = min(
        errors, key=lambda b: (errors[b] > 1.02 * min(errors.values()), b)
    )  # the smallest that explains as much
    weights, predicted = by_block[block]
    sums = predicted.sum(axis=1)
    (rest, scale), _ = _least_squares(sums[:, None], totals)
    guess = rest + scale * sums
    fixed = max(0.0, rest + totals[0] - guess[0])  # exact for the whole model
    kernels = {name: KernelTime(*(scale * row).tolist()) for name, row in zip(names, weights, strict=True)}
    error = float(np.median(np.abs(guess / totals - 1)))
    return Profile(float(totals[0]), fixed, block, error, kernels, conditions)


def _fit(sizes: FloatArray, times: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(weights of each kernel, shape (kernels, 1 + kinds); predicted times, shape (runs, kernels))."""
    found = [_least_squares(sizes[:, k], times[:, k]) for k in range(times.shape[1])]
    weights = np.array([w for w, _ in found]).reshape(times.shape[1], 1 + sizes.shape[2])
    return weights, np.array([p for _, p in found]).T.reshape(times.shape)


def _least_squares(features: FloatArray, target: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Non-negative weights (a constant first) with the least squared error, and what they predict.

    The features are few: every subset of them is tried, and the best without a negative weight is kept.
    """
    count = features.shape[1]
    best, least = np.zeros(1 + count), np.inf
    scale = np.maximum(np.abs(features).max(axis=0), 1e-30)
    table = np.c_[np.ones(len(features)), features / scale]
    for size in range(count + 2):
        for chosen in combinations(range(count + 1), size):
            columns = list(chosen)
            weights = np.linalg.lstsq(table[:, columns], target, rcond=None)[0] if columns else np.empty(0)
            error = float(((table[:, columns] @ weights - target) ** 2).sum())
            if (weights >= 0).all() and error < least * (1 - 1e-9):
                least = error
                best = np.zeros(1 + count)
                best[columns] = weights
    predicted = table @ best
    best[1:] /= scale
    return best, predicted
