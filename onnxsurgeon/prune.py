"""Pruning from end to end: label, weigh, select, cut; then write and prove in one step."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import onnx_ir as ir

from onnxsurgeon.edit import cut
from onnxsurgeon.errors import InfeasibleError, ModelError, UsageError
from onnxsurgeon.graph import Labels, Weight, label, widths
from onnxsurgeon.inspection import (
    Measure,
    Model,
    count_params,
    count_vertices,
    is_whole,
    matching,
    measure,
    weight_bytes,
    why,
)
from onnxsurgeon.neurons import Free, Mask
from onnxsurgeon.problem import IntArray
from onnxsurgeon.signature import Shape
from onnxsurgeon.solver import Solution, least, solve
from onnxsurgeon.spaces import Spaces, spaces
from onnxsurgeon.utility import scores
from onnxsurgeon.write import check_target, size, write

if TYPE_CHECKING:
    from onnxsurgeon.validate import Device, Proof

Metric = Literal["params", "macs", "size"]
Progress = Callable[[str, str], None]  # (stage, detail)
SLACK = 0.01  # of the original: how far below its budget a metric may fall where the widths allow better


@dataclass(frozen=True)
class Bound:
    """A budget on one metric: `upper` and `lower` in its unit (parameters, multiply-accumulates, bytes)."""

    metric: str
    upper: float
    lower: float = 0.0


@dataclass(frozen=True)
class Result:
    """A pruned model, not yet written. `seconds`: by stage."""

    source: Model
    labels: Labels
    spaces: Spaces
    counts: IntArray
    keep: Mask
    graph: ir.Model
    solution: Solution
    before: Measure
    after: Measure
    seconds: Mapping[str, float] = field(default_factory=dict)

    def changes(self) -> list[tuple[str, str, str, Shape, Shape]]:
        """(vertex, operator, weight, shape before, shape after) of every matrix that changed."""
        rows = []
        for weight in self.labels.weights():
            after = widths(weight.axes, self.keep, weight.shape)
            if after != weight.shape and sum(n > 1 for n in weight.shape) > 1 and weight.counts:
                call = self.labels.calls[weight.uses[0][0]]
                rows.append((call.name, call.operator, weight.value.name or "", weight.shape, after))
        return rows

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        overwrite: bool = False,
        external: bool | None = None,
        proof: bool = True,
        device: Device = "auto",
        atol: float | None = None,
        rtol: float | None = None,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> Proof | None:
        """Writes the pruned model to `path`, once it is proven; returns the proof.

        The file is written beside its target and proven there: nothing appears at `path` where the proof fails
        (ProofError).
        Raises UsageError where `path` exists and `overwrite` is not given.
        """
        target = check_target(path, overwrite=overwrite)
        report = progress or (lambda stage, detail: None)
        with tempfile.TemporaryDirectory(prefix=f".onnxsurgeon-{os.getpid()}-", dir=target.parent) as folder:
            draft = Path(folder) / target.name
            report("write", str(target))
            try:
                write(self.graph, draft, external=external)
            except UsageError as error:  # of the draft, which its user has not named
                raise UsageError(error.what.replace(str(draft), str(target)), why=error.why, fix=error.fix) from error
            data = draft.with_name(draft.name + ".data")
            if data.exists():
                check_target(target.with_name(data.name), overwrite=overwrite)
            result = None
            if proof:
                report("prove", "")
                from onnxsurgeon.network import on_disk
                from onnxsurgeon.validate import prove, require, tolerance

                allowed = tolerance(self.labels, atol, rtol)
                with on_disk(self.source) as original:
                    result = prove(self.labels, self.keep, original, draft, allowed=allowed, device=device, seed=seed)
                require(result, allowed)
            if data.exists():
                data.replace(target.with_name(data.name))
            draft.replace(target)
        return result


def prune(
    model: Model,
    *,
    ratio: float | None = None,
    metric: Metric = "params",
    max_params: float | None = None,
    max_macs: float | None = None,
    max_size: float | None = None,
    utility: str = "l2-norm",
    round_to: int = 1,
    min_keep: float = 0.0,
    exclude: Sequence[str] = (),
    only: Sequence[str] = (),
    free: Free = "auto",
    input_shape: Mapping[str, Shape] | None = None,
    seed: int = 0,
    time_limit: float = 10.0,
    gap: float = 1e-3,
    progress: Progress | None = None,
) -> Result:
    """The selection of most utility within the budgets, cut out of `model`.

    ratio: `metric` falls by at least this share, and by no more than the structure forces. max_params, max_macs (per
    sample), max_size (bytes): budgets, any number at once. round_to: widths become multiples of it. min_keep: share of
    each axis that stays. exclude, only: globs over vertex names. Raises UsageError for a request that makes no sense,
    InfeasibleError where no selection fits.
    """
    clock, report = _Clock(), progress or (lambda stage, detail: None)
    limits = {"params": max_params, "macs": max_macs, "size": max_size}
    _check_request(ratio, limits, round_to, min_keep)
    report("label", model.path.name)
    labels = label(model.graph, free=free, shapes=input_shape)
    clock("label")
    pinned = _pinned(labels, exclude, only)
    report("weigh", utility)
    values = scores(labels, utility, seed=seed)
    clock("weigh")
    built = spaces(
        labels,
        values,
        round_to=round_to,
        min_keep=min_keep,
        pinned=pinned,
        overhead=model.bytes - weight_bytes(model.graph),
    )
    before = measure(model, built)
    bounds = _bounds(before, ratio, metric, limits)
    clock("problem")
    found: Result | None = None
    asked, drift = bounds, dict[str, list[float]]()
    for _ in range(8):
        report("solve", "")
        built = _with_bounds(built, asked)
        solution = _solve(labels, built, before, asked, time_limit, gap, report)
        clock("solve")
        report("cut", "")
        keep = built.keep(solution.counts, labels.classes.root)
        graph = cut(labels, keep)
        after = Measure(count_params(graph), solution.costs["macs"], size(graph), count_vertices(graph))
        clock("cut")
        if all(after.of(m) <= b.upper for m, b in bounds.items()):
            near = all(after.of(m) >= b.lower for m, b in bounds.items())
            if near or found is None or solution.objective > found.solution.objective:
                found = Result(
                    model, labels, built, solution.counts, keep, graph, solution, before, after, clock.seconds
                )
            if near:
                break
        # Constants that unrelated vertices share are counted for each, but written once where they are cut alike.
        for m in bounds:
            drift.setdefault(m, []).append(solution.costs[m] - after.of(m))
        again = {m: Bound(m, b.upper + min(drift[m]), b.lower + max(drift[m])) for m, b in bounds.items()}
        if again == asked or clock.seconds["solve"] > time_limit:
            break
        asked = again
    if found is None:
        raise InfeasibleError(
            "no selection was found that keeps its budgets once it is written",
            why=", ".join(f"{m} is {after.of(m):,.0f}, wanted {b.upper:,.0f}" for m, b in bounds.items()),
            fix="ask for slightly less",
        )
    return found


class _Clock:
    """Seconds between calls, summed by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.last = time.perf_counter()

    def __call__(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self.last
        self.last = now


def _check_request(ratio: float | None, limits: Mapping[str, float | None], round_to: int, min_keep: float) -> None:
    if ratio is None and not any(v is not None for v in limits.values()):
        raise UsageError(
            "nothing to prune for",
            why="no ratio and no budget",
            fix="give --ratio, --max-drop, --max-params, --max-macs or --max-size",
        )
    for name, value, good in (
        ("ratio", ratio, ratio is None or 0 <= ratio < 1),
        ("round-to", round_to, round_to >= 1),
        ("min-keep", min_keep, 0 <= min_keep <= 1),
        *((f"max-{k}", v, v is None or v > 0) for k, v in limits.items()),
    ):
        if not good:
            wanted = {"ratio": "0 <= ratio < 1", "round-to": "1 or more", "min-keep": "between 0 and 1"}
            raise UsageError(
                f"--{name} {value} makes no sense",
                why=f"wanted: {wanted.get(name, 'more than 0')}",
                fix="see onnxsurgeon prune --help",
            )


def _bounds(before: Measure, ratio: float | None, metric: str, limits: Mapping[str, float | None]) -> dict[str, Bound]:
    bounds = {name: Bound(name, value) for name, value in limits.items() if value is not None}
    if ratio is not None:
        start = before.of(metric)
        upper = min((1 - ratio) * start, bounds[metric].upper if metric in bounds else float("inf"))
        bounds[metric] = Bound(metric, upper, max(0.0, upper - SLACK * start) if ratio else 0.0)
    return bounds


def _with_bounds(built: Spaces, bounds: Mapping[str, Bound]) -> Spaces:
    costs = tuple(
        replace(c, upper=bounds[c.name].upper, lower=bounds[c.name].lower) if c.name in bounds else c
        for c in built.problem.costs
    )
    return replace(built, problem=replace(built.problem, costs=costs))


def _solve(
    labels: Labels,
    built: Spaces,
    before: Measure,
    bounds: Mapping[str, Bound],
    time_limit: float,
    gap: float,
    report: Progress,
) -> Solution:
    smallest = least(built.problem)
    lengths = built.problem.lengths(smallest)
    reached = {c.name: c.evaluate(lengths) for c in built.problem.costs}
    short = [m for m, b in bounds.items() if reached[m] > b.upper]
    held = "held back by:\n" + "\n".join(f"  {line}" for line in _held_back(labels, built, smallest)) if short else ""
    if short and is_whole(labels):
        unknown = [f"{name} ({count})" for name, count in sorted(labels.unknown.items())]
        raise ModelError(
            "nothing in this model can be cut",
            why=f"operators without a rule: {', '.join(unknown)}\n{held}" if unknown else held,
            fix="see onnxsurgeon inspect -v; export standard operators, and no inner states as inputs and outputs",
        )
    if short:
        m = short[0]
        start = before.of(m)
        raise InfeasibleError(
            f"{m} can't fall to {bounds[m].upper:,.0f}",
            why=f"the least that the graph can give is {reached[m]:,.0f} of {start:,.0f}: "
            f"the largest feasible ratio is {max(0.0, 1 - reached[m] / start) if start else 0:.4f}\n{held}",
            fix="ask for less, lower --min-keep or --round-to, or lift --exclude",
        )
    return solve(
        built.problem,
        time_limit=time_limit,
        gap=gap,
        progress=lambda step: report("solve", f"utility {step.objective:.6g}, gap {step.gap:.2%}"),
    )


def _held_back(labels: Labels, built: Spaces, smallest: IntArray, most: int = 5) -> list[str]:
    """The largest weights that are left at the smallest selection, and why."""
    keep = built.keep(smallest, labels.classes.root)
    left = sorted(
        ((prod(widths(w.axes, keep, w.shape)), w) for w in labels.weights() if w.counts), key=lambda pair: -pair[0]
    )
    lines = []
    for count, weight in left[:most]:
        user = labels.calls.get(weight.uses[0][0]) if weight.uses else None
        reason = _asked(labels, built, weight, keep) or why(labels, weight) or "every axis keeps at least one neuron"
        place = f"{weight.value.name} ({user.name})" if user else weight.value.name
        lines.append(f"{place}: {count:,} parameters; {reason}")
    return lines


def _asked(labels: Labels, built: Spaces, weight: Weight, keep: Mask) -> str:
    """Which options hold a weight that could be smaller without them; empty where none do."""
    axes = [axis for axis in weight.axes if axis is not None]
    if any((built.frozen[axis] & ~labels.classes.frozen[axis]).any() for axis in axes):
        return "kept by --exclude or --only"
    left = [np.unique(labels.classes.root[axis[keep[axis] & ~built.frozen[axis]]]) for axis in axes]
    held = any(len(units) > 1 for units in left)
    return "kept by --min-keep or --round-to, or because other axes need one neuron" if held else ""


def _pinned(labels: Labels, exclude: Sequence[str], only: Sequence[str]) -> Mask | None:
    """Neurons that the user wants to stay: those on outputs of excluded vertices, or on none of the chosen ones."""
    if not exclude and not only:
        return None
    pinned = np.zeros(labels.relations.count, np.bool_)
    root = labels.classes.root
    if only:
        chosen = np.zeros_like(pinned)
        chosen[_output_roots(labels, matching(labels, only, "--only"))] = True
        pinned |= ~chosen[root]
    if exclude:
        held = np.zeros_like(pinned)
        held[_output_roots(labels, matching(labels, exclude, "--exclude"))] = True
        pinned |= held[root]
    return pinned


def _output_roots(labels: Labels, nodes: Sequence[ir.Node]) -> IntArray:
    axes = [
        axis for node in nodes for result in labels.calls[node].results for axis in result or () if axis is not None
    ]
    return labels.classes.root[np.concatenate(axes)] if axes else np.empty(0, np.int64)
