"""The times of the kernels of a model file, by the first node of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from onnxsurgeon.arrays import Arrays
from onnxsurgeon.latency.bench import Runs, profiled
from onnxsurgeon.latency.kernels import Kernels
from onnxsurgeon.latency.options import ProfileOptions


@dataclass(frozen=True)
class KernelTimes:
    """seconds: of the whole model. times: of each kernel, by its name. names: those that the profiler has for them."""

    seconds: float
    times: dict[str, float]
    names: tuple[str, ...]
    provider: str

    def scaled(self, by: float) -> KernelTimes:
        """All times multiplied."""
        return replace(self, seconds=self.seconds * by, times={name: t * by for name, t in self.times.items()})


def kernel_times(
    paths: Sequence[Path], feeds: Sequence[Arrays], kernels: Kernels, options: ProfileOptions, *, seconds: float
) -> list[KernelTimes]:
    """What the kernels of model files take, each in its whole model; the models take turns.

    kernels: of the model that they were cut from. seconds: for the runs of all models.
    """
    return [_by_kernel(runs, kernels) for runs in profiled(paths, feeds, options, seconds=seconds)]


def _by_kernel(runs: Runs, kernels: Kernels) -> KernelTimes:
    times = dict[str, float]()
    for name in runs.nodes:
        kernel = kernels.find(name)
        if kernel is not None:
            times[kernel.name] = times.get(kernel.name, 0.0) + runs.quiet(name)
    return KernelTimes(runs.whole, times, tuple(runs.nodes), runs.provider)
