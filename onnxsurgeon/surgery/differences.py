"""How two graphs differ, node by node: what came, what went, what looks different."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import Shape
from onnxsurgeon.dependency.labels import Labels, label
from onnxsurgeon.dependency.names import name_of
from onnxsurgeon.model.model import Source, as_model, named
from onnxsurgeon.notebook import Shown
from onnxsurgeon.ops.nodes import attributes, constant
from onnxsurgeon.surgery.widths import value_axis


@dataclass(frozen=True)
class NodeLook:
    """How a node looks. width: channels of its first output; None if it has none. weights: the shapes of what it reads
    of constants. inputs: names of the nodes and graph inputs that feed it. attributes: as text, defaults included."""

    operator: str
    width: int | None
    weights: tuple[Shape, ...]
    inputs: tuple[str, ...]
    attributes: Mapping[str, str]

    @property
    def weight(self) -> Shape | None:
        """The shape of its largest matrix; None without one."""
        return max((shape for shape in self.weights if len(shape) > 1), key=prod, default=None)


@dataclass(frozen=True)
class NodeDifference:
    """A node that is not the same in both graphs. before, after: None where it is not there.

    changed: what differs, in words: operator, width, weights, inputs, names of attributes, or values (the numbers of
    its weights alone). follower: it has the neurons of one of its inputs.
    """

    node: str
    before: NodeLook | None
    after: NodeLook | None
    changed: tuple[str, ...]
    follower: bool

    @property
    def follows(self) -> bool:
        """Whether it is only as wide as its input, which changed."""
        alike = self.before is not None and self.after is not None and self.before.weight == self.after.weight
        return alike and self.follower and {"width"} <= {*self.changed} <= {"width", "weights"}


@dataclass(frozen=True)
class End:
    """An input or output of a graph that differs. before, after: its type and shape as text; None where it is not."""

    name: str
    kind: str
    before: str | None
    after: str | None


@dataclass(frozen=True, repr=False)
class Differences(Shown):
    """How two models differ. opsets: by domain, before and after, where they differ."""

    models: tuple[str, str]
    opsets: Mapping[str, tuple[int | None, int | None]]
    ends: tuple[End, ...]
    nodes: tuple[NodeDifference, ...]

    @property
    def same(self) -> bool:
        """Whether there is no difference."""
        return not (self.opsets or self.ends or self.nodes)

    def line(self) -> str:
        if self.same:
            return f"{self.models[0]} and {self.models[1]} are the same graph, with the same weights"
        counts = {
            "added": sum(row.before is None for row in self.nodes),
            "removed": sum(row.after is None for row in self.nodes),
            "changed": sum(row.before is not None and row.after is not None for row in self.nodes),
        }
        return ", ".join(f"{count} {word}" for word, count in counts.items())

    def table(self) -> Iterator[Sequence[object]]:
        yield "node", "before", "after", "changed"
        for row in self.nodes:
            yield row.node, row.before and row.before.operator, row.after and row.after.operator, ", ".join(row.changed)


def diff(before: Source, after: Source) -> Differences:
    """How the graphs of two models differ; nodes are told by their names.

    Raises UsageError or ModelError if a model can't be read.
    """
    models = [as_model(source).ir for source in (before, after)]
    labels = [label(model, rewritten=False) for model in models]
    domains = dict.fromkeys(domain for model in models for domain in model.opset_imports)
    versions = {
        domain: (models[0].opset_imports.get(domain), models[1].opset_imports.get(domain)) for domain in domains
    }
    return Differences(
        (named(before), named(after)),
        {domain or "ai.onnx": pair for domain, pair in versions.items() if pair[0] != pair[1]},
        tuple(ends(*models)),
        tuple(node_differences(labels[0], labels[1], values=True)),
    )


def ends(before: ir.Model, after: ir.Model) -> Iterator[End]:
    """The inputs and outputs that are not the same in both graphs."""
    for kind in ("input", "output"):
        sides = [
            {value.name or "": f"{value.dtype} {value.shape}" for value in getattr(model.graph, f"{kind}s")}
            for model in (before, after)
        ]
        for name in dict.fromkeys([*sides[0], *sides[1]]):
            if sides[0].get(name) != sides[1].get(name):
                yield End(name, kind, sides[0].get(name), sides[1].get(name))


def node_differences(before: Labels, after: Labels, *, values: bool = False) -> Iterator[NodeDifference]:
    """The nodes that are not the same in both graphs. values: compare the numbers of weights, too, which reads them."""
    old, new = _by_name(before), _by_name(after)
    followers = _followers(before)
    for name in dict.fromkeys([*old, *new]):
        was = _look(before, old[name]) if name in old else None
        now = _look(after, new[name]) if name in new else None
        if was is None or now is None:
            yield NodeDifference(name, was, now, (), follower=False)
            continue
        changed = tuple(_changed(was, now))
        if not changed and values and not _same_values(old[name], new[name]):
            changed = ("values",)
        if changed:
            yield NodeDifference(name, was, now, changed, follower=name in followers)


def _changed(was: NodeLook, now: NodeLook) -> Iterator[str]:
    width = now.width or (1 if was.width else None)  # an axis of size 1 has no neurons
    pairs = {
        "operator": (was.operator, now.operator), "width": (was.width, width), "weights": (was.weights, now.weights),
        "inputs": (was.inputs, now.inputs),
    }  # fmt: skip
    yield from (word for word, (a, b) in pairs.items() if a != b)
    if was.operator == now.operator:
        names = dict.fromkeys([*was.attributes, *now.attributes])
        yield from (name for name in names if was.attributes.get(name) != now.attributes.get(name))


def _by_name(labels: Labels) -> dict[str, ir.Node]:
    return {name_of(node): node for node in labels.model.graph}


def _look(labels: Labels, node: ir.Node) -> NodeLook:
    found = value_axis(labels, node.outputs[0]) if node.outputs else None
    held = [(v, constant(v)) for v in node.inputs if v is not None]
    fed = [v for v, tensor in held if tensor is None]
    return NodeLook(
        node.op_type,
        None if found is None else len(found[1]),
        tuple(tuple(tensor.shape.numpy()) for _, tensor in held if tensor is not None),
        tuple(name_of(maker) if (maker := v.producer()) is not None else v.name or "" for v in fed),
        {name: _text(value) for name, value in attributes(node, labels.evaluator.version(node)).items()},
    )


def _text(value: Any) -> str:
    """An attribute in a few words."""
    if isinstance(value, np.ndarray) and value.size > 1:
        return f"{value.dtype} {'x'.join(map(str, value.shape))}"
    if isinstance(value, ir.Graph):
        return f"a graph of {len(value)} nodes"
    return str(list(value) if isinstance(value, tuple) else value)[:100]


def _same_values(a: ir.Node, b: ir.Node) -> bool:
    """Whether two nodes that look alike read the same numbers."""
    for one, other in zip(a.inputs, b.inputs, strict=True):
        x, y = constant(one), constant(other)
        if x is not None and y is not None and x is not y and x.tobytes() != y.tobytes():
            return False
    return True


def _followers(labels: Labels) -> set[str]:
    """Names of the nodes that have the same neurons as one of their inputs."""
    root, found = labels.classes.root, set[str]()
    for node in labels.model.graph:
        own = value_axis(labels, node.outputs[0]) if node.outputs else None
        for value in node.inputs:
            fed = value_axis(labels, value) if own is not None and value is not None else None
            if own is not None and fed is not None and np.array_equal(root[own[1]], root[fed[1]]):
                found.add(name_of(node))
    return found
