"""Replaces what reads a sequence of tensors at static positions by the tensors themselves: a Split, a Concat.

A sequence has no axes, so channels would end in it.
"""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from onnxsurgeon.dependency.facts import Evaluator, Sizes
from onnxsurgeon.dependency.rewrites.known_model import FactEditor, KnownModel
from onnxsurgeon.dependency.size_facts import all_facts
from onnxsurgeon.ops.making import along
from onnxsurgeon.ops.nodes import operator_of
from onnxsurgeon.ops.sequence_calls import Joined, Piece, SequenceCall
from onnxsurgeon.ops.size_arrays import is_symbolic


def unrolled(known: KnownModel, first: Sizes, second: Sizes) -> KnownModel:
    """`known` itself if it has no such sequence, else a rewritten copy of its model. Sizes: of the two samples."""
    while any(find(known, node) is not None for node in known.model.graph):
        editor, made = FactEditor(known), dict[Any, list[ir.Value]]()
        for node in list(editor.model.graph):
            found = find(editor.known, node) if node.graph is not None else None
            if found is not None:
                _replace(editor, node, found, made)
        editor.model.graph.sort()  # a Split that several read may stand behind one of them
        evaluator = Evaluator(editor.model)
        known = KnownModel(editor.model, evaluator, all_facts(evaluator, first, second))  # what follows had no shape
    return known


def find(known: KnownModel, node: ir.Node) -> Any:
    """The element of a sequence, or the elements joined, that a node gives; None if that is not known."""
    operator = operator_of(node)
    if operator is None or operator.from_elements is None:
        return None
    found = operator.from_elements(_call(known, node))
    parts = found.tensors if isinstance(found, Joined) else (found,)
    return found if all(isinstance(p, ir.Value | Piece) for p in parts) else None


def _call(known: KnownModel, node: ir.Node) -> SequenceCall:
    facts = [None if v is None else known.evaluator.fact(v, known.facts[2]) for v in node.inputs]
    values = [None if f is None or is_symbolic(f.value) else f.value for f in facts]
    first = node.inputs[0] if node.inputs else None
    shape = None if not facts or facts[0] is None else facts[0].shape
    return SequenceCall(known.evaluator.attributes(node), values, 1, list(node.inputs), shape, _elements(known, first))


def _elements(known: KnownModel, sequence: ir.Value | None) -> list[Any] | None:
    maker = None if sequence is None else sequence.producer()
    operator = None if maker is None else operator_of(maker)
    if maker is None or operator is None or operator.elements is None:
        return None
    return operator.elements(_call(known, maker))


def _replace(editor: FactEditor, node: ir.Node, found: Any, made: dict[Any, list[ir.Value]]) -> None:
    name = editor.give_up_name(node)
    parts = [_tensor(editor, node, part, made) for part in (found.tensors if isinstance(found, Joined) else (found,))]
    if isinstance(found, Joined):
        if found.stacked:
            parts = [editor.unsqueeze(node, part, found.axis, f"{part.name}.stacked") for part in parts]
        value = editor.add(node, "Concat", parts, name, name, along(found.axis))
    else:
        value = editor.add(node, "Identity", parts, name, name)
    editor.replace(node.outputs[0], value)


def _tensor(editor: FactEditor, node: ir.Node, part: Any, made: dict[Any, list[ir.Value]]) -> ir.Value:
    """A tensor of a sequence; the pieces of one Split are made once."""
    if not isinstance(part, Piece):
        value: ir.Value = part
        return value
    key = (part.tensor, part.axis, part.sizes, part.keeps)
    if key not in made:
        names = [f"{part.tensor.name}.piece{k}" for k in range(len(part.sizes))]
        pieces = [part.tensor]
        if len(part.sizes) > 1:
            pieces = list(editor.split(node, part.tensor, part.axis, part.sizes, f"{part.tensor.name}.pieces", names))
        made[key] = pieces
    piece = made[key][part.place]
    return piece if part.keeps else editor.squeeze(node, piece, part.axis, f"{piece.name}.squeezed")
