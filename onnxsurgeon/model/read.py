"""Reads a model: parses its structure and maps its weights into memory.

A weight is an `ir.Tensor` on a memory map of the file that holds it: the model or its external data file. The map
stays valid when the file is replaced. There is one map per file, not one per weight as in `ir.ExternalTensor`: each
map costs a file descriptor, and a process may have as few as 256.

Raises ModelError for all that the package can't preserve or doesn't support.
"""

from __future__ import annotations

import logging
import mmap
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import numpy as np
import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError, EncodeError

from onnxsurgeon.errors import ModelError, UsageError
from onnxsurgeon.files import irregular, require_no_address
from onnxsurgeon.model import wire
from onnxsurgeon.model.inline import inlined
from onnxsurgeon.model.order import put_in_order
from onnxsurgeon.model.refusals import invalid, refuse, refuse_what_no_schema_allows

LONGEST_NAME = 255  # bytes
IN_MEMORY = Path("ModelProto")  # what stands for a path where there is no file
# Keys of graph.meta:
SOURCE = "onnxsurgeon.source"  # the ModelProto that was read, without its large weights
EXTERNAL = "onnxsurgeon.external"  # the names of the data files that hold weights
MAPPED = "onnxsurgeon.mapped"  # the memory maps of the files that hold weights
PLACE = "onnxsurgeon.place"  # key of a mapped weight's meta: its folder, the file's name there, and its offset

Maps: TypeAlias = "dict[str, mmap.mmap | bytes]"  # by the location that tensors name

logging.getLogger("onnx_ir").addHandler(logging.NullHandler())  # its warnings would repeat what is refused here

# (offset, bytes there, kind of file)
_FOREIGN = (
    (0, b"version https://git-lfs", "a git-lfs pointer, not the file that it points to (run git lfs pull)"),
    (0, b"PK\x03\x04", "a zip archive (as PyTorch's .pt and .pth are)"),
    (0, b"\x1f\x8b", "a gzip archive (unpack it)"),
    (0, b"\x89HDF", "an HDF5 file (as Keras writes)"),
    (4, b"ORTM", "a model in ONNX Runtime's own format (.ort)"),
    (4, b"TFL3", "a TensorFlow Lite model"),
    (0, b"<", "a text file that starts like a web page (an error page saved by a download?)"),
)


class StoredTensor(ir.serde.TensorProtoTensor):
    """A weight inside the proto. Its shape and type are read once: those who label a graph ask for them often."""

    def __init__(self, proto: onnx.TensorProto) -> None:
        super().__init__(proto)
        self._shape, self._dtype = super().shape, super().dtype

    @property
    def shape(self) -> ir.Shape:  # type: ignore[override]  # it is read-only there, too
        return self._shape

    @property
    def dtype(self) -> ir.DataType:  # type: ignore[override]  # it is read-only there, too
        return self._dtype


def read(path: str | os.PathLike[str]) -> ir.Model:
    """The model at `path`, with large weights memory-mapped and local functions inlined.

    Raises UsageError if there is no such file, ModelError if it can't be read, is no ONNX model or not a supported one.
    """
    return _read(Path(path), _map(Path(path)))


def parse(proto: onnx.ModelProto) -> ir.Model:
    """The model that `proto` holds, as `read` gives one; paths of external data start at the working folder.

    Raises ModelError if it is not a supported model, or too long to be serialised.
    """
    try:
        data = proto.SerializeToString()
    except (ValueError, EncodeError) as error:
        raise ModelError("the ModelProto can't be serialised", why=str(error), fix="save it to a file first") from error
    return _read(IN_MEMORY, data)


def _read(path: Path, data: mmap.mmap | bytes) -> ir.Model:
    proto = _parse(path, data)
    try:
        refuse(path, proto)
        flat = inlined(path, proto) if proto.functions else proto
        refuse_what_no_schema_allows(path, flat)
        model = _deserialize(path, flat)
    except UnicodeDecodeError as error:
        raise invalid(path, f"a text is not UTF-8: {error}") from error
    maps: Maps = {path.name: data}
    for graph in graphs(model):
        _map_weights(path, graph, maps)
    model.graph.meta[SOURCE] = proto
    model.graph.meta[EXTERNAL] = tuple(sorted(maps.keys() - {path.name}))
    model.graph.meta[MAPPED] = tuple(maps.values())
    for graph in graphs(model):
        _forget_negative_dims(graph)
    put_in_order(path, model)
    return model


