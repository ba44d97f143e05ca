"""Rotates linear streams, so that few of their channels carry most of the information.

A linear stream is a set of channels that only linear layers write and read, with nothing in between that treats
channels differently: sums, means, moves. For any invertible T the network computes the same if writers write T x and
readers undo it. With the right T some channels hardly matter to any reader, so cutting them costs little. (SliceGPT,
Ashkboos et al. 2024, uses principal components, which ignore the readers' weights.) Normalisations with fixed
statistics between a stream and its writers or readers are folded into these.
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
from onnxsurgeon.model.editor import Editor, copied
from onnxsurgeon.neurons.relations import Axes
from onnxsurgeon.ops.nodes import attributes, constant, operator_of
from onnxsurgeon.ops.registry import ChannelStatistics

FLOOR = 1e-4  # least variance of a direction, relative to the largest one: keeps a rotation invertible
TINY = 1e-30
Affine = tuple[FloatArray, FloatArray]  # scale and shift of each channel
Pass = tuple[FloatArray, Affine | None]  # between a layer and a stream: the rotation, and a normalisation


@dataclass(frozen=True)
class LinearStream:
    """Channels that can be rotated. roots: their classes, in their common order on all axes.

    readers, writers: layers, each with the normalisation between it and the stream, if any. constants: constants that
    are added or concatenated, as (node, input, axis). linear: the consumer of each layer.
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
    """The linear streams of a graph whose channels may be cut."""
    linear = {c.node: c for c in consumers(labels) if len(c.inputs) == 1}
    result = []
    for roots, nodes in _grouped_classes(labels):
        stream = None if labels.classes.frozen[roots].any() else _Trace(labels, roots, nodes, linear).stream()
        if stream is not None and stream.readers and stream.writers:
            result.append(stream)
    return result


def _grouped_classes(labels: Labels) -> Iterator[tuple[IntArray, list[ir.Node]]]:
    """(roots, nodes): classes that always share an axis, all of them in one order, and the nodes they pass through."""
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
    """Decides whether the neurons `roots`, which pass through `nodes`, are a linear stream."""

    labels: Labels
    roots: IntArray
    nodes: Sequence[ir.Node]
    linear: Mapping[ir.Node, Consumer]
    readers: dict[ir.Node, ir.Node | None] = field(default_factory=dict)
    writers: dict[ir.Node, ir.Node | None] = field(default_factory=dict)
    moves: set[ir.Node] = field(default_factory=set)  # nodes that only move elements, so a shift passes through them

    def stream(self) -> LinearStream | None:
        """The stream; None if some node treats its channels differently."""
        constants, norms = list[tuple[ir.Node, int, int]](), list[ir.Node]()
        for node in self.nodes:
            read = [self._on(self.labels.known(node, index)) for index in range(len(node.inputs))]
            written = [self._on(axes) for axes in self.labels.calls[node].results]
            if any(len(axes) > 1 for axes in (*read, *written)):
                return None
            if node in self.linear:
                if not self._layer(self.linear[node], read, written):
                    return None
            elif (statistics := _statistics(node)) is not None:
                if not (read[0] and written[0] and self._fixed(node, statistics)):
                    return None
                norms.append(node)
            elif self._alike(node, read, written):
                given = enumerate(read)
                constants += [(node, i, axes[0]) for i, axes in given if axes and constant(node.inputs[i]) is not None]
            else:
                return None
        if not all(self._before_readers(norm) or self._behind_writer(norm) for norm in norms):
            return None
        return LinearStream(self.roots, self.readers, self.writers, constants, self.linear)

    def _on(self, axes: Axes | None) -> list[int]:
        """The indices of the axes that carry the neurons."""
        root = self.labels.classes.root
        known = enumerate(axes or ())
        return [i for i, a in known if a is not None and np.array_equal(root[a], self.roots)]

    def _layer(self, consumer: Consumer, read: Sequence[list[int]], written: Sequence[list[int]]) -> bool:
        """Record a layer that reads or writes the stream; returns whether the layer allows a rotation."""
        linear, node = consumer.linear, consumer.node
        bias = node.inputs[linear.bias] if linear.bias is not None and linear.bias < len(node.inputs) else None
        if bias is not None and constant(bias) is None:
            return False
        for there, neurons, layers_ in (
            (read[linear.data], consumer.inputs, self.readers), (written[0], consumer.outputs, self.writers)
        ):  # fmt: skip
            if there and not np.array_equal(self.labels.classes.root[neurons[0]], self.roots):
                return False  # the neurons are on the axis of its rows
            if there:
                layers_[node] = None
        return True

    def _fixed(self, norm: ir.Node, statistics: ChannelStatistics) -> bool:
        """Whether a normalisation uses fixed statistics and constant parameters."""
        options = attributes(norm, self.labels.evaluator.version(norm))
        alone = not any(value.uses() or value.is_graph_output() for value in norm.outputs[1:])
        return alone and statistics.fixed(options) and all(constant(norm.inputs[i]) is not None for i in statistics)

    def _alike(self, node: ir.Node, read: Sequence[list[int]], written: Sequence[list[int]]) -> bool:
        """Whether a node is linear in the stream and treats all its channels alike."""
        operator = operator_of(node)
        if operator is None or (operator.random and operator.random(self.labels.calls[node])):
            return False  # noise of each channel does not turn with the stream
        given = [index for index, value in enumerate(node.inputs) if value is not None]
        holding = [index for index in given if read[index]]
        if not all(axes for axes, value in zip(written, node.outputs, strict=True) if value.uses()):
            return False
        if operator.linear_in == "all":
            return holding == given
        if operator.fills:
            return not np.any(attributes(node, self.labels.evaluator.version(node)).get(operator.fills, 0))
        if operator.moves != "no":
            self.moves.add(node)
        return len(holding) == 1 and (
            operator.linear_in == "each" or (holding == [0] and operator.linear_in == "first")
        )

    def _before_readers(self, norm: ir.Node) -> bool:
        """Whether only layers without padding read a normalisation; if so, records it as theirs."""
        readers, waiting, passed = list[ir.Node](), [norm.outputs[0]], set(self.nodes)
        while waiting:
            for node in {use.node for use in waiting.pop().uses()} & passed:
                if node in self.readers and not self.linear[node].pads:
                    readers.append(node)
                elif node in self.moves:
                    waiting += node.outputs
                else:
                    return False
        self.readers |= dict.fromkeys(readers, norm)
        return not norm.outputs[0].is_graph_output()

    def _behind_writer(self, norm: ir.Node) -> bool:
        """Whether a normalisation is the only reader of a writer; if so, records it as the writer's."""
        value = norm.inputs[0]
        while value is not None and len(value.uses()) == 1 and (node := value.producer()) is not None:
            if node in self.writers:
                self.writers[node] = norm
                return True
            value = node.inputs[0] if node in self.moves else None
        return False


