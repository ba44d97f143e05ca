"""What is refused when a model is read, with the reason: parts that are not supported, and what no valid model has."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import onnx

from onnxsurgeon.errors import ModelError

OLDEST_OPSET = 7


def refuse(path: Path, proto: onnx.ModelProto) -> None:
    """Raise ModelError if the model has a part that can't be preserved or isn't supported."""
    _refuse_versions(path, proto)
    if proto.training_info:
        raise ModelError(
            f"{path} is a training graph",
            why=f"it has {len(proto.training_info)} training_info entries, which would be lost",
            fix="export the model for inference",
        )
    if not proto.graph.output:
        raise ModelError(f"{path} has no outputs", why=f"graph {proto.graph.name!r} lists none", fix="export it again")
    _refuse_graph(path, proto.graph)
    for function in proto.functions:
        _refuse_nodes(path, function.node, in_function=True)
    _refuse_what_no_schema_allows(path, proto)


def _refuse_what_no_schema_allows(path: Path, proto: onnx.ModelProto) -> None:
    """Raise ModelError if a standard node lacks inputs or attributes, or has some of another type, so that rules may
    trust what they see. onnxruntime refuses these, too."""
    context = onnx.checker.C.CheckerContext()
    context.ir_version = proto.ir_version
    if any(isinstance(entry.domain, bytes) for entry in proto.opset_import):
        raise invalid(path, "the domain of an operator set is not UTF-8")
    context.opset_imports = {entry.domain: entry.version for entry in proto.opset_import}
    apart = {onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS, onnx.AttributeProto.TENSOR}  # in part elsewhere
    for node in proto.graph.node:
        standard = node.domain in ("", "ai.onnx") and onnx.defs.has(node.op_type)
        if not standard or any(a.type in apart or a.ref_attr_name for a in node.attribute):
            continue
        try:
            onnx.checker.check_node(node, context)
        except onnx.checker.ValidationError as error:
            if "deprecated" not in str(error):
                raise invalid(path, f"node {node.name!r} ({node.op_type}): {str(error).splitlines()[0]}") from None


def _refuse_versions(path: Path, proto: onnx.ModelProto) -> None:
    newest = onnx.defs.onnx_opset_version()
    versions = [entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")]
    if proto.ir_version > onnx.IR_VERSION:
        raise ModelError(
            f"{path} has IR version {proto.ir_version}",
            why=f"the installed onnx {onnx.__version__} supports IR versions up to {onnx.IR_VERSION}",
            fix="install a newer onnx",
        )
    if not proto.opset_import:
        raise ModelError(f"{path} names no opset", why="opset_import is empty", fix="export it again")
    if versions and not OLDEST_OPSET <= versions[0] <= newest:
        raise ModelError(
            f"{path} uses opset {versions[0]}",
            why=f"supported are {OLDEST_OPSET} to {newest} (the newest in the installed onnx {onnx.__version__})",
            fix="install a newer onnx" if versions[0] > newest else "convert it with onnx.version_converter",
        )


def _refuse_graph(path: Path, graph: onnx.GraphProto) -> None:
    if graph.sparse_initializer:
        first = graph.sparse_initializer[0].values.name
        raise _sparse(path, f"{len(graph.sparse_initializer)} in graph {graph.name!r}, the first is {first!r}")
    names = {tensor.name for tensor in graph.initializer}
    if "" in names or len(names) < len(graph.initializer):
        raise invalid(path, f"graph {graph.name!r} has weights without a name or with the same one")
    for info in (*graph.input, *graph.output, *graph.value_info):
        if kind := _unsupported_type(info.type):
            raise ModelError(
                f"{path}: the type of {info.name!r} is not supported",
                why=f"{kind} in graph {graph.name!r}",
                fix="export without it (from scikit-learn: option zipmap=False)",
            )
    _refuse_nodes(path, graph.node)


def _refuse_nodes(path: Path, nodes: Iterable[onnx.NodeProto], *, in_function: bool = False) -> None:
    kinds = onnx.AttributeProto
    for node in nodes:
        for text in (node.name, node.op_type, node.domain, *node.input, *node.output):
            if isinstance(text, bytes):  # protobuf returns a string that is not UTF-8 as bytes
                raise invalid(path, f"{text!r} at node {node.name!r} ({node.op_type!r}) is not UTF-8")
        for attribute in node.attribute:
            if attribute.ref_attr_name and not in_function:
                raise invalid(
                    path, f"attribute {attribute.name!r} of {node.op_type} {node.name!r} refers to a function's"
                )
            if attribute.type == kinds.UNDEFINED and not attribute.ref_attr_name:
                raise invalid(path, f"attribute {attribute.name!r} of {node.op_type} {node.name!r} has no type")
            if attribute.type == kinds.GRAPH:
                _refuse_graph(path, attribute.g)
            elif attribute.type == kinds.GRAPHS:
                for graph in attribute.graphs:
                    _refuse_graph(path, graph)
            elif attribute.type in (kinds.SPARSE_TENSOR, kinds.SPARSE_TENSORS):
                raise _sparse(path, f"attribute {attribute.name!r} of {node.op_type} {node.name!r}")


def invalid(path: Path, why: str) -> ModelError:
    return ModelError(f"{path} is not a valid model", why=why, fix="run onnx.checker on it, and export it again")


def _sparse(path: Path, where: str) -> ModelError:
    return ModelError(f"{path} has sparse weights, which are not supported", why=where, fix="make them dense")


def _unsupported_type(proto: onnx.TypeProto) -> str | None:
    kind = proto.WhichOneof("value")
    if kind in ("sequence_type", "optional_type"):
        return _unsupported_type(getattr(proto, kind).elem_type)
    return kind if kind in ("map_type", "opaque_type") else None
