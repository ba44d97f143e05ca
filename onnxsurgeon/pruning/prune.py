"""Pruning from end to end: label, weigh, select, cut."""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import IntArray, Mask
from onnxsurgeon.calibration.statistics import Statistics
from onnxsurgeon.compensation.evidence import Evidence
from onnxsurgeon.data import Data, Samples
from onnxsurgeon.dependency.costs import COSTS
from onnxsurgeon.dependency.labels import Labels, label
from onnxsurgeon.dependency.measure import Measure, macs_by_output, measure, measured, overhead
from onnxsurgeon.dependency.names import matching
from onnxsurgeon.dependency.spaces import Spaces, retabled, spaces
from onnxsurgeon.edit.apply import computed, cut
from onnxsurgeon.errors import InfeasibleError, ModelError, UsageError
from onnxsurgeon.latency.device import NOISE, DeviceAtHand, device_at_hand
from onnxsurgeon.latency.options import ProfileOptions
from onnxsurgeon.model.model import Model, Source, as_model
from onnxsurgeon.options.record import takes
from onnxsurgeon.options.shared import SYNTHETIC, Counted
from onnxsurgeon.pruning.budgets import Bound, bounds_of, exactly, solved, with_bounds
from onnxsurgeon.pruning.calibration import calibrated, compensated, reserve, statistics_of, weighed
from onnxsurgeon.pruning.fine_tuning import fine_tuned, samples_of_cuts
from onnxsurgeon.pruning.options import PruneOptions
from onnxsurgeon.pruning.ratio_search import Examiner, search
from onnxsurgeon.pruning.result import Result, Scored
from onnxsurgeon.pruning.synthetic import samples_for
from onnxsurgeon.pruning.verdict import compared
from onnxsurgeon.runtime.carried_states import opened_with_states
from onnxsurgeon.runtime.meter import meter, metered
from onnxsurgeon.runtime.session import require_typed
from onnxsurgeon.solver.solve import Solution
from onnxsurgeon.training.batch_size import reading

CORRECTIONS = 3  # of measured tables: solved, cut, measured, and solved again
ROUNDS = 8  # of solving, until the written model keeps the budgets


@takes(PruneOptions)
def prune(model: Source, options: PruneOptions) -> Result:
    """A smaller model, as a result to save: the most important selection within the budgets, cut out of `model`.

    Budgets combine: a `ratio` for one cost, limits on any; with `max_drop`, the smallest model that is still good
    enough. That search assumes that the score falls as the ratio rises; otherwise a smaller model may exist. The
    result's `score` holds all trials. Raises UsageError if the options don't fit together or don't fit the model,
    before any work; InfeasibleError if no selection meets the budgets, or no candidate is good enough; ModelError if
    the model or the data can't be read.
    """
    options.require_a_goal()
    model, data = as_model(model), options.data
    require_typed(model)
    if isinstance(data, str | os.PathLike) and options.has_real_data:
        options.announce("data", str(data))
        read = options if options.fine_tune is None else reading(options, model.ir)
        data = opened_with_states(data, model, read, options.device)
    given = None if isinstance(data, str | os.PathLike) else data
    job = Job(model, options, given, given)
    if options.fine_tune is not None and isinstance(options.data, str | os.PathLike):
        job.data = samples_of_cuts(options.data, model, options)
    with metered():
        result, clock = _scored(job, options), _Clock()
        result = compared(result, job.given or job.data, options)
        clock("compare")
        return clock.added_to(result, job.data)


def _scored(job: Job, options: PruneOptions) -> Result:
    """The pruned model, with its scores if a metric is given."""
    if options.metric is None:
        return job.result(options)
    if not isinstance(job.given, Data):
        raise UsageError("`metric` can't read these `data`", fix="give `data` as a path, or open it with open_data")
    examiner = Examiner(job.model, job.given, options.metric, options.output_name, options.device)
    if options.max_drop is not None:
        return search(lambda ratio: job.result(options.at(ratio)), examiner, options)
    options.announce("score", job.model.path.name)
    before, result = examiner.file(job.model), job.result(options)
    options.announce("score", "the pruned model")
    return replace(result, score=Scored(before, examiner.result(result)))


