"""Pruning from end to end: label, weigh, select, cut; then write and prove in one step."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import IntArray, Mask, Shape
from onnxsurgeon.compensation.layerwise import Change
from onnxsurgeon.data import Samples
from onnxsurgeon.dependency.labels import Labels, kept_shape, label
from onnxsurgeon.dependency.measure import Measure, count_nodes, count_params, measure, weight_bytes
from onnxsurgeon.dependency.names import matching
from onnxsurgeon.dependency.spaces import Spaces
from onnxsurgeon.edit.apply import cut
from onnxsurgeon.errors import InfeasibleError
from onnxsurgeon.model.model import Model
from onnxsurgeon.model.write import size
from onnxsurgeon.neurons.relations import Free
from onnxsurgeon.options.record import takes
from onnxsurgeon.options.shared import SaveOptions
from onnxsurgeon.proof.saving import Pending, pending
from onnxsurgeon.pruning.budgets import Bound, Progress, bounds_of, check_request, solved, with_bounds
from onnxsurgeon.pruning.calibration import MEMORY, Calibration, request
from onnxsurgeon.solver.solve import Solution

if TYPE_CHECKING:
    from onnxsurgeon.proof.of_a_cut import Proof
    from onnxsurgeon.runtime.session import Device

Metric = Literal["params", "macs", "size"]


@dataclass(frozen=True)
class Result:
    """A pruned model, not yet written.

    bare: what the cut alone gives, which the proof is about. ir: that, with weights fitted anew where `fitted` says
    so. rotated: linear streams whose components were cut, not their channels. seconds: by stage.
    """

    source: Model
    labels: Labels
    spaces: Spaces
    counts: IntArray
    keep: Mask
    bare: ir.Model
    ir: ir.Model
    solution: Solution
    before: Measure
    after: Measure
    fitted: tuple[Change, ...] = ()
    rotated: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)

    def changes(self) -> list[tuple[str, str, str, Shape, Shape]]:
        """(node, operator, weight, shape before, shape after) of every matrix that changed."""
        rows = []
        for weight in self.labels.weights():
            after = kept_shape(weight.axes, self.keep, weight.shape)
            if after != weight.shape and sum(n > 1 for n in weight.shape) > 1 and weight.counts:
                call = self.labels.calls[weight.uses[0][0]]
                rows.append((call.name, call.operator, weight.value.name or "", weight.shape, after))
        return rows

    @takes(SaveOptions)
    def save(self, path: str | os.PathLike[str], options: SaveOptions) -> Proof | None:
        """Writes the pruned model to `path`, once it is proven; returns the proof.

        The file is written beside its target and proven there: nothing appears at `path` where the proof fails
        (ProofError). What was fitted anew is written over what was proven, and run again. Raises UsageError where
        `path` exists and may not be overwritten.
        """
        with pending(path, options) as file:
            file.write(self.bare if options.proof else self.ir)
            return self._proven(file, options) if options.proof else None

    def _proven(self, file: Pending, options: SaveOptions) -> Proof:
        from onnxsurgeon.model.model import on_disk
        from onnxsurgeon.proof.comparison import tolerance
        from onnxsurgeon.proof.of_a_cut import prove, require, require_sound

        options.told("prove", "")
        allowed = tolerance(self.labels, options.atol, options.rtol)
        with on_disk(self.source) as original:
            result = prove(
                self.labels, self.keep, original, file.path, allowed=allowed, device=options.device, seed=options.seed
            )
        require(result, allowed)
        if self.ir is not self.bare:
            file.write(self.ir)
            require_sound(self.labels, self.bare, file.path, device=options.device, seed=options.seed)
        return result


def prune(
    model: Model,
    *,
    ratio: float | None = None,
    metric: Metric = "params",
    max_params: float | None = None,
    max_macs: float | None = None,
    max_size: float | None = None,
    data: Samples | None = None,
    importance: str | None = None,
    compensate: str | None = None,
    stats: str | os.PathLike[str] | None = None,
    mirror: bool = False,
    rotate: bool | None = None,
    memory: float = MEMORY,
    device: Device = "auto",
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
    """The selection of most importance within the budgets, cut out of `model`.

    ratio: `metric` falls by at least this share, and by no more than the structure forces. max_params, max_macs (per
    sample), max_size (bytes): budgets, any number at once. data: samples without labels, from which `importance` is
    `output-error` and `compensate` is `sequential` by default; without, they are `l2-norm` and `none`. stats: a file
    that holds what is known from data, or will. mirror: data are images; fit to their mirror images, too. rotate:
    linear streams are turned into components, and those are cut; by default where weights are fitted to data. memory:
    bytes for all that. device: what runs the model on it. round_to: widths become multiples of it. min_keep: share of
    each axis that stays. exclude, only: globs over node names.
    Raises UsageError for a request that makes no sense, InfeasibleError where no selection fits.
    """
    clock, report = _Clock(), progress or (lambda stage, detail: None)
    wanted = request(importance, compensate, data, stats, memory, device, seed, mirror=mirror, rotate=rotate)
    limits = {"params": max_params, "macs": max_macs, "size": max_size}
    check_request(ratio, limits, round_to, min_keep)
    report("label", model.path.name)
    labels = label(model.ir, free=free, shapes=input_shape)
    clock("label")
    named = _named(labels, exclude, "--exclude"), _named(labels, only, "--only")
    relabel = partial(label, free=free, shapes=input_shape, original=model.ir)
    calibration = Calibration(wanted, model, labels, relabel, report)
    labels = calibration.labels
    pinned = _pinned(labels, *named)
    clock("calibrate")
    report("weigh", wanted.importance)
    overhead = model.bytes - weight_bytes(model.ir)
    built = calibration.spaces(round_to=round_to, min_keep=min_keep, pinned=pinned, overhead=overhead)
    clock("weigh")
    before = measure(model, built)
    bounds = bounds_of(before, ratio, metric, limits)
    clock("problem")
    found: Result | None = None
    asked, drift = bounds, dict[str, list[float]]()
    for _ in range(8):
        report("solve", "")
        built = with_bounds(built, asked)
        solution = solved(labels, built, before, asked, time_limit, gap, report)
        clock("solve")
        report("cut", "")
        keep = built.keep(solution.counts, labels.classes.root)
        graph = cut(labels, keep)
        after = _measured(graph, solution, calibration)
        clock("cut")
        if all(after.of(m) <= b.upper for m, b in bounds.items()):
            near = all(after.of(m) >= b.lower for m, b in bounds.items())
            if near or found is None or solution.objective > found.solution.objective:
                found = Result(model, labels, built, solution.counts, keep, graph, graph, solution, before, after)
            if near:
                break
        # Constants that unrelated nodes share are counted for each, but written once where they are cut alike.
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
    graph, fitted = calibration.compensated(found.bare, found.keep)
    clock("compensate")
    after = _measured(graph, found.solution)
    rotated = len(calibration.statistics.rotations)
    return replace(found, ir=graph, fitted=fitted, rotated=rotated, after=after, seconds=clock.seconds)


def _measured(graph: ir.Model, solution: Solution, calibration: Calibration | None = None) -> Measure:
    """A cut model; with what compensation may add to it, where that is still to come."""
    params, size_ = calibration.reserve if calibration else (0, 0)
    return Measure(count_params(graph) + params, solution.costs["macs"], size(graph) + size_, count_nodes(graph))


class _Clock:
    """Seconds between calls, summed by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.last = time.perf_counter()

    def __call__(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self.last
        self.last = now


def _named(labels: Labels, patterns: Sequence[str], option: str) -> set[str]:
    """The nodes that an option speaks of. Raises UsageError where a pattern matches none."""
    return {labels.calls[node].name for node in matching(labels, patterns, option)}


def _pinned(labels: Labels, exclude: Collection[str], only: Collection[str]) -> Mask | None:
    """Neurons that the user wants to stay: those on outputs of excluded nodes, or on none of the chosen ones."""
    if not exclude and not only:
        return None
    pinned = np.zeros(labels.relations.count, np.bool_)
    root = labels.classes.root
    if only:
        chosen = np.zeros_like(pinned)
        chosen[_output_roots(labels, only)] = True
        pinned |= ~chosen[root]
    if exclude:
        held = np.zeros_like(pinned)
        held[_output_roots(labels, exclude)] = True
        pinned |= held[root]
    return pinned


def _output_roots(labels: Labels, names: Collection[str]) -> IntArray:
    """Of the nodes of these names, as far as they are there."""
    calls = (call for call in labels.calls.values() if call.name in names)
    axes = [axis for call in calls for result in call.results for axis in result or () if axis is not None]
    return labels.classes.root[np.concatenate(axes)] if axes else np.empty(0, np.int64)
