"""Takes a part of a network out: the nodes between some values and some others become a network of their own."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from onnxsurgeon.dependency.labels import label
from onnxsurgeon.edit.step import Step
from onnxsurgeon.errors import UsageError
from onnxsurgeon.model.cut_out import cut_out, reads
from onnxsurgeon.model.editor import Editor, copied
from onnxsurgeon.ops.nodes import constant
from onnxsurgeon.surgery.find import looks, value_or_node


def extract(model: ir.Model, begins: Sequence[str], ends: Sequence[str]) -> list[Step]:
    """The step to the part of a model that computes `ends` from `begins`: names of values, or of nodes that give them.

    Without begins, the inputs of the model that it needs; without ends, its outputs. Raises UsageError if a name is
    unknown, if the part would need another input, or if nothing lies between.
    """
    before = label(model, rewritten=False)
    editor = Editor(copied(before.model))
    graph = editor.model.graph
    inputs = [value for value in graph.inputs if not value.is_initializer()]
    starts = dict.fromkeys(value_or_node(graph, name) for name in begins) or dict.fromkeys(inputs)
    targets = list(dict.fromkeys(value_or_node(graph, name) for name in ends)) or list(graph.outputs)
    for value in (*starts, *targets):
        if constant(value) is not None:
            raise UsageError(f"{value.name} is a weight", fix="name a value that nodes compute, or an input")
    found = _needed(starts, targets, begins)
    faces = {value: looks(before, value.name or "") for value in (*found, *targets)}
    what = f"extract {_listed(targets)} from {_listed(found)}"
    cut_out(editor, [(value, faces[value]) for value in found], [(value, faces[value]) for value in targets])
    return [Step(what, before.model, editor.finished(), same=True, part=True)]


def _needed(starts: dict[ir.Value, None], ends: Sequence[ir.Value], named: Sequence[str]) -> list[ir.Value]:
    """The starts from which the ends are computed."""
    found, seen, missing, waiting = set[ir.Value](), set[ir.Value](), list[ir.Value](), list(ends)
    for end in ends:
        if end in starts or end.producer() is None:
            raise UsageError(
                f"nothing lies between {end.name} and {end.name}", why="it is where the part begins",
                fix="choose an end that nodes compute from it",
            )  # fmt: skip
    while waiting:
        value = waiting.pop()
        if value in seen or constant(value) is not None:
            continue
        seen.add(value)
        producer = value.producer()
        if value in starts:
            found.add(value)
        elif producer is None:
            missing.append(value)
        else:
            waiting += reads(producer)
    idle = [value for value in starts if value not in found and named]
    if idle or not found:
        raise UsageError(
            f"{_listed(ends)} is not computed from {_listed(idle or list(starts))}", why="no path leads there",
            fix="see the nodes in order with onnxsurgeon inspect -v",
        )  # fmt: skip
    if missing:
        raise UsageError(
            f"the part also needs {_listed(missing)}", why=f"{_listed(list(starts))} does not replace it",
            fix="name this beginning, too, or values behind it",
        )  # fmt: skip
    return [value for value in starts if value in found]


def _listed(values: Sequence[ir.Value]) -> str:
    return ", ".join(value.name or "" for value in values)
