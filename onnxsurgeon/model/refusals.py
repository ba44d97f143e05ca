"""What is refused when a model is read, with the reason: parts that are not supported, and what no valid model has."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil, prod
from pathlib import Path

import onnx
import onnx_ir as ir
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, checker

from onnxsurgeon.errors import ModelError

OLDEST_OPSET = 7
STANDARD = ("", "ai.onnx")
KINDS = set(ir.DataType)


def refuse(path: Path, proto: ModelProto) -> None:
    """Raises ModelError if the model has a part that can't be preserved or isn't supported."""
    _refuse_versions(path, proto)
    if proto.training_info:
        raise ModelError(
            f"{path} is a training graph",
            why=f"it has {len(proto.training_info)} training_info entries, which would be lost",
            fix="export the model for inference",
        )
    if not proto.graph.output:
        raise ModelError(f"{path} has no outputs", why=f"graph {proto.graph.name!r} lists none", fix="export it again")
    gate = _Gate(path, proto)
    gate.graph(proto.graph)
    for function in proto.functions:
        gate.nodes(function.node, in_function=True)


def refuse_what_no_schema_allows(path: Path, proto: ModelProto) -> None:
    """Raises ModelError if a standard node lacks inputs or attributes, or has some of another type, so that rules may
    trust what they see. onnxruntime refuses these, too."""
    _Gate(path, proto).schemas(proto.graph.node)


def _refuse_versions(path: Path, proto: ModelProto) -> None:
    newest = onnx.defs.onnx_opset_version()
    versions = [entry.version for entry in proto.opset_import if entry.domain in STANDARD]
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
    if len(set(versions)) > 1:
        raise invalid(path, f"it imports several versions of the standard operators: {versions}")
    for entry in proto.opset_import:
        if isinstance(entry.domain, bytes):
            raise invalid(path, "the domain of an operator set is not UTF-8")
        if not 0 <= entry.version < 2**31:
            raise invalid(path, f"it imports version {entry.version} of the operator set {entry.domain!r}")


class _Gate:
    """Checks the graphs of a model; each method raises ModelError."""

    def __init__(self, path: Path, proto: ModelProto) -> None:
        self.path = path
        self.context = checker.C.CheckerContext()
        self.context.ir_version = proto.ir_version
        versions = {entry.domain: entry.version for entry in proto.opset_import}
        for name in set(STANDARD) & set(versions):
            versions[""] = versions[name]
        self.context.opset_imports = versions

    def graph(self, graph: GraphProto) -> None:
        if graph.sparse_initializer:
            first = graph.sparse_initializer[0].values.name
            raise self._sparse(f"{len(graph.sparse_initializer)} in graph {graph.name!r}, the first is {first!r}")
        names = {tensor.name for tensor in graph.initializer}
        if "" in names or len(names) < len(graph.initializer):
            raise invalid(self.path, f"graph {graph.name!r} has weights without a name or with the same one")
        if len({info.name for info in graph.input}) < len(graph.input):
            raise invalid(self.path, f"graph {graph.name!r} has inputs with the same name")
        for info in (*graph.input, *graph.output, *graph.value_info):
            if kind := _unsupported_type(info.type):
                raise ModelError(
                    f"{self.path}: the type of {info.name!r} is not supported",
                    why=f"{kind} in graph {graph.name!r}",
                    fix="export without it (from scikit-learn: option zipmap=False)",
                )
        for tensor in graph.initializer:
            self.tensor(tensor, f"the weight {tensor.name!r}")
        self.nodes(graph.node)

    def tensor(self, tensor: TensorProto, what: str) -> None:
        """Its numbers must be those that its type and shape say; those in files are checked when they are mapped."""
        if tensor.data_type not in KINDS:
            raise invalid(self.path, f"{what} has an unknown data type: {tensor.data_type}")
        if tensor.data_location == TensorProto.EXTERNAL:
            return
        try:
            checker.check_tensor(tensor, self.context)
        except checker.ValidationError as error:
            raise invalid(self.path, f"{what}: {error}") from None
        if tensor.HasField("raw_data"):
            dtype = ir.DataType(tensor.data_type)
            held, wanted = len(tensor.raw_data), ceil(prod(tensor.dims) * dtype.bitwidth / 8)
            if held != wanted:
                raise invalid(self.path, f"{what} has {held} bytes, but {dtype} {list(tensor.dims)} takes {wanted}")

    def nodes(self, nodes: Iterable[NodeProto], *, in_function: bool = False) -> None:
        for node in nodes:
            for text in (node.name, node.op_type, node.domain, *node.input, *node.output):
                if isinstance(text, bytes):  # protobuf returns a string that is not UTF-8 as bytes
                    raise invalid(self.path, f"{text!r} at node {node.name!r} ({node.op_type!r}) is not UTF-8")
            for attribute in node.attribute:
                what = f"attribute {attribute.name!r} of {node.op_type} {node.name!r}"
                if attribute.ref_attr_name and not in_function:
                    raise invalid(self.path, f"{what} refers to a function's")
                self.attribute(attribute, what)

    def attribute(self, attribute: AttributeProto, what: str) -> None:
        if attribute.type == AttributeProto.UNDEFINED and not attribute.ref_attr_name:
            raise invalid(self.path, f"{what} has no type")
        if attribute.type in (AttributeProto.SPARSE_TENSOR, AttributeProto.SPARSE_TENSORS):
            raise self._sparse(what)
        for tensor in (attribute.t,) if attribute.HasField("t") else attribute.tensors:
            self.tensor(tensor, what)
        for graph in (attribute.g,) if attribute.HasField("g") else attribute.graphs:
            self.graph(graph)

    def schemas(self, nodes: Iterable[NodeProto]) -> None:
        for node in nodes:
            inner = [graph for a in node.attribute for graph in (*([a.g] if a.HasField("g") else []), *a.graphs)]
            if node.domain in STANDARD and onnx.defs.has(node.op_type):
                try:
                    checker.check_node(_bare(node), self.context)
                except checker.ValidationError as error:
                    if "deprecated" not in str(error):
                        why = str(error).splitlines()[0]
                        raise invalid(self.path, f"node {node.name!r} ({node.op_type}): {why}") from None
            for graph in inner:
                self.schemas(graph.node)

    def _sparse(self, where: str) -> ModelError:
        what = f"{self.path} has sparse weights, which are not supported"
        return ModelError(what, why=where, fix="make them dense")


def _bare(node: NodeProto) -> NodeProto:
    """A standard node with empty tensors and graphs as its attributes: these are checked on their own."""
    if not node.domain and not any(a.HasField("t") or a.HasField("g") or a.tensors or a.graphs for a in node.attribute):
        return node
    bare = NodeProto(name=node.name, op_type=node.op_type, input=node.input, output=node.output)
    for attribute in node.attribute:
        copy = bare.attribute.add(name=attribute.name, type=attribute.type)
        if attribute.HasField("t"):
            copy.t.CopyFrom(TensorProto(name="t", data_type=TensorProto.FLOAT, dims=[0]))
        elif attribute.HasField("g"):
            copy.g.name = "g"
        elif not attribute.tensors and not attribute.graphs:
            copy.CopyFrom(attribute)
    return bare


def invalid(path: Path, why: str) -> ModelError:
    return ModelError(f"{path} is not a valid model", why=why, fix="run onnx.checker on it, and export it again")


def _unsupported_type(proto: onnx.TypeProto) -> str | None:
    kind = proto.WhichOneof("value")
    if kind in ("sequence_type", "optional_type"):
        return _unsupported_type(getattr(proto, kind).elem_type)
    return kind if kind in ("map_type", "opaque_type") else None
