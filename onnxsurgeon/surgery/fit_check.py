"""Checks that an edited graph fits together: types, shapes at several sizes, shapes of the outputs."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import partial

import onnx_ir as ir

from onnxsurgeon.arrays import Shape
from onnxsurgeon.dependency.axis_roles import local_roles
from onnxsurgeon.dependency.dynamic_dims import samples
from onnxsurgeon.dependency.facts import Facts, Sizes
from onnxsurgeon.dependency.labels import Labels, label
from onnxsurgeon.dependency.names import name_of
from onnxsurgeon.edit.step import Step
from onnxsurgeon.errors import InfeasibleError, ModelError, UsageError
from onnxsurgeon.surgery.find import dynamic_axes


def require_type(labels: Labels, source: ir.Value, target: ir.Value, what: str) -> None:
    """Raises UsageError unless two values are data tensors of the same element type."""
    facts = [labels.facts[0].get(value) for value in (source, target)]
    if any(f is None or f.value is not None for f in facts) or len({f.dtype for f in facts if f}) > 1:
        types = [str(ir.DataType(f.dtype)) if f else "unknown" for f in facts]
        raise UsageError(
            f"{what}: the element types differ",
            why=f"{source.name} is {types[0]}, {target.name} is {types[1]}",
            fix="choose nodes with the same element type",
        )


def checked(before: Labels, after: ir.Model, what: str, *, same: bool = False, resized: Collection[str] = ()) -> Step:
    """The step from `before` to `after`. same: the function must stay. resized: outputs that may get other lengths.

    Raises InfeasibleError if shapes don't fit together, or other outputs have other shapes.
    """
    _forget_stated(before.model, after)
    for value in after.graph.outputs:
        if value.name in resized:
            value.shape = None
    try:
        labels = label(after, rewritten=False)
        refused = _refused(before, labels) if before.facts[0] and not labels.facts[0] else ""
        laws = (partial(_misfits, resized=resized), _at_sizes, _parted)
        problems = [refused] if refused else [p for find in laws for p in find(before, labels)]
    except (
        AssertionError,
        ModelError,
        IndexError,
        KeyError,
        TypeError,
        ValueError,
        ZeroDivisionError,
    ) as error:  # of some rule
        problems = [str(error)]
    if problems:
        raise InfeasibleError(
            f"{what}: the shapes would not fit; nothing was changed",
            why="\n".join(problems[:5]),
            fix="choose nodes whose outputs have the same shape; only their widths may differ",
        )
    _restate(before, labels, resized)
    return Step(what, before.model, after, same=same)


def _restate(before: Labels, labels: Labels, resized: Collection[str]) -> None:
    """States the shapes of these outputs: lengths that stayed, or don't depend on the inputs."""
    was = {value.name: value for value in before.model.graph.outputs}
    for value in (v for v in labels.model.graph.outputs if v.name in resized):
        old = was[value.name]
        lengths, moving = labels.facts[0][value].shape, dynamic_axes(labels, value)
        if lengths is None or moving is None:
            continue
        stated = old.shape if old.shape is not None else ir.Shape([None] * len(lengths))
        dims = [dim if moves else length for dim, length, moves in zip(stated, lengths, moving, strict=True)]
        value.shape = ir.Shape(dims)


def _forget_stated(before: ir.Model, model: ir.Model) -> None:
    """Forgets the shapes in the file for all values after the change, because they may be wrong now."""
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
    """A text about the first node that can't take its inputs' shapes; empty if all can."""
    evaluator, model = labels.evaluator, labels.model
    facts = evaluator.begin(model, before.sizes[0])
    for node in model.graph:
        try:
            evaluator.visit(node, facts)
        except ValueError:
            shapes = [_text(facts[v].shape) for v in node.inputs if v is not None and v in facts]
            return f"{name_of(node)} ({node.op_type}) can't join shapes {' and '.join(shapes)}"
    return ""


def _misfits(before: Labels, labels: Labels, *, resized: Collection[str] = ()) -> Iterator[str]:
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
        ranks = {None if shape is None else len(shape) for shape in shapes}
        if shapes[0] != shapes[1] and not (value.name in resized and len(ranks) == 1):
            yield f"output {value.name} would be {_text(shapes[1])} instead of {_text(shapes[0])}"


def _at_sizes(before: Labels, labels: Labels) -> Iterator[str]:
    """Texts about values that would be empty, or have another rank, at some sizes of the dynamic dims."""
    for sizes in _sizes(before):
        try:
            old = {v.name: f.shape for v, f in _facts(before, sizes).items()}
        except ValueError:  # the original does not work on these sizes either
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
    """The sizes of the dynamic dims to check: all 1; if the graph has subgraphs, also those of all samples."""
    yield {}
    if before.sizes[0] and any(_bodies(node) for node in before.model.graph):
        seen = [before.sizes[0]]
        for sizes in (sizes for sample in samples(before.model, {}) for sizes in sample):
            if sizes not in seen:
                seen.append(sizes)
                yield sizes


def _parted(before: Labels, labels: Labels) -> Iterator[str]:
    """Texts about axes that an operator needs equally long, and that no longer are."""
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
