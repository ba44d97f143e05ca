"""What new neurons are made of, so that the function stays and gradients are not zero.

What sums over a new neuron multiplies it by zero; what makes it starts small and random; biases, shifts and scales
start neutral.
Source: Chen et al., Net2Net, ICLR 2016 (`duplicate`); the rest as in NaiveNASflux.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod, sqrt
from typing import Literal
from zlib import crc32

import numpy as np
import onnx_ir as ir

from onnxsurgeon.graph import Labels, Weight
from onnxsurgeon.neurons import Axes, Axis, Ids, Relations
from onnxsurgeon.ops.call import run_rule
from onnxsurgeon.ops.neutral import NEUTRAL
from onnxsurgeon.recipe import Drawn, Fill, Places, Recipe
from onnxsurgeon.selection import Selection
from onnxsurgeon.signature import Shape

Init = Literal["normal", "zeros", "he", "duplicate"]


@dataclass(frozen=True)
class Growth:
    """init: how what makes a new neuron starts. normal: deviation 1 / number of weights. seed: of what is drawn."""

    init: Init = "normal"
    seed: int = 0

    def recipes(self, labels: Labels, selection: Selection) -> Callable[[Weight], Recipe]:
        """The recipe of each weight that changes."""
        if not selection.grows:
            return lambda weight: tuple(_cut(selection, axis) for axis in weight.axes)
        made = _Made(self, labels, selection)
        return made.recipe


NORMAL = Growth()


def _cut(selection: Selection, axis: Axis) -> Places | None:
    positions = selection.positions(axis)
    return None if positions is None else Places(positions)


class _Made:
    """Recipes of one selection."""

    def __init__(self, growth: Growth, labels: Labels, selection: Selection) -> None:
        self.growth, self.labels, self.selection = growth, labels, selection
        self.alone: dict[ir.Node, Alone] = {}
        self.makers = self._makers()

    def recipe(self, weight: Weight) -> Recipe:
        return tuple(self._places(weight, axis) for axis in range(len(weight.axes)))

    def _places(self, weight: Weight, axis: int) -> Places | None:
        labels = weight.axes[axis]
        positions = self.selection.positions(labels)
        if positions is None or labels is None:
            return None
        new = positions < 0
        if not new.any():
            return Places(positions)
        node, index = weight.uses[0]
        summed = (index, axis) in self._of(node).summed
        if self.growth.init == "duplicate":
            places = _copied(positions, self.selection.root[labels])
            scale = 1.0 / (1.0 + self.selection.new[labels][places].astype(np.float64)) if summed else None
            return Places(places, scale=scale)
        fill = 0.0 if summed else self._fill(weight, axis)
        if fill is None:
            return Places(_anchored(positions))
        if isinstance(fill, float):
            return Places(positions, (fill,))
        muted = self._muted(node, labels[_anchored(positions)][new])
        fills = tuple(0.0 if quiet else fill._replace(seed=(*fill.seed, k)) for k, quiet in enumerate(muted))
        return Places(np.where(new, -np.cumsum(new, dtype=np.int64), positions), fills)

    def _fill(self, weight: Weight, axis: int) -> Fill | None:
        """What a new row is; None: what its neighbour is."""
        node, index = weight.uses[0]
        call, operator = self.labels.calls[node], self.labels.operator(node)
        floats = weight.tensor.dtype.is_floating_point()
        known = NEUTRAL.get(call.operator, {}).get(index)
        if known is not None:
            return known if floats or known == 0.0 else None
        makes = operator is not None and (operator.macs is not None or index in operator.looks_up.values())
        if not floats or not makes or len(weight.shape) < 2:
            return None
        if self.growth.init == "zeros":
            return 0.0
        count = max(1, prod(weight.shape) // weight.shape[axis])
        deviation = sqrt(2 / count) if self.growth.init == "he" else 1 / count
        return Drawn((self.growth.seed, crc32((weight.value.name or "").encode()), axis), deviation)

    def _muted(self, node: ir.Node, neurons: Ids) -> list[bool]:
        """Per new neuron, whether it starts at zero: two activations are multiplied along it, and one is random."""
        makers = [self.makers.get(root) for root in self.labels.classes.root[neurons].tolist()]
        return [m is not None and (len(m) < 2 or m[0] is not node) for m in makers]

    def _makers(self) -> dict[int, list[ir.Node]]:
        """Of growing classes along which no weight takes part in a sum, the vertices whose weights make them."""
        root, calls = self.labels.classes.root, self.labels.calls
        found: dict[int, list[ir.Node]] = {}
        for node, call in calls.items():
            for index, tensor in enumerate(call.inputs):
                if tensor is None or tensor.weight:
                    continue
                for axis, labels in enumerate(self.labels.known(node, index) or ()):
                    if labels is not None and self.selection.new[labels].any() and (index, axis) in self._of(node).bare:
                        found.update((r, []) for r in root[labels].tolist())
        for weight in self.labels.weights() if found else ():
            for axis, labels in enumerate(weight.axes):
                if labels is None or len(weight.shape) < 2:
                    continue
                for node, index in weight.uses:
                    if (index, axis) not in self._of(node).summed:
                        for r in found.keys() & set(root[labels].tolist()):
                            found[r].append(node)
        return found

    def _of(self, node: ir.Node) -> Alone:
        if node not in self.alone:
            self.alone[node] = alone(self.labels, node)
        return self.alone[node]


def alters(labels: Labels, selection: Selection) -> bool:
    """Whether new neurons take part in what is computed of the old ones whatever they are made of: in statistics, or in
    products of two activations."""
    return bool(normalised(labels, selection) or _Made(NORMAL, labels, selection).makers)


def normalised(labels: Labels, selection: Selection) -> list[str]:
    """The vertices that normalise along new neurons: what they compute of the old ones changes."""
    found = []
    for node, call in labels.calls.items():
        axes = ((labels.known(node, index) or ())[axis] for index, axis in call.soft)
        if any(ids is not None and selection.new[ids].any() for ids in axes):
            found.append(call.name)
    return found


def _anchored(positions: Ids) -> Ids:
    """Each new neuron's place is the one before it; of those at the start, the first one that was there."""
    kept = np.flatnonzero(positions >= 0)
    before = np.maximum.accumulate(np.where(positions >= 0, np.arange(len(positions)), -1))
    return positions[np.where(before < 0, kept[0], before)]


