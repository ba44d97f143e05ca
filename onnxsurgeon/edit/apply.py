"""Applies a selection to a model: gathers each weight along the axes that change, and corrects all sizes.

`apply` and `cut` return a new model and don't change the given one.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import prod

import onnx_ir as ir

from onnxsurgeon.arrays import Mask
from onnxsurgeon.dependency.labels import Labels, Use, Weight
from onnxsurgeon.edit.growth import NORMAL, Growth
from onnxsurgeon.edit.sizes import correct_sizes
from onnxsurgeon.errors import UsageError
from onnxsurgeon.model.editor import Editor, copied, feed, set_tensor, with_free_weights
from onnxsurgeon.model.lazy_weights import Recipe, take
from onnxsurgeon.neurons.selection import Selection, cutting
from onnxsurgeon.ops.nodes import constant
from onnxsurgeon.units import size

GROWN, TIMES = 2 * 2**30, 4  # bytes that the weights of a grown model may take: in all, or for each byte before


def cut(labels: Labels, keep: Mask, source: ir.Model | None = None) -> ir.Model:
    """`labels.model` cut to the neurons in the mask `keep`, shape (neurons,); see `apply`."""
    return apply(labels, cutting(labels.classes, keep), source)


def apply(labels: Labels, selection: Selection, source: ir.Model | None = None, growth: Growth = NORMAL) -> ir.Model:
    """`labels.model` with the selection applied. Its weights are lazy: they are computed when read.

    If nothing changes, returns a copy of `labels.original`, which is spelled like its file.
    source: a model of the same structure with other weights to edit instead. growth: how new neurons start.
    Raises UsageError if the weights would take more memory than `GROWN` and `TIMES` allow.
    Raises SurgeonError if a shape of the result differs from the selection's: then the rule of an operator is wrong.
    """
    if selection.empty:
        return copied(source or labels.original)
    if selection.grows:
        _require_bounded(labels, selection)
    editor = Editor(copied(source or labels.model))
    twins = dict(paired(labels, editor.model))
    _take_weights(labels, selection, growth, editor, twins)
    correct_sizes(labels, selection, editor.model, twins)
    return with_free_weights(editor.model)


def computed(labels: Labels) -> ir.Model:
    """`labels.model` as it is: what its file computes from constants, computed once, and no neuron less."""
    return with_free_weights(copied(labels.model))


def _require_bounded(labels: Labels, selection: Selection) -> None:
    before = after = 0.0
    for weight in labels.weights():
        before += weight.tensor.nbytes
        after += weight.tensor.nbytes / max(1, prod(weight.shape)) * prod(selection.shape(weight.axes, weight.shape))
    most = max(GROWN, TIMES * before)
    if after > most:
        raise UsageError(
            "the widths would make the model too large",
            why=f"its weights would take {size(after)}; an edit may take {size(most)} here",
            fix="ask for smaller widths, or grow in several steps",
        )


def paired(labels: Labels, model: ir.Model) -> Iterator[tuple[ir.Node, ir.Node]]:
    """Pairs of nodes of the labelled model and of another model with the same structure."""
    return zip(list(labels.model.graph.all_nodes()), list(model.graph.all_nodes()), strict=True)


def _take_weights(
    labels: Labels, selection: Selection, growth: Growth, editor: Editor, twins: Mapping[ir.Node, ir.Node]
) -> None:
    by_value: dict[ir.Value, list[Weight]] = {}
    for weight in labels.weights():
        if weight.uses:
            by_value.setdefault(weight.value, []).extend(_by_reader(labels, selection, weight))
    recipes = growth.recipes(labels, selection)
    for value, weights in by_value.items():
        by_recipe: dict[bytes, tuple[Recipe | None, list[Use]]] = {}
        for weight in weights:
            recipe = None if selection.stays(weight.axes) else recipes(weight)
            by_recipe.setdefault(pickle.dumps(recipe), (recipe, []))[1].extend(weight.uses)
        groups = [(recipe, [(twins[node], index) for node, index in uses]) for recipe, uses in by_recipe.values()]
        _place(editor, value, groups)


def _by_reader(labels: Labels, selection: Selection, weight: Weight) -> list[Weight]:
    """`weight` per reading node if it grows, because one node may write a new neuron and another one sum over it."""
    readers = [use for use in weight.uses if use[0] in labels.calls]
    if not selection.grows or len(weight.uses) < 2 or not readers:
        return [weight]
    rest = tuple(use for use in weight.uses if use not in readers)  # these only read its size
    return [replace(weight, uses=(use, *(rest if use is readers[0] else ()))) for use in readers]


def _place(editor: Editor, value: ir.Value, groups: list[tuple[Recipe | None, list[Use]]]) -> None:
    """Set one tensor per group of uses that change alike: the first keeps the name, the others are new weights."""
    node, index = groups[0][1][0]
    old = node.inputs[index]
    tensor = constant(old)
    assert old is not None
    assert tensor is not None
    covered = sum(len(uses) for _, uses in groups)
    whole = any(recipe is None for recipe, _ in groups)
    in_place = not whole and covered >= len(value.uses()) + value.is_graph_output()
    for recipe, uses in groups:
        if recipe is None:
            continue
        if in_place:
            set_tensor(old, take(tensor, recipe))
            in_place = False
        else:
            feed(uses, editor.weight(value.name or "weight", take(tensor, recipe)))
