"""Removes nodes, adds and removes edges. Where this needs equal numbers of channels, a resize comes first."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import Ids
from onnxsurgeon.dependency.labels import Labels, label
from onnxsurgeon.dependency.names import name_of, result_of
from onnxsurgeon.edit.apply import apply
from onnxsurgeon.edit.growth import NORMAL, Growth
from onnxsurgeon.edit.step import Step
from onnxsurgeon.errors import InfeasibleError, SurgeonError, UsageError
from onnxsurgeon.model.editor import Editor, copied, remove_dead, set_inputs
from onnxsurgeon.neurons.selection import Selection
from onnxsurgeon.ops.call import ValueCall
from onnxsurgeon.ops.elementwise import ADDITION
from onnxsurgeon.ops.joining import joined_axis
from onnxsurgeon.ops.nodes import constant, kind_of
from onnxsurgeon.ops.registry import of_kind
from onnxsurgeon.options.shared import Alignment
from onnxsurgeon.surgery.find import data_inputs, find, find_value, value_called
from onnxsurgeon.surgery.fit_check import checked, require_type
from onnxsurgeon.surgery.widths import Importance, Limits, select, value_axis


@dataclass(frozen=True)
class Choices:
    """How two nodes get the same number of channels: which ones go, by importance, and the weights of new ones.

    align: grow the smaller side, shrink the larger one, change both, or (auto) the first of these that works.
    """

    align: Alignment = "auto"
    importance: Importance = "l2-norm"
    growth: Growth = NORMAL


DEFAULT = Choices()


def align(labels: Labels, pairs: Sequence[tuple[Ids, Ids]], names: tuple[str, str], choices: Choices) -> Step | None:
    """The resize that makes the axes of each pair equally long; None if they already are. Raises InfeasibleError."""
    if all(len(a) == len(b) for a, b in pairs):
        return None
    ways = {
        "grow": Limits(equal=pairs, may_drop=False),
        "shrink": Limits(equal=pairs, new=0),
        "both": Limits(equal=pairs),
    }
    for way, limits in ways.items():
        if choices.align not in ("auto", way):
            continue
        try:
            found = select(labels, [], importance=choices.importance, limits=limits, spread=choices.growth.copies)
        except InfeasibleError:
            continue
        after = apply(labels, found.selection, growth=choices.growth)
        width = found.selection.width(0, pairs[0][0])
        said = f"make {names[0]} and {names[1]} {width} wide ({way})"
        return Step(said, labels.original, after, labels, found.selection, choices.growth)
    a, b = next(pair for pair in pairs if len(pair[0]) != len(pair[1]))
    shared = np.intersect1d(labels.classes.root[a], labels.classes.root[b])
    raise InfeasibleError(
        f"{names[0]} ({len(a)} channels) and {names[1]} ({len(b)}) can't get the same width; nothing was changed",
        why="the channels of one include those of the other (a size cycle)" if shared.size else _frozen(labels, a, b),
        fix="choose other nodes" if choices.align == "auto" else "allow all ways with `align=auto`",
    )


def _frozen(labels: Labels, *axes: Ids) -> str:
    """What froze the first frozen neuron on each axis; empty if none is frozen."""
    causes = [labels.classes.cause(axis) for axis in axes]
    return "\n".join(f"frozen by {c.operator} {c.node}: {c.text}" for c in causes if c)


def _require_free(labels: Labels, roots: Ids, what: str) -> None:
    if frozen := _frozen(labels, roots):
        raise InfeasibleError(
            f"{what}; nothing was changed", why=frozen, fix="choose a concatenation whose readers can change"
        )


def _aligned(
    labels: Labels, first: ir.Value, second: ir.Value, names: tuple[str, str], choices: Choices
) -> tuple[list[Step], Labels]:
    """The steps that give two values the same number of channels, and the labels after them."""
    a, b = value_axis(labels, first), value_axis(labels, second)
    step = align(labels, [(a[1], b[1])], names, choices) if a is not None and b is not None else None
    return ([step], label(step.after, rewritten=False)) if step is not None else ([], labels)


def remove(
    model: ir.Model,
    name: str,
    *,
    through: str | None = None,
    until: str | None = None,
    outputs_follow: bool = False,
    choices: Choices = DEFAULT,
) -> list[Step]:
    """Removes a node: the nodes that read it read its input instead.

    through: the node that feeds the chosen input, if there are several. until: the last of the nodes that go too, which
    only read each other. outputs_follow: outputs of the graph that carry its channels take the input's width, where
    that fits. Raises UsageError if the input or the output is not unique, InfeasibleError if the shapes can't fit.
    """
    labels, node = label(model, rewritten=False), find(model, name)
    source, result = _passage(labels, node, through), result_of(find(model, until or name))
    require_type(labels, source, result, f"removing {name}")
    if outputs_follow and (outputs := _outputs_as_wide(labels, result)):
        with suppress(InfeasibleError):
            return [_bypassed(labels, node, source, until, outputs)]
    steps, labels = _aligned(labels, source, result, (_maker(source), name), choices)
    return [*steps, _bypassed(labels, node, source, until)]


def _outputs_as_wide(labels: Labels, value: ir.Value) -> list[str]:
    """The graph outputs that carry the channels of a value."""
    found, root = value_axis(labels, value), labels.classes.root
    own = root[:0] if found is None else root[found[1]]
    axes = ((v, axis) for v in labels.model.graph.outputs for axis in labels.axes.get(v) or (None,))
    fitting = (v for v, axis in axes if v is value or (axis is not None and np.isin(root[axis], own).any()))
    return list(dict.fromkeys(v.name or "" for v in fitting))


def _bypassed(labels: Labels, node: ir.Node, source: ir.Value, until: str | None, resized: Sequence[str] = ()) -> Step:
    """The removal of a node whose readers read `source`. until: as above. resized: outputs that take its width."""
    name = name_of(node)
    place = next(i for i, value in enumerate(node.inputs) if value is not None and value.name == source.name)
    editor = Editor(copied(labels.model))
    new = find(editor.model, name).inputs[place]
    assert new is not None
    editor.replace(result_of(find(editor.model, until or name)), new)
    return checked(labels, editor.finished(), f"remove {name}", resized=resized)


def _passage(labels: Labels, node: ir.Node, through: str | None) -> ir.Value:
    """The input that replaces a node's output."""
    given = [value for _, value in data_inputs(labels, node)]
    used = [v for v in node.outputs if v.uses() or v.is_graph_output()]
    if len(used) != 1:
        raise UsageError(
            f"{name_of(node)} can't be removed",
            why=f"{len(used)} of its outputs are in use, not 1",
            fix="remove or disconnect the nodes that read it first",
        )
    names = [_maker(value) for value in given]
    if through is not None and through not in names:
        raise UsageError(
            f"{through} does not feed {name_of(node)}", why=f"its inputs: {', '.join(names)}", fix="name one of these"
        )
    if through is None and len(set(names)) != 1:
        raise UsageError(
            f"{name_of(node)} has {len(given)} inputs, and it is unclear which one replaces it",
            why=f"they come from {', '.join(names) or 'weights only'}",
            fix="name one with `through`, or disconnect the others first",
        )
    return given[0 if through is None else names.index(through)]