def _copied(positions: Ids, root: Ids) -> Ids:
    """Each new neuron's place is its twin: what follows a block of one class copies that, element by element."""
    places, count = _anchored(positions), np.arange(len(positions))
    first = np.r_[True, root[1:] != root[:-1]]
    begin = np.flatnonzero(first)
    block = (np.cumsum(first) - 1)[places]
    length = np.diff(np.r_[begin, len(root)])[block]
    since = count - np.maximum.accumulate(np.where(positions >= 0, count, -1)) - 1
    return np.where(positions >= 0, places, begin[block] + since % length)


@dataclass(frozen=True)
class Alone:
    """What a vertex does with axes, looked at by itself; (input, axis) each.

    summed: those that it sums over. bare: those of activations among them along which no weight takes part. tied:
    groups of those that carry the same neurons.
    """

    summed: frozenset[tuple[int, int]]
    bare: frozenset[tuple[int, int]]
    tied: tuple[tuple[tuple[int, int], ...], ...] = ()


def alone(labels: Labels, node: ir.Node) -> Alone:
    """Runs the vertex' rule on neurons of its own, so that ties elsewhere in the graph say nothing."""
    call, operator = labels.calls[node], labels.operator(node)
    if operator is None or any(a.type == ir.AttributeType.GRAPH for a in node.attributes.values()):
        return Alone(frozenset(), frozenset())
    relations = Relations()
    given = [_fresh(relations, tensor.shape if tensor else None) for tensor in call.inputs]
    again = replace(call, relations=relations, label=given.__getitem__, results=[], soft=[], read=set())
    results = run_rule(operator, again)
    root = relations.resolve().root
    made = _roots(root, [axes for axes in results if axes])
    summed, bare, covered = set[tuple[int, int]](), set[tuple[int, int]](), set[int]()
    for index, axes in enumerate(given):
        tensor = call.inputs[index]
        seen: set[int] = set()
        for axis, ids in enumerate(axes or ()):
            if ids is None or tensor is None:
                continue
            own = set(root[ids].tolist())
            if not own & made or (tensor.weight and own & seen):  # of a recurrent matrix, the last of two equal axes
                summed.add((index, axis))
                covered |= own if tensor.weight else set()
            seen |= own
    for index, axis in summed:
        ids, tensor = (given[index] or ())[axis], call.inputs[index]
        if tensor is not None and not tensor.weight and ids is not None and not covered & set(root[ids].tolist()):
            bare.add((index, axis))
    alike: dict[bytes, list[tuple[int, int]]] = {}
    for index, axes in enumerate(given):
        for axis, ids in enumerate(axes or ()):
            if ids is not None:
                alike.setdefault(root[ids].tobytes(), []).append((index, axis))
    tied = tuple(tuple(group) for group in alike.values() if len(group) > 1)
    return Alone(frozenset(summed), frozenset(bare), tied)


def _fresh(relations: Relations, shape: Shape | None) -> Axes | None:
    return None if shape is None else tuple(relations.fresh(n) if n > 1 else None for n in shape)


def _roots(root: Ids, tensors: list[Axes]) -> set[int]:
    return {r for axes in tensors for axis in axes if axis is not None for r in root[axis].tolist()}