def _forget_negative_dims(graph: ir.Graph) -> None:
    """Old exporters write -1 for a dim of any size; each is a dynamic dim of its own."""
    for value in (*graph.inputs, *(value for node in graph for value in node.outputs)):
        if value.shape is not None and any(isinstance(n, int) and n < 0 for n in value.shape):
            value.shape = ir.Shape([None if isinstance(n, int) and n < 0 else n for n in value.shape])


def release(model: ir.Model) -> None:
    """Release the memory of the model's mapped weights; they are read from the file again when needed."""
    for data in model.graph.meta.get(MAPPED, ()):
        if hasattr(data, "madvise"):
            data.madvise(mmap.MADV_DONTNEED)


def _map(path: Path) -> mmap.mmap:
    if (found := irregular(path)) and not path.is_dir():
        raise ModelError(f"{path} can't be read", why=found, fix="name a file; copy what the pipe holds into one")
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                raise ModelError(f"{path} is empty", why="0 bytes", fix="export or download the model again")
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        require_no_address(path)
        raise UsageError(f"{path} not found", fix="check the path") from None
    except IsADirectoryError:
        raise ModelError(f"{path} is a directory", fix="name the .onnx file inside") from None
    except OSError as error:
        raise ModelError(f"can't read {path}", why=error.strerror or str(error), fix="check its permissions") from error


def _parse(path: Path, data: mmap.mmap | bytes) -> onnx.ModelProto:
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(wire.strip(data, path.name))
    except (ValueError, DecodeError) as error:
        raise _not_onnx(path, data, str(error)) from error
    if not proto.HasField("graph"):
        raise _not_onnx(path, data, "it has no graph")
    return proto


def _not_onnx(path: Path, data: mmap.mmap | bytes, why: str) -> ModelError:
    for offset, magic, kind in _FOREIGN:
        if data[offset : offset + len(magic)] == magic:
            return ModelError(f"{path} is not an ONNX model", why=f"it is {kind}", fix="name an .onnx file")
    why = f"{why}; the file has {len(data)} bytes"
    if data[:1] == b"\x08" and data[1:2] <= bytes([onnx.IR_VERSION]):  # field 1, as an ONNX file starts
        return ModelError(f"{path} is damaged or incomplete", why=why, fix="copy or download it again")
    return ModelError(f"{path} is not an ONNX model", why=why, fix="name an .onnx file")


def _deserialize(path: Path, proto: onnx.ModelProto) -> ir.Model:
    try:
        with warnings.catch_warnings(action="ignore"):  # about unknown keys of external data, which mean nothing
            model = ir.from_proto(proto)
    except Exception as error:  # of any class
        raise invalid(path, str(root_cause(error))) from error
    for graph in graphs(model):
        for value in (*graph.outputs, *(value for node in graph for value in node.inputs if value is not None)):
            if value.producer() is None and not value.is_graph_input() and not value.is_initializer():
                raise invalid(path, f"{value.name!r} is used in graph {graph.name!r}, but nothing computes it")
    return model


