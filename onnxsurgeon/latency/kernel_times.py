"""The times of the kernels of models, by the first node of each."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import onnx_ir as ir

from onnxsurgeon.arrays import Arrays
from onnxsurgeon.latency.bench import Runs, profiled, quiet
from onnxsurgeon.latency.kernels import Kernel, Kernels
from onnxsurgeon.latency.kernels_alone import timed_alone
from onnxsurgeon.latency.options import Timed
from onnxsurgeon.latency.timing import in_turn
from onnxsurgeon.runtime.session import Session

SHORT = 0.01  # seconds of a run from which what the profiler adds to it does not count


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
    """A model: its graph, its file, and inputs."""

    graph: ir.Model
    path: Path
    feed: Arrays


def kernel_times(
    models: Sequence[Timeable], kernels: Kernels, options: Timed, *, seconds: float,
    wanted: Collection[str] | None = None,
) -> list[KernelTimes]:  # fmt: skip
    """What the kernels of models take; the models take turns.

    The profiler of onnxruntime times all kernels of each model within it. Where it can't, as on CUDA, those that are
    wanted run alone. kernels: of the model that all were cut from. seconds: for the runs of all models. wanted: names;
    all if None.
    """
    runs = profiled([one.path for one in models], [one.feed for one in models], options, seconds=seconds)
    known = all(one.nodes and one.provider == "CPU" for one in runs)
    if known and all(one.whole > SHORT for one in runs):
        return [_by_kernel(one, kernels, one.whole) for one in runs]
    sessions = [Session(one.path, options.device, threads=options.threads) for one in models]
    bound = [session.bound(one.feed) for session, one in zip(sessions, models, strict=True)]
    timings = in_turn(bound, seconds=seconds / 4)
    if known:  # the profiler makes runs longer, and so does other work on the machine: the shorter one is nearer
        whole = [min(one.whole, quiet(timing.seconds)) for one, timing in zip(runs, timings, strict=True)]
        return [_by_kernel(one, kernels, seconds) for one, seconds in zip(runs, whole, strict=True)]
    everything = tuple(kernels.all())
    chosen = everything if wanted is None else [kernel for kernel in everything if kernel.name in wanted]
    return [
        KernelTimes(quiet(t.seconds), timed_alone(one.graph, one.feed, chosen, options), everything, session.provider)
        for t, one, session in zip(timings, models, sessions, strict=True)
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
