"""The kernels that onnxruntime makes of a graph, and the axes whose lengths their times follow.

onnxruntime fuses nodes, so that a kernel may stand for several. The profiler calls it by the name of one of them, or of
the value that it writes. Here it is called by its first node: the product, if it holds one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import onnx_ir as ir

from onnxsurgeon.arrays import Ids
from onnxsurgeon.dependency.facts import UNKNOWN
from onnxsurgeon.dependency.labels import Labels
from onnxsurgeon.neurons.relations import Axes, Axis
from onnxsurgeon.ops.call import Tensor

BLOCKED = "_nchwc"  # behind the name of the value that a kernel writes, channels in blocks
FUSED = "fused "  # before the name of a node whose activation is in its kernel
DEPTH = 4  # nodes that may stand between a product and the output of its kernel
MOST = 2  # axes of which a time is a function; with more, those that are written count


@dataclass(frozen=True, eq=False)
class Kernel:
    """Nodes that run as one. name: that of the first one. nodes: in order.

    kind: operators, attributes, data types and shapes, with letters for the lengths that cuts may change: kernels of
    one kind take the same time at the same lengths. axes: the neurons on these, those of outputs first.
    """

    name: str
    nodes: tuple[ir.Node, ...]
    kind: str
    axes: tuple[Ids, ...]

    @property
    def called(self) -> str:
        """A name by which `Kernels` finds it."""
        return self.name if len(self.nodes) == 1 else f"{self.nodes[-1].outputs[0].name}{BLOCKED}"


class Kernels:
    """Finds the kernel that a name of onnxruntime's profiler means."""

    def __init__(self, labels: Labels) -> None:
        self.labels = labels
        self.nodes = {call.name: node for node, call in labels.calls.items()}
        self.writers = {v.name: node for node in labels.calls for v in node.outputs if v.name}
        self._found: dict[tuple[ir.Node, ...], Kernel] = {}

    def find(self, name: str) -> Kernel | None:
        """The kernel; None if nothing in the graph has that name. Where onnxruntime adds words, those before count."""
        value, blocked, _ = name.partition(BLOCKED)
        last = self.writers.get(value) if blocked else None
        if last is not None:
            return self._kernel(self._path(last))
        name = name.removeprefix(FUSED)
        while True:
            node = self.nodes.get(name) or self.writers.get(name)
            if node is not None or not name:
                return None if node is None else self._kernel((node,))
            name = name.rpartition("/")[0]

    def all(self) -> list[Kernel]:
        """A kernel for each node of the graph: products hold what onnxruntime fuses into them."""
        found, inside = list[Kernel](), set[ir.Node]()
        for last in reversed([node for node in self.labels.model.graph if node in self.labels.calls]):
            if last not in inside:
                path = self._path(last)
                found.append(self._kernel(path))
                inside |= set(path)
        return found[::-1]

    def _path(self, last: ir.Node) -> tuple[ir.Node, ...]:
        """The nodes from the nearest product that the kernel which ends with `last` may hold, to `last`."""
        waiting: list[tuple[ir.Node, ...]] = [(last,)]
        for path in waiting:
            operator = self.labels.operator(path[0])
            if operator is not None and operator.macs is not None:
                return path
            fused = operator is not None and (operator.kind in ("activation", "sum") or operator.statistics is not None)
            if fused and len(path) <= DEPTH:
                values = [v for v in path[0].inputs if v is not None and len(list(v.uses())) == 1]
                producers = [p for v in values if (p := v.producer()) is not None and p in self.labels.calls]
                waiting += [(p, *path) for p in producers]
        return (last,)

    def _kernel(self, nodes: tuple[ir.Node, ...]) -> Kernel:
        if nodes not in self._found:
            self._found[nodes] = self._described(nodes)
        return self._found[nodes]

    def _described(self, nodes: tuple[ir.Node, ...]) -> Kernel:
        letters = _Letters(self.labels)
        ends = self.labels.calls[nodes[-1]]
        results = [
            letters.shape(t, axes, value)
            for t, axes, value in zip(ends.outputs, ends.results, nodes[-1].outputs, strict=False)
        ]
        written = len(letters.axes)
        inside = {value for node in nodes for value in node.outputs}
        parts = []
        for node in nodes:
            operator, call = self.labels.operator(node), self.labels.calls[node]
            if operator is not None and operator.statistics is not None and len(nodes) > 1:
                continue  # folded into the product
            inputs = [
                "inside" if value in inside else letters.shape(tensor, self.labels.known(node, k), value)
                for k, (tensor, value) in enumerate(zip(call.inputs, node.inputs, strict=False))
            ]
            attributes = {k: letters.number(v) for k, v in sorted(call.attributes.items()) if _plain(v)}
            parts.append([node.domain, node.op_type, inputs, attributes])
        axes = letters.axes if len(letters.axes) <= MOST else letters.axes[: min(written, MOST)]
        name = self.labels.calls[nodes[0]].name
        return Kernel(name, nodes, json.dumps([results, parts], default=str), tuple(axes))


def by_output(graph: ir.Model) -> ir.Model:
    """`graph` with its nodes named after their first outputs: names of nodes may be missing, or the same."""
    for node in graph.graph.all_nodes():
        node.name = next((value.name for value in node.outputs if value.name), node.name)
    return graph


class _Letters:
    """Writes shapes with a letter for each distinct axis that a cut may shorten."""

    def __init__(self, labels: Labels) -> None:
        self._labels, self._letters = labels, dict[bytes, str]()
        self._lengths = dict[int, str]()
        self.axes: list[Ids] = []

    def shape(self, tensor: Tensor | None, axes: Axes | None, value: ir.Value | None) -> object:
        if tensor is None or tensor.shape is None or value is None:
            return None
        known = axes or (None,) * len(tensor.shape)
        dims = [self._dim(size, axis) for size, axis in zip(tensor.shape, known, strict=True)]
        return [self._labels.facts[0].get(value, UNKNOWN).dtype, "weight" if tensor.weight else "", *dims]

    def number(self, value: object) -> object:
        """An attribute; a letter if it is the length of an axis, such as the groups of a depthwise convolution."""
        return self._lengths.get(value, value) if isinstance(value, int) and value > 1 else value

    def _dim(self, size: int, axis: Axis) -> object:
        classes = self._labels.classes
        if axis is None or classes.frozen[axis].all():
            return size
        key = classes.root[axis].tobytes()
        if key not in self._letters:
            self._letters[key] = "abcdefghijklmnopqrstuvwxyz"[len(self.axes) % 26]
            self._lengths.setdefault(size, self._letters[key])
            self.axes.append(axis)
        return self._letters[key]


def _plain(value: object) -> bool:
    if isinstance(value, list | tuple):
        return len(value) <= 64 and all(isinstance(item, int | float | str) for item in value)
    return isinstance(value, int | float | str)
