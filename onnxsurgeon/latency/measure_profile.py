"""Measures a profile: runs the model at many widths, and looks at the time of each kernel.

Widths are chosen so that each run measures what the tables lack, for all kernels at once. Runs of the whole model have
what layers alone lack: caches that others fill, layouts that others choose, and sums fused into convolutions.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from onnxsurgeon.arrays import Arrays, IntArray, Mask
from onnxsurgeon.dependency.interface import positions, taken
from onnxsurgeon.dependency.labels import Labels, label
from onnxsurgeon.dependency.spaces import spaces
from onnxsurgeon.edit.apply import cut
from onnxsurgeon.files import drafts
from onnxsurgeon.latency.bench import Conditions, conditions_of, inputs_for
from onnxsurgeon.latency.kernel_times import KernelTimes, Reference, Timeable, kernel_times
from onnxsurgeon.latency.kernels import Kernels, by_output
from onnxsurgeon.latency.measured_times import MeasuredTimes, table_name
from onnxsurgeon.latency.measured_widths import Widths
from onnxsurgeon.latency.options import EFFORTS, ProfileOptions
from onnxsurgeon.latency.profile import Profile
from onnxsurgeon.latency.time_tables import Lengths, TimeTable, covered, roughness, tabulated
from onnxsurgeon.model.model import Source, as_model
from onnxsurgeon.model.write import write
from onnxsurgeon.options.record import takes
from onnxsurgeon.options.shared import Counted

CHECKS = 6  # runs at least, by which the sum of tables is corrected to the latency of the whole model
HELD = 4  # one run of so many is left out of the tables that say how well they predict
SECONDS = 0.4  # for the runs at some widths, and of the whole model beside them
SMALL = 0.002  # of the latency: kernels that take less need not be measured at all lengths
LARGE = 0.005  # of the latency: kernels that take more are measured at more lengths where they are not smooth
ROUGH = 0.1  # a change in time beyond that of the lengths, relative, from which lengths in between are measured, too


@takes(ProfileOptions)
def profile(model: Source, options: ProfileOptions) -> Profile:
    """How the latency of `model` follows the widths of its layers, here and now.

    What was measured before on this machine, of this model or of others, is not measured again. Raises ModelError if
    the model can't run, UsageError if `device` is cuda and CUDA is not available.
    """
    model = as_model(model)
    labels = label(model.ir, shapes=options.shapes)
    return profile_of(labels, options)


def profile_of(labels: Labels, options: ProfileOptions) -> Profile:
    """The profile of a labelled model."""
    began, wanted = time.perf_counter(), EFFORTS[options.effort]
    with drafts() as folder:
        runner = Runner(labels, options, Path(folder))
        made = _Making(runner, MeasuredTimes(runner.conditions, fresh=options.fresh))
        try:
            while (done := len(made.runs) - 1) < wanted.runs:
                seconds = time.perf_counter() - began
                if not made.refined and (2 * done >= wanted.runs or made.covered() >= wanted.share):
                    made.refine()
                if done >= CHECKS and (seconds > options.time_limit or made.covered() >= wanted.share):
                    break
                left = seconds / max(done, 1) * (wanted.runs - done)
                soon = min(left, options.time_limit - seconds) if done else options.time_limit
                text = f"sets of widths, {max(soon, 1):.0f} s left"
                options.announce("profile", Counted(done + 1, wanted.runs, text))
                made.add(made.next())
        finally:
            made.known.save()
        return made.profile()


class Runner:
    """Runs the model at widths. whole: what the run of the whole model took.

    The whole model runs beside every cut one: the speed of a machine changes from second to second.
    """

    def __init__(self, labels: Labels, options: ProfileOptions, folder: Path) -> None:
        """Runs the whole model. Raises ModelError if it can't run. folder: for files, which is empty."""
        self.labels, self.options, self._folder = labels, options, folder
        self.kernels = Kernels(labels)
        self.built = spaces(labels, np.zeros(labels.relations.count))
        self.feed: Arrays = inputs_for(labels, options)
        self.most: IntArray = np.diff(self.built.starts)
        first = {kernel.kind: kernel.name for kernel in reversed(self.kernels.all())}
        model = self._written("whole", self.keep(self.most), first.values())
        self.whole = self._timed(model)
        self._reference = Reference(model, options, self.whole.seconds)

    @property
    def conditions(self) -> Conditions:
        return conditions_of(self.whole.provider, self.feed, self.options)

    def keep(self, counts: IntArray) -> Mask:
        return self.built.keep(counts, self.labels.classes.root)

    def run(self, keep: Mask, wanted: Collection[str]) -> KernelTimes:
        """The times of the kernels of the model cut to the neurons in a mask, at least of the wanted ones."""
        return self._timed(self._written("model", keep, wanted), self._reference)

    def _written(self, name: str, keep: Mask, wanted: Collection[str]) -> Timeable:
        path, graph = self._folder / f"{name}.onnx", by_output(cut(self.labels, keep))
        write(graph, path, overwrite=True)
        return Timeable(graph, path, taken(self.feed, positions(self.labels, keep)), wanted)

    def _timed(self, model: Timeable, reference: Reference | None = None) -> KernelTimes:
        seconds = min(SECONDS, self.options.time_limit / EFFORTS[self.options.effort].runs)
        return kernel_times(model, self.kernels, self.options, seconds=seconds, reference=reference)


