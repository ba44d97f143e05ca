"""What is in a labelled model, what of it can be cut, and why the rest can't."""

from __future__ import annotations

import fnmatch
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from math import prod
from pathlib import Path

import numpy as np
import onnx_ir as ir

from onnxsurgeon.errors import UsageError
from onnxsurgeon.graph import Labels, Weight, label
from onnxsurgeon.load import EXTERNAL, read
from onnxsurgeon.neurons import CARRIED, LAYOUT, POSITIONS, WORKED, Axes, Free, Reason
from onnxsurgeon.rewrites.packed import MOST
from onnxsurgeon.signature import Shape
from onnxsurgeon.solver import least
from onnxsurgeon.spaces import Spaces, spaces
from onnxsurgeon.vertices import constant


@dataclass(eq=False)
class Model:
    """A model that was read from `path`."""

    path: Path
    graph: ir.Model

    @property
    def bytes(self) -> int:
        """Size on disk, external data included."""
        return sum(file.stat().st_size for file in (self.path, *self.data))

    @property
    def data(self) -> tuple[Path, ...]:
        """The files beside it that hold weights."""
        return tuple(self.path.parent / name for name in self.graph.graph.meta.get(EXTERNAL, ()))


def load(path: str | os.PathLike[str]) -> Model:
    """The model at `path`; its weights stay in the file. Raises UsageError or ModelError where it can't be read."""
    return Model(Path(path), read(path))


@dataclass(frozen=True)
class Measure:
    """params: elements of weights. macs: per sample. size: bytes on disk. vertices: nodes."""

    params: int
    macs: float
    size: int
    vertices: int

    def of(self, metric: str) -> float:
        return float(getattr(self, metric))


def measure(model: Model, built: Spaces) -> Measure:
    """`model` before anything is cut."""
    full = np.array([s[-1] for s in built.problem.sizes], np.int64)
    macs = next(c for c in built.problem.costs if c.name == "macs").evaluate(built.problem.lengths(full))
    return Measure(count_params(model.graph), macs, model.bytes, count_vertices(model.graph))


def count_params(model: ir.Model) -> int:
    """Elements of the distinct weights of a model."""
    return sum(prod(w.shape) for w in _constants(model) if w.counts)


def count_vertices(model: ir.Model) -> int:
    """Nodes of a model, those of subgraphs included."""
    return sum(1 for _ in model.graph.all_nodes())


def weight_bytes(model: ir.Model) -> int:
    """Bytes of the distinct constants of a model."""
    return sum(w.tensor.nbytes for w in _constants(model))


def _constants(model: ir.Model) -> list[Weight]:
    values = {v: None for node in model.graph.all_nodes() for v in node.inputs if v is not None}
    found = [(value, constant(value)) for value in values]
    return [Weight(value, tensor, (), ()) for value, tensor in found if tensor is not None]


@dataclass(frozen=True)
class Frozen:
    """params that no selection can drop, and why: the operator and the words; `reason.vertex` is the first such vertex.

    table: they are indexed by positions alone, not by neurons.
    """

    reason: Reason | None
    params: int
    weights: int
    table: bool = False


def frozen(labels: Labels) -> list[Frozen]:
    """Parameters that no selection can drop, by operator and words, most first."""
    found: dict[tuple[str, str, bool], Frozen] = {}
    for weight in labels.weights():
        held = _held(labels, weight) if weight.counts else 0
        if held:
            reason, table = cause(labels, weight), is_table(labels, weight)
            key = ("", "", table) if reason is None else (reason.operator, reason.text, table)
            row = found.get(key, Frozen(reason, 0, 0, table))
            found[key] = replace(row, params=row.params + held, weights=row.weights + 1)
    return sorted(found.values(), key=lambda row: -row.params)


def is_table(labels: Labels, weight: Weight) -> bool:
    """Whether a weight runs along positions (of a picture, a sentence, heads that stay) and no axis of neurons.

    Where it is multiplied out it must be known of an axis; an operator that only moves its elements works along nothing
    else.
    """
    reasons = [labels.classes.cause(axis) for axis in weight.axes if axis is not None]
    if not all(axis is None or labels.classes.frozen[axis].all() for axis in weight.axes):
        return False
    texts = {reason.text for reason in reasons if reason is not None}
    operators = [labels.operator(node) for node, _ in weight.uses]
    moved = bool(operators) and all(o is not None and o.silence == "none" and o.macs is None for o in operators)
    return (POSITIONS in texts or (moved and WORKED in texts)) and texts <= {POSITIONS, CARRIED, LAYOUT, WORKED}


def _held(labels: Labels, weight: Weight) -> int:
    parts = [1.0 if a is None else float(labels.classes.frozen[a].mean()) for a in weight.axes]
    return round(prod(weight.shape) * prod(parts))


def cause(labels: Labels, weight: Weight) -> Reason | None:
    """Why a weight is frozen along an axis; that an operator works along one (a kernel's) explains the least."""
    found = [c for c in map(labels.classes.cause, weight.axes) if c is not None]
    return min(found, key=lambda reason: reason.text in (LAYOUT, WORKED), default=None)


def why(labels: Labels, weight: Weight) -> str:
    """In words, why a weight is frozen along an axis; empty where it isn't."""
    reason = cause(labels, weight)
    if reason is not None:
        return f"{reason.text} ({reason.operator} {reason.vertex})"
    if not any(n > 1 for n in weight.shape):
        return "a scalar"
    return "" if any(axis is not None for axis in weight.axes) else "no rule reads it"


def is_whole(labels: Labels) -> bool:
    """Whether nothing can be cut, whatever is asked for."""
    built = spaces(labels, np.zeros(labels.relations.count))
    return bool(built.keep(least(built.problem), labels.classes.root).all())


