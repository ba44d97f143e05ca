"""Initial weights of new neurons, chosen so that the function stays the same and gradients are not zero.

Weights that sum over a new neuron are zero, weights that produce it are small and random, and biases, shifts and scales
are neutral.
Source: Chen et al., Net2Net, ICLR 2016 (`duplicate`); all others as in NaiveNASflux.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from zlib import crc32

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import Ids
from onnxsurgeon.dependency.axis_roles import Effect, Roles
from onnxsurgeon.dependency.labels import Labels, Weight
from onnxsurgeon.edit.inits import INITS
from onnxsurgeon.errors import InfeasibleError
from onnxsurgeon.model.lazy_weights import Drawn, Fill, Places, Recipe
from onnxsurgeon.neurons.relations import Axis
from onnxsurgeon.neurons.selection import Selection


@dataclass(frozen=True)
class Growth:
    """How new neurons start. init: a word of `GROWN`. seed: of random numbers."""

    init: str = "normal"
    seed: int = 0

    @property
    def copies(self) -> bool:
        """Whether new neurons are copies of others."""
        return INITS[self.init].copies

    def recipes(self, labels: Labels, selection: Selection) -> Callable[[Weight], Recipe]:
        """A function that returns the recipe of a weight that changes."""
        if not selection.grows:
            return lambda weight: tuple(_cut(selection, axis) for axis in weight.axes)
        return _Recipes(self, labels, selection).recipe


NORMAL = Growth()


def _cut(selection: Selection, axis: Axis) -> Places | None:
    positions = selection.positions(axis)
    return None if positions is None else Places(positions)


class _Recipes:
    """The recipes for one selection."""

    def __init__(self, growth: Growth, labels: Labels, selection: Selection) -> None:
        self.growth, self.labels, self.selection = growth, labels, selection
        self.roles = Roles(labels)
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
        effect = self.roles.effect(*weight.uses[0], axis)
        if self.growth.copies:
            return self._copies(weight, labels, effect)
        silent = effect.sums == "yes" or (effect.sums == "partly" and effect.index == 0)
        fill = self._zero(weight) if silent else self._fill(weight, axis, effect)
        if fill is None:
            return Places(_anchored(positions))
        if isinstance(fill, float):
            return Places(positions, (fill,))
        muted = self._muted(effect.node, labels[_anchored(positions)][new])
        fills = tuple(0.0 if quiet else fill._replace(seed=(*fill.seed, k)) for k, quiet in enumerate(muted))
        return Places(np.where(new, -np.cumsum(new, dtype=np.int64), positions), fills)

    def _copies(self, weight: Weight, labels: Ids, effect: Effect) -> Places:
        """Copies of neurons; weights that sum over them are divided by the number of copies."""
        places, copy = self.selection.origins(labels)
        if effect.sums == "no":
            return Places(places)
        name, kept = weight.value.name, self.selection.keep[labels]
        refused = f"{name} can't be shared among copies; nothing was changed"
        if effect.sums == "partly":
            why = f"{effect.node.name} ({effect.node.op_type}) computes from it what other nodes sum over"
            raise InfeasibleError(refused, why=why, fix="choose `init=normal`")
        if not weight.tensor.dtype.is_floating_point():
            why = f"it is quantised ({weight.tensor.dtype}), so its parts would be rounded"
            raise InfeasibleError(
                refused, why=why, fix="choose `init=normal`, or edit the model before it is quantised"
            )
        if (copy[~kept[places]] != 0).any():
            why = "the edit drops the channels that it should copy"
            raise InfeasibleError(refused, why=why, fix="keep at least one, or choose `init=normal`")
        return Places(places, scale=1.0 / self.selection(labels)[places])

    def _zero(self, weight: Weight) -> float:
        """The stored value of the weight that means zero: its zero point if it is quantised."""
        zero = self.roles.zero_point(*weight.uses[0])
        if zero is None:
            raise InfeasibleError(
                f"{weight.value.name} can't take new channels; nothing was changed",
                why="it is quantised with several zero points, or with a computed one",
                fix="edit the model before it is quantised",
            )
        return zero

    def _fill(self, weight: Weight, axis: int, effect: Effect) -> Fill | None:
        """The elements of a new row; None: those of its neighbour."""
        operator = self.labels.operator(effect.node)
        floats = weight.tensor.dtype.is_floating_point()
        known = None if operator is None else operator.neutral.get(effect.index)
        if known is not None:
            return known if floats else self._zero(weight) if known == 0.0 else None
        makes = operator is not None and (operator.macs is not None or effect.index in operator.looks_up.values())
        if not floats or not makes or len(weight.shape) < 2:
            return None
        draw = INITS[self.growth.init].deviation
        deviation = draw(max(1, prod(weight.shape) // weight.shape[axis])) if draw else 0.0
        if not deviation:
            return 0.0
        return Drawn((self.growth.seed, crc32((weight.value.name or "").encode()), axis), deviation)

    def _muted(self, node: ir.Node, neurons: Ids) -> list[bool]:
        """Whether each new neuron starts at zero: if two activations are multiplied along it, only one is random."""
        makers = [self.makers.get(root) for root in self.labels.classes.root[neurons].tolist()]
        return [m is not None and (len(m) < 2 or m[0] is not node) for m in makers]

    def _makers(self) -> dict[int, list[ir.Node]]:
        """The nodes whose weights produce each growing class that only activations are summed over, by root."""
        root, calls = self.labels.classes.root, self.labels.calls
        found: dict[int, list[ir.Node]] = {}
        for node, call in calls.items():
            for index, tensor in enumerate(call.inputs):
                if tensor is None or self.roles.is_weight(node, index):
                    continue
                for axis, labels in enumerate(self.labels.known(node, index) or ()):
                    if (
                        labels is not None
                        and self.selection.new[labels].any()
                        and (index, axis) in self.roles.local(node).bare
                    ):
                        found.update((r, []) for r in root[labels].tolist())
        for weight in self.labels.weights() if found else ():
            for axis, labels in enumerate(weight.axes):
                if labels is None or len(weight.shape) < 2:
                    continue
                for node, index in weight.uses:
                    if (index, axis) not in self.roles.local(node).summed:
                        for r in found.keys() & set(root[labels].tolist()):
                            found[r].append(node)
        return found


def alters(labels: Labels, selection: Selection) -> bool:
    """Whether new neurons change results of old ones whatever their weights: in statistics, or in products of two
    activations."""
    return bool(normalised(labels, selection) or _Recipes(NORMAL, labels, selection).makers)


def normalised(labels: Labels, selection: Selection) -> list[str]:
    """The names of nodes that normalise over new neurons, so that their outputs for old neurons change."""
    found = []
    for node, call in labels.calls.items():
        axes = ((labels.known(node, index) or ())[axis] for index, axis in call.soft)
        if any(ids is not None and selection.new[ids].any() for ids in axes):
            found.append(call.name)
    return found


def _anchored(positions: Ids) -> Ids:
    """`positions` with each new neuron replaced by the old one before it, or by the first old one at the start."""
    kept = np.flatnonzero(positions >= 0)
    before = np.maximum.accumulate(np.where(positions >= 0, np.arange(len(positions)), -1))
    return positions[np.where(before < 0, kept[0], before)]
