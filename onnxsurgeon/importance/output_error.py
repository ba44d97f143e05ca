"""The measured output error of a network that is cut in one space and refitted.

The error of the consumers (`reconstruction`) gives the order of a space's units and the shape of its table. But equal
errors in two layers have different effects on the output, because later layers repair some of them. So for one count of
each space, the network is cut, compensated on some samples and run on others, and the space's table is scaled to the
measured error.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from onnxsurgeon.arrays import FloatArray, IntArray, Mask
from onnxsurgeon.calibration.statistics import Statistics, space_key
from onnxsurgeon.compensation.evidence import Evidence
from onnxsurgeon.dependency.labels import Labels
from onnxsurgeon.dependency.spaces import Judge
from onnxsurgeon.importance.cut_trials import Loss, trial_samples
from onnxsurgeon.importance.optimal_brain_surgeon import reconstruction

SHARE = 0.4  # of a space's units, that stay in the measured cut; three cuts chose no better networks than one
LEAST = 1e-6  # smallest loss, relative to the output's variance


def scale_to(table: FloatArray, points: dict[int, float]) -> FloatArray:
    """`table` scaled to measured losses. table: importance of each count, shape (units + 1,). points: {count: loss}."""
    if not points:
        return table
    errors = table[-1] - table
    counts = np.array(sorted(points))
    losses = np.maximum.accumulate(np.array([points[n] for n in counts])[::-1])[::-1]
    factors = np.log(np.maximum(losses, LEAST) / np.maximum(errors[counts], LEAST))
    errors = errors * np.exp(np.interp(np.arange(len(errors)), counts, factors))
    errors = np.maximum.accumulate(errors[::-1])[::-1]
    return np.asarray(errors[0] - errors, np.float64)


def measuring(
    labels: Labels, judge: Judge, statistics: Statistics, loss: Callable[[Mask], float]
) -> Judge:  # fmt: skip
    """`judge` with tables scaled to output errors, which are measured unless `statistics` has them."""
    root = labels.classes.root

    def measured(roots: IntArray) -> tuple[IntArray, FloatArray]:
        order, table = judge(roots)
        points = statistics.losses.setdefault(space_key(roots[order]), {})
        count = max(1, round(SHARE * len(roots)))
        if count < len(roots) and count not in points:
            dropped = np.zeros(len(root), np.bool_)
            dropped[roots[order[count:]]] = True
            points[count] = loss(~dropped[root])
        return order, scale_to(table, points)

    return measured


def output_error(evidence: Evidence, word: str) -> tuple[FloatArray, Judge]:
    """Importance per neuron for spaces without a linear consumer, and the judge of all other spaces."""
    assert evidence.data is not None  # the criterion says that it needs them
    worth, judge = reconstruction(evidence, word)
    data = evidence.data
    loss = cache(
        lambda: Loss(
            evidence.labels, data, memory=evidence.memory, device=evidence.device, seed=evidence.seed,
            samples=trial_samples(len(evidence.layers), data),
        )
    )  # fmt: skip

    def lost(keep: Mask) -> float:
        return loss()(keep)

    return worth, measuring(evidence.labels, judge, evidence.statistics, lost)
