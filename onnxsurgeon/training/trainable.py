"""Which constants of a model are weights to train, and which nodes work in training as their operator does there."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import onnx_ir as ir

from onnxsurgeon.errors import UsageError
from onnxsurgeon.ops.nodes import constant, operator_of
from onnxsurgeon.ops.registry import Operator
from onnxsurgeon.options.parsing import near


@dataclass(frozen=True)
class Trainable:
    """weights: the constants to train, in graph order. groups: names of those that a node reads together, as a weight
    and its bias. decays: those of them that weight decay shrinks: no biases and no scales. trains: the nodes that work
    as in training."""

    weights: tuple[ir.Value, ...]
    groups: tuple[tuple[str, ...], ...]
    decays: frozenset[str]
    trains: tuple[ir.Node, ...]


def trainable(
    nodes: Sequence[ir.Node], *, freeze: Sequence[str] = (), batch_statistics: bool = True, dropout: bool = True
) -> Trainable:
    """What is trained of these nodes. freeze: globs of nodes and weights that stay as they are.

    A constant is a weight where its operator multiplies data by it, scales by it or looks it up, or where it is one
    number per channel that is added to or multiplied with what depends on a weight. Raises UsageError if a glob matches
    nothing.
    """
    frozen = _Frozen(nodes, freeze)
    found, depends, decays = dict[ir.Value, None](), set[ir.Value](), set[str]()
    groups = list[tuple[str, ...]]()
    for node in nodes:
        operator, group = operator_of(node), list[str]()
        for index, value in enumerate(node.inputs) if operator is not None else ():
            source = _behind_moves(value)
            if source is None or not _is_weight(operator, node, index, source, depends):
                continue
            depends.update(node.outputs)
            name = source.name or ""
            if node not in frozen.nodes and name not in frozen.names:
                found[source] = None
                group.append(name)
                if operator is not None and operator.scale is None and _axes(source) > 1:
                    decays.add(name)
        if any(value in depends for value in node.inputs):
            depends.update(node.outputs)
        groups += [tuple(group)] if group else []
    trains = [
        node for node in nodes if (known := operator_of(node)) is not None and known.training is not None
        and node not in frozen.nodes and (batch_statistics if known.statistics is not None else dropout)
    ]  # fmt: skip
    return Trainable(tuple(found), tuple(groups), frozenset(decays), tuple(trains))


class _Frozen:
    """The nodes and the weights that globs name."""

    def __init__(self, nodes: Iterable[ir.Node], globs: Sequence[str]) -> None:
        self.nodes, self.names = set[ir.Node](), set[str]()
        nodes = list(nodes)
        names = {v.name or "" for node in nodes for v in node.inputs if v is not None and constant(v) is not None}
        for glob in globs:
            matched = [node for node in nodes if fnmatchcase(node.name or node.outputs[0].name or "", glob)]
            weights = [name for name in names if fnmatchcase(name, glob)]
            if not matched and not weights:
                known = sorted({*names, *(node.name or "" for node in nodes)})
                raise UsageError(
                    f"`freeze` {glob!r} matches nothing", why="no node and no weight has such a name",
                    fix=near(glob, known) or "see their names with onnxsurgeon inspect --layers",
                )  # fmt: skip
            self.nodes.update(matched)
            self.names.update(weights)


def _behind_moves(value: ir.Value | None) -> ir.Value | None:
    """The float constant that `value` is, or that only its own reordering makes it."""
    while value is not None and constant(value) is None:
        node = value.producer()
        operator = None if node is None else operator_of(node)
        if node is None or operator is None or operator.moves == "no" or operator.moves == "joined":
            return None
        if any(constant(other) is None for other in node.inputs[1:] if other is not None):
            return None
        value = node.inputs[0]
    tensor = constant(value)
    return value if tensor is not None and tensor.dtype == ir.DataType.FLOAT else None


def _is_weight(
    operator: Operator | None, node: ir.Node, index: int, source: ir.Value, depends: Collection[ir.Value]
) -> bool:
    if operator is None or (operator.gradient_of(index) is None and operator.training is None):
        return False
    if (statistics := operator.statistics) is not None:
        return index in (statistics.scale, statistics.shift)
    if operator.picks is not None:
        return index == operator.picks[1] and _axes(source) > 1
    if operator.macs is not None or operator.linear is not None or operator.scale is not None:
        return True
    others = [value for value in node.inputs if value is not None and constant(value) is None]
    channelwise = _axes(source) == 1 and operator.moves == "no"
    combines = operator.linear_in != "none" or operator.kind == "activation"
    return channelwise and combines and any(value in depends for value in others)


def _axes(value: ir.Value) -> int:
    """How many axes are longer than 1."""
    tensor = constant(value)
    assert tensor is not None
    return sum(n > 1 for n in tensor.shape.numpy())
