"""What new neurons are made of, so that the function stays and gradients are not zero.

What sums over a new neuron multiplies it by zero; what makes it starts small and random; biases, shifts and scales
start neutral.
Source: Chen et al., Net2Net, ICLR 2016 (`duplicate`); the rest as in NaiveNASflux.
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
    """init: what makes a new neuron, a word of `GROWN`. seed: of what is drawn."""

    init: str = "normal"
    seed: int = 0

    @property
    def copies(self) -> bool:
        """Whether new neurons are copies of others."""
        return INITS[self.init].copies

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
        """Twins; what sums over them shares what it multiplied the one by."""
        places, copy = self.selection.origins(labels)
        if effect.sums == "no":
            return Places(places)
        name, kept = weight.value.name, self.selection.keep[labels]
        refused = f"{name} can't be shared among copies; nothing was changed"
        if effect.sums == "partly":
            why = f"{effect.node.name} ({effect.node.op_type}) makes of it what others sum over"
            raise InfeasibleError(refused, why=why, fix="choose `init=normal`")
        if not weight.tensor.dtype.is_floating_point():
            why = f"it is quantised ({weight.tensor.dtype}): a part of it would be rounded"
            raise InfeasibleError(
                refused, why=why, fix="choose `init=normal`, or edit the model before it is quantised"
            )
        if (copy[~kept[places]] != 0).any():
            why = "what is to be copied is to go"
            raise InfeasibleError(refused, why=why, fix="keep one at least, or choose `init=normal`")
        return Places(places, scale=1.0 / self.selection(labels)[places])

    def _zero(self, weight: Weight) -> float:
        """What counts as zero in a weight that is summed over: the zero point, where it is quantised."""
        found = self.roles.zero_point(*weight.uses[0])
        if found is None:
            raise InfeasibleError(
                f"{weight.value.name} can't take new neurons; nothing was changed",
                why="it is quantised by several zero points, or by one that is computed",
                fix="edit the model before it is quantised",
            )
        return found

    def _fill(self, weight: Weight, axis: int, effect: Effect) -> Fill | None:
        """What a new row is; None: what its neighbour is."""
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
        """Per new neuron, whether it starts at zero: two activations are multiplied along it, and one is random."""
        makers = [self.makers.get(root) for root in self.labels.classes.root[neurons].tolist()]
        return [m is not None and (len(m) < 2 or m[0] is not node) for m in makers]

    def _makers(self) -> dict[int, list[ir.Node]]:
        """Of growing classes along which no weight takes part in a sum, the nodes whose weights make them."""
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
    """Whether new neurons take part in what is computed of the old ones whatever they are made of: in statistics, or in
    products of two activations."""
    return bool(normalised(labels, selection) or _Made(NORMAL, labels, selection).makers)


def normalised(labels: Labels, selection: Selection) -> list[str]:
    """The nodes that normalise along new neurons: what they compute of the old ones changes."""
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
