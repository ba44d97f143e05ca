"""Moves weights out of and into serialised ONNX models, at the level of the protobuf wire format.

A message is a sequence of fields: a tag (field number and wire type) and a payload. A submessage is a payload with a
length in front. `strip` copies a model with its large weights replaced by references into the file. `splice` is the
reverse and leaves holes that the caller fills while writing. Both parse only the messages on the way to a weight and
copy everything between two weights as one slice.

Source: https://protobuf.dev/programming-guides/encoding/ and the field numbers of onnx.proto.
"""

from __future__ import annotations

import mmap
from bisect import bisect_left
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

LARGE = 1024  # bytes; smaller weights stay in the message
DEEPEST = 100  # messages within messages, as protobuf reads them

Buffer: TypeAlias = "bytes | mmap.mmap"
Span: TypeAlias = "tuple[int, int]"


class Hole(NamedTuple):
    """A gap for the `size` bytes of the large weight `number`."""

    number: int
    size: int


Part: TypeAlias = "bytes | Hole"


def _tag(number: int, wire_type: int = 2) -> int:
    return number << 3 | wire_type


# message -> {tag: submessage}, for all paths to a TensorProto
_INSIDE = {
    "model": {_tag(7): "graph", _tag(25): "function"},
    "function": {_tag(7): "node", _tag(11): "attribute"},
    "graph": {_tag(1): "node", _tag(5): "tensor"},
    "node": {_tag(5): "attribute"},
    "attribute": {_tag(5): "tensor", _tag(10): "tensor", _tag(6): "graph", _tag(11): "graph"},
}
_RAW_DATA, _EXTERNAL_DATA, _DATA_LOCATION = _tag(9), _tag(13), _tag(14, 0)
_DEFAULT, _EXTERNAL = b"\x70\x00", b"\x70\x01"  # data_location, tag and value
SPELLED_OUT = "default"  # as the checksum of a reference: the tensor had an explicit data_location DEFAULT


def size(parts: list[Part]) -> int:
    """Total bytes of the parts, with all holes filled."""
    return sum(part.size if isinstance(part, Hole) else len(part) for part in parts)


def strip(data: Buffer, location: str) -> bytes:
    """The ModelProto in `data` with every raw_data of at least `LARGE` bytes replaced by a reference.

    location: the name of the file that `data` is from, used in the references.
    Raises ValueError if `data` is truncated or not protobuf.
    """

    def refer(span: Span) -> list[Part] | None:
        raw: list[tuple[int, int, int]] = []
        spelled_out = False
        for tag, first, begin, end in _fields(data, *span):
            if tag == _RAW_DATA:
                raw.append((first, begin, end))
            elif tag == _DATA_LOCATION and data[first:end] == _DEFAULT:
                spelled_out = True
            elif tag in (_EXTERNAL_DATA, _DATA_LOCATION):
                return None
        if len(raw) != 1 or raw[0][2] - raw[0][1] < LARGE:
            return None
        first, begin, end = raw[0]
        entries = {"location": location, "offset": str(begin), "length": str(end - begin)}
        if spelled_out:
            entries["checksum"] = SPELLED_OUT
        reference = b"".join(_entry(key, value) for key, value in entries.items()) + _EXTERNAL
        return [data[span[0] : first], data[end : span[1]], reference]

    parts = _rewrite(data, "model", (0, len(data)), lambda begin, end: end - begin >= LARGE, refer)
    return data[:] if parts is None else b"".join(part for part in parts if isinstance(part, bytes))


def splice(data: bytes, token: bytes, sizes: list[int]) -> list[Part]:
    """The ModelProto in `data` with a hole for the raw_data of each tensor whose location has the token.

    token: followed by eight digits, the number of the weight. sizes: bytes of each weight.
    """
    places = _find_all(data, token)

    def has_place(begin: int, end: int) -> bool:
        nearest = bisect_left(places, begin)
        return nearest < len(places) and places[nearest] < end

    def open_hole(span: Span) -> list[Part]:
        place = places[bisect_left(places, span[0])] + len(token)
        hole = Hole(number := int(data[place : place + 8]), sizes[number])
        head, tail = span[0], b""
        for tag, first, _, end in _fields(data, *span):
            if tag < _RAW_DATA:
                head = end
            elif tag != _EXTERNAL_DATA and data[first:end] != _EXTERNAL:
                tail += data[first:end]
        return [data[span[0] : head] + _varint(_RAW_DATA) + _varint(hole.size), hole, tail]

    parts = _rewrite(data, "model", (0, len(data)), has_place, open_hole)
    return [data] if parts is None else parts


def _rewrite(
    data: Buffer, kind: str, span: Span, wanted: Callable[[int, int], bool],
    tensor: Callable[[Span], list[Part] | None], depth: int = 0,
) -> list[Part] | None:  # fmt: skip
    """The message `kind` at `span` with `tensor` applied to the tensors in it; None if nothing changes."""
    if depth > DEEPEST:
        raise ValueError(f"its subgraphs are nested deeper than the format allows ({DEEPEST} messages)")
    parts: list[Part] = []
    copied = span[0]
    inside = _INSIDE[kind]
    for tag, first, begin, end in _fields(data, *span):
        if (kind_inside := inside.get(tag)) is None or not wanted(begin, end):
            continue
        if kind_inside == "tensor":
            new = tensor((begin, end))
        else:
            new = _rewrite(data, kind_inside, (begin, end), wanted, tensor, depth + 1)
        if new is not None:
            parts += [data[copied:first], _varint(tag) + _varint(size(new)), *new]
            copied = end
    return [*parts, data[copied : span[1]]] if parts else None


def _fields(data: Buffer, at: int, stop: int) -> Iterator[tuple[int, int, int, int]]:
    """(tag, start of the field, start of its payload, end) of each field of a message."""
    while at < stop:
        first = at
        tag = data[at]
        at += 1
        if tag & 0x80:
            tag, at = _read_varint(data, first, stop)
        wire_type = tag & 7
        if wire_type == 2:
            length, at = _read_varint(data, at, stop)
            end = at + length
        elif wire_type == 0:
            end = _read_varint(data, at, stop)[1]
        elif wire_type in (1, 5):
            end = at + (8 if wire_type == 1 else 4)
        else:
            raise ValueError(f"byte {first} is not a protobuf field (wire type {wire_type})")
        if tag < 8:
            raise ValueError(f"byte {first} is not a protobuf field (field number 0)")
        if end > stop:
            raise ValueError(f"the field at byte {first} ends at byte {end}, but there are only {stop} bytes")
        yield tag, first, at, end
        at = end


def _read_varint(data: Buffer, at: int, stop: int) -> tuple[int, int]:
    """The number at `at`, and its end."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= stop:
            raise ValueError(f"the number at byte {at} is cut off")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError(f"the number before byte {at} is longer than ten bytes")


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _entry(key: str, value: str) -> bytes:
    """One StringStringEntryProto in external_data."""
    fields = b"".join(
        _varint(_tag(number)) + _varint(len(text)) + text for number, text in ((1, key.encode()), (2, value.encode()))
    )
    return _varint(_EXTERNAL_DATA) + _varint(len(fields)) + fields


def _find_all(data: bytes, token: bytes) -> list[int]:
    places = []
    at = data.find(token)
    while at >= 0:
        places.append(at)
        at = data.find(token, at + 1)
    return places
