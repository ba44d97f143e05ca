"""Splits projections that are packed into one tensor and unpacked later (q, k and v of attention).

    x [B, N, 3*h*d] > Reshape [B, N, 3, h, d] > Transpose [3, B, h, N, d] > Gather 0 | Gather 1 | Gather 2

becomes Split x into three [B, N, h*d], and a Reshape [B, N, h, d] and a Transpose [B, h, N, d] for each. Packed, all
three keep the same positions of d; after the split, each has its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import Array
from onnxsurgeon.dependency.rewrites.known_model import FactEditor, KnownModel
from onnxsurgeon.model.editor import attribute, remove_dead
from onnxsurgeon.ops.call import Unpacking
from onnxsurgeon.ops.making import along
from onnxsurgeon.ops.nodes import constant, operator_of
from onnxsurgeon.ops.reshaping import factor

MOST_PARTS = 8  # the largest number of parts: more are unlikely to be projections


class Packed(NamedTuple):
    """A tensor with `parts` stacked along `axis`; None: a single part without that axis."""

    value: ir.Value
    axis: int | None
    parts: tuple[int, ...]


class PackedSite(NamedTuple):
    """A Reshape that splits off an axis of parts.

    axis: where it is in the target. parts: its length. source: the axis that it is split from. first: whether it is
    the outermost factor of that; else `inner` is the axis of the target that follows within it.
    """

    axis: int
    parts: int
    source: int
    first: bool
    inner: int


def find(known: KnownModel, node: ir.Node) -> PackedSite | None:
    """The axis of parts that a Reshape creates, if its readers take all parts separately; else None."""
    operator = operator_of(node)
    if operator is None or operator.inferred is None or constant(node.inputs[0]) is not None:
        return None
    before, after = known.shapes(node.inputs[0]), known.shapes(node.outputs[0])
    if before is None or after is None or not known.is_tensor(node.outputs[0]):
        return None
    for axis, count in enumerate(after[0]):
        if 2 <= count <= MOST_PARTS and after[1][axis] == count:
            parts = Packed(node.outputs[0], axis, tuple(range(count)))
            if _taken(known, parts) == set(parts.parts):
                site = _site(before, after, axis)
                return site if site is not None and _target(known, node, site) is not None else None
    return None


def _site(before: tuple[Sequence[int], ...], after: tuple[Sequence[int], ...], axis: int) -> PackedSite | None:
    rows = [factor(tuple(a), tuple(b)) for a, b in zip(before, after, strict=True)]
    if rows[0] is None or rows[1] is None or [f[:2] for f in rows[0]] != [f[:2] for f in rows[1]]:
        return None
    mine = [f for f in rows[0] if f[1] == axis]
    if len(mine) != 1 or before[0][mine[0][0]] != before[1][mine[0][0]]:
        return None
    source = mine[0][0]
    together = [f[1] for f in rows[0] if f[0] == source]
    at = together.index(axis)
    if at == len(together) - 1:
        return None
    return PackedSite(axis, after[0][axis], source, at == 0, together[at + 1])


def _taken(known: KnownModel, packed: Packed) -> set[int] | None:
    """The parts that are read; None if a node reads several together."""
    if packed.axis is None:
        return set(packed.parts) if packed.value.uses() or packed.value.is_graph_output() else set()
    single, found = len(packed.parts) == 1, set[int]()
    if packed.value.is_graph_output():
        if not single:
            return None
        found.update(packed.parts)
    for use in packed.value.uses():
        step = _step(known, use.node, packed)
        if step is None and not single:
            return None
        found.update(packed.parts if step is None else ())
        for result in _results(use.node, step) if step is not None else ():
            inner = _taken(known, result)
            if inner is None:
                return None
            found |= inner
    return found


def _step(known: KnownModel, node: ir.Node, packed: Packed) -> Unpacking | None:
    where = [index for index, value in enumerate(node.inputs) if value is packed.value]
    operator = operator_of(node)
    if len(where) != 1 or packed.axis is None or node.graph is not known.model.graph:
        return None
    call = known.call(node)
    if operator is None or operator.unpack is None or call.shape(where[0]) is None:
        return None
    return operator.unpack(call, where[0], packed.axis, packed.parts)


def _results(node: ir.Node, step: Unpacking) -> list[Packed]:
    return [Packed(value, *piece) for value, piece in zip(node.outputs, step.pieces, strict=False)]


# --- taking it apart -------------------------------------------------------------------------------------------------


def unpack(editor: FactEditor, node: ir.Node) -> None:
    """Split the tensor that the Reshape `node` unpacks, if it does."""
    site = find(editor.known, node)
    if site is not None:
        parts = _parts(editor, node, site)
        packed = Packed(node.outputs[0], site.axis, tuple(range(site.parts)))
        _hand_over(editor, packed, dict(enumerate(parts)))


def _sizes(node: ir.Node) -> ir.Value | None:
    """The input with the target shape of the Reshape."""
    operator = operator_of(node)
    return None if operator is None or operator.inferred is None else node.inputs[operator.inferred]


def _target(known: KnownModel, node: ir.Node, site: PackedSite) -> Array | None:
    """The Reshape's target without the axis of parts; None if unknown. -1 stays, and so does 0 before that axis."""
    target, shapes = _sizes(node), known.shapes(node.outputs[0])
    if target is None or shapes is None:
        return None
    value = known.evaluator.fact(target, known.facts[0]).value
    if value is None:
        return None
    new = np.array(value)
    copied = np.flatnonzero(new == 0)
    for axis in copied[copied >= site.axis].tolist():  # a 0 copies the axis of the same index, which moves
        if shapes[0][axis] != shapes[1][axis] or constant(target) is None:
            return None
        new[axis] = shapes[0][axis]
    if not site.first and new[site.inner] != -1:
        new[site.inner] *= site.parts
    return np.delete(new, site.axis)


