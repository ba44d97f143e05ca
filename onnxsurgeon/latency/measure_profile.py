"""Measures a profile: runs the model at random widths, and looks at the time of each kernel."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from onnxsurgeon.arrays import FloatArray, IntArray, Mask
from onnxsurgeon.dependency.interface import positions, taken
from onnxsurgeon.dependency.labels import Labels, label
from onnxsurgeon.dependency.spaces import spaces
from onnxsurgeon.edit.apply import cut
from onnxsurgeon.files import drafts
from onnxsurgeon.latency.bench import conditions_of, inputs_for, profiled
from onnxsurgeon.latency.kernels import KINDS, Kernel, Kernels
from onnxsurgeon.latency.options import ProfileOptions
from onnxsurgeon.latency.profile import BLOCKS, Profile, fitted
from onnxsurgeon.model.model import Source, as_model
from onnxsurgeon.model.write import write
from onnxsurgeon.options.record import takes

LEAST = 0.2  # the least share of a width
TRIED = 2  # sets of widths by which it is seen whether multiples of a block run in the kernels of the whole model


@takes(ProfileOptions)
def profile(model: Source, options: ProfileOptions) -> Profile:
    """How the latency of `model` follows the widths of its layers, here and now.

    Raises ModelError if the model can't run, UsageError if `device` is cuda and CUDA is not available.
    """
    model = as_model(model)
    labels = label(model.ir, shapes=options.shapes)
    return profile_of(labels, options)


def profile_of(labels: Labels, options: ProfileOptions) -> Profile:
    """The profile of a labelled model."""
    with _Samples(labels, options) as runs:
        whole = runs.add(1, everything=True)
        alike = {block: all(runs.add(block).kernels >= whole.kernels for _ in range(TRIED)) for block in BLOCKS}
        block = next((block for block in BLOCKS if all(alike[b] for b in BLOCKS if b >= block)), 1)
        for _ in range(options.widths):
            runs.add(block)
        return runs.fitted(block)


@dataclass(frozen=True)
class _Sample:
    """A measured run: which neurons stayed, the seconds of each kernel, and of all."""

    keep: Mask
    times: dict[str, float]
    total: float

    @property
    def kernels(self) -> set[str]:
        return set(self.times)


class _Samples:
    """Measured runs of a model at random widths. The first is that of the whole model."""

    def __init__(self, labels: Labels, options: ProfileOptions) -> None:
        self.labels, self.options = labels, options
        self.built = spaces(labels, np.zeros(labels.relations.count))
        self.feed = inputs_for(labels, options)
        self.rng = np.random.default_rng(options.seed)
        self.runs: list[_Sample] = []
        self.number = 1 + TRIED * len(BLOCKS) + options.widths
        self.provider = ""

    def __enter__(self) -> _Samples:
        self.folder = drafts()
        return self

    def __exit__(self, *_: object) -> None:
        self.folder.cleanup()

    def add(self, block: int, *, everything: bool = False) -> _Sample:
        """Measures the model at random multiples of `block`, or whole."""
        self.options.announce("profile", f"{len(self.runs) + 1} of {self.number} sets of widths")
        root = self.labels.classes.root
        most = np.diff(self.built.starts)
        counts = most if everything else _counts(most, self.rng, block)
        keep = self.built.keep(counts, root)
        path = Path(self.folder.name) / "model.onnx"
        write(cut(self.labels, keep), path, overwrite=True)
        seconds = self.options.time_limit / self.number
        feed = taken(self.feed, positions(self.labels, keep))
        nodes, total, self.provider = profiled(path, feed, self.options, seconds=seconds)
        self.runs.append(_Sample(keep, {node.name: node.seconds for node in nodes}, total))
        return self.runs[-1]

    def fitted(self, block: int) -> Profile:
        """The profile that fits the runs with the kernels of the whole model."""
        alike = [run for run in self.runs if run.kernels >= self.runs[0].kernels] if block > 1 else self.runs
        found = Kernels(self.labels)
        shared = [name for name in alike[0].times if all(name in run.times for run in alike)]
        known = {name: kernel for name in shared if (kernel := found.find(name))}
        times = np.array([[run.times[name] for name in known] for run in alike]).reshape(len(alike), len(known))
        sizes = {b: _sizes([run.keep for run in alike], known.values(), b) for b in BLOCKS if b >= block}
        totals = np.array([run.total for run in alike])
        return fitted(list(known), sizes, times, totals, conditions_of(self.provider, self.feed, self.options))


def _counts(most: IntArray, rng: np.random.Generator, step: int) -> IntArray:
    """Random counts of each space, multiples of `step` where it has that many, shape (spaces,)."""
    wanted = np.round(rng.uniform(LEAST, 1.0, len(most)) * most / step) * step
    return np.clip(wanted, np.minimum(step, most), most).astype(np.int64)


def _sizes(keeps: list[Mask], kernels: Iterable[Kernel], block: int) -> FloatArray:
    """The sizes of each kernel in each run, shape (runs, kernels, kinds)."""
    found = [[kernel.sizes(keep, block) for kernel in kernels] for keep in keeps]
    return np.array(found, np.float64).reshape(len(keeps), -1, len(KINDS))
