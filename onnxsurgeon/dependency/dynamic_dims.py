"""Sample sizes for the dynamic dims of a graph."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import onnx_ir as ir

from onnxsurgeon.arrays import Shape
from onnxsurgeon.dependency.facts import INDEX_TYPES, Sizes
from onnxsurgeon.errors import UsageError
from onnxsurgeon.ops.nodes import operator_of, schema

NEWEST = 10**6  # an opset version that is newer than any
Samples = tuple[Sizes, Sizes, Sizes]
Dim = tuple[str, int, str, str]  # input, axis, symbol, kind


def foreign_dims(model: ir.Model) -> Iterator[Dim]:
    """The same of results of operators that nothing is known about."""
    for node in model.graph:
        if operator_of(node) is None and schema(node.domain, node.op_type, NEWEST) is None:
            for value in node.outputs:
                for axis, n in enumerate(value.shape or ()):
                    if not isinstance(n, int):
                        yield value.name or "", axis, f"{value.name}[{axis}]", "batch" if axis == 0 else "index"


def dynamic_dims(model: ir.Model) -> Iterator[Dim]:
    """(input, axis, symbol, kind) of each dynamic dim of a graph input; kind is `batch`, `space`, `time` or `index`."""
    for value in model.graph.inputs:
        if value.shape is not None and not value.is_initializer():
            inner = "index" if value.dtype in INDEX_TYPES else "space" if len(value.shape) > 2 else "time"
            for axis, n in enumerate(value.shape):
                if not isinstance(n, int):
                    symbol = n.value if n.value not in (None, "", "?") else f"{value.name}[{axis}]"
                    yield value.name or "", axis, symbol, "batch" if axis == 0 else inner


# Sizes to try, best first: usual sizes of images, recordings and sentences, then sizes that unusual graphs accept. The
# graph is evaluated at the first two. The third is only for proofs, so that no decision was based on it.
SIZES: tuple[dict[str, tuple[int, int, int]], ...] = (
    {"batch": (2, 3, 1), "space": (224, 320, 256), "time": (4096, 6400, 9600), "index": (17, 23, 29)},
    {"batch": (2, 3, 1), "space": (64, 96, 160), "time": (512, 1280, 2560), "index": (16, 24, 32)},
    {"batch": (2, 3, 1), "space": (1024, 4096, 2048), "time": (16000, 24000, 32000), "index": (64, 128, 96)},
    {"batch": (2, 3, 1), "space": (17, 23, 29), "time": (17, 23, 29), "index": (5, 7, 11)},
    {"batch": (1, 1, 1), "space": (64, 64, 64), "time": (512, 512, 512), "index": (16, 16, 16)},
    {"batch": (1, 1, 1), "space": (1, 1, 1), "time": (1, 1, 1), "index": (1, 1, 1)},
)


def samples(model: ir.Model, given: Mapping[str, Shape]) -> Iterator[Samples]:
    """Samples of the dynamic dims, best first. given: shapes that the user states, by input; they come first.

    The first and the third sample, at which models run, have the stated sizes.
    Raises UsageError if `given` names an unknown input or a shape of another rank.
    """
    dims = list(dynamic_dims(model))
    for name, shape in given.items():
        value = next((v for v in model.graph.inputs if v.name == name), None)
        if value is None or value.shape is None or len(value.shape) != len(shape):
            raise UsageError(
                f"`input_shape` names {name!r} with {len(shape)} dims",
                why=f"the inputs are {', '.join(f'{v.name} {v.shape}' for v in model.graph.inputs)}",
                fix="name an input and give all its dims",
            )
        if shape[:1] == (0,):
            raise UsageError(
                f"`input_shape` gives {name} no samples", why="its first dim is 0", fix="make it 1 or more"
            )
    pinned = {symbol: given[name][axis] for name, axis, symbol, _ in dims if name in given}
    for choice in SIZES if dims else SIZES[:1]:
        yield _sample(dims, choice, pinned, 0), _sample(dims, choice, pinned, 1), _sample(dims, choice, pinned, 2)
    if pinned:  # the graph may accept only the stated size
        first = _sample(dims, SIZES[0], pinned, 0)
        yield first, first, first


def _sample(dims: list[Dim], choice: Mapping[str, Sequence[int]], pinned: Mapping[str, int], k: int) -> Sizes:
    """The k-th sizes of a choice. Where a size n is stated, the second, of which models see nothing, has n + 1 for a
    batch and 2 n for any other dim."""
    by_symbol: dict[str, int] = {}
    for _, _, symbol, kind in dims:
        stated = pinned.get(symbol)
        if stated is None:
            by_symbol.setdefault(symbol, choice[kind][k])
        else:
            by_symbol.setdefault(symbol, stated + (k == 1) * (1 if kind == "batch" else stated))
    return sized(dims, by_symbol)


def sized(dims: Iterable[Dim], by_symbol: Mapping[str, int]) -> Sizes:
    """The size of each dim; a name like `past + length` stands for the sum of those named so."""
    found: dict[tuple[str, int], int] = {}
    for name, axis, symbol, _ in dims:
        words = [word.strip() for word in symbol.split("+")]
        terms = [int(word) if word.isdecimal() else by_symbol.get(word) for word in words]
        known = [term for term in terms if term is not None]
        found[name, axis] = sum(known) if len(known) == len(words) > 1 else by_symbol[symbol]
    return found
