"""The times of the kernels of a model, by the first node of each."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
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


@dataclass(frozen=True)
class Timeable:
    """A model: its graph, its file, and inputs. wanted: names of kernels that must be timed; all if None."""

    graph: ir.Model
    path: Path
    feed: Arrays
    wanted: Collection[str] | None = None


class Reference:
    """A model that takes turns with others, whose times count relative to it. seconds: what a run of it counts as."""

    def __init__(self, model: Timeable, options: Timed, seconds: float) -> None:
        self.run = Session(model.path, options.device, threads=options.threads).bound(model.feed)
        self.seconds = seconds


def kernel_times(
    model: Timeable, kernels: Kernels, options: Timed, *, seconds: float, reference: Reference | None = None,
    until_known: float | None = None,
) -> KernelTimes:  # fmt: skip
    """What the kernels of a model take.

    A machine may be half as fast in the next second: what runs in a turn counts relative to the first run in it, that
    of the reference if there is one. The profiler of onnxruntime times all kernels within the model. Where it can't, as
    on CUDA, those that are wanted run alone. kernels: of the model that it was cut from. seconds, until_known: as in
    `in_turn`, for all runs.
    """
    session = Session(model.path, options.device, threads=options.threads)
    # The profiler makes runs longer: the whole model is timed without it, at the same time.
    beside = [*([reference.run] if reference else []), session.bound(model.feed)]
    (runs,), timings = profiled(
        [model.path], [model.feed], options, seconds=seconds, beside=beside, until_known=until_known
    )
    standard = reference.seconds if reference else timings[0].median
    pace = standard / np.array(timings[0].seconds)
    whole = float(np.median(timings[-1].seconds * pace))
    if runs.nodes and runs.provider == "CPU":
        return _by_kernel(runs, kernels, whole, pace)
    everything = tuple(kernels.all())
    chosen = [k for k in everything if model.wanted is None or k.name in model.wanted]
    return KernelTimes(whole, timed_alone(model.graph, model.feed, chosen, options), everything, session.provider)


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