@dataclass(frozen=True)
class _Measured:
    """The lengths of the axes of each kernel in a run, and what it took."""

    lengths: dict[str, Lengths]
    times: KernelTimes


@dataclass
class _Making:
    """A profile in the making. The first run is that of the whole model."""

    runner: Runner
    known: MeasuredTimes
    runs: list[_Measured] = field(default_factory=list)
    refined: bool = False

    def __post_init__(self) -> None:
        whole = self.runner.whole
        self.kernels = {
            kernel.name: replace(kernel, kind=kernel.kind + whole.added.get(kernel.name, ""))
            for kernel in whole.kernels
            if kernel.axes
        }
        self.rng = np.random.default_rng(self.runner.options.seed)
        self.widths = Widths(self.runner.built, list(self.kernels.values()))
        keep = self.runner.keep(self.runner.most)
        first = _Measured(self._lengths(keep), whole)
        self.known.adjust(self._timed(first))
        self._record(first)
        # Kernels of one kind share a time where only one of them was run.
        times, total = whole.times, max(whole.seconds, 1e-12)
        by_kind = {k.kind: times[k.name] for k in self.kernels.values() if k.name in times}
        self.shares = {k.name: times.get(k.name, by_kind.get(k.kind, 0.0)) / total for k in self.kernels.values()}

    def add(self, counts: IntArray) -> None:
        keep = self.runner.keep(counts)
        lengths = self._lengths(keep)
        new = {
            (kernel.kind, lengths[kernel.name]): kernel.name
            for kernel in self.kernels.values()
            if lengths[kernel.name] not in self.known.of(kernel.kind)
        }
        self._record(_Measured(lengths, self.runner.run(keep, list(new.values()))))

    def _lengths(self, keep: Mask) -> dict[str, Lengths]:
        return {k.name: tuple(int(keep[axis].sum()) for axis in k.axes) for k in self.kernels.values()}

    def _record(self, run: _Measured) -> None:
        self.runs.append(run)
        for kind, lengths, seconds in self._timed(run):
            self.known.add(kind, lengths, seconds)

    def _timed(self, run: _Measured) -> list[tuple[str, Lengths, float]]:
        """The kinds, lengths and seconds of the kernels that were timed in a run."""
        times = run.times.times
        return [(k.kind, run.lengths[k.name], times[k.name]) for k in self.kernels.values() if times.get(k.name, 0) > 0]

    def next(self) -> IntArray:
        """Counts that measure what the tables of slow kernels lack most."""
        slow = [k for k in self.kernels.values() if self.shares[k.name] >= SMALL]
        lacking = {kernel.name: self.widths.missing(kernel, self.known.of(kernel.kind)) for kernel in slow}
        return self.widths.draw(slow, lacking, self.rng)

    def covered(self) -> float:
        """The share of the tables that is measured, each weighted by its time."""
        total = sum(self.shares.values())
        of = {
            kernel.kind: covered(self.known.of(kernel.kind), self.widths.grid(kernel.kind))
            for kernel in self.kernels.values()
        }
        return sum(self.shares[k.name] * of[k.kind] for k in self.kernels.values()) / total if total else 1.0

    def refine(self) -> None:
        """Adds lengths where times are not smooth, once."""
        self.refined = True
        tables = self._tables(self.runs)
        for kernel in self.kernels.values():
            if self.shares[kernel.name] >= LARGE:
                table = tables[table_name(kernel.kind)]
                self.widths.refine(kernel, [rough > ROUGH for rough in roughness(table)], table.lengths)

    def _tables(self, runs: list[_Measured], *, alone: bool = False, fine: bool = False) -> dict[str, TimeTable]:
        """The tables of all kinds. alone: made of these runs only. fine: at more lengths than are measured."""
        tables, own = {}, self._points(runs) if alone else {}
        for kernel in self.kernels.values():
            name = table_name(kernel.kind)
            if name not in tables:
                points = own.get(kernel.kind, {}) if alone else self.known.of(kernel.kind)
                operator = "+".join(node.op_type for node in kernel.nodes)
                tables[name] = tabulated(operator, points, self.widths.grid(kernel.kind, fine=fine))
        return tables

    def _points(self, runs: list[_Measured]) -> dict[str, dict[Lengths, list[float]]]:
        """What some runs measured, by kind."""
        points: dict[str, dict[Lengths, list[float]]] = {}
        for run in runs:
            for kind, lengths, seconds in self._timed(run):
                points.setdefault(kind, {}).setdefault(lengths, []).append(seconds)
        return points

    def _correction(self, tables: dict[str, TimeTable], runs: list[_Measured]) -> tuple[float, float]:
        """(fixed, scale): what makes sums of tables the latencies of whole runs; exact for the whole model.

        fixed: the median of what whole runs took beyond the kernels in them, which ran at the same time. It is less
        than nothing where the profiler adds more to each kernel than a run takes beside them.
        """
        whole = runs[0].times.seconds
        fixed = float(np.median([run.times.seconds - self._sum(tables, run, measured=True) for run in runs]))
        return fixed, (whole - fixed) / max(self._sum(tables, runs[0]), 1e-12)

    def _sum(self, tables: dict[str, TimeTable], run: _Measured, *, measured: bool = False) -> float:
        """The sum of the kernels of a run by the tables; where they were measured in it, by that if it is asked for."""
        known = run.times.times if measured else {}
        return sum(known.get(k.name, tables[table_name(k.kind)].at(run.lengths[k.name])) for k in self.kernels.values())

    def profile(self) -> Profile:
        held = self.runs[HELD::HELD]
        others = [run for run in self.runs if not any(run is one for one in held)]
        trial = self._tables(others, alone=True)
        fixed, scale = self._correction(trial, others)
        errors = [abs((fixed + scale * self._sum(trial, run)) / run.times.seconds - 1) for run in held or self.runs]
        tables = self._tables(self.runs, fine=True)
        fixed, scale = self._correction(tables, self.runs)
        return Profile(
            self.runner.whole.seconds, fixed, float(np.median(errors)),
            {kernel.called: table_name(kernel.kind) for kernel in self.kernels.values()},
            {name: table.scaled(scale) for name, table in tables.items()}, self.runner.conditions,
        )  # fmt: skip
