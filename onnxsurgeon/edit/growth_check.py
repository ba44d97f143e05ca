"""Checks the positions of new neurons: labels of the grown model must tie new neurons only to new ones."""

from __future__ import annotations

from typing import get_args

import numpy as np

from onnxsurgeon.arrays import Mask
from onnxsurgeon.dependency.labels import Labels, label
from onnxsurgeon.dependency.names import name_of
from onnxsurgeon.edit.apply import apply
from onnxsurgeon.edit.growth import Growth
from onnxsurgeon.edit.step import Step
from onnxsurgeon.errors import InfeasibleError
from onnxsurgeon.neurons.selection import Selection
from onnxsurgeon.options.shared import Attention


def placed(step: Step) -> tuple[Labels, Mask]:
    """(labels of the grown model, mask of its old neurons, shape (neurons,)).

    Raises InfeasibleError if labels tie a new neuron to an old one.
    """
    assert step.labels is not None
    assert step.selection is not None
    after = step.after
    if step.growth.copies:  # a copy can't be silenced without its original, so only its position is checked
        after = apply(step.labels, step.selection, growth=Growth("zeros"))
    for rewritten in (False, True):  # rewriting packed tensors ties fewer neurons
        for attention in get_args(Attention):  # tries which factor of heads or groups grew
            grown = label(after, attention=attention, rewritten=rewritten)
            keep = _old_ones(step.labels, step.selection, grown)
            if keep is not None:
                return grown, keep
    raise InfeasibleError(
        f"{step.what}: the new channels can't be placed; nothing was changed",
        why="a node that reads them reorders channels, so that old ones would get their positions",
        fix="grow by another number, or grow another node",
    )


def _old_ones(labels: Labels, selection: Selection, grown: Labels) -> Mask | None:
    """Mask of the old neurons of the grown model, shape (neurons,); None if a new neuron is the same as an old one."""
    root = grown.classes.root
    new, old = np.zeros(len(root), np.bool_), np.zeros(len(root), np.bool_)
    twins = {name_of(node): node for node in grown.calls}
    for node, call in labels.calls.items():
        twin = twins.get(name_of(node))
        if twin is None:
            continue
        pairs = [(labels.known(node, i), grown.known(twin, i)) for i in range(len(call.inputs))]
        pairs += [(labels.axes.get(a), grown.axes.get(b)) for a, b in zip(node.outputs, twin.outputs, strict=False)]
        for before, after in pairs:
            for ids, others in zip(before or (), after or (), strict=False):
                if others is None or ids is None:
                    continue
                positions = selection.positions(ids)
                if positions is None and len(ids) == len(others):
                    old[root[others]] = True
                elif positions is not None and len(positions) == len(others):
                    new[root[others[positions < 0]]] = True
                    old[root[others[positions >= 0]]] = True
    return None if (new & old).any() else ~new[root]
