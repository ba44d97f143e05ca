"""A copy of a model whose structure is being changed: finding and naming its nodes, checking the result."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import Shape
from onnxsurgeon.dependency.axis_roles import local_roles
from onnxsurgeon.dependency.dynamic_dims import samples
from onnxsurgeon.dependency.facts import Facts, Sizes
from onnxsurgeon.dependency.labels import Labels, label
from onnxsurgeon.dependency.names import name_of, result_of
from onnxsurgeon.dependency.rewrites import prune_dead
from onnxsurgeon.edit.apply import copied, with_free_initializers
from onnxsurgeon.errors import InfeasibleError, UsageError
from onnxsurgeon.ops.nodes import constant


def find(model: ir.Model, name: str) -> ir.Node:
    """The node of the main graph that is called `name`. Raises UsageError where none is."""
    names = {}
    for node in model.graph:
        if name_of(node) == name:
            return node
        names[name_of(node)] = node
    near = get_close_matches(name, names, n=3)
    raise UsageError(
        f"there is no node {name!r}",
        why=f"nearest names: {', '.join(near)}" if near else f"{len(names)} nodes, none like it",
        fix="see the names with onnxsurgeon inspect -v",
    )


def find_value(model: ir.Model, name: str) -> ir.Value:
    """What a node, or an input of the graph, called `name` gives."""
    for value in model.graph.inputs:
        if value.name == name:
            return value
    return result_of(find(model, name))


def same_named(model: ir.Model, value: ir.Value) -> ir.Value:
    """The value of the main graph that bears the name of `value`, which is of a copy."""
    graph = model.graph
    for known in (*graph.inputs, *(v for node in graph for v in node.outputs)):
        if known.name == value.name:
            return known
    raise UsageError(f"there is no value {value.name!r}", fix="see the names with onnxsurgeon inspect -v")


def dynamic_axes(labels: Labels, value: ir.Value) -> list[bool] | None:
    """Per axis, whether its length follows the dynamic dims; None where the shape is not known."""
    a, b = (facts[value].shape if value in facts else None for facts in labels.facts)
    return None if a is None or b is None or len(a) != len(b) else [n != m for n, m in zip(a, b, strict=True)]


def require_type(labels: Labels, source: ir.Value, target: ir.Value, what: str) -> None:
    """Raises UsageError where two values are not tensors of data of one element type."""
    facts = [labels.facts[0].get(value) for value in (source, target)]
    if any(f is None or f.value is not None for f in facts) or len({f.dtype for f in facts if f}) > 1:
        types = [str(ir.DataType(f.dtype)) if f else "unknown" for f in facts]
        raise UsageError(
            f"{what} makes no sense",
            why=f"{source.name} is {types[0]}, {target.name} is {types[1]}",
            fix="choose two of one type",
        )


def data_inputs(labels: Labels, node: ir.Node) -> list[tuple[int, ir.Value]]:
    """The inputs that are activations: neither weights nor sizes."""
    found = []
    for index, value in enumerate(node.inputs):
        fact = None if value is None or constant(value) is not None else labels.facts[0].get(value)
        if value is not None and fact is not None and fact.value is None:
            found.append((index, value))
    return found


class Draft:
    """A copy of `model` in which nodes and weights are made, under names that are free."""

    def __init__(self, model: ir.Model) -> None:
        self.model = copied(model)
        graph = self.model.graph
        nodes = list(graph.all_nodes())
        self.values = {v.name for n in nodes for v in (*n.inputs, *n.outputs) if v}
        self.values |= {v.name for v in (*graph.inputs, *graph.outputs, *graph.initializers.values())}
        self.nodes = {n.name for n in nodes}

    def find(self, name: str) -> ir.Node:
        return find(self.model, name)

    def unique(self, name: str, taken: set[str | None]) -> str:
        chosen, number = name, 1
        while chosen in taken:
            chosen, number = f"{name}_{number}", number + 1
        taken.add(chosen)
        return chosen

    def weight(self, name: str, array: Any, dtype: ir.DataType | None = None) -> ir.Value:
        """A new weight."""
        unique = self.unique(name, self.values)
        tensor = ir.Tensor(np.ascontiguousarray(array), dtype=dtype, name=unique)
        value = ir.Value(
            name=unique, shape=ir.Shape(tensor.shape.numpy()), type=ir.TensorType(tensor.dtype), const_value=tensor
        )
        self.model.graph.initializers[unique] = value
        return value

    def node(
        self,
        operator: str,
        inputs: Sequence[ir.Value | None],
        attributes: Sequence[ir.Attr] = (),
        *,
        name: str,
        after: ir.Node | None = None,
        before: ir.Node | None = None,
        domain: str = "",
    ) -> ir.Value:
        """The output of a new node, placed after or before another, or first in the graph."""
        unique = self.unique(name, self.nodes)
        made = ir.Node(domain, operator, inputs, list(attributes), name=unique)
        made.outputs[0].name = self.unique(unique, self.values)
        if after is not None:
            after.append(made)
        elif before is not None:
            before.prepend(made)
        else:
            first = next(iter(self.model.graph))
            first.prepend(made)
        return made.outputs[0]

    def feed(self, readers: Sequence[tuple[ir.Node, int]], value: ir.Value) -> None:
        for node, index in readers:
            node.replace_input_with(index, value)

    def stand_in(self, old: ir.Value, new: ir.Value) -> None:
        """Everything that reads `old` reads `new`, which is the graph's output where `old` was one."""
        if not old.is_graph_output():
            old.replace_all_uses_with(new)
            return
        producer = new.producer()
        if producer is None or new.is_graph_output() or new.uses():
            new = self.node("Identity", [new], name=f"{old.name}.same", after=old.producer())
        name, old.name = old.name, self.unique(f"{old.name}.was", self.values)
        new.name, new.type, new.shape = name, old.type, old.shape
        old.replace_all_uses_with(new, replace_graph_outputs=True)

    def put_out(self, old: ir.Value, new: ir.Value) -> None:
        """The graph's output is `new` now, under its name; `old` is still there."""
        name, old.name = old.name, self.unique(f"{old.name}.was", self.values)
        new.name, new.type, new.shape = name, old.type, old.shape
        outputs = self.model.graph.outputs
        for index, value in enumerate(outputs):
            if value is old:
                outputs[index] = new

    def sweep(self, *values: ir.Value | None) -> None:
        """Removes what only computed `values`."""
        for value in values:
            if value is not None:
                prune_dead(value)

    def sorted(self) -> ir.Model:
        """The model, with nodes in an order in which each stands after what it reads."""
        try:
            self.model.graph.sort()
        except ValueError as error:
            raise InfeasibleError(
                "the change would make the graph a cycle; nothing was changed",
                why=str(error),
                fix="choose a node that doesn't depend on the other",
            ) from None
        return with_free_initializers(self.model)


