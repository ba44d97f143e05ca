"""The times of the kernels of models, by the first node of each."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import onnx_ir as ir

from onnxsurgeon.arrays import Arrays
from onnxsurgeon.latency.bench import Runs, profiled
from onnxsurgeon.latency.kernels import Kernel, Kernels
from onnxsurgeon.latency.kernels_alone import timed_alone
from onnxsurgeon.latency.options import Timed
from onnxsurgeon.latency.timing import in_turn
from onnxsurgeon.runtime.session import Session


@dataclass(frozen=True)
class KernelTimes:
    """seconds: of the whole model, the median. times: of each kernel, by its name.

    added: by name, operators that onnxruntime made, such as changes of layout: they count to the kernel before them.
    """

    seconds: float
    times: dict[str, float]
    kernels: tuple[Kernel, ...]
    provider: str
    added: dict[str, str] = field(default_factory=dict)

    def scaled(self, by: float, kernels: float | None = None) -> KernelTimes:
        """All times multiplied; those of kernels by another number, if there is one."""
        factor = by if kernels is None else kernels
        return replace(self, seconds=self.seconds * by, times={name: t * factor for name, t in self.times.items()})

    def beside(self, then: KernelTimes, now: KernelTimes) -> KernelTimes:
        """These times as they would be if another model, which ran beside this one, took `now` instead of `then`.

        Its kernels were timed before or after its whole runs: the speed of the machine may have changed between.
        """
        both = then.times.keys() & now.times.keys()
        before, after = (sum(one.times[name] for name in both) for one in (then, now))
        return self.scaled(now.seconds / then.seconds, after / before if before > 0 else None)


@dataclass(frozen=True)
class Timeable:
    """A model: its graph, its file, and inputs. wanted: names of kernels that must be timed; all if None."""

    graph: ir.Model
    path: Path
    feed: Arrays
    wanted: Collection[str] | None = None


def kernel_times(models: Sequence[Timeable], kernels: Kernels, options: Timed, *, seconds: float) -> list[KernelTimes]:
    """What the kernels of models take; the models take turns.

    The profiler of onnxruntime times all kernels of each model within it. Where it can't, as on CUDA, those that are
    wanted run alone. kernels: of the model that all were cut from. seconds: for the runs of all models.
    """
    runs = profiled([one.path for one in models], [one.feed for one in models], options, seconds=seconds / 2)
    known = all(one.nodes and one.provider == "CPU" for one in runs)
    sessions = [Session(one.path, options.device, threads=options.threads) for one in models]
    bound = [session.bound(one.feed) for session, one in zip(sessions, models, strict=True)]
    timings = in_turn(bound, seconds=seconds / 2)  # without the profiler, which makes runs longer
    if known:
        return [_by_kernel(one, kernels, timing.median) for one, timing in zip(runs, timings, strict=True)]
    everything = tuple(kernels.all())
    chosen = [[k for k in everything if one.wanted is None or k.name in one.wanted] for one in models]
    return [
        KernelTimes(t.median, timed_alone(one.graph, one.feed, some, options), everything, session.provider)
        for t, one, some, session in zip(timings, models, chosen, sessions, strict=True)
    ]


def _by_kernel(runs: Runs, kernels: Kernels, whole: float) -> KernelTimes:
    times, added, found = dict[str, float](), dict[str, str](), dict[str, Kernel]()
    before: Kernel | None = None
    for name in runs.nodes:  # in the order in which they ran
        kernel = kernels.find(name)
        if kernel is not None:
            before = found[kernel.name] = kernel
        elif before is not None:
            added[before.name] = added.get(before.name, "") + f"+{runs.operators[name]}"
        if before is not None:
            times[before.name] = times.get(before.name, 0.0) + runs.quiet(name)
    return KernelTimes(whole, times, tuple(found.values()), runs.provider, added)
