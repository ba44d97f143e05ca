"""The full check of onnx on a model, weights apart: types, stated shapes and attributes."""

from __future__ import annotations

from collections.abc import Iterator

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
    bare = onnx.ModelProto()
    bare.CopyFrom(proto)
    known = {value.name for value in bare.graph.input}
    for graph in _graphs(bare.graph):
        apart = [t for t in graph.initializer if t.data_location == onnx.TensorProto.EXTERNAL]
        named = [(t, t.name) for t in apart]
        for tensor in apart:
            graph.initializer.remove(tensor)
        for node in list(graph.node):
            held = [a.t for a in node.attribute if a.t.data_location == onnx.TensorProto.EXTERNAL]
            if held and len(node.output) == 1:
                named.append((held[0], node.output[0]))
                graph.node.remove(node)
        for tensor, name in named:
            if name not in known:
                known.add(name)
                bare.graph.input.append(onnx.helper.make_tensor_value_info(name, tensor.data_type, tensor.dims))
    try:
        onnx.checker.check_model(bare, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError) as error:
        return " ".join(str(error).split())[:500]
    return ""


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs):
                yield from _graphs(inner)
