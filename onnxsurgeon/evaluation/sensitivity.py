"""The sensitivity of a model to single layers: output error against width, for each layer."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import Arrays, IntArray
from onnxsurgeon.data import Batch, Data
from onnxsurgeon.dependency.interface import positions, taken
from onnxsurgeon.dependency.labels import Labels, label
from onnxsurgeon.dependency.names import matching
from onnxsurgeon.dependency.spaces import Spaces, spaces
from onnxsurgeon.edit.apply import cut
from onnxsurgeon.errors import InfeasibleError, ModelError
from onnxsurgeon.evaluation.options import SensitivityOptions
from onnxsurgeon.files import drafts
from onnxsurgeon.importance.from_weights import scores
from onnxsurgeon.model.model import Source, as_model, on_disk
from onnxsurgeon.model.write import write
from onnxsurgeon.notebook import Shown
from onnxsurgeon.options.record import takes
from onnxsurgeon.options.shared import Device
from onnxsurgeon.runtime.carried_states import opened_with_states
from onnxsurgeon.runtime.session import Session


@dataclass(frozen=True)
class Point:
    """A measured width. share: the requested share of the width. units: the remaining units. error: the norm of an
    output's change relative to the output's norm; the largest over all outputs."""

    share: float
    units: int
    error: float


@dataclass(frozen=True)
class LayerSensitivity:
    """A space of neurons: the `nodes` whose outputs carry them, in graph order, and the measured widths."""

    nodes: tuple[str, ...]
    operator: str  # of the first one
    units: int
    points: tuple[Point, ...]


@dataclass(frozen=True, repr=False)
class Sensitivity(Shown):
    """The result of `sensitivity`. provider: the execution provider that ran the models."""

    layers: tuple[LayerSensitivity, ...]
    shares: tuple[float, ...]
    samples: int
    provider: str

    def line(self) -> str:
        return f"of {len(self.layers)} layers on {self.samples} samples"

    def table(self) -> Iterator[Sequence[object]]:
        yield "nodes", "operator", "channels", *(f"error at {share:.0%}" for share in self.shares)
        for layer in self.layers:
            errors = {point.share: f"{point.error:.3g}" for point in layer.points}
            yield ", ".join(layer.nodes), layer.operator, layer.units, *(errors.get(share, "") for share in self.shares)


@takes(SensitivityOptions)
def sensitivity(model: Source, data: Data | str | os.PathLike[str], options: SensitivityOptions) -> Sensitivity:
    """Every space of neurons, cut alone to `shares` of its units, those of least importance first.

    data: kept in memory together with the model's outputs; a few samples are enough. Raises InfeasibleError if nothing
    can be cut.
    """
    model = as_model(model)
    data = opened_with_states(data, model, options, options.device)
    labels = label(model.ir, attention=options.attention, shapes=options.shapes, carried=options.carried)
    built = spaces(labels, scores(labels, options.importance, seed=options.seed))
    full = np.array([sizes[-1] for sizes in built.problem.sizes], np.int64)
    found = {s: nodes for s, nodes in _layers(labels, built, options.only).items() if full[s] > 1}
    if not found:
        raise InfeasibleError(
            "no layer can be cut", why=f"`only` {', '.join(options.only)}: their outputs are frozen",
            fix="see what is free, and why the rest isn't, with onnxsurgeon inspect --why",
        )  # fmt: skip
    probe = _Probe(labels, built, list(data.batches()), options.device)
    with on_disk(model) as path:
        probe.begin(path)
    tried = [(s, share, n) for s in found for share, n in _widths(options.shares, int(full[s]))]
    errors: dict[int, list[Point]] = {s: [] for s in found}
    for step, (s, share, n) in enumerate(tried):
        if options.progress is not None:
            options.progress(step, len(tried), labels.calls[found[s][0]].name)
        counts = full.copy()
        counts[s] = n
        errors[s].append(Point(share, n, probe.error(counts)))
    rows = [
        LayerSensitivity(
            tuple(labels.calls[node].name for node in nodes), nodes[0].op_type, int(full[s]), tuple(errors[s])
        )
        for s, nodes in found.items()
    ]
    return Sensitivity(tuple(rows), tuple(options.shares), len(data), probe.provider)


def _widths(shares: Sequence[float], full: int) -> list[tuple[float, int]]:
    """(share, units) of each distinct width, widest first."""
    found = {max(1, round(share * full)): share for share in sorted(shares)}
    return sorted(((share, n) for n, share in found.items() if n < full), reverse=True)


def _layers(labels: Labels, built: Spaces, patterns: Sequence[str]) -> dict[int, list[ir.Node]]:
    """Spaces in graph order, each with the nodes that compute its neurons from weights."""
    space_of = np.full(labels.relations.count, -1)
    space_of[built.roots] = np.repeat(np.arange(len(built.starts) - 1), np.diff(built.starts))
    chosen = set(matching(labels, patterns, "`only`"))
    found: dict[int, list[ir.Node]] = {}
    wanted: set[int] = set()
    for node, call in labels.calls.items():
        axes = [axis for result in call.results for axis in result or () if axis is not None]
        here = {int(s) for axis in axes for s in np.unique(space_of[labels.classes.root[axis]]) if s >= 0}
        wanted |= here if node in chosen else set()
        operator = labels.operator(node)
        for s in here:
            if s not in found or (operator is not None and operator.macs is not None):
                found.setdefault(s, []).append(node)
    return {s: nodes for s, nodes in found.items() if s in wanted}


@dataclass
class _Probe:
    """Runs the model with fewer neurons and compares its outputs with those of the original."""

    labels: Labels
    built: Spaces
    batches: list[Batch]
    device: Device
    provider: str = ""
    whole: tuple[Arrays, ...] = ()

    def begin(self, path: Path) -> None:
        session = Session(path, self.device)
        self.provider = session.provider
        self.whole = tuple(self._outputs(session, batch) for batch in self.batches)
        if not any(self.whole):
            raise ModelError("no output of the model is a tensor of numbers", fix="export it without zipmap")

    def error(self, counts: IntArray) -> float:
        keep = self.built.keep(counts, self.labels.classes.root)
        places = positions(self.labels, keep)
        with drafts() as folder:
            path = Path(folder) / "model.onnx"
            write(cut(self.labels, keep), path)
            session = Session(path, self.device)
            short = [replace(batch, feed=taken(batch.feed, places)) for batch in self.batches]
            whole = [taken(arrays, places) for arrays in self.whole]
            return _error(whole, [self._outputs(session, batch) for batch in short])

    def _outputs(self, session: Session, batch: Batch) -> Arrays:
        found = session.run(batch.feed)
        numbers = {n: a for n, a in found.items() if getattr(a, "dtype", np.dtype(object)).kind in "fiub"}
        return {n: a[: batch.count] if a.shape[:1] == (batch.size,) else a for n, a in numbers.items()}


def _error(whole: Sequence[Arrays], narrow: Sequence[Arrays]) -> float:
    """The largest relative error of an output over all batches; infinite if its shape differs or it has no numbers."""
    gaps: dict[str, float] = {}
    norms: dict[str, float] = {}
    for before, after in zip(whole, narrow, strict=True):
        for name, array in before.items():
            if array.shape != after[name].shape:
                return inf
            a, b = array.astype(np.float64), after[name].astype(np.float64)
            with np.errstate(invalid="ignore"):  # where both are infinite
                gap = np.where(np.isfinite(a), a - b, 0.0)
            gaps[name] = gaps.get(name, 0.0) + float(np.square(gap).sum())
            norms[name] = norms.get(name, 0.0) + float(np.square(a[np.isfinite(a)]).sum())
    errors = [0.0 if gap == 0 else (gap / norms[n]) ** 0.5 if norms[n] else inf for n, gap in gaps.items()]
    return max(inf if np.isnan(error) else error for error in errors)
