"""What a pruning takes from calibration data: the worth of units, and the fit of what is left."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import FloatArray, Mask
from onnxsurgeon.calibration.linear_layers import Consumer, consumers
from onnxsurgeon.calibration.statistics import Moments, Statistics, fingerprint, load_statistics, moments
from onnxsurgeon.compensation.distillation import distill
from onnxsurgeon.compensation.layerwise import COMPENSATIONS, Change, Compensation, Targets, from_moments, sequential
from onnxsurgeon.compensation.rotation import components, rotate, streams
from onnxsurgeon.data import Samples, inputs_of, mirrored
from onnxsurgeon.dependency.labels import Labels
from onnxsurgeon.dependency.spaces import Judge, Spaces, spaces
from onnxsurgeon.errors import UsageError
from onnxsurgeon.importance.from_activations import OBSERVED, expected, observed
from onnxsurgeon.importance.from_weights import scores
from onnxsurgeon.importance.optimal_brain_surgeon import Reconstruction
from onnxsurgeon.importance.output_error import Loss, measuring
from onnxsurgeon.model.editor import copied
from onnxsurgeon.model.model import Model
from onnxsurgeon.ops.nodes import constant

if TYPE_CHECKING:
    from onnxsurgeon.runtime.session import Device

TABLES = ("reconstruction", "output-error")  # importances that are a table for each space
OF_DATA = (*OBSERVED, *TABLES)
DEFAULT, WITHOUT_DATA = "output-error", "l2-norm"
BY_SAMPLES = ("sequential", "joint")  # compensations that run samples through the cut model
MEMORY = 2e9
SPELLING = 256  # bytes of the names and the node that a new bias may need


@dataclass(frozen=True)
class CalibrationRequest:
    """What is to be done with data, and how. stats: a file to read statistics from, or to write them to.

    memory: bytes that statistics and activations may take, about. mirror: data are images, and mirror images of them
    are samples, too. rotate: linear streams are turned into components before anything is cut; None for what the
    statistics are of, or else where samples run through the cut model.
    """

    importance: str
    compensate: Compensation
    data: Samples | None = None
    stats: Path | None = None
    memory: float = MEMORY
    device: Device = "auto"
    seed: int = 0
    mirror: bool = False
    rotate: bool | None = None

    @property
    def needs_moments(self) -> bool:
        return self.importance in OF_DATA or (self.data is not None and self.compensate in ("bias", "linear"))


def request(
    importance: str | None, compensate: str | None, data: Samples | None, stats: str | os.PathLike[str] | None,
    memory: float, device: Device, seed: int, *, mirror: bool = False, rotate: bool | None = None,
) -> CalibrationRequest:  # fmt: skip
    """Defaults filled in; raises UsageError for what does not go together."""
    known = data is not None or (stats is not None and Path(stats).exists())
    importance = importance or (DEFAULT if data is not None else WITHOUT_DATA)
    compensate = compensate or ("sequential" if data is not None else "none")
    if compensate not in COMPENSATIONS:
        raise UsageError(
            f"unknown compensation {compensate!r}", why=f"known: {', '.join(COMPENSATIONS)}", fix="choose one of these"
        )
    for word, needs in (
        (f"--importance {importance}", importance in OF_DATA),
        ("--compensate linear", compensate == "linear"),
    ):
        if needs and not known:
            raise UsageError(f"{word} needs samples", why="there is no data", fix="give some with --data")
    for word, needs in (
        (f"--compensate {compensate}", compensate in BY_SAMPLES),
        ("--importance output-error", importance == "output-error"),
    ):  # fmt: skip
        if needs and data is None:
            raise UsageError(f"{word} needs samples", why="there is no data", fix="give some with --data")
    if memory < 2**20:
        raise UsageError(f"--memory {memory:.0f} is too little", why="it is in bytes", fix="write it like 2GB")
    for word, lacks in (("--mirror", mirror and data is None), ("--rotate", rotate and not known)):
        if lacks:
            raise UsageError(f"{word} needs samples", why="there is no data", fix="give some with --data")
    path = None if stats is None else Path(stats)
    return CalibrationRequest(importance, compensate, data, path, memory, device, seed, mirror, rotate)  # type: ignore[arg-type]


class Calibration:
    """A request and a labelled model, with what is known of its layers so far.

    labels: of the model, or of the rotated model. relabel: labels a rotated model.
    """

    def __init__(
        self, request: CalibrationRequest, model: Model, labels: Labels, relabel: Callable[[ir.Model], Labels],
        report: Callable[[str, str], None],
    ) -> None:  # fmt: skip
        self.request, self.labels, self.report = request, labels, report
        self.statistics = Statistics(fingerprint([model.path, *model.data]) if request.stats else "")
        if request.stats is not None and request.stats.exists():
            self.statistics = load_statistics(request.stats, self.statistics.fingerprint)
        self.samples = request.data
        if request.mirror and request.data is not None:
            self.samples = mirrored(request.data, inputs_of(model.ir))
        self._turn(relabel)
        self.found: list[Consumer] = consumers(self.labels)
        missing = [c for c in self.found if c.key not in self.statistics.moments]
        if request.needs_moments and missing and self.samples is not None:
            report("calibrate", f"{len(self.samples)} samples")
            watching = self.targets if request.compensate in BY_SAMPLES else None
            self.statistics.moments |= self._moments(missing, watching)

    def _moments(self, of: Sequence[Consumer], watching: Targets | None = None) -> Mapping[str, Moments]:
        r = self.request
        assert self.samples is not None  # see `request`
        return moments(
            self.labels, of, self.samples, memory=r.memory, device=r.device, seed=r.seed, observer=watching
        )  # fmt: skip

    def _turn(self, relabel: Callable[[ir.Model], Labels]) -> None:
        """Turns the streams, if that is wanted; raises UsageError where the statistics are of others."""
        request, known = self.request, self.statistics
        wanted = request.rotate
        if wanted is None:
            wanted = bool(known.rotations) if known.moments else request.compensate in BY_SAMPLES
        found = streams(self.labels) if wanted else []
        if known.moments and known.rotations.keys() != {stream.key for stream in found}:
            raise UsageError(
                f"--stats {request.stats} is of this model turned otherwise",
                why=f"{len(known.rotations)} of its streams were rotated, {len(found)} are to be",
                fix="name another file, or leave --rotate as it was",
            )
        if found and not known.rotations:
            self.report("rotate", f"{len(found)} linear streams")
            seen = self._moments([stream.linear[node] for stream in found for node in stream.readers])
            known.rotations = {stream.key: components(self.labels, stream, seen) for stream in found}
        if found:
            self.labels = relabel(rotate(self.labels, known.rotations, found))

    @cached_property
    def targets(self) -> Targets:
        """What layers are to reproduce."""
        r = self.request
        assert self.samples is not None  # see `request`
        return Targets(self.labels, self.samples, memory=r.memory, device=r.device, seed=r.seed)

    @cached_property
    def _loss(self) -> Loss:
        r = self.request
        assert r.data is not None  # see `request`
        return Loss(self.labels, r.data, memory=r.memory, device=r.device, seed=r.seed)

    def _lost(self, keep: Mask) -> float:
        """What the outputs lose when only some neurons stay, measured."""
        self.report("weigh", f"{self.request.importance}: {np.count_nonzero(~keep):,} neurons less")
        return self._loss(keep)

    def weigh(self) -> tuple[FloatArray, Judge | None]:
        """Importance of every neuron, shape (neurons,); and what brings the tables of spaces, where that is not all."""
        importance, known = self.request.importance, self.statistics.moments
        if importance in OBSERVED:
            return observed(self.labels, self.found, known, importance), None
        if importance not in TABLES:
            return scores(self.labels, importance, seed=self.request.seed), None
        worth = scores(self.labels, WITHOUT_DATA)
        judge: Judge = Reconstruction(self.labels, self.found, known, worth)
        if importance == "output-error":
            judge = measuring(self.labels, judge, self.statistics, self._lost)
        return worth, judge

    def spaces(self, *, round_to: int, min_keep: float, pinned: Mask | None, overhead: float) -> Spaces:
        """The selection problem; see `spaces`. Statistics are saved, if there is a file for them."""
        values, judge = self.weigh()
        built = spaces(
            self.labels, values, round_to=round_to, min_keep=min_keep, pinned=pinned, overhead=overhead, judge=judge
        )
        if self.request.stats is not None and self.statistics.moments:
            self.statistics.save(self.request.stats)
        return built

    @property
    def reserve(self) -> tuple[int, int]:
        """Parameters and bytes that compensation may add, at most: biases where there were none."""
        if self.request.compensate == "none":
            return 0, 0
        extra = sum(c.outputs.size for c in self.found if not self._has_bias(c))
        return extra, 4 * extra + SPELLING * len(self.found)

    def _has_bias(self, consumer: Consumer) -> bool:
        index, inputs = consumer.linear.bias, consumer.node.inputs
        return index is not None and index < len(inputs) and constant(inputs[index]) is not None

    def compensated(self, graph: ir.Model, keep: Mask) -> tuple[ir.Model, tuple[Change, ...]]:
        """`graph`, which `keep` was cut out of, fitted anew; and what that changed."""
        how = self.request.compensate
        if how == "none" or keep.all():
            return graph, ()
        graph = copied(graph)
        if how in BY_SAMPLES:

            def told(name: str) -> None:
                self.report("compensate", name)

            if how == "joint":
                return graph, tuple(distill(self.targets, keep, graph, seed=self.request.seed, progress=told))
            return graph, tuple(sequential(self.targets, keep, graph, progress=told))
        known = self.statistics.moments or expected(self.labels, self.found)
        return graph, tuple(from_moments(self.labels, keep, graph, known, biases_only=how == "bias"))