def _maker(value: ir.Value) -> str:
    producer = value.producer()
    return name_of(producer) if producer is not None else value.name or ""


def connect(
    model: ir.Model, source: str, target: str, *, position: int | None = None, choices: Choices = DEFAULT
) -> list[Step]:
    """Makes a node that adds or concatenates read `source` too, as input number `position` (by default the last).

    Readers of a longer concatenation get new columns of zeros, so the function stays. Raises UsageError if `target`
    takes no more inputs, InfeasibleError if the shapes can't fit.
    """
    joint = find(model, target)
    at = len(joint.inputs) if position is None else position
    if not 0 <= at <= len(joint.inputs):
        raise UsageError(
            f"{target} has no position {position}", why=f"it has {len(joint.inputs)} inputs", fix="count from 0"
        )
    labels, given = label(model, rewritten=False), find_value(model, source)
    require_type(labels, given, joint.outputs[0], f"connecting {source} to {target}")
    kind = kind_of(joint)
    if kind == "stack":
        return [_extended(model, source, target, at, choices)]
    if kind not in ("sum", "combination"):
        raise UsageError(
            f"{target} ({joint.op_type}) takes no further input",
            why=f"these operators do: {', '.join(of_kind('stack', 'sum', 'combination'))}",
            fix="choose a node with one of these operators",
        )
    steps, labels = _aligned(labels, given, joint.outputs[0], (source, target), choices)
    editor = Editor(copied(labels.model))
    _widen(find(editor.model, target), at, find_value(editor.model, source))
    return [*steps, checked(labels, editor.finished(), f"connect {source} to {target}")]


def _widen(joint: ir.Node, at: int, value: ir.Value) -> None:
    if kind_of(joint) == "sum":
        joint.op_type = ADDITION
    set_inputs(joint, [*joint.inputs[:at], value, *joint.inputs[at:]])


def _extended(model: ir.Model, source: str, target: str, at: int, choices: Choices) -> Step:
    """Adds an input to a Concat. Its readers get new neurons at that position."""
    editor = Editor(copied(model))
    _widen(find(editor.model, target), at, find_value(editor.model, source))
    wide = editor.finished()
    narrow = copied(wide)  # in the same order
    joint = find(narrow, target)
    _narrow(joint, at)
    result, given = joint.outputs[0], find_value(narrow, source)
    labels = label(narrow, detached=[result], rewritten=False)
    axis = _concat_axis(labels, joint)
    shape, axes = labels.facts[0][given].shape, labels.axes.get(result)
    inner = axes[axis] if axes else None
    if shape is None or inner is None or axes is None or len(shape) != len(axes):
        raise InfeasibleError(
            f"{source} can't be concatenated in {target}; nothing was changed",
            why="their ranks differ, or the node does not join channels",
            fix="choose a concatenation of channels whose inputs have the same rank",
        )
    before = sum((labels.facts[0][v].shape or ())[axis] for v in joint.inputs[:at] if v is not None)
    selection = _gap(labels, inner, before, shape[axis])
    growth = NORMAL if choices.growth.copies else choices.growth  # nothing is copied here
    model_after = applied(labels, selection, wide, growth, f"{source} can't be concatenated in {target}")
    return checked(label(model, rewritten=False), model_after, f"connect {source} to {target}")


