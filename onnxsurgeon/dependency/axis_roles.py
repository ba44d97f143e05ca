"""What a node does with the axes of its inputs, and which node uses a weight that is reshaped or scaled first."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import Ids, Shape
from onnxsurgeon.dependency.labels import Labels
from onnxsurgeon.neurons.relations import Axes, Relations, components
from onnxsurgeon.ops import Call
from onnxsurgeon.ops.nodes import constant
from onnxsurgeon.ops.registry import run_rule

Sums = Literal["no", "yes", "partly"]
End = tuple[ir.Node, int, int]  # a node, one of its inputs, an axis


@dataclass(frozen=True)
class LocalRoles:
    """What a node does with axes, by its own rule alone. Each axis is (input, axis).

    summed: axes that it sums over. bare: summed axes of activations that no weight shares. tied: groups of axes that
    carry the same neurons.
    """

    summed: frozenset[tuple[int, int]]
    bare: frozenset[tuple[int, int]]
    tied: tuple[tuple[tuple[int, int], ...], ...] = ()


@dataclass(frozen=True)
class Effect:
    """The node and input at which an axis of a weight takes effect: a reader of the weight or of a multiple of it.

    sums: whether the node sums over the axis; partly: only some readers do, or only after a nonlinear step.
    """

    node: ir.Node
    index: int
    sums: Sums


class Roles:
    """Axis roles of one labelled model."""

    def __init__(self, labels: Labels) -> None:
        self.labels = labels
        self._local: dict[ir.Node, LocalRoles] = {}
        self.computed = self._computed()

    def _computed(self) -> set[ir.Value]:
        """Values that are computed from weights and sizes only."""
        computed: set[ir.Value] = set()
        for node, call in self.labels.calls.items():
            given = list(zip(node.inputs, call.inputs, strict=True))
            fixed = [t is None or t.weight or t.value is not None or v in computed for v, t in given]
            if all(fixed) and any(t is not None and (t.weight or v in computed) for v, t in given):
                computed |= {v for v in node.outputs if not v.is_graph_output()}
        return computed

    def is_weight(self, node: ir.Node, index: int) -> bool:
        """Whether an input is a weight or computed from weights."""
        return constant(node.inputs[index]) is not None or node.inputs[index] in self.computed

    def local(self, node: ir.Node) -> LocalRoles:
        if node not in self._local:
            known = node in self.labels.calls  # all other nodes compute sizes
            empty = LocalRoles(frozenset(), frozenset())
            self._local[node] = local_roles(self.labels, node, self.computed) if known else empty
        return self._local[node]

    def effect(self, node: ir.Node, index: int, axis: int) -> Effect:
        """Where `axis` of the weight at input `index` takes effect."""
        ends = self._ends(node, index, axis)
        sums = {(i, a) in self.local(n).summed for n, i, a in ends}
        kind: Sums = "partly" if len(sums) > 1 else "yes" if sums.pop() else "no"
        if kind == "no" and any(self._sums_later(*end) for end in ends):
            kind = "partly"
        return Effect(*ends[0][:2], kind)

    def _ends(self, node: ir.Node, index: int, axis: int) -> list[End]:
        operator = self.labels.operator(node)
        joins = operator is not None and operator.moves == "joined"
        carried = joins or (index == 0 and self._is_proportional(node))
        further = self._output_axes(node, index, axis) if carried else []
        return [end for value, a in further for use in value.uses() for end in self._ends(use.node, use.idx, a)] or [
            (node, index, axis)
        ]

    def _output_axes(self, node: ir.Node, index: int, axis: int) -> list[tuple[ir.Value, int]]:
        """The axes of a node's outputs that carry the neurons on an axis of its input."""
        ids, root = (self.labels.known(node, index) or ())[axis], self.labels.classes.root
        if ids is None or node.outputs[0] not in self.computed:
            return []
        relations, given, results = _run_isolated(self.labels, node)
        flat = [(p.rows(i).ravel(), f) for p in relations.products for i, f in enumerate(p.factors)]
        ties = [(e.a, e.b) for e in relations.edges] + [(a, np.repeat(f, len(a) // len(f))) for a, f in flat]
        none = np.empty(0, np.int64)
        a, b = (np.concatenate([none, *(tie[side] for tie in ties)]) for side in (0, 1))
        component, own = components(relations.count, a, b), (given[index] or ())[axis]
        matches = []
        for value, axes in zip(node.outputs, results, strict=False):
            for k, (one, other) in enumerate(zip(axes or (), self.labels.axes.get(value) or (), strict=False)):
                if one is None or other is None or own is None:
                    continue
                if np.isin(component[own], component[one]).any() and np.isin(root[ids], root[other]).any():
                    matches.append((value, k))
        return matches

    def _sums_later(self, node: ir.Node, index: int, axis: int) -> bool:
        """Whether a later node sums over the same neurons of what this node computes from a weight."""
        if self._is_proportional(node):  # the input is a scale or a size
            return False
        ends = [(use.node, use.idx, a) for value, a in self._output_axes(node, index, axis) for use in value.uses()]
        return any((i, a) in self.local(n).summed or self._sums_later(n, i, a) for n, i, a in ends)

    def _is_proportional(self, node: ir.Node) -> bool:
        operator = self.labels.operator(node)
        return operator is not None and operator.proportional

    def zero_point(self, node: ir.Node, index: int) -> float | None:
        """The stored value of a weight that means zero; None if it differs between elements or readers."""
        operator = self.labels.operator(node)
        point = None if operator is None else operator.zero_points.get(index)
        if point is None and node.outputs[0] in self.computed and self._is_proportional(node):
            points = {self.zero_point(use.node, use.idx) for use in node.outputs[0].uses()}
            return points.pop() if len(points) == 1 else 0.0 if not points else None
        if point is None or point >= len(node.inputs) or node.inputs[point] is None:
            return 0.0
        tensor = constant(node.inputs[point])
        values = None if tensor is None else np.unique(tensor.numpy())
        return float(values[0]) if values is not None and len(values) == 1 else None


def local_roles(labels: Labels, node: ir.Node, computed: Collection[ir.Value] = ()) -> LocalRoles:
    """The roles of the node's axes, from its rule run on fresh neurons: ties elsewhere in the graph have no effect.

    computed: values that count as weights, too.
    """
    call, operator = labels.calls[node], labels.operator(node)
    if operator is None or any(a.type == ir.AttributeType.GRAPH for a in node.attributes.values()):
        return LocalRoles(frozenset(), frozenset())
    relations, given, results = _run_isolated(labels, node)
    root = relations.resolve().root
    result = _roots(root, [axes for axes in results if axes])
    weights = [t is not None and (t.weight or v in computed) for v, t in zip(node.inputs, call.inputs, strict=True)]
    summed, bare, covered = set[tuple[int, int]](), set[tuple[int, int]](), set[int]()
    for index, axes in enumerate(given):
        seen: set[int] = set()
        for axis, ids in enumerate(axes or ()):
            if ids is None or call.inputs[index] is None:
                continue
            own = set(root[ids].tolist())
            if not own & result or (weights[index] and own & seen):  # a recurrent matrix has the same axis twice
                summed.add((index, axis))
                covered |= own if weights[index] else set()
            seen |= own
    for index, axis in summed:
        ids = (given[index] or ())[axis]
        if not weights[index] and ids is not None and not covered & set(root[ids].tolist()):
            bare.add((index, axis))
    alike: dict[bytes, list[tuple[int, int]]] = {}
    for index, axes in enumerate(given):
        for axis, ids in enumerate(axes or ()):
            if ids is not None:
                alike.setdefault(root[ids].tobytes(), []).append((index, axis))
    tied = tuple(tuple(group) for group in alike.values() if len(group) > 1)
    return LocalRoles(frozenset(summed), frozenset(bare), tied)


def _run_isolated(labels: Labels, node: ir.Node) -> tuple[Relations, list[Axes | None], list[Axes | None]]:
    """The relations that a node's rule declares on fresh neurons, and the axes of its inputs and outputs."""
    call, relations = labels.calls[node], Relations()
    given = [_fresh(relations, tensor.shape if tensor else None) for tensor in call.inputs]
    again: Call = replace(call, relations=relations, label=given.__getitem__, results=[], soft=[], read=set())
    return relations, given, run_rule(labels.operator(node), again)


def _fresh(relations: Relations, shape: Shape | None) -> Axes | None:
    return None if shape is None else tuple(relations.fresh(n) if n > 1 else None for n in shape)


def _roots(root: Ids, tensors: list[Axes]) -> set[int]:
    return {r for axes in tensors for axis in axes if axis is not None for r in root[axis].tolist()}