def root_cause(error: BaseException) -> BaseException:
    """The innermost exception (onnx_ir wraps it at each level)."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return error


def graphs(model: ir.Model) -> Iterator[ir.Graph]:
    """The main graph, the bodies of the local functions, and all their subgraphs."""
    yield from model.graphs()
    for function in model.functions.values():
        yield function.graph
        yield from function.subgraphs()


def _map_weights(path: Path, graph: ir.Graph, maps: Maps) -> None:
    """Replace each external reference in this graph (not its subgraphs) by a tensor on the map of the file."""

    def mapped(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
        if isinstance(tensor, ir.serde.TensorProtoTensor):
            return StoredTensor(tensor.raw)
        return _mapped(path, tensor, maps) if isinstance(tensor, ir.ExternalTensor) else tensor

    for value in graph.initializers.values():
        if value.const_value is not None:
            value.const_value = mapped(value.const_value)
    for node in graph:
        for name, attribute in node.attributes.items():
            if attribute.type is ir.AttributeType.TENSOR and not attribute.is_ref():
                node.attributes[name] = ir.AttrTensor(name, mapped(attribute.value), doc_string=attribute.doc_string)
            elif attribute.type is ir.AttributeType.TENSORS and not attribute.is_ref():
                tensors = [mapped(tensor) for tensor in attribute.as_tensors()]
                node.attributes[name] = ir.AttrTensors(name, tensors, doc_string=attribute.doc_string)


def _mapped(path: Path, reference: ir.ExternalTensor, maps: Maps) -> ir.TensorProtocol:
    """The tensor on the mapped bytes that the reference names."""
    data = _window(path, reference, maps)
    dtype, shape = reference.dtype, reference.shape
    make: Callable[..., ir.TensorProtocol]
    if dtype.bitwidth < 8:
        make, array = ir.PackedTensor, np.frombuffer(data, np.uint8)
    else:
        make, array = ir.Tensor, np.frombuffer(data, dtype.numpy()).reshape(shape.numpy())
    props = dict(reference.metadata_props)
    tensor = make(array, dtype, shape=shape, name=reference.name, doc_string=reference.doc_string, metadata_props=props)
    location = os.fspath(reference.location)
    if isinstance(maps[location], mmap.mmap):
        tensor.meta[PLACE] = os.fspath(path.parent.resolve()), location, reference.offset or 0
    return tensor


def folder_of(tensor: ir.TensorProtocol) -> str:
    """The folder of the file that a large weight is mapped from; empty for one that is small, or in memory."""
    return str(tensor.meta[PLACE][0]) if PLACE in tensor.meta and tensor.nbytes >= wire.LARGE else ""


def referring(tensor: ir.TensorProtocol, name: str) -> onnx.TensorProto:
    """A proto that refers to where a mapped weight is in its file."""
    _, location, offset = tensor.meta[PLACE]
    proto = onnx.TensorProto(name=name, data_type=int(tensor.dtype), dims=tensor.shape.numpy())
    proto.data_location = onnx.TensorProto.EXTERNAL
    for key, text in (("location", location), ("offset", str(offset)), ("length", str(tensor.nbytes))):
        proto.external_data.add(key=key, value=text)
    return proto


def _window(path: Path, reference: ir.ExternalTensor, maps: Maps) -> memoryview:
    location = os.fspath(reference.location)
    if location not in maps:
        maps[location] = _map_external(path, location, reference.name)
    data, begin = maps[location], reference.offset or 0
    if reference.dtype in (ir.DataType.STRING, ir.DataType.UNDEFINED):
        raise invalid(path, f"the weight {reference.name!r} is raw data, but {reference.dtype} can't be")
    length = reference.nbytes if reference.length is None else reference.length
    if length != reference.nbytes:
        kind = f"{reference.dtype} {reference.shape}"
        raise invalid(path, f"the weight {reference.name!r} has {length} bytes, but {kind} takes {reference.nbytes}")
    if begin + length > len(data):
        raise ModelError(
            f"{path}: the file {location!r} is too short",
            why=f"the weight {reference.name!r} ends at byte {begin + length}, the file at byte {len(data)}",
            fix="copy or download it again",
        )
    return memoryview(data)[begin : begin + length]


def _map_external(path: Path, location: str, name: str) -> mmap.mmap | bytes:
    """A map of the data file that the weight `name` of the model at `path` refers to."""
    file = path.parent / location
    if "\0" in location or any(len(os.fsencode(part)) > LONGEST_NAME for part in Path(location).parts):
        raise invalid(path, f"the location of the weight {name!r} is not a file name")
    try:
        # The file must be below the model's folder, before or after resolving links (download caches link both).
        folders = {path.parent.resolve(), path.resolve().parent}
        below, there = any(file.resolve().is_relative_to(folder) for folder in folders), file.is_file()
    except (OSError, RuntimeError) as error:  # links in a circle, too long a path
        raise invalid(path, f"the location {location!r} of the weight {name!r} leads nowhere: {error}") from None
    inside = not Path(location).is_absolute() and not os.path.normpath(location).startswith("..")
    if not inside or not below:
        raise ModelError(
            f"{path}: the weight {name!r} is outside the model's folder",
            why=f"its location is {location!r}",
            fix="move the data file beside the model and load and save it with onnx",
        )
    if not there:
        raise ModelError(
            f"{path}: the data file {location!r} is missing",
            why=f"the weight {name!r} is in it",
            fix="put it beside the model",
        )
    return b"" if file.stat().st_size == 0 else _map(file)