def require_fit(before: Labels, model: ir.Model, what: str) -> None:
    """Raises InfeasibleError where the shapes of a changed model don't fit together, or its outputs have others."""
    _forget_stated(before.model, model)
    try:
        labels = label(model, rewritten=False)
        refused = _refused(before, labels) if before.facts[0] and not labels.facts[0] else ""
        problems = (
            [refused] if refused else [*_misfits(before, labels), *_at_sizes(before, labels), *_parted(before, labels)]
        )
    except (AssertionError, IndexError, KeyError, TypeError, ValueError, ZeroDivisionError) as error:  # of some rule
        raise InfeasibleError(
            f"{what}: the shapes would not fit; nothing was changed",
            why=str(error),
            fix="choose nodes whose outputs have the same shape, widths apart",
        ) from error
    if problems:
        raise InfeasibleError(
            f"{what}: the shapes would not fit; nothing was changed",
            why="\n".join(problems[:5]),
            fix="choose nodes whose outputs have the same shape, widths apart",
        )


def _forget_stated(before: ir.Model, model: ir.Model) -> None:
    """Shapes that the file states are forgotten behind what changed: they may no longer hold, and would be believed."""
    old = {name_of(node): [v and v.name for v in node.inputs] for node in before.graph}
    touched: set[ir.Value] = set()
    for node in model.graph:
        inside = [inner for graph in _bodies(node) for inner in graph.all_nodes()]
        read = [v for n in (node, *inside) for v in n.inputs]
        if old.get(name_of(node)) == [v and v.name for v in node.inputs] and touched.isdisjoint(read):
            continue
        for value in (v for n in (node, *inside) for v in n.outputs):
            touched.add(value)
            if not value.is_graph_output():
                value.shape = None