def applied(labels: Labels, selection: Selection, source: ir.Model, growth: Growth, what: str) -> ir.Model:
    """`source` after the selection. Raises InfeasibleError if a node depends on the size of its own readers."""
    try:
        return apply(labels, selection, source, growth)
    except InfeasibleError:
        raise
    except SurgeonError as error:
        raise InfeasibleError(
            f"{what}; nothing was changed",
            why=f"a size cycle: {error.why}",
            fix="choose two nodes where one does not depend on the other",
        ) from error


def _concat_axis(labels: Labels, joint: ir.Node) -> int:
    rank = len(labels.axes.get(joint.outputs[0]) or (None,))
    return joined_axis(ValueCall(labels.evaluator.attributes(joint), ()), rank)


def _gap(labels: Labels, axis: Ids, before: int, count: int) -> Selection:
    """`count` new neurons after the first `before` ones of an axis."""
    root, total = labels.classes.root, labels.relations.count
    new = np.zeros(total, np.int64)
    anchor = root[axis[max(before - 1, 0)]]
    _require_free(labels, np.array([anchor]), "the readers of the concatenation can't take more channels")
    new[anchor] = count
    keep, none = np.ones(total, np.bool_), np.zeros(total, np.int64)
    return Selection(root, keep, new[root]) if before else Selection(root, keep, none, front=new[root])


def disconnect(model: ir.Model, source: str, target: str) -> list[Step]:
    """Removes an input of a node that adds or concatenates; the other inputs keep their neurons.

    Raises UsageError if `source` does not feed `target`, InfeasibleError if the shapes can't fit.
    """
    joint = find(model, target)
    places = [i for i, value in enumerate(joint.inputs) if value is not None and _maker(value) == source]
    if not places:
        feeding = ", ".join(_maker(v) for v in joint.inputs if v is not None and constant(v) is None)
        raise UsageError(f"{source} does not feed {target}", why=f"its inputs: {feeding}", fix="name one of these")
    if len(joint.inputs) < 2:
        raise UsageError(f"{source} is the only input of {target}", fix=f"remove {target} instead")
    kind = kind_of(joint)
    if kind == "stack":
        return [_shortened(model, source, target, places[-1])]
    if kind not in ("sum", "combination"):
        raise UsageError(f"{target} ({joint.op_type}) needs all its inputs", fix=f"remove {target} instead")
    editor = Editor(copied(model))
    twin = find(editor.model, target)
    gone, rest = twin.inputs[places[-1]], [v for i, v in enumerate(twin.inputs) if i != places[-1]]
    if len(rest) == 1 and rest[0] is not None:
        editor.replace(twin.outputs[0], rest[0])
    else:
        _narrow(twin, places[-1])
    remove_dead(gone)
    return [checked(label(model, rewritten=False), editor.finished(), f"disconnect {source} from {target}")]


def _narrow(joint: ir.Node, at: int) -> None:
    set_inputs(joint, [*joint.inputs[:at], *joint.inputs[at + 1 :]])


def _shortened(model: ir.Model, source: str, target: str, place: int) -> Step:
    joint = find(model, target)
    labels = label(model, detached=[joint.outputs[0]], rewritten=False)
    axis = _concat_axis(labels, joint)
    axes, what = labels.axes.get(joint.outputs[0]), f"{source} can't be taken out of {target}"
    inner = axes[axis] if axes else None
    if inner is None:
        raise InfeasibleError(
            f"{what}; nothing was changed",
            why="the node does not join channels",
            fix="choose a concatenation along channels",
        )
    sizes = [0 if v is None else (labels.facts[0][v].shape or ())[axis] for v in joint.inputs]
    start = sum(sizes[:place])
    dropped = np.zeros(labels.relations.count, np.bool_)
    root = labels.classes.root
    dropped[root[inner[start : start + sizes[place]]]] = True
    _require_free(labels, np.flatnonzero(dropped), what)
    narrow = copied(labels.model)
    twin = find(narrow, target)
    gone = twin.inputs[place]
    _narrow(twin, place)
    selection = Selection(root, ~dropped[root], np.zeros(len(root), np.int64))
    after = applied(labels, selection, narrow, NORMAL, what)
    if gone is not None:
        weight = after.graph.initializers.get(gone.name or "")
        remove_dead(value_called(after, gone.name) if weight is None else weight)
    return checked(label(model, rewritten=False), after, f"disconnect {source} from {target}")
