"""Writes a model: serialises its structure and streams its weights one at a time.

The structure is serialised with a placeholder for each large weight. Then either the weights' bytes are spliced into
the .onnx file, or the placeholders refer to one data file beside it. An `ir.LazyTensor` is evaluated when its turn
comes, and its result is not kept. A file gets its name only when it is complete.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import onnx
import onnx_ir as ir

from onnxsurgeon.errors import ModelError, SurgeonError, UsageError
from onnxsurgeon.files import draft_of, require_place
from onnxsurgeon.model import wire
from onnxsurgeon.model.lazy_weights import EditedWeight
from onnxsurgeon.model.read import EXTERNAL, SOURCE, graphs, release, root_cause

LIMIT = 2**31 - 1  # bytes; the longest protobuf message
HOLE = "\0"  # starts the location of a weight inside the .onnx; it never starts a file name
BLOCK = 1 << 24  # bytes of a weight that are computed and written at a time
PAGE = 4096  # bytes; in a data file, weights of at least 1 MiB start at a multiple of it


class _Slot(NamedTuple):
    """A large weight, and functions that replace and restore it."""

    tensor: ir.TensorProtocol
    put: Callable[[ir.TensorProtocol], None]
    restore: Callable[[], None]


def write(
    model: ir.Model, path: str | os.PathLike[str], *, overwrite: bool = False, external: bool | None = None,
    data: str = "",
) -> int:  # fmt: skip
    """Write `model` to `path`; returns the number of bytes written, including the data file.

    external: put large weights into one file NAME.onnx.data beside the model; None: do so if the source did, or if the
        model would be longer than `LIMIT`. data: another name for that file.
    Raises UsageError if the target exists without `overwrite`, or can't be written.
    """
    path = check_target(path, overwrite=overwrite)
    slots = [slot for graph in graphs(model) for slot in _slots(graph)]
    if external is not True and not (external is None and model.graph.meta.get(EXTERNAL)):
        parts = _embedded(model, slots)
        if wire.size(parts) <= LIMIT:
            return _write_embedded(path, parts, model, slots)
        if external is False:
            raise UsageError(
                f"{path} can't hold its weights",
                why=f"it would have {wire.size(parts)} bytes; the format allows {LIMIT}",
                fix="write the weights to a data file",
            )
    return _write_external(
        check_target(path.with_name(data or f"{path.name}.data"), overwrite=overwrite), path, model, slots
    )


def size(model: ir.Model) -> int:
    """Bytes that `write` would write, without the padding of a data file."""
    return wire.size(_embedded(model, [slot for graph in graphs(model) for slot in _slots(graph)]))


def as_bytes(model: ir.Model) -> bytes:
    """The .onnx file with all weights in it, for a model that is small enough for one message."""
    return bytes(_structure(model, [], []).SerializeToString())


def structure(model: ir.Model) -> onnx.ModelProto:
    """The model's proto; its large weights are only referred to."""
    slots = [slot for graph in graphs(model) for slot in _slots(graph)]
    return _structure(model, slots, [("weights", 0)] * len(slots))


def check_target(path: str | os.PathLike[str], *, overwrite: bool) -> Path:
    """`path` as a Path. Raises UsageError if `write` would refuse to write to it."""
    path = Path(path)
    if path.exists() and not path.is_file():
        raise UsageError(f"can't write {path}", why="it is not a regular file", fix="choose another name")
    if path.exists() and not overwrite:
        raise UsageError(f"{path} exists", fix="choose another name, or give `overwrite`")
    require_place(path)
    return path


def _slots(graph: ir.Graph) -> Iterator[_Slot]:
    """The large weights of this graph, without those of its subgraphs."""
    for value in graph.initializers.values():
        if value.const_value is not None and _is_large(value.const_value):
            put = partial(setattr, value, "const_value")
            yield _Slot(value.const_value, put, partial(put, value.const_value))
    for node in graph:
        for name, attribute in node.attributes.items():
            if attribute.type is ir.AttributeType.TENSOR and not attribute.is_ref() and _is_large(attribute.value):
                yield _Slot(
                    attribute.value, partial(_put_attribute, node, name), partial(node.attributes.add, attribute)
                )


def _put_attribute(node: ir.Node, name: str, tensor: ir.TensorProtocol) -> None:
    node.attributes.add(ir.AttrTensor(name, tensor, doc_string=node.attributes[name].doc_string))


def _is_large(tensor: ir.TensorProtocol) -> bool:
    """Whether to stream the tensor as raw_data; a tensor stored as float_data and the like stays as it is."""
    if tensor.dtype in (ir.DataType.STRING, ir.DataType.UNDEFINED) or tensor.nbytes < wire.LARGE:
        return False
    if isinstance(tensor, ir.serde.TensorProtoTensor):
        return bool(tensor.raw.HasField("raw_data") and tensor.raw.ByteSize() >= wire.LARGE)
    return True


