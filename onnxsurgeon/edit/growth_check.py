"""Whether new neurons stand where they should: by its own labels, a grown model ties new ones to new ones alone."""

from __future__ import annotations

import numpy as np

from onnxsurgeon.arrays import Mask
from onnxsurgeon.dependency.labels import Labels, label
from onnxsurgeon.dependency.names import name_of
from onnxsurgeon.edit.apply import apply
from onnxsurgeon.edit.growth import Growth
from onnxsurgeon.edit.step import Step
from onnxsurgeon.errors import InfeasibleError
from onnxsurgeon.neurons.relations import Free
from onnxsurgeon.neurons.selection import Selection


def placed(step: Step) -> tuple[Labels, Mask]:
    """The labels of a grown model, and which of its neurons are not new, shape (neurons,).

    Raises InfeasibleError where a new neuron and an old one are the same.
    """
    assert step.labels is not None
    assert step.selection is not None
    after = step.after
    if step.growth.copies:  # a copy can't be silenced without its original: its place is what counts
        after = apply(step.labels, step.selection, growth=Growth("zeros"))
    choices: tuple[Free, ...] = ("auto", "heads", "head-size")
    for rewritten in (False, True):  # what is packed ties more
        for free in choices:  # the factor of heads or groups that grew
            grown = label(after, free=free, rewritten=rewritten)
            keep = _old_ones(step.labels, step.selection, grown)
            if keep is not None:
                return grown, keep
    raise InfeasibleError(
        f"{step.what}: there is no place for the new neurons; nothing was changed",
        why="what is tied to them shuffles neurons, and old ones would take their places",
        fix="grow by another number, or another node",
    )


def _old_ones(labels: Labels, selection: Selection, grown: Labels) -> Mask | None:
    """Which neurons of the grown model are not new, shape (neurons,); None where a new one is an old one, too."""
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