def _parts(editor: FactEditor, node: ir.Node, site: PackedSite) -> Sequence[ir.Value]:
    """The parts: split and then reshaped or, if they are not contiguous in the source, reshaped and then split."""
    source, output = node.inputs[0], node.outputs[0].name
    assert source is not None
    target, name = _new_target(editor, node, site), editor.give_up_name(node)
    attributes = [a for a in node.attributes.values() if a.name != "shape"]
    if not site.first:
        whole = editor.add(node, "Reshape", [source, target], f"{name}.whole", f"{output}.whole", attributes)
        names = [f"{output}.{p}" for p in range(site.parts)]
        return editor.split(node, whole, site.inner - 1, editor.equal(whole, site.inner - 1, site.parts), name, names)
    shapes = editor.known.shapes(node.outputs[0])
    assert shapes is not None
    names = [f"{source.name}.{p}" for p in range(site.parts)]
    pieces = editor.split(node, source, site.source, editor.equal(source, site.source, site.parts), name, names)
    if editor.known.shapes(pieces[0]) == tuple((*s[: site.axis], *s[site.axis + 1 :]) for s in shapes):
        remove_dead(target)
        return pieces
    return [
        editor.add(node, "Reshape", [piece, target], f"{name}.{p}", f"{output}.{p}", attributes)
        for p, piece in enumerate(pieces)
    ]


def _new_target(editor: FactEditor, node: ir.Node, site: PackedSite) -> ir.Value:
    """The target shape of a part, derived from that of the whole, which may be computed in the graph."""
    old, value = _sizes(node), _target(editor.known, node, site)
    assert old is not None
    assert value is not None
    if constant(old) is not None:
        return editor.integers(f"{old.name}.part", value)
    others = editor.integers(f"{old.name}.others", np.delete(np.arange(value.size + 1), site.axis))
    name = f"{node.name or node.outputs[0].name}.target"
    new = editor.add(node, "Gather", [old, others], name, name, along(0))
    if not site.first and value[site.inner - 1] != -1:
        times = np.ones_like(value)
        times[site.inner - 1] = site.parts
        factors = editor.integers(f"{name}.factors", times)
        new = editor.add(node, "Mul", [new, factors], f"{name}.merged", f"{name}.merged")
    return new


def _hand_over(editor: FactEditor, packed: Packed, parts: Mapping[int, ir.Value]) -> None:
    """Make each reader of a packed tensor read its part."""
    value = packed.value
    if packed.axis is None:
        editor.replace(value, parts[packed.parts[0]])
        return
    for node in dict.fromkeys(use.node for use in value.uses()):
        step = _step(editor.known, node, packed)
        if step is not None:
            given = _copies(editor, node, value, step, parts) if step.copied else parts
            for result in _results(node, step):
                _hand_over(editor, result, given)
    if value.uses() or value.is_graph_output():  # a reader needs the axis of parts
        producer = value.producer()
        assert producer is not None
        name = f"{producer.name or value.name}.axis"
        part = parts[packed.parts[0]]
        editor.replace(value, editor.unsqueeze(producer, part, packed.axis, name))
    remove_dead(value)


def _copies(
    editor: FactEditor, node: ir.Node, value: ir.Value, step: Unpacking, parts: Mapping[int, ir.Value]
) -> dict[int, ir.Value]:
    """The results of applying the node to each part."""
    name = node.name or node.outputs[0].name
    fixed = {i: editor.integers(f"{name}.axes", axes) for i, axes in step.inputs.items()}
    attributes = [a for a in node.attributes.values() if a.name not in step.attributes]
    attributes += [attribute(key, np.asarray(values, np.int64)) for key, values in step.attributes.items()]
    copies = {}
    for p in step.pieces[0].parts:
        inputs = [parts[p] if v is value else fixed.get(i, v) for i, v in enumerate(node.inputs)]
        output = f"{node.outputs[0].name}.{p}"
        copies[p] = editor.add(node, node.op_type, inputs, f"{name}.{p}", output, attributes)
    return copies
