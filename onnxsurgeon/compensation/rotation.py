"""Linear streams in other coordinates, so that few of their neurons carry most of what is said.

A stream is neurons that only linear nodes write and read, and that nothing between them tells apart: sums, means,
moves. With any invertible T the network computes the same when writers write T x and readers undo it. In coordinates
of the right T some neurons hardly matter to any reader, and are cut at little cost (SliceGPT, Ashkboos et al. 2024,
takes principal components; what readers make of x is not in those). Normalisations with fixed statistics that stand
between a stream and its writers or readers are folded into those.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import FloatArray, IntArray
from onnxsurgeon.calibration.linear_layers import Consumer, consumers
from onnxsurgeon.calibration.statistics import Moments, space_key
from onnxsurgeon.compensation.cut_layers import CutLayer, layers, put
from onnxsurgeon.dependency.labels import Labels
from onnxsurgeon.dependency.rewrites import prune_dead
from onnxsurgeon.edit.apply import copied
from onnxsurgeon.neurons.relations import Axes
from onnxsurgeon.ops.linear import ALIKE, PRODUCTS, STATISTICS, SUMMED, ZEROS
from onnxsurgeon.ops.nodes import attributes, constant, domain_of, operator_of

FLOOR = 1e-4  # of the largest variance: what a direction is taken to have at least, or a turn could not be undone
TINY = 1e-30
Affine = tuple[FloatArray, FloatArray]  # scale and shift of every neuron
Pass = tuple[FloatArray, Affine | None]  # between a layer and a stream: the turn, and a normalisation


@dataclass(frozen=True)
class LinearStream:
    """Neurons that can be turned. roots: their classes, in the order in which they lie on every axis.

    readers, writers: layers, each with the normalisation that stands between it and the stream. constants: what is
    added or joined, as node, input and axis. linear: the consumer that a layer is.
    """

    roots: IntArray
    readers: Mapping[ir.Node, ir.Node | None]
    writers: Mapping[ir.Node, ir.Node | None]
    constants: Sequence[tuple[ir.Node, int, int]]
    linear: Mapping[ir.Node, Consumer]

    @property
    def key(self) -> str:
        return space_key(self.roots)

    @property
    def norms(self) -> set[ir.Node]:
        return {norm for norm in (*self.readers.values(), *self.writers.values()) if norm is not None}


def streams(labels: Labels) -> list[LinearStream]:
    """The streams of a graph whose neurons may be cut."""
    linear = {c.node: c for c in consumers(labels) if len(c.inputs) == 1}
    found = []
    for roots, nodes in _together(labels):
        stream = None if labels.classes.frozen[roots].any() else _Trace(labels, roots, nodes, linear).stream()
        if stream is not None and stream.readers and stream.writers:
            found.append(stream)
    return found


def _together(labels: Labels) -> Iterator[tuple[IntArray, list[ir.Node]]]:
    """Classes that lie on axes together, always all of them in one order, and the nodes that they pass."""
    passed: dict[bytes, dict[ir.Node, None]] = {}
    for node, call in labels.calls.items():
        known = [labels.known(node, index) for index in range(len(node.inputs))]
        for axis in (axis for axes in (*known, *call.results) for axis in axes or () if axis is not None):
            passed.setdefault(labels.classes.root[axis].tobytes(), {})[node] = None
    lists = [np.frombuffer(key, np.int64) for key in passed]
    owner, apart = np.full(len(labels.classes.root), -1), set[int]()
    for number, roots in enumerate(lists):
        others = {int(n) for n in np.unique(owner[roots])} - {-1}
        if others or len(np.unique(roots)) < len(roots):
            apart |= {number, *others}
        owner[roots] = number
    every = enumerate(zip(lists, passed.values(), strict=True))
    return ((roots, list(nodes)) for number, (roots, nodes) in every if number not in apart)


@dataclass
class _Trace:
    """Whether some neurons are a stream."""

    labels: Labels
    roots: IntArray
    nodes: Sequence[ir.Node]
    linear: Mapping[ir.Node, Consumer]
    readers: dict[ir.Node, ir.Node | None] = field(default_factory=dict)
    writers: dict[ir.Node, ir.Node | None] = field(default_factory=dict)
    moves: set[ir.Node] = field(default_factory=set)  # of elements, which keep a shift as it is

    def stream(self) -> LinearStream | None:
        """None where they are told apart."""
        constants, norms = list[tuple[ir.Node, int, int]](), list[ir.Node]()
        for node in self.nodes:
            carried = [self._on(self.labels.known(node, index)) for index in range(len(node.inputs))]
            made = [self._on(axes) for axes in self.labels.calls[node].results]
            key = domain_of(node), node.op_type
            if any(len(axes) > 1 for axes in (*carried, *made)):
                return None
            if node in self.linear:
                if not self._layer(self.linear[node], carried, made):
                    return None
            elif key in STATISTICS:
                if not (carried[0] and made[0] and self._fixed(node)):
                    return None
                norms.append(node)
            elif self._alike(node, carried, made):
                held = [(i, axes[0]) for i, axes in enumerate(carried) if axes and constant(node.inputs[i]) is not None]
                constants += [(node, index, axis) for index, axis in held]
            else:
                return None
        if not all(self._before_readers(norm) or self._behind_writer(norm) for norm in norms):
            return None
        return LinearStream(self.roots, self.readers, self.writers, constants, self.linear)

    def _on(self, axes: Axes | None) -> list[int]:
        """The axes that carry the neurons."""
        root = self.labels.classes.root
        known = enumerate(axes or ())
        return [i for i, a in known if a is not None and np.array_equal(root[a], self.roots)]

    def _layer(self, consumer: Consumer, carried: Sequence[list[int]], made: Sequence[list[int]]) -> bool:
        """Notes a layer that reads or writes them."""
        linear, node = consumer.linear, consumer.node
        bias = node.inputs[linear.bias] if linear.bias is not None and linear.bias < len(node.inputs) else None
        if bias is not None and constant(bias) is None:
            return False
        for there, neurons, layers_ in (
            (carried[linear.data], consumer.inputs, self.readers), (made[0], consumer.outputs, self.writers)
        ):  # fmt: skip
            if there and not np.array_equal(self.labels.classes.root[neurons[0]], self.roots):
                return False  # they are its rows
            if there:
                layers_[node] = None
        return True

    def _fixed(self, norm: ir.Node) -> bool:
        """Whether a normalisation is the same for all data."""
        held, known = STATISTICS[domain_of(norm), norm.op_type], attributes(norm, self.labels.evaluator.version(norm))
        alone = not any(value.uses() or value.is_graph_output() for value in norm.outputs[1:])
        return alone and not known.get("training_mode") and all(constant(norm.inputs[i]) is not None for i in held)

    def _alike(self, node: ir.Node, carried: Sequence[list[int]], made: Sequence[list[int]]) -> bool:
        """Whether a node treats all of them alike, and linearly."""
        key, operator = (domain_of(node), node.op_type), operator_of(node)
        given = [index for index, value in enumerate(node.inputs) if value is not None]
        holding = [index for index in given if carried[index]]
        if not all(axes for axes, value in zip(made, node.outputs, strict=True) if value.uses()):
            return False
        moves = "no" if operator is None else operator.moves
        if key in SUMMED or moves == "joined":
            return holding == given
        if key in ZEROS:
            return not np.any(attributes(node, self.labels.evaluator.version(node)).get("value", 0))
        if moves != "no":
            self.moves.add(node)
        return len(holding) == 1 and (key in PRODUCTS or (holding == [0] and (moves != "no" or key in ALIKE)))

    def _before_readers(self, norm: ir.Node) -> bool:
        """Whether only layers read a normalisation, which can take its place."""
        found, waiting, passed = list[ir.Node](), [norm.outputs[0]], set(self.nodes)
        while waiting:
            for node in {use.node for use in waiting.pop().uses()} & passed:
                if node in self.readers and not self.linear[node].pads:
                    found.append(node)
                elif node in self.moves:
                    waiting += node.outputs
                else:
                    return False
        self.readers |= dict.fromkeys(found, norm)
        return not norm.outputs[0].is_graph_output()

    def _behind_writer(self, norm: ir.Node) -> bool:
        """Whether it reads one layer alone, which is read by nothing else."""
        value = norm.inputs[0]
        while value is not None and len(value.uses()) == 1 and (node := value.producer()) is not None:
            if node in self.writers:
                self.writers[node] = norm
                return True
            value = node.inputs[0] if node in self.moves else None
        return False


def components(labels: Labels, stream: LinearStream, moments: Mapping[str, Moments]) -> FloatArray:
    """A turn of a stream, shape (components, neurons): the first ones say most of what its readers make of it.

    They are uncorrelated and of one variance (where the neurons have any), in the order of the squares of what the
    readers' outputs owe to them; each reader counts alike. moments: of what readers see.
    """
    size = len(stream.roots)
    variance, owed = np.zeros((size, size)), np.zeros((size, size))
    for node, norm in stream.readers.items():
        consumer = stream.linear[node]
        taps = size, consumer.kernel
        seen = np.einsum("akbk->ab", moments[consumer.key].covariance[0].reshape(*taps, *taps)) / consumer.kernel
        weights = consumer.matrix()[0].reshape(*taps, -1)
        if norm is not None:
            scale = _affine(labels, norm)[0]
            back = np.divide(1, scale, out=np.zeros_like(scale), where=scale != 0)
            seen, weights = back[:, None] * seen * back, weights * scale[:, None, None]
        effect = np.einsum("ako,bko->ab", weights, weights)
        variance += seen / max(float(np.trace(seen)), TINY)
        owed += effect / max(float(np.vdot(effect, seen)), TINY)
    spread, axes = np.linalg.eigh(variance)
    spread = np.sqrt(np.maximum(spread, FLOOR * spread[-1]))
    half = axes * spread @ axes.T
    found = np.linalg.eigh(half @ owed @ half)[1][:, ::-1]
    return np.asarray(found.T @ (axes / spread @ axes.T))


def turned(labels: Labels, turns: Mapping[str, FloatArray], found: Sequence[LinearStream]) -> ir.Model:
    """A model that computes what `labels.model` does, its streams turned. turns: by key of a stream, invertible."""
    model = copied(labels.model)
    everything = np.ones(labels.relations.count, np.bool_)
    by_node = {layer.consumer.node: layer for layer in layers(labels, everything, model)}
    twins = dict(zip(labels.model.graph.all_nodes(), model.graph.all_nodes(), strict=True))
    before, behind = dict[ir.Node, Pass](), dict[ir.Node, Pass]()
    for stream in found:
        turn = turns[stream.key]
        for node, index, axis in stream.constants:
            tensor = constant(twins[node].inputs[index])
            assert tensor is not None
            array = np.moveaxis(np.tensordot(turn, tensor.numpy().astype(np.float64), (1, axis)), 0, axis)
            put(model, twins[node], index, array)
        for layers_, passed in ((stream.readers, before), (stream.writers, behind)):
            passed |= {n: (turn, None if norm is None else _affine(labels, norm)) for n, norm in layers_.items()}
    for node in dict.fromkeys((*before, *behind)):
        _turn(by_node[node], before.get(node), behind.get(node))
    for norm in dict.fromkeys(twins[n] for stream in found for n in stream.norms):
        data = norm.inputs[0]
        assert data is not None
        norm.outputs[0].replace_all_uses_with(data)
        prune_dead(norm.outputs[0])
    return model


def _turn(layer: CutLayer, before: Pass | None, behind: Pass | None) -> None:
    """Gives a layer the weights that read and write turned streams."""
    matrix, bias = layer.matrix()[0], layer.bias()[0]
    if before is not None:
        turn, norm = before
        taps = matrix.reshape(len(turn), layer.consumer.kernel, -1)
        if norm is not None:
            scale, shift = norm
            bias = bias + np.einsum("c,cko->o", shift, taps)
            taps = scale[:, None, None] * taps
        matrix = np.tensordot(np.linalg.inv(turn).T, taps, 1).reshape(matrix.shape)
    if behind is not None:
        turn, norm = behind
        if norm is not None:
            scale, shift = norm
            matrix, bias = matrix * scale, bias * scale + shift
        matrix, bias = matrix @ turn.T, turn @ bias
    layer.write(matrix[None], bias[None])


def _affine(labels: Labels, norm: ir.Node) -> Affine:
    """What a normalisation with fixed statistics does to every channel."""
    held = STATISTICS[domain_of(norm), norm.op_type]
    scale, shift, mean, variance = (
        np.asarray(tensor.numpy(), np.float64)
        for index in (held.scale, held.shift, held.mean, held.variance)
        if (tensor := constant(norm.inputs[index])) is not None
    )
    known = attributes(norm, labels.evaluator.version(norm))
    factor = scale / np.sqrt(variance + float(known.get("epsilon", 1e-5)))
    return factor, shift - mean * factor