def components(labels: Labels, stream: LinearStream, moments: Mapping[str, Moments]) -> FloatArray:
    """A rotation of a stream, shape (components, neurons), whose first components contribute most to its readers.

    The components are uncorrelated with equal variance, ordered by their contribution to the squared outputs of the
    readers; all readers have equal weight. moments: of the readers' inputs.
    """
    size = len(stream.roots)
    variance, contribution = np.zeros((size, size)), np.zeros((size, size))
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
        contribution += effect / max(float(np.vdot(effect, seen)), TINY)
    spread, axes = np.linalg.eigh(variance)
    spread = np.sqrt(np.maximum(spread, FLOOR * spread[-1]))
    half = axes * spread @ axes.T
    vectors = np.linalg.eigh(half @ contribution @ half)[1][:, ::-1]
    return np.asarray(vectors.T @ (axes / spread @ axes.T))


def rotate(labels: Labels, rotations: Mapping[str, FloatArray], linear_streams: Sequence[LinearStream]) -> ir.Model:
    """A model that computes the same as `labels.model` with rotated streams. rotations: by `key`, invertible."""
    editor = Editor(copied(labels.model))
    model = editor.model
    everything = np.ones(labels.relations.count, np.bool_)
    by_node = {layer.consumer.node: layer for layer in layers(labels, everything, editor)}
    twins = dict(zip(labels.model.graph.all_nodes(), model.graph.all_nodes(), strict=True))
    before, behind = dict[ir.Node, Pass](), dict[ir.Node, Pass]()
    for stream in linear_streams:
        rotation = rotations[stream.key]
        for node, index, axis in stream.constants:
            tensor = constant(twins[node].inputs[index])
            assert tensor is not None
            array = np.moveaxis(np.tensordot(rotation, tensor.numpy().astype(np.float64), (1, axis)), 0, axis)
            put(editor, twins[node], index, array)
        for layers_, passed in ((stream.readers, before), (stream.writers, behind)):
            passed |= {n: (rotation, None if norm is None else _affine(labels, norm)) for n, norm in layers_.items()}
    for node in dict.fromkeys((*before, *behind)):
        _rotate_layer(by_node[node], before.get(node), behind.get(node))
    for norm in dict.fromkeys(twins[n] for stream in linear_streams for n in stream.norms):
        data = norm.inputs[0]
        assert data is not None
        editor.replace(norm.outputs[0], data)
    return model


def _rotate_layer(layer: CutLayer, before: Pass | None, behind: Pass | None) -> None:
    """Write weights to a layer that read and write rotated streams."""
    matrix, bias = layer.matrix()[0], layer.bias()[0]
    if before is not None:
        rotation, norm = before
        taps = matrix.reshape(len(rotation), layer.consumer.kernel, -1)
        if norm is not None:
            scale, shift = norm
            bias = bias + np.einsum("c,cko->o", shift, taps)
            taps = scale[:, None, None] * taps
        matrix = np.tensordot(np.linalg.inv(rotation).T, taps, 1).reshape(matrix.shape)
    if behind is not None:
        rotation, norm = behind
        if norm is not None:
            scale, shift = norm
            matrix, bias = matrix * scale, bias * scale + shift
        matrix, bias = matrix @ rotation.T, rotation @ bias
    layer.write(matrix[None], bias[None])


def _affine(labels: Labels, norm: ir.Node) -> Affine:
    """Scale and shift of each channel by a normalisation with fixed statistics."""
    statistics = _statistics(norm)
    assert statistics is not None  # see `_Trace.stream`
    given = [constant(norm.inputs[index]) for index in statistics]
    numbers = [np.asarray(tensor.numpy(), np.float64) for tensor in given if tensor is not None]
    return statistics.affine(attributes(norm, labels.evaluator.version(norm)), numbers)


def _statistics(node: ir.Node) -> ChannelStatistics | None:
    """The inputs of a normalisation that hold statistics; None for other nodes."""
    operator = operator_of(node)
    return None if operator is None else operator.statistics
