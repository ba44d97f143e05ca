"""Times models side by side in onnxruntime, with all of its optimisations, as they are deployed."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np

from onnxsurgeon import units
from onnxsurgeon.arrays import Arrays, FloatArray, Shape
from onnxsurgeon.dependency.labels import Labels, label
from onnxsurgeon.files import drafts
from onnxsurgeon.latency.options import BenchOptions, Timed
from onnxsurgeon.latency.timing import BUSY, WARM_UP, Ratio, Timing, in_turn, joined, ratio
from onnxsurgeon.model.model import Source, as_model, named, on_disk
from onnxsurgeon.notebook import Shown
from onnxsurgeon.options.record import takes
from onnxsurgeon.runtime.random_inputs import random_inputs
from onnxsurgeon.runtime.session import Session, trim, version

LARGE = 2**28  # bytes of models that may be in memory together
PROFILED = 300  # the largest number of runs for the times of nodes


@dataclass(frozen=True)
class NodeTime:
    """A node as onnxruntime runs it: several nodes of the file may be one there. seconds: the median of a run."""

    name: str
    operator: str
    seconds: float


@dataclass(frozen=True)
class Benched:
    """One model: how long a run takes. size: bytes of the file. nodes: the slowest first, if they were timed."""

    model: str
    timing: Timing
    size: int
    shapes: dict[str, Shape]
    nodes: tuple[NodeTime, ...] = ()


@dataclass(frozen=True)
class Conditions:
    """What latencies hold for. provider: the execution provider that ran. batch: samples in a run."""

    provider: str
    threads: int
    batch: int
    onnxruntime: str


@dataclass(frozen=True, repr=False)
class Bench(Shown):
    """The latencies of models, in the order in which they were given, all on the same conditions."""

    models: tuple[Benched, ...]
    conditions: Conditions

    @property
    def busy(self) -> float:
        """The largest spread of a model: half of its confidence interval, relative to its median."""
        return max(row.timing.spread for row in self.models)

    @property
    def ratios(self) -> tuple[Ratio, ...]:
        """The time of each model relative to the first."""
        return tuple(ratio(self.models[0].timing, row.timing) for row in self.models)

    def line(self) -> str:
        found = ", ".join(f"{row.model} {units.seconds(row.timing.median)}" for row in self.models)
        return f"{found} on {self.conditions.provider}" + f", busy: ±{self.busy:.0%}" * (self.busy > BUSY)

    def table(self) -> Iterator[Sequence[object]]:
        yield "model", "median", "p95", "per sample", "relative"
        for row, relative in zip(self.models, self.ratios, strict=True):
            median, p95 = units.seconds(row.timing.median), units.seconds(row.timing.p95)
            yield row.model, median, p95, units.seconds(row.timing.median / self.conditions.batch), relative.value


def inputs_for(labels: Labels, options: Timed) -> Arrays:
    """Random inputs of a labelled model, with `options.batch` samples where it takes any number."""
    sizes = dict(labels.sizes[0])
    for name, axis in labels.sizes[0]:
        if axis == 0:
            sizes[name, axis] = options.shapes.get(name, (1,))[0] if options.batch is None else options.batch
    return random_inputs(labels, sizes, options.seed)


@takes(BenchOptions)
def bench(models: Source | Sequence[Source], options: BenchOptions) -> Bench:
    """The latencies of one model, or of several side by side, each on random inputs of its own.

    Models take turns, so that what slows the machine slows all of them alike. Raises ModelError if a model can't run,
    UsageError if `device` is cuda and CUDA is not available.
    """
    several: list[Source] = [*models] if isinstance(models, list | tuple) else [cast("Source", models)]
    with ExitStack() as stack:
        paths = [stack.enter_context(on_disk(source)) for source in several]
        return side_by_side(paths, options, names=[named(source) for source in several], layers=options.layers)


def side_by_side(
    paths: Sequence[Path],
    options: Timed,
    *,
    names: Sequence[str],
    layers: bool = False,
    until_known: float | None = None,
) -> Bench:
    """The latencies of model files, each on random inputs of its own; else as `measured`."""
    feeds = [inputs_for(label(as_model(path).ir, shapes=options.shapes), options) for path in paths]
    return measured(paths, feeds, options, names=names, layers=layers, until_known=until_known)


def measured(
    paths: Sequence[Path], feeds: Sequence[Arrays], options: Timed, *, names: Sequence[str], layers: bool = False,
    until_known: float | None = None,
) -> Bench:  # fmt: skip
    """The latencies of model files on given inputs. until_known: as in `in_turn`.

    Models take turns, run by run; those that are `LARGE` together, which only one at a time may be in memory, by halves
    of their runs: the first model, the second, the second and the first.
    """
    if len(paths) > 1 and sum(as_model(path).bytes for path in paths) > LARGE:
        order = [*range(len(paths)), *reversed(range(len(paths)))]
        halves = [list[Timing]() for _ in paths]
        for index in order:
            timings, provider = _timed([paths[index]], [feeds[index]], options, 1 / len(order), until_known=until_known)
            halves[index] += timings
            trim()
        timings = joined(halves)
    else:
        timings, provider = _timed(paths, feeds, options, 1.0, until_known=until_known)
    rows = []
    for path, feed, timing, name in zip(paths, feeds, timings, names, strict=True):
        nodes = node_times(path, feed, options) if layers else ()
        rows.append(Benched(name, timing, as_model(path).bytes, {k: a.shape for k, a in feed.items()}, nodes))
    return Bench(tuple(rows), conditions_of(provider, feeds[0], options))


def _timed(
    paths: Sequence[Path], feeds: Sequence[Arrays], options: Timed, share: float, *, until_known: float | None
) -> tuple[list[Timing], str]:
    """The timings of models that take turns, and the provider. share: of the time for all."""
    sessions = [Session(path, options.device, threads=options.threads) for path in paths]
    runs: list[Callable[[], object]] = [s.bound(feed) for s, feed in zip(sessions, feeds, strict=True)]
    return in_turn(runs, seconds=share * options.time_limit, until_known=until_known), sessions[0].provider


def conditions_of(provider: str, feed: Arrays, options: Timed) -> Conditions:
    """What latencies that are measured like this hold for."""
    batch = options.batch or max((array.shape[0] for array in feed.values() if array.ndim), default=1)
    return Conditions(provider, options.threads or os.cpu_count() or 1, batch, version())


def node_times(path: Path, feed: Arrays, options: Timed) -> tuple[NodeTime, ...]:
    """The time of each node as onnxruntime runs it, the slowest first, by its own profiler."""
    ((found,), _) = profiled([path], [feed], options, seconds=options.time_limit / 4)
    nodes = [NodeTime(name, found.operators[name], found.median(name)) for name in found.nodes]
    return tuple(sorted(nodes, key=lambda row: -row.seconds))


@dataclass(frozen=True)
class Runs:
    """What onnxruntime's profiler says of the runs of a model: seconds in each run.

    nodes, operators: by the name of a node as onnxruntime runs it.
    """

    nodes: Mapping[str, Sequence[float]]
    operators: Mapping[str, str]
    provider: str

    def median(self, name: str, pace: FloatArray | None = None) -> float:
        """The median time of a node. pace: what the times of each run are multiplied with, shape (runs,)."""
        taken = np.array(self.nodes[name])
        return float(np.median(taken * pace if pace is not None and len(pace) == len(taken) else taken))


def profiled(
    paths: Sequence[Path], feeds: Sequence[Arrays], options: Timed, *, seconds: float,
    beside: Sequence[Callable[[], object]] = (), until_known: float | None = None,
) -> tuple[list[Runs], list[Timing]]:  # fmt: skip
    """What onnxruntime's profiler says of model files, and the timings of what takes turns with them.

    seconds, until_known: as in `in_turn`; the number of turns is at most `PROFILED`.
    """
    with drafts() as folder:
        sessions = [
            Session(path, options.device, threads=options.threads, profile=str(Path(folder) / f"profile{number}"))
            for number, path in enumerate(paths)
        ]
        runs = [partial(session.run, feed) for session, feed in zip(sessions, feeds, strict=True)]
        timings = in_turn([*beside, *runs], seconds=seconds, until_known=until_known, most=PROFILED)
        return [_runs(_events(session), session.provider) for session in sessions], timings[: len(beside)]


def _events(session: Session) -> list[dict[str, Any]]:
    """What the profiler wrote; nothing if it didn't."""
    try:
        found = json.loads(Path(session.session.end_profiling()).read_text(encoding="utf-8"))
        return found if isinstance(found, list) else []
    except (OSError, ValueError):
        return []


def _runs(events: list[dict[str, Any]], provider: str) -> Runs:
    nodes, operators = defaultdict[str, list[float]](list), dict[str, str]()
    for event in events:
        name = str(event.get("name", ""))
        if event.get("cat") == "Node" and name.endswith("_kernel_time"):
            node = name.removesuffix("_kernel_time")
            nodes[node].append(event["dur"] * 1e-6)
            operators[node] = str(event["args"].get("op_name", ""))
    return Runs({n: t[WARM_UP:] or t for n, t in nodes.items()}, operators, provider)