@dataclass
class Job:
    """A model to prune, perhaps several times: the statistics of its data are collected once.

    data: what chooses and fits the cut; synthetic ones if these are wanted and the model runs on them. given: what
    scores and trains it.
    """

    model: Model
    options: PruneOptions
    data: Samples | None
    given: Samples | None = None
    statistics: Statistics = field(init=False)
    device: DeviceAtHand | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.statistics = statistics_of(self.model, self.options)

    def result(self, options: PruneOptions) -> Result:
        """The pruned model for these options, without `max_drop`. Where nothing can be fitted to synthetic samples that
        nobody asked to use, norms decide."""
        if options.is_synthetic and options.ratio == 0 and not options.limits:
            options = options.without_samples  # nothing will be cut
        if not options.is_synthetic:
            return self._result(options)
        try:
            self._check_size(options)
            return self._result(options)
        except (ModelError, InfeasibleError) as problem:
            if options.importance or options.compensate or options.rotate or options.stats or options.mirror:
                raise
            options.announce("weigh", f"without samples: {problem.what}")
            self.data, self.statistics = None, Statistics("")
            return replace(self._result(options.without_samples), unfit=problem.what)

    def _check_size(self, options: PruneOptions) -> None:
        """Raises ModelError if samples would have to run through a file that takes too much memory as a whole."""
        if self.model.bytes > options.whole:
            size = COSTS["size"].written
            raise ModelError(
                f"the file has {size(self.model.bytes)}", why=f"`memory` allows to run {size(options.whole)} at once",
                fix="give samples with `data`, or raise `memory`",
            )  # fmt: skip

    def _result(self, options: PruneOptions) -> Result:
        clock, model = _Clock(), self.model
        options.announce("label", model.path.name)
        labels = label(model.ir, attention=options.attention, shapes=options.shapes, carried=options.carried)
        clock("label")
        meter().weights = macs_by_output(labels)
        if options.is_synthetic and self.data is None:
            options.announce("data", SYNTHETIC)
            self.data = samples_for(labels, options)
        named = [
            {labels.calls[node].name for node in matching(labels, patterns, f"`{name}`")}
            for name, patterns in (("exclude", options.exclude), ("only", options.only))
        ]
        relabel = partial(
            label, attention=options.attention, shapes=options.shapes, carried=options.carried, original=model.ir
        )
        evidence = calibrated(options, model, labels, self.data, self.statistics, relabel)
        labels = evidence.labels
        pinned = _pinned(labels, *named)
        clock("calibrate")
        device = self._device(labels) if "latency" in options.wanted else None
        clock("profile")
        options.announce("weigh", options.word)
        values, judge = weighed(evidence, options)
        built = spaces(
            labels, values, round_to=options.round_to,
            min_keep=float(options.min_keep), pinned=pinned, judge=judge,
            progress=lambda done, total: options.announce("weigh", Counted(done, total, f"spaces by {options.word}")),
            overhead={**overhead(model), **({"latency": device.profile.fixed} if device else {})},
            wanted=options.wanted,
            measured={"latency": device.profile.parts(labels)} if device else {},
            less=None if options.less_quantile is None else float(options.less_quantile),
        )  # fmt: skip
        if options.stats is not None and self.statistics.moments:
            self.statistics.save(options.stats)
        clock("weigh")
        before = measure(model, built)
        if options.ratio and not before.of(options.cost):
            raise ModelError(
                "nothing can be cut", why=f"the model has no {COSTS[options.cost].title}", fix="choose another `cost`"
            )
        clock("problem")
        found = _within(model, evidence, built, before, options, clock, device)
        graph, fitted = compensated(evidence, options, found.bare, found.keep)
        clock("compensate")
        after = found.after
        if graph is not found.bare or reserve(evidence, options):
            after = replace(after, costs={**measured(graph, found.solution.costs).costs, **_timed(after)})
        found = replace(
            found, ir=graph, fitted=fitted, rotated=len(self.statistics.rotations), after=after,
            notes=(*evidence.notes, *(device.notes if device is not None else ())),
            samples=self.data,
        )  # fmt: skip
        found = fine_tuned(found, self.given, options)
        clock("tune")
        return clock.added_to(found, self.data)

    def _device(self, labels: Labels) -> DeviceAtHand:
        """The device whose latency counts, which is profiled once."""
        if self.device is None:
            self.device = self._at_hand(labels)
        return self.device

    def _at_hand(self, labels: Labels) -> DeviceAtHand:
        options = self.options
        how = ProfileOptions(
            input_shape=options.input_shape, device=options.device, threads=options.threads, seed=options.seed,
            batch=options.batch, progress=options.progress,
        )  # fmt: skip
        original = label(self.model.ir, shapes=options.shapes) if labels.rotated else labels
        return device_at_hand(self.model, original, how, None if options.profile is None else Path(options.profile))


def _timed(measure: Measure) -> dict[str, float]:
    """The costs that were measured on a device."""
    return {word: value for word, value in measure.costs.items() if COSTS[word].timed}