def _embedded(model: ir.Model, slots: list[_Slot]) -> list[wire.Part]:
    """The .onnx file with a hole for each slot."""
    token = HOLE + secrets.token_hex(16)
    proto = _structure(model, slots, [(f"{token}{number:08}", 0) for number in range(len(slots))])
    return wire.splice(proto.SerializeToString(), token.encode(), [slot.tensor.nbytes for slot in slots])


def _write_embedded(path: Path, parts: list[wire.Part], model: ir.Model, slots: list[_Slot]) -> int:
    with write_atomically(path) as file:
        for part in parts:
            if isinstance(part, wire.Hole):
                _write_weight(slots[part.number].tensor, file, partial(release, model))
            else:
                file.write(part)
        return file.tell()


def _write_external(data_path: Path, path: Path, model: ir.Model, slots: list[_Slot]) -> int:
    offsets, end = [], 0
    for slot in slots:
        alignment = PAGE if slot.tensor.nbytes >= 2**20 else 64
        offsets.append(-(-end // alignment) * alignment)
        end = offsets[-1] + slot.tensor.nbytes
    proto = _structure(model, slots, [(data_path.name, offset) for offset in offsets])
    with write_atomically(path) as file, write_atomically(data_path) as data:
        file.write(proto.SerializeToString())
        for slot, offset in zip(slots, offsets, strict=True):
            data.write(bytes(offset - data.tell()))
            _write_weight(slot.tensor, data, partial(release, model))
        return file.tell() + data.tell()


def _structure(model: ir.Model, slots: list[_Slot], places: list[tuple[str, int]]) -> onnx.ModelProto:
    """The model's proto with the slots' tensors replaced by references to (location, offset)."""
    try:
        for slot, (location, offset) in zip(slots, places, strict=True):
            tensor = slot.tensor
            reference = ir.ExternalTensor(
                location,
                offset,
                tensor.nbytes,
                tensor.dtype,
                shape=ir.Shape(tensor.shape.numpy()),
                name=tensor.name or "",
                doc_string=tensor.doc_string,
                metadata_props=dict(tensor.metadata_props),
            )
            slot.put(reference)
        proto = ir.to_proto(model)
    except ir.serde.SerdeError as error:
        why = str(root_cause(error))
        raise ModelError("the model can't be written", why=why, fix="run onnx.checker on its source") from error
    finally:
        for slot in slots:
            slot.restore()
    if source := model.graph.meta.get(SOURCE):
        _keep_spelling(proto, source)
    return proto


def _write_weight(tensor: ir.TensorProtocol, file: BinaryIO, done: Callable[[], None]) -> None:
    """Write the tensor's bytes without keeping them. Raises SurgeonError if they don't fit its dtype and shape.

    done: called after each block, to give back the memory of what was read.
    """
    declared, start = tensor, file.tell()
    while isinstance(tensor, ir.LazyTensor) and not _in_blocks(tensor):
        tensor = tensor.raw()
    if isinstance(tensor, EditedWeight):
        for array in tensor.blocks(BLOCK):
            file.write(array.reshape(-1).view(np.uint8).data)
            done()
    elif isinstance(tensor, ir.ExternalTensor):
        tensor.tofile(file)
    elif isinstance(tensor, ir.Tensor) and tensor.dtype.bitwidth >= 8:
        data = np.ascontiguousarray(tensor.numpy()).reshape(-1).view(np.uint8).data
        for begin in range(0, len(data), BLOCK):
            file.write(data[begin : begin + BLOCK])
            done()
    else:
        file.write(tensor.tobytes())
    written = file.tell() - start
    if tensor.dtype != declared.dtype or tensor.shape != declared.shape or written != declared.nbytes:
        raise SurgeonError(
            f"the weight {declared.name!r} does not match its declaration",
            why=f"{tensor.dtype} {tensor.shape} ({written} bytes), not {declared.dtype} {declared.shape}",
            fix="report it, with the model if you can",
        )
    done()


def _in_blocks(tensor: ir.TensorProtocol) -> bool:
    """Whether to compute the weight block by block: it is large, and its rows are whole bytes in a file."""
    large = isinstance(tensor, EditedWeight) and isinstance(tensor.base, ir.Tensor) and tensor.nbytes > BLOCK
    return large and tensor.dtype.bitwidth >= 8


@contextmanager
def write_atomically(path: Path) -> Iterator[BinaryIO]:
    """A file that gets its name when the block ends, and is removed if the block raises."""
    temporary = draft_of(path)
    try:
        with temporary.open("xb") as file:
            yield file
        temporary.replace(path)
    except OSError as error:
        raise UsageError(
            f"can't write {path}",
            why=error.strerror or str(error),
            fix="make room or choose another folder (TMPDIR for the proof's)",
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


# onnx_ir changes the spelling of a model without changing its meaning: fields set to their defaults, the order of
# entries, the types of weights. What follows restores the source's spelling, so that an empty edit changes no byte.


def _keep_spelling(proto: onnx.ModelProto, source: onnx.ModelProto) -> None:
    """Spell `proto` as `source` does wherever both mean the same."""
    _keep_defaults(proto, source, "producer_name", "producer_version", "domain", "model_version", "doc_string")
    _keep_order(proto.metadata_props, source.metadata_props, "key")
    unspelled = {entry.domain for entry in source.opset_import if not entry.HasField("domain")}
    for entry in proto.opset_import:
        if entry.domain in unspelled:
            entry.ClearField("domain")
    _keep_graph_spelling(proto.graph, source.graph)


def _keep_graph_spelling(graph: onnx.GraphProto, source: onnx.GraphProto) -> None:
    _keep_defaults(graph, source, "name", "doc_string")
    _keep_order(graph.metadata_props, source.metadata_props, "key")
    _keep_order(graph.value_info, source.value_info, "name")
    _keep_order(graph.quantization_annotation, source.quantization_annotation, "tensor_name")
    undescribed = {tensor.name for tensor in graph.initializer} - {info.name for info in source.value_info}
    described = [info for info in graph.value_info if info.name not in undescribed]
    if len(described) < len(graph.value_info):
        del graph.value_info[:]
        graph.value_info.extend(described)
    for infos, before in (
        (graph.value_info, source.value_info),
        (graph.input, source.input),
        (graph.output, source.output),
    ):
        for info, info_before in _pairs(infos, before, "name"):
            _keep_defaults(info, info_before, "doc_string", "type")
            dims, dims_before = info.type.tensor_type.shape.dim, info_before.type.tensor_type.shape.dim
            for dim, dim_before in zip(dims, dims_before, strict=False):
                if dim_before.dim_value < 0 and dim.WhichOneof("value") is None:  # as old exporters write a dynamic dim
                    dim.dim_value = dim_before.dim_value
    for tensor, tensor_before in _pairs(graph.initializer, source.initializer, "name"):
        _keep_tensor_spelling(tensor, tensor_before)
    nodes = {node.output[0]: node for node in source.node if node.output}
    for node in graph.node:
        if node.output and node.output[0] in nodes:
            _keep_node_spelling(node, nodes[node.output[0]])


def _keep_node_spelling(node: onnx.NodeProto, source: onnx.NodeProto) -> None:
    _keep_defaults(node, source, "name", "domain", "doc_string", "overload")
    if source.domain == "ai.onnx" and not node.domain:  # the IR treats both as the same domain
        node.domain = source.domain
    if len(node.metadata_props) > 1:
        _keep_order(node.metadata_props, source.metadata_props, "key")
    if node.output == source.output[: len(node.output)] and not any(source.output[len(node.output) :]):
        node.output.extend(source.output[len(node.output) :])
    for attribute, before in zip(node.attribute, source.attribute, strict=False):
        if attribute.name != before.name:
            return
        if attribute.HasField("t"):
            _keep_tensor_spelling(attribute.t, before.t)
        elif attribute.HasField("g"):
            _keep_graph_spelling(attribute.g, before.g)


def _keep_tensor_spelling(tensor: onnx.TensorProto, source: onnx.TensorProto) -> None:
    _keep_defaults(tensor, source, "doc_string")
    spelled_out = any(entry.key == "checksum" and entry.value == wire.SPELLED_OUT for entry in source.external_data)
    if spelled_out and tensor.external_data and tensor.external_data[0].value.startswith(HOLE):
        tensor.data_location = onnx.TensorProto.DEFAULT


def _keep_defaults(message: Any, source: Any, *fields: str) -> None:
    """Set the fields of `message` that `source` sets explicitly to their defaults."""
    for field in fields:
        if source.HasField(field) and not message.HasField(field):
            default = getattr(message, field)
            if getattr(source, field) != default:
                continue
            if hasattr(default, "SetInParent"):
                default.SetInParent()
            else:
                setattr(message, field, default)


def _keep_order(entries: Any, source: Any, key: str) -> None:
    """Sort entries in the order of the source; new ones come last."""
    order = {getattr(entry, key): index for index, entry in enumerate(source)}
    entries.sort(key=lambda entry: order.get(getattr(entry, key), len(order)))


def _pairs(entries: Iterable[Any], source: Iterable[Any], key: str) -> Iterator[tuple[Any, Any]]:
    """Pairs of entries that have the same key."""
    by_key = {getattr(entry, key): entry for entry in source}
    return ((entry, by_key[name]) for entry in entries if (name := getattr(entry, key)) in by_key)
