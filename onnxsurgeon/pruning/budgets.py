"""Budgets of a pruning: their bounds, the best selection within them, and what keeps a model larger."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from onnxsurgeon.arrays import IntArray, Mask
from onnxsurgeon.dependency.costs import COSTS, Budgets
from onnxsurgeon.dependency.frozen import is_uncuttable, why
from onnxsurgeon.dependency.labels import Labels, Weight, kept_shape
from onnxsurgeon.dependency.measure import Measure
from onnxsurgeon.dependency.spaces import Spaces
from onnxsurgeon.errors import InfeasibleError, ModelError
from onnxsurgeon.latency.device import NOISE
from onnxsurgeon.pruning.options import PruneOptions
from onnxsurgeon.solver.solve import Solution, least, solve

SHARE = 0.5  # of the time limit of the solver for one of several rounds
SLACK = 0.01  # share of the original: how far a cost may fall below its budget if the widths allow better


@dataclass(frozen=True)
class Bound:
    """A budget on one cost: `upper` and `lower` in its unit (parameters, multiply-accumulates, bytes, seconds).

    noise: the share by which a measurement may miss it.
    """

    cost: str
    upper: float
    lower: float = 0.0
    noise: float = 0.0

    def holds(self, value: float) -> bool:
        """Whether `value` is not too much."""
        return value <= self.upper * (1 + self.noise)

    def near(self, value: float) -> bool:
        """Whether `value` is not too little."""
        return value >= self.lower * (1 - self.noise)


def bounds_of(before: Measure, options: Budgets) -> dict[str, Bound]:
    bounds = {name: Bound(name, value) for name, value in options.limits.items()}
    if options.share is not None:
        start, cost = before.of(options.cost), options.cost
        upper = min((1 - options.share) * start, bounds[cost].upper if cost in bounds else float("inf"))
        noise = NOISE if COSTS[cost].timed else 0.0
        lower = 0.0 if COSTS[cost].buffers or not options.share else max(0.0, upper - SLACK * start)
        bounds[cost] = Bound(cost, upper, lower, noise)
    return bounds


def exactly(cost: str) -> Callable[[float], str]:
    """Writes a number of this cost without rounding counts."""
    return "{:,.0f}".format if COSTS[cost].terms else COSTS[cost].written


def with_bounds(built: Spaces, bounds: Mapping[str, Bound]) -> Spaces:
    costs = tuple(
        replace(c, upper=bounds[c.name].upper, lower=bounds[c.name].lower) if c.name in bounds else c
        for c in built.problem.costs
    )
    return replace(built, problem=replace(built.problem, costs=costs))


def solved(
    labels: Labels,
    built: Spaces,
    before: Measure,
    bounds: Mapping[str, Bound],
    options: PruneOptions,
) -> Solution:
    smallest = least(built.problem)
    lengths = built.problem.lengths(smallest)
    reached = built.problem.evaluate(lengths)
    short = [m for m, b in bounds.items() if reached[m] > b.upper]
    held = "held back by:\n" + "\n".join(f"  {line}" for line in _held_back(labels, built, smallest)) if short else ""
    if short and is_uncuttable(labels):
        unknown = [f"{name} ({count})" for name, count in sorted(labels.unknown.items())]
        raise ModelError(
            "nothing in this model can be cut",
            why=f"operators without a rule: {', '.join(unknown)}\n{held}" if unknown else held,
            fix="see onnxsurgeon inspect -v; export standard operators; pair states that are carried on with `states`",
        )
    if short:
        m = short[0]
        start, written = before.of(m), exactly(m)
        raise InfeasibleError(
            f"{m} can't fall to {written(bounds[m].upper)}",
            why=f"the smallest possible value is {written(reached[m])} of {written(start)}: "
            f"the largest feasible ratio is {max(0.0, 1 - reached[m] / start) if start else 0:.4f}\n{held}",
            fix=", or ".join(("choose a larger budget", *_held_by(options))),
        )
    return solve(
        built.problem,
        time_limit=options.time_limit * (1.0 if "latency" not in bounds else SHARE),
        gap=options.gap,
        progress=lambda step: options.announce("solve", f"importance {step.objective:.6g}, gap {step.gap:.2%}"),
    )


def _held_by(options: PruneOptions) -> list[str]:
    """What to do about the options that keep more than the graph requires."""
    lower = [name for name, usual in (("min_keep", 0.0), ("round_to", 1)) if getattr(options, name) != usual]
    out = [name for name in ("exclude", "only") if getattr(options, name)]
    return [
        f"{verb} {' and '.join(f'`{name}`' for name in names)}"
        for verb, names in (("lower", lower), ("leave out", out)) if names
    ]  # fmt: skip


def _held_back(labels: Labels, built: Spaces, smallest: IntArray, most: int = 5) -> list[str]:
    """Lines about the largest weights of the smallest possible model, and why they remain."""
    keep = built.keep(smallest, labels.classes.root)
    left = sorted(
        ((prod(kept_shape(w.axes, keep, w.shape)), w) for w in labels.weights() if w.counts), key=lambda pair: -pair[0]
    )
    lines = []
    for count, weight in left[:most]:
        user = labels.calls.get(weight.uses[0][0]) if weight.uses else None
        reason = _asked(labels, built, weight, keep) or why(labels, weight) or "every axis keeps at least one neuron"
        place = f"{weight.value.name} ({user.name})" if user else weight.value.name
        lines.append(f"{place}: {count:,} parameters; {reason}")
    return lines


def _asked(labels: Labels, built: Spaces, weight: Weight, keep: Mask) -> str:
    """The options that keep a weight larger than the graph requires; empty if none does."""
    axes = [axis for axis in weight.axes if axis is not None]
    if any((built.frozen[axis] & ~labels.classes.frozen[axis]).any() for axis in axes):
        return "kept by `exclude` or `only`"
    left = [np.unique(labels.classes.root[axis[keep[axis] & ~built.frozen[axis]]]) for axis in axes]
    held = any(len(units) > 1 for units in left)
    return "kept by `min_keep` or `round_to`, or because other axes need one neuron" if held else ""
