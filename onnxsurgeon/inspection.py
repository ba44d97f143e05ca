"""What is in a labelled model, what of it can be cut, and why the rest can't."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import Shape
from onnxsurgeon.dependency.frozen import Frozen, frozen, frozen_params
from onnxsurgeon.dependency.labels import Labels, label
from onnxsurgeon.dependency.measure import Measure, measure, overhead
from onnxsurgeon.dependency.names import matching
from onnxsurgeon.dependency.spaces import spaces
from onnxsurgeon.model.model import Model, Source, as_model
from onnxsurgeon.neurons.relations import Axes, Reason
from onnxsurgeon.notebook import Shown
from onnxsurgeon.options.record import takes
from onnxsurgeon.options.shared import InspectOptions
from onnxsurgeon.solver.solve import least
from onnxsurgeon.units import count


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
class InspectedNode:
    """A node with its outputs and the weights that it reads. known: whether there is a rule for its operator."""

    name: str
    operator: str
    known: bool
    outputs: tuple[Axed, ...]
    weights: tuple[Axed, ...]


@dataclass(frozen=True)
class Matrix:
    """A weight as its first user sees it. params: elements; held: those that no selection can drop."""

    tensor: Axed
    node: str
    operator: str
    params: int
    held: int


@dataclass(frozen=True, repr=False)
class Inspection(Shown):
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
        return dict(Counter(node.op_type for node in self.model.ir.graph.all_nodes()).most_common())

    def line(self) -> str:
        size, most = f"{count(self.whole.params)} params, {count(self.whole.macs)} MACs", self.most.get("params", 0.0)
        return f"{self.model.path}: {size}, {self.spaces} spaces; at most {most:.0%} of the params can go"

    def table(self) -> Iterator[Sequence[object]]:
        yield "weight", "node", "operator", "shape", "params", "frozen"
        yield from ((w.tensor.name, w.node, w.operator, w.tensor.shape, w.params, w.held) for w in self.weights())

    def weights(self) -> list[Matrix]:
        """Every weight, the largest first."""
        rows = []
        for weight in self.labels.weights():
            if weight.counts:
                call = self.labels.calls.get(weight.uses[0][0]) if weight.uses else None
                tensor = _axed(self.labels, weight.value.name or "", weight.shape, (), weight.axes)
                node, operator = (call.name, call.operator) if call else ("", "")
                rows.append(Matrix(tensor, node, operator, prod(weight.shape), frozen_params(self.labels, weight)))
        return sorted(rows, key=lambda row: -row.params)

    def nodes(self, patterns: str | Sequence[str] = "*") -> list[InspectedNode]:
        """The nodes whose names match one of `patterns` (globs), in the graph's order.

        Raises UsageError if a pattern matches none.
        """
        patterns = [patterns] if isinstance(patterns, str) else patterns
        if not self.labels.calls:
            return []
        chosen = set(matching(self.labels, patterns, "--why"))
        by_node: dict[ir.Node, list[Axed]] = {}
        for weight in self.labels.weights():
            for node, _ in weight.uses:
                if node in chosen and weight.counts:
                    tensor = _axed(self.labels, weight.value.name or "", weight.shape, (), weight.axes)
                    by_node.setdefault(node, []).append(tensor)
        return [self._node(node, by_node.get(node, [])) for node in self.labels.calls if node in chosen]

    def _node(self, node: ir.Node, weights: Sequence[Axed]) -> InspectedNode:
        call, known = self.labels.calls[node], self.labels.operator(node) is not None
        outputs = [
            _axed(self.labels, tensor.name, tensor.shape, tensor.dynamic, axes)
            for tensor, axes in zip(call.outputs, call.results, strict=False)
            if tensor.shape is not None and axes is not None
        ]
        return InspectedNode(call.name, call.operator, known, tuple(outputs), tuple(weights))


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


@takes(InspectOptions)
def inspect(model: Source, options: InspectOptions) -> Inspection:
    """What is in `model`: params, MACs per sample, bytes, spaces, and what is frozen with the reasons.

    Raises UsageError for a wrong word or shape, ModelError if the model can't be read.
    """
    model = as_model(model)
    labels = label(model.ir, attention=options.attention, shapes=options.shapes, carried=options.carried)
    built = spaces(labels, np.zeros(labels.relations.count), overhead=overhead(model))
    whole = measure(model, built)
    lengths = built.problem.lengths(least(built.problem))
    left = built.problem.evaluate(lengths)
    most = {name: max(0.0, 1 - value / whole.of(name)) if whole.of(name) else 0.0 for name, value in left.items()}
    return Inspection(model, labels, whole, tuple(frozen(labels)), len(built.problem.sizes), len(built.roots), most)
