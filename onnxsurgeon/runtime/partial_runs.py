"""Runs a model in segments over many samples, and keeps only the values between two segments."""

from __future__ import annotations

import weakref
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir

from onnxsurgeon.arrays import Arrays
from onnxsurgeon.errors import ModelError
from onnxsurgeon.files import drafts
from onnxsurgeon.model.read import folder_of, referring
from onnxsurgeon.model.widening import NARROW, is_narrow, widen
from onnxsurgeon.ops.nodes import constant, is_constant
from onnxsurgeon.options.shared import Device
from onnxsurgeon.runtime.meter import meter
from onnxsurgeon.runtime.session import Session

FOUND = "onnxsurgeon.found."  # begins the name of an output that is an input, too


def reads(node: ir.Node) -> list[ir.Value]:
    """The values that a node and its subgraphs read from outside."""
    bodies = [a.value for a in node.attributes.values() if a.type == ir.AttributeType.GRAPH]
    nodes = [inner for body in bodies for inner in body.all_nodes()]
    inside = {v for inner in nodes for v in inner.outputs} | {v for body in bodies for v in body.inputs}
    values = [
        *node.inputs,
        *(v for inner in nodes for v in inner.inputs),
        *(v for body in bodies for v in body.outputs),
    ]
    return [v for v in dict.fromkeys(values) if v is not None and v not in inside]


def nodes_for(
    model: ir.Model, wanted: Iterable[ir.Value], given: Collection[ir.Value] = ()
) -> tuple[list[ir.Node], list[ir.Value]]:
    """(nodes, fed): the nodes that compute `wanted` from `given` and the inputs, in order, and the values they use."""
    nodes, fed = set[ir.Node](), dict[ir.Value, None]()
    open_ = list(wanted)
    while open_:
        value = open_.pop()
        if value in given or (value.is_graph_input() and not value.is_initializer()):
            fed[value] = None
        elif (producer := value.producer()) is not None and producer not in nodes:
            nodes.add(producer)
            open_ += reads(producer)
    return [node for node in model.graph if node in nodes], list(fed)


def serialise(model: ir.Model, nodes: Sequence[ir.Node], fed: Arrays, outputs: Iterable[ir.Value]) -> bytes:
    """A serialised model of these nodes and their weights. fed: example arrays for its inputs.

    Raises ModelError if the weights are too large for a serialised model.
    """
    return bytes(piece(model, nodes, fed, outputs, refer=False)[0].SerializeToString())


def piece(
    model: ir.Model, nodes: Sequence[ir.Node], fed: Arrays, outputs: Iterable[ir.Value], *, refer: bool = True
) -> tuple[onnx.ModelProto, str]:
    """(proto, folder): a model of these nodes, with bfloat16 in float32. fed: example arrays for its inputs.

    What is fed and computed anew, too, is an output by the name of FOUND and its own. refer: refer to weights in files
    of one folder, instead of holding them.
    Raises ModelError if the weights that it holds are too large for a serialised model.
    """
    graph, folder, size, narrow = onnx.GraphProto(name="piece"), "", 0, is_narrow(nodes)
    for value in dict.fromkeys(v for node in nodes for v in reads(node) if v.is_initializer()):
        tensor = value.const_value
        assert tensor is not None
        place = folder_of(tensor) if refer and tensor.dtype != NARROW else ""
        if place and folder in ("", place):
            folder = place
            graph.initializer.append(referring(tensor, value.name or ""))
            continue
        size += tensor.nbytes
        if size >= 2**31 - 2**20:
            raise ModelError(
                "a part of the model is too large to run", why="it has 2 GB of weights", fix="leave `data` out"
            )
        graph.initializer.append(onnx.numpy_helper.from_array(tensor.numpy(), value.name))
    graph.node.extend(ir.serde.serialize_node(node) for node in nodes)
    stated = {value.name: value.shape for value in model.graph.inputs}
    for name, array in fed.items():
        dtype, shape = onnx.helper.np_dtype_to_tensor_dtype(array.dtype), stated.get(name)
        dims: list[int | None] = [None] * array.ndim
        if array.ndim == 1 and shape is not None and isinstance(shape[0], int):
            dims = [shape[0]]  # it may hold sizes: onnxruntime asks how many
        graph.input.append(onnx.helper.make_tensor_value_info(name, dtype, dims))
    graph.output.extend(onnx.ValueInfoProto(name=value.name) for value in outputs)
    both = fed.keys() & {value.name for value in graph.output}
    for node in graph.node if both else ():
        node.output[:] = [FOUND + name if name in both else name for name in node.output]
    for value in graph.output:
        value.name = FOUND + value.name if value.name in both else value.name
    opsets = [onnx.helper.make_opsetid(domain, version) for domain, version in model.opset_imports.items()]
    made = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=model.ir_version)
    if narrow:
        wide = ir.from_proto(made)
        widen(wide)
        made = ir.to_proto(wide)
    return made, folder