def matching(labels: Labels, patterns: Sequence[str], option: str) -> list[ir.Node]:
    """Vertices whose names match `patterns`, exactly or as globs. Raises UsageError where one of these matches none."""
    names = {node: call.name for node, call in labels.calls.items()}
    found: list[ir.Node] = []
    for pattern in patterns:
        exact = {pattern, *(f"{pattern}.{part}" for part in range(MOST))}  # a vertex that a rewrite took apart
        hits = [n for n, name in names.items() if name in exact or fnmatch.fnmatchcase(name, pattern)]
        if not hits:
            near = get_close_matches(pattern, names.values(), n=3)
            raise UsageError(
                f"{option} {pattern!r} matches no vertex",
                why=f"nearest names: {', '.join(near)}" if near else f"{len(names)} vertices, none like it",
                fix="see the names with onnxsurgeon inspect -v",
            )
        found += hits
    return found


@dataclass(frozen=True)
class Width:
    """One axis of a tensor.

    size: None where it is dynamic. units: what its neurons form; 0 where it carries none (batch, space, size 1).
    free: neurons that may be cut. reason: why the others may not.
    """

    size: int | None
    units: int
    free: int
    reason: Reason | None


@dataclass(frozen=True)
class Axed:
    """A tensor and its axes."""

    name: str
    widths: tuple[Width, ...]

    @property
    def shape(self) -> tuple[int | None, ...]:
        return tuple(width.size for width in self.widths)


@dataclass(frozen=True)
class Vertex:
    """A vertex with its outputs and the weights that it reads. known: whether there is a rule for its operator."""

    name: str
    operator: str
    known: bool
    outputs: tuple[Axed, ...]
    weights: tuple[Axed, ...]


@dataclass(frozen=True)
class Matrix:
    """A weight as its first user sees it. params: elements; held: those that no selection can drop."""

    tensor: Axed
    vertex: str
    operator: str
    params: int
    held: int


@dataclass(frozen=True)
class Inspection:
    """What `inspect` finds. most: by metric, the largest share that a selection can take away."""

    model: Model
    labels: Labels
    whole: Measure
    frozen: tuple[Frozen, ...]
    spaces: int
    units: int
    most: Mapping[str, float]

    @property
    def operators(self) -> dict[str, int]:
        """How often each operator occurs, the most frequent first."""
        return dict(Counter(node.op_type for node in self.model.graph.graph.all_nodes()).most_common())

    def weights(self) -> list[Matrix]:
        """Every weight, the largest first."""
        rows = []
        for weight in self.labels.weights():
            if weight.counts:
                call = self.labels.calls.get(weight.uses[0][0]) if weight.uses else None
                tensor = _axed(self.labels, weight.value.name or "", weight.shape, (), weight.axes)
                vertex, operator = (call.name, call.operator) if call else ("", "")
                rows.append(Matrix(tensor, vertex, operator, prod(weight.shape), _held(self.labels, weight)))
        return sorted(rows, key=lambda row: -row.params)

    def vertices(self, patterns: Sequence[str] = ("*",)) -> list[Vertex]:
        """The vertices that match `patterns`, in the graph's order. Raises UsageError where a pattern matches none."""
        if not self.labels.calls:
            return []
        chosen = set(matching(self.labels, patterns, "--why"))
        by_vertex: dict[ir.Node, list[Axed]] = {}
        for weight in self.labels.weights():
            for node, _ in weight.uses:
                if node in chosen and weight.counts:
                    tensor = _axed(self.labels, weight.value.name or "", weight.shape, (), weight.axes)
                    by_vertex.setdefault(node, []).append(tensor)
        return [self._vertex(node, by_vertex.get(node, [])) for node in self.labels.calls if node in chosen]

    def _vertex(self, node: ir.Node, weights: Sequence[Axed]) -> Vertex:
        call, known = self.labels.calls[node], self.labels.operator(node) is not None
        outputs = [
            _axed(self.labels, tensor.name, tensor.shape, tensor.dynamic, axes)
            for tensor, axes in zip(call.outputs, call.results, strict=False)
            if tensor.shape is not None and axes is not None
        ]
        return Vertex(call.name, call.operator, known, tuple(outputs), tuple(weights))


def _axed(labels: Labels, name: str, shape: Shape, dynamic: Sequence[bool], axes: Axes) -> Axed:
    classes, widths = labels.classes, []
    for index, (size, axis) in enumerate(zip(shape, axes, strict=True)):
        known = None if index < len(dynamic) and dynamic[index] else size
        if axis is None:
            widths.append(Width(known, 0, 0, None))
        else:
            units, free = len(np.unique(classes.root[axis])), int((~classes.frozen[axis]).sum())
            widths.append(Width(known, units, free, classes.cause(axis)))
    return Axed(name, tuple(widths))


def inspect(model: Model, *, free: Free = "auto", input_shape: Mapping[str, Shape] | None = None) -> Inspection:
    """What is in `model`, what can be cut and what can't. free, input_shape: as in `prune`."""
    labels = label(model.graph, free=free, shapes=input_shape)
    built = spaces(labels, np.zeros(labels.relations.count), overhead=model.bytes - weight_bytes(model.graph))
    whole = measure(model, built)
    lengths = built.problem.lengths(least(built.problem))
    left = {cost.name: cost.evaluate(lengths) for cost in built.problem.costs}
    most = {name: max(0.0, 1 - value / whole.of(name)) if whole.of(name) else 0.0 for name, value in left.items()}
    return Inspection(model, labels, whole, tuple(frozen(labels)), len(built.problem.sizes), len(built.roots), most)
