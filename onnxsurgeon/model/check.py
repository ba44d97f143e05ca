"""The full check of onnx on a model, weights apart: types, stated shapes and attributes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import onnx
import onnx_ir as ir

from onnxsurgeon.errors import ProofError
from onnxsurgeon.model.read import SOURCE
from onnxsurgeon.model.write import structure


def require_valid(model: ir.Model) -> None:
    """Raises ProofError if the model fails the full check and its source passes it."""
    problem = fault(structure(model))
    source = model.graph.meta.get(SOURCE)
    if problem and (source is None or not fault(source)):
        raise ProofError(
            "the edited model fails the check of onnx; nothing was written", why=problem, fix="report this model"
        )


def fault(proto: onnx.ModelProto) -> str:
    """What the full check says against a model, in one line; empty if it passes. Weights in files are not read.

    Operators that onnx has withdrawn are not checked: its checker prints about them.
    """
    if any(
        not node.domain and not onnx.defs.has(node.op_type) for graph in _graphs(proto.graph) for node in graph.node
    ):
        return ""
    return _fault(lambda bare: onnx.checker.check_model(bare, full_check=True), proto)


def ill_typed(proto: onnx.ModelProto) -> str:
    """What onnx finds when it infers types and shapes: a node that can't take what it is given, or gives other than it
    is said to; empty if all fits."""
    return _fault(lambda bare: onnx.shape_inference.infer_shapes(bare, check_type=True, strict_mode=True), proto)


def _fault(check: Callable[[onnx.ModelProto], object], proto: onnx.ModelProto) -> str:
    try:
        check(_without_files(proto))
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError) as error:
        return " ".join(str(error).split())[:500]
    return ""


def _without_files(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which weights that are in files are inputs."""
    bare = onnx.ModelProto()
    bare.CopyFrom(proto)
    known = {value.name for value in bare.graph.input}
    for graph in _graphs(bare.graph):
        weights, nodes = list(graph.initializer), list(graph.node)
        held = [(node, a.t) for node in nodes for a in node.attribute if _apart(a.t) and len(node.output) == 1]
        named = [(t, t.name) for t in weights if _apart(t)] + [(t, node.output[0]) for node, t in held]
        if not named:
            continue
        gone = {id(node) for node, _ in held}
        kept, others = [t for t in weights if not _apart(t)], [node for node in nodes if id(node) not in gone]
        del graph.initializer[:], graph.node[:]
        graph.initializer.extend(kept)
        graph.node.extend(others)
        for tensor, name in named:
            if name not in known:
                known.add(name)
                bare.graph.input.append(onnx.helper.make_tensor_value_info(name, tensor.data_type, tensor.dims))
    return bare


def _apart(tensor: onnx.TensorProto) -> bool:
    return bool(tensor.data_location == onnx.TensorProto.EXTERNAL)


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs):
                yield from _graphs(inner)