class Segment:
    """The part of a model that computes `wanted`. Its weights are read at the first run."""

    def __init__(self, model: ir.Model, wanted: Iterable[ir.Value], device: Device, given: Collection[ir.Value] = ()):
        self.model, self.device = model, device
        self.wanted = [v for v in dict.fromkeys(wanted) if v not in given and v.producer() is not None]
        self.nodes, self.fed = nodes_for(model, self.wanted, given)
        self.session: Session | None = None
        self.share = meter().share(self.nodes)

    def run(self, feed: Arrays, size: int = 1) -> Arrays:
        """`feed`, which holds `size` samples, plus the computed values."""
        if not self.nodes:
            return feed
        meter().add(size, self.share)
        fed = {name: feed[name] for name in (v.name or "" for v in self.fed)}
        if self.session is None:
            proto, folder = piece(self.model, self.nodes, fed, self.wanted)
            self.session = Session(proto.SerializeToString(), self.device, folder=folder)
        return {**feed, **self.session.run(fed)}


class Store:
    """Arrays by name and batch, in memory up to `limit` bytes and in a temporary folder beyond."""

    def __init__(self, limit: float) -> None:
        self.limit, self.used = limit, 0
        self.arrays: dict[tuple[str, int], np.ndarray | Path] = {}

    @cached_property
    def folder(self) -> Path:
        """The temporary folder, removed together with the store."""
        made = drafts()
        weakref.finalize(self, made.cleanup)
        return Path(made.name)

    def put(self, name: str, batch: int, array: np.ndarray) -> None:
        size = getattr(array, "nbytes", 0)  # a sequence has none
        if size and self.used + size > self.limit:
            path = self.folder / f"{len(self.arrays)}-{abs(hash(name))}-{batch}.npy"
            np.save(path, array)
            self.arrays[name, batch] = path
        else:
            self.used += size
            self.arrays[name, batch] = array

    def get(self, name: str, batch: int) -> np.ndarray:
        stored = self.arrays[name, batch]
        return np.load(stored) if isinstance(stored, Path) else stored

    def drop(self, name: str, batches: int) -> None:
        for batch in range(batches):
            stored = self.arrays.pop((name, batch), None)
            if isinstance(stored, Path):
                stored.unlink()
            elif stored is not None:
                self.used -= getattr(stored, "nbytes", 0)


def _behind(model: ir.Model, known: Collection[ir.Value]) -> list[ir.Node]:
    """The nodes that follow from some values, in the order of the graph."""
    found, values = list[ir.Node](), set(known)
    for node in model.graph:
        if not values.isdisjoint(reads(node)):
            found.append(node)
            values.update(node.outputs)
    return found


class Walk:
    """Runs a model over all batches up to one value after another. Weights of later nodes may change in between.

    feeds: arrays by name, per batch. sizes: the samples of each batch. known: the values whose arrays these are, in
    place of the model's inputs; then only what follows from them can be run.
    """

    def __init__(
        self, model: ir.Model, feeds: Iterable[Arrays], sizes: Sequence[int], *, limit: float, device: Device = "auto",
        known: Collection[ir.Value] | None = None,
    ) -> None:  # fmt: skip
        self.model, self.device, self.sizes = model, device, sizes
        self.store = Store(limit)
        self.live = {v for v in model.graph.inputs if not v.is_initializer()} if known is None else set(known)
        self.batches = 0
        for feed in feeds:
            for value in self.live:
                self.store.put(value.name or "", self.batches, feed[value.name or ""])
            self.batches += 1
        behind = list(model.graph) if known is None else _behind(model, known)
        self.pending = dict.fromkeys(n for n in behind if not is_constant(n))

    def to(self, value: ir.Value) -> Iterator[np.ndarray]:
        """The arrays of `value`, one per batch."""
        if value not in self.live:
            self._advance(value)
        return (self.store.get(value.name or "", batch) for batch in range(self.batches))

    def _advance(self, value: ir.Value) -> None:
        for node in nodes_for(self.model, [value], self.live)[0]:
            self.pending.pop(node, None)
        needed = {v for node in self.pending for v in reads(node)} | {value, *self.model.graph.outputs}
        nodes = set(nodes_for(self.model, [value], self.live)[0])
        computed = [v for node in nodes for v in node.outputs if v in needed and constant(v) is None]
        piece = Segment(self.model, computed, self.device, self.live)
        for batch in range(self.batches):
            arrays = piece.run(
                {v.name or "": self.store.get(v.name or "", batch) for v in piece.fed}, self.sizes[batch]
            )
            for result in computed:
                self.store.put(result.name or "", batch, arrays[result.name or ""])
        self.live |= set(computed)
        for old in self.live - needed:
            self.live.remove(old)
            self.store.drop(old.name or "", self.batches)