def _bodies(node: ir.Node) -> list[ir.Graph]:
    return [a.value for a in node.attributes.values() if a.type == ir.AttributeType.GRAPH]


def _refused(before: Labels, labels: Labels) -> str:
    """The first node that can't work on the shapes that it gets, where one can't."""
    evaluator, model = labels.evaluator, labels.model
    facts = evaluator.input_facts(model, before.sizes[0])
    for node in model.graph:
        try:
            evaluator.visit(node, facts)
        except ValueError:
            shapes = [_text(facts[v].shape) for v in node.inputs if v is not None and v in facts]
            return f"{name_of(node)} ({node.op_type}) can't join shapes {' and '.join(shapes)}"
    return ""


def _misfits(before: Labels, labels: Labels) -> Iterator[str]:
    known = {v.name: f for v, f in before.facts[0].items()}
    moving = {v.name: dynamic_axes(before, v) for v in before.facts[0]}
    misfits = {call.name for call in before.calls.values() if call.misfit}
    for call in labels.calls.values():
        if call.misfit and call.name not in misfits:
            yield f"{call.name} ({call.operator}): {call.misfit}"
    for value, fact in ((v, labels.facts[0].get(v)) for node in labels.model.graph for v in node.outputs):
        old = known.get(value.name)
        if (fact is None or fact.shape is None) and (old is None or old.shape is not None):
            producer = value.producer()
            yield f"{name_of(producer) if producer else ''}: the shape of {value.name} can't be inferred"
        elif value.name in moving and dynamic_axes(labels, value) not in (moving[value.name], None):
            yield f"{value.name} would depend on the dynamic dims along other axes"
    for value in labels.model.graph.outputs:
        shapes = [None if f is None else f.shape for f in (known.get(value.name), labels.facts[0].get(value))]
        if shapes[0] != shapes[1]:
            yield f"output {value.name} would be {_text(shapes[1])} instead of {_text(shapes[0])}"


def _at_sizes(before: Labels, labels: Labels) -> Iterator[str]:
    """What would be empty, or of another rank, at these sizes of the dynamic dims."""
    for sizes in _sizes(before):
        try:
            old = {v.name: f.shape for v, f in _facts(before, sizes).items()}
        except ValueError:  # it has never worked on these
            continue
        said = f" where dims of the inputs are {', '.join(map(str, dict.fromkeys(sizes.values())))}" if sizes else ""
        try:
            new = _facts(labels, sizes)
        except ValueError as error:
            yield f"{error}{said}"
            continue
        for value, fact in new.items():
            was = old.get(value.name)
            if value.producer() is None or fact.shape is None:
                continue
            if 0 in fact.shape and 0 not in (was or ()):
                yield f"{value.name} would be empty: {_text(fact.shape)}{said}"
            elif was is not None and len(was) != len(fact.shape):
                yield f"{value.name} would be {_text(fact.shape)} instead of {_text(was)}{said}"


def _facts(labels: Labels, sizes: Sizes) -> Facts:
    return labels.facts[0] if sizes == labels.sizes[0] else labels.evaluator.run(sizes)


def _sizes(before: Labels) -> Iterator[Sizes]:
    """Sizes of the dynamic dims to look at: all ones, and those of all samples where the graph has bodies to choose."""
    yield {}
    if before.sizes[0] and any(_bodies(node) for node in before.model.graph):
        seen = [before.sizes[0]]
        for sizes in (sizes for sample in samples(before.model, {}) for sizes in sample):
            if sizes not in seen:
                seen.append(sizes)
                yield sizes


def _parted(before: Labels, labels: Labels) -> Iterator[str]:
    """What was equally long by the rule of a node, and no longer is."""
    old = {call.name: node for node, call in before.calls.items()}
    for call in labels.calls.values():
        node = old.get(call.name)
        if node is None:
            continue
        was = before.calls[node]
        shapes = [None if t is None else t.shape for t in call.inputs]
        if was.operator != call.operator or shapes == [None if t is None else t.shape for t in was.inputs]:
            continue
        for group in local_roles(before, node).tied:
            sizes = {shape[a] for i, a in group if i < len(shapes) and (shape := shapes[i]) and a < len(shape)}
            if len(sizes) > 1:
                yield f"{call.name} ({call.operator}) would read axes of {' and '.join(map(str, sorted(sizes)))}"


def _text(shape: Shape | None) -> str:
    return "of unknown shape" if shape is None else str(list(shape))