def _within(
    model: Model,
    evidence: Evidence,
    built: Spaces,
    before: Measure,
    options: PruneOptions,
    clock: _Clock,
    device: DeviceAtHand | None,
) -> Result:
    """The best selection whose cut model meets the budgets. Raises InfeasibleError if there is none."""
    labels, bounds = evidence.labels, bounds_of(before, options)
    found: Result | None = None
    asked, drift = bounds, dict[str, list[float]]()
    nearest = dict[str, float]()
    for _ in range(1 + CORRECTIONS if device is not None and device.here else ROUNDS):
        options.announce("solve", "")
        built = with_bounds(built, asked)
        solution = solved(labels, built, before, asked, options)
        clock("solve")
        options.announce("cut", "")
        keep = built.keep(solution.counts, labels.classes.root)
        graph = cut(labels, keep)
        reserved = {} if keep.all() else reserve(evidence, options)
        after = _after(graph, solution, reserved)
        rewritten = bool(keep.all()) and not all(b.holds(after.of(m)) for m, b in bounds.items() if COSTS[m].terms)
        if rewritten:  # the original does not fit, and the solver says that its rewritten form does
            graph = computed(labels)
            after = _after(graph, solution, reserved)
        clock("cut")
        corrected = False
        if device is not None and device.here:
            options.announce("measure", "latency")
            times, expected = device.measured(graph, keep), solution.costs["latency"]
            if abs(times.seconds / expected - 1) > NOISE:
                device, corrected = device.corrected(keep, times), True
                built = retabled(built, "latency", device.profile.parts(labels), device.profile.fixed)
                after = replace(after, costs={**after.costs, "latency": times.seconds})
            clock("measure")
        nearest = {m: min(after.of(m), nearest.get(m, after.of(m))) for m in bounds}
        if all(b.holds(after.of(m)) for m, b in bounds.items()):
            near = all(b.near(after.of(m)) for m, b in bounds.items())
            if near or found is None or solution.objective > found.solution.objective:
                found = Result(
                    model, labels, built, solution.counts, keep, graph, graph, solution, before, after, options,
                    rewritten=rewritten,
                )  # fmt: skip
            if near:
                break
        # Constants that unrelated nodes share count for each of them, but are written once if they are cut alike.
        for m in bounds:
            drift.setdefault(m, []).append(0.0 if m == "latency" else solution.costs[m] - after.of(m))
        again = {m: Bound(m, b.upper + min(drift[m]), b.lower + max(drift[m])) for m, b in bounds.items()}
        if (again == asked and not corrected) or (device is None and clock.seconds["solve"] > options.time_limit):
            break
        asked = again
    if found is None:
        raise InfeasibleError(
            "no selection was found whose file meets the budgets",
            why=", ".join(
                f"{m} fell to {exactly(m)(nearest[m])}, wanted {exactly(m)(b.upper)}" for m, b in bounds.items()
            ),
            fix="choose slightly larger budgets",
        )
    return found


def _after(graph: ir.Model, solution: Solution, reserved: dict[str, float]) -> Measure:
    """The costs of a cut model, with what compensation may add."""
    found = measured(graph, solution.costs)
    return replace(found, costs={word: cost + reserved.get(word, 0) for word, cost in found.costs.items()})


class _Clock:
    """Seconds, and samples that ran, between calls; summed by name."""

    def __init__(self) -> None:
        self.seconds, self.samples = dict[str, float](), dict[str, float]()
        self.last, self.ran = time.perf_counter(), meter().samples

    def __call__(self, name: str) -> None:
        now, ran = time.perf_counter(), meter().samples
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self.last
        self.samples[name] = self.samples.get(name, 0.0) + ran - self.ran
        self.last, self.ran = now, ran

    def added_to(self, result: Result, data: Samples | None) -> Result:
        """`result` with the seconds and passes of this clock, too."""
        passes = {name: samples / len(data) for name, samples in self.samples.items()} if data is not None else {}
        return replace(result, seconds={**result.seconds, **self.seconds}, passes={**result.passes, **passes})


def _pinned(labels: Labels, exclude: Collection[str], only: Collection[str]) -> Mask | None:
    """Mask of neurons that `exclude` and `only` protect, shape (neurons,); None without these options."""
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
    """The roots of the neurons on the outputs of the named nodes."""
    calls = (call for call in labels.calls.values() if call.name in names)
    axes = [axis for call in calls for result in call.results for axis in result or () if axis is not None]
    return labels.classes.root[np.concatenate(axes)] if axes else np.empty(0, np.int64)
