"""The times of the kernels of models, by the first node of each."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import Arrays, FloatArray
from onnxsurgeon.latency.bench import Runs, profiled
from onnxsurgeon.latency.kernels import Kernel, Kernels
from onnxsurgeon.latency.kernels_alone import timed_alone
from onnxsurgeon.latency.options import Timed
from onnxsurgeon.runtime.session import Session


@dataclass(frozen=True)
class KernelTimes:
    """seconds: of the whole model. times: of each kernel, by its name.

    added: by name, operators that onnxruntime made, such as changes of layout: they count to the kernel before them.
    """

    seconds: float
    times: dict[str, float]
    kernels: tuple[Kernel, ...]
    provider: str
    added: dict[str, str] = field(default_factory=dict)

    def scaled(self, by: float) -> KernelTimes:
        """All times multiplied."""
        return replace(self, seconds=self.seconds * by, times={name: t * by for name, t in self.times.items()})


@dataclass(frozen=True)
class Timeable:
    """A model: its graph, its file, and inputs. wanted: names of kernels that must be timed; all if None."""

    graph: ir.Model
    path: Path
    feed: Arrays
    wanted: Collection[str] | None = None


def kernel_times(models: Sequence[Timeable], kernels: Kernels, options: Timed, *, seconds: float) -> list[KernelTimes]:
    """What the kernels of models take; the models take turns.

    A machine may be half as fast in the next second: what runs in a turn counts relative to the first model in it.
    The profiler of onnxruntime times all kernels of each model within it. Where it can't, as on CUDA, those that are
    wanted run alone. kernels: of the model that all were cut from. seconds: for the runs of all models.
    """
    sessions = [Session(one.path, options.device, threads=options.threads) for one in models]
    feeds = [one.feed for one in models]
    bound = [session.bound(feed) for session, feed in zip(sessions, feeds, strict=True)]
    # The profiler makes runs longer: whole models are timed without it, at the same time.
    runs, timings = profiled([one.path for one in models], feeds, options, seconds=seconds, beside=bound)
    pace = timings[0].median / np.array(timings[0].seconds)
    whole = [float(np.median(timing.seconds * pace)) for timing in timings]
    if all(one.nodes and one.provider == "CPU" for one in runs):
        return [_by_kernel(one, kernels, seconds, pace) for one, seconds in zip(runs, whole, strict=True)]
    everything = tuple(kernels.all())
    chosen = [[k for k in everything if one.wanted is None or k.name in one.wanted] for one in models]
    return [
        KernelTimes(seconds, timed_alone(one.graph, one.feed, some, options), everything, session.provider)
        for seconds, one, some, session in zip(whole, models, chosen, sessions, strict=True)
    ]


def _by_kernel(runs: Runs, kernels: Kernels, whole: float, pace: FloatArray) -> KernelTimes:
    times, added, found = dict[str, float](), dict[str, str](), dict[str, Kernel]()
    before: Kernel | None = None
    for name in runs.nodes:  # in the order in which they ran
        kernel = kernels.find(name)
        if kernel is not None:
            before = found[kernel.name] = kernel
        elif before is not None:
            added[before.name] = added.get(before.name, "") + f"+{runs.operators[name]}"
        if before is not None:
            times[before.name] = times.get(before.name, 0.0) + runs.median(name, pace)
    return KernelTimes(whole, times, tuple(found.values()), runs.provider, added)
