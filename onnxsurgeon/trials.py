"""Selections that are tried as a whole: what spaces lose alone does not say what they lose together.

The tables of all spaces are bent at random (each one scaled, and all raised to one power), the problem solved again,
and the selection cut, compensated and measured; the tables of the best one are kept. It is a (1+1) evolution strategy
(Rechenberg 1973) on the logarithms of the scales: a success widens the steps, a failure narrows them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from onnxsurgeon.neurons import Mask
from onnxsurgeon.problem import FloatArray, IntArray
from onnxsurgeon.spaces import Spaces

STEP, BEND = 0.7, 0.2  # the first steps of the logarithms of a scale, and of the power
WIDER, NARROWER = 1.5, 0.93
POWERS = 0.6, 2.0
BETTER = 0.98  # of a loss: what is a success, and no noise


@dataclass(frozen=True)
class Bent:
    """scales: one a space."""

    scales: FloatArray
    power: float

    def tables(self, tables: tuple[FloatArray, ...]) -> tuple[FloatArray, ...]:
        return tuple(_bent(table, scale, self.power) for table, scale in zip(tables, self.scales, strict=True))


def _bent(table: FloatArray, scale: float, power: float) -> FloatArray:
    """Utility by count, its errors scaled and raised to a power."""
    errors = scale * np.maximum(table[-1] - table, 0.0) ** power
    return np.asarray(errors[0] - errors, np.float64)


def tried(
    built: Spaces,
    root: IntArray,
    select: Callable[[Spaces], IntArray],
    loss: Callable[[Mask], float],
    *,
    trials: int,
    seed: int = 0,
) -> Spaces:
    """`built` with the tables whose selection loses least.

    root: the class of every neuron. select: the counts that solve a problem. loss: of what stays, measured.
    """
    rng = np.random.default_rng(seed)
    tables, step = built.problem.tables, STEP
    best, found, least = Bent(np.ones(len(tables)), 1.0), built, np.inf
    known = dict[bytes, float]()
    for trial in range(trials + 1):
        bent = best if trial == 0 else _stepped(best, step, rng)
        candidate = replace(built, problem=replace(built.problem, tables=bent.tables(tables)))
        counts = select(candidate)
        key = counts.tobytes()
        if key not in known:
            known[key] = loss(candidate.keep(counts, root))
        if known[key] < BETTER * least:
            best, found, least = bent, candidate, known[key]
            step *= WIDER
        else:
            step *= NARROWER
    return found


def _stepped(bent: Bent, step: float, rng: np.random.Generator) -> Bent:
    scales = bent.scales * np.exp(step * rng.standard_normal(len(bent.scales)))
    return Bent(scales, float(np.clip(bent.power * np.exp(BEND * rng.standard_normal()), *POWERS)))
