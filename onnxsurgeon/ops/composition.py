"""How gradients pass through nodes in reverse, and the gradients of operators that others compute.

Such an operator has a body of other operators, which its record emits or which onnx gives as a function. The body is
computed again in the backward pass, and differentiated by the rules of its nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import onnx_ir as ir

from onnxsurgeon.arrays import Array
from onnxsurgeon.model.editor import detached
from onnxsurgeon.ops.emitter import OLDEST, Emitter
from onnxsurgeon.ops.gradient import GradientCall, GradientRule
from onnxsurgeon.ops.nodes import attributes, operator_of

Body = Callable[[GradientCall], Sequence[str] | None]  # emits the outputs; None where it does not cover the case


@dataclass(frozen=True)
class Entry:
    """A node that gradients pass. inputs, outputs: those that depend on what is differentiated by. rule: of its
    operator, where it is not the record's."""

    node: ir.Node
    inputs: Sequence[str]
    outputs: Sequence[str]
    rule: GradientRule | None = None


@dataclass(frozen=True)
class GradientFlow:
    """Gradients on their way through nodes. known: as of `GradientCall`. found: the gradients of each value, which are
    to be summed. lost: values that no rule covers on all paths, with the node that ends their gradient. uses: the part
    that each input of a node has in it, by the node's first output and the input's index."""

    emit: Emitter
    known: Callable[[str], Array | None]
    found: dict[str, list[str]]
    lost: dict[str, str]
    uses: dict[tuple[str, int], str] = field(default_factory=dict)

    def back(self, entries: Sequence[Entry]) -> None:
        """Passes nodes, which stand in order, in reverse."""
        for entry in reversed(entries):
            if any(name in self.found or name in self.lost for name in entry.outputs):
                self._pass(entry)

    def _pass(self, entry: Entry) -> None:
        node, emit, operator = entry.node, self.emit, operator_of(entry.node)
        ended = next((self.lost[name] for name in entry.outputs if name in self.lost), "")
        if operator is None or ended or emit.version < OLDEST:
            self.lost.update(dict.fromkeys(entry.inputs, ended or said(node)))
            return
        for name in self.found.keys() & set(entry.outputs):
            self.found[name] = [emit.sum(self.found[name])]
        call = call_of(node, emit, self.known, self.found)
        captured = set(entry.inputs).difference(call.inputs)
        self.lost.update(dict.fromkeys(captured, said(node)))
        for index, name in enumerate(call.inputs):
            if name in entry.inputs:
                rule = entry.rule or operator.gradient_of(index)
                gradient = None if rule is None else rule(call, index)
                if gradient is None:
                    self.lost[name] = said(node)
                else:
                    self.found.setdefault(name, []).append(gradient)
                    self.uses[call.outputs[0], index] = gradient


def call_of(
    node: ir.Node, emit: Emitter, known: Callable[[str], Array | None], found: Mapping[str, Sequence[str]]
) -> GradientCall:
    """The node while its gradients are made. found: those of its outputs, by name, as far as there are any."""
    names = ["" if value is None else value.name or "" for value in node.inputs]
    outputs = [value.name or "" for value in node.outputs]
    gradients = [found[name][0] if name in found else "" for name in outputs]
    return GradientCall(attributes(node, emit.version), names, outputs, gradients, known, emit)


def said(node: ir.Node) -> str:
    return f"{node.name or node.outputs[0].name} ({node.op_type})"


def composed(body: Body) -> GradientRule:
    """The rule of an operator whose outputs `body` emits, as far as it returns them."""

    def rule(call: GradientCall, index: int) -> str | None:
        key = (body, *call.outputs)
        if key not in call.emit.kept:
            call.emit.kept[key] = _through(call, body)
        found: str | None = call.emit.kept[key].get(index)
        return found

    return rule


def _through(call: GradientCall, body: Body) -> dict[int, str]:
    """The gradients of the inputs, by index, as far as there are rules."""
    emit, begun, outer = call.emit, len(call.emit.nodes), call.emit.made
    emit.made = {}  # all that the body needs is emitted in it
    names = [emit.copy(name) if name and name in call.inputs[:k] else name for k, name in enumerate(call.inputs)]
    made = body(replace(call, inputs=names))
    entries = _entries((detached(proto) for proto in emit.nodes[begun:]), set(names), emit.whole)
    emit.made = {**outer, **emit.made}
    if made is None or any(call.gradients[len(made) :]):
        return {}
    flow = GradientFlow(emit, lambda name: emit.constants.get(name, call.known(name)), {}, {})
    for name, gradient in zip(made, call.gradients, strict=False):
        if gradient:
            flow.found.setdefault(name, []).append(gradient)
    flow.back(entries)
    reached = {k: flow.found.get(name) for k, name in enumerate(names) if name and name not in flow.lost}
    return {k: emit.sum(p) if p else emit.filled(emit.shapes[names[k]], 0.0) for k, p in reached.items()}


def _entries(nodes: Iterable[ir.Node], varied: set[str], ending: Collection[str]) -> list[Entry]:
    """The nodes that depend on `varied`, but for what depends on it only through `ending`."""
    entries = []
    for node in nodes:
        inputs = [value.name or "" for value in node.inputs if value is not None and value.name in varied]
        if inputs:
            outputs = [name for value in node.outputs if (name := value.name or "") not in ending]
            varied.update(outputs)
            entries.append(Entry(node, inputs, outputs))
    return entries
