"""Arrays of sizes, some of which may be expressions over dynamic dims: what numpy does, for these too.

An array that holds a Size is of dtype object. All others are left to numpy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil, floor
from typing import Any

import numpy as np

from onnxsurgeon.arrays import Array, Mask
from onnxsurgeon.ops.size_expressions import (
    Number,
    Size,
    UndecidedError,
    bounds,
    floordiv,
    larger,
    opaque,
    quotient,
    remainder,
    smaller,
    whole,
)

Sizes = tuple[Number, ...]  # a shape


def is_symbolic(array: Any) -> bool:
    return isinstance(array, np.ndarray) and array.dtype.kind == "O"


def array_of(sizes: Sequence[Number]) -> Array:
    """The sizes as a vector."""
    if any(isinstance(n, Size) for n in sizes):
        result = np.empty(len(sizes), object)
        result[:] = list(sizes)
        return result
    return np.asarray(sizes, np.int64)


def scalar(size: Number) -> Array:
    return array_of([size]).reshape(())


def unknown(array: Array) -> Array:
    """An array of the same shape of which nothing is known."""
    return np.asarray(np.frompyfunc(lambda _: opaque(), 1, 1)(array), object)


def static(array: Array) -> Mask:
    """Per element, whether it is the same for all sizes of the dynamic dims."""
    return np.array([not isinstance(n, Size) for n in array.ravel().tolist()], np.bool_).reshape(array.shape)


def elementwise(on_numbers: Callable[..., Any], on_sizes: Callable[..., Number]) -> Callable[..., Array]:
    """`on_numbers` of arrays of numbers, `on_sizes` element by element where one holds a Size."""

    def apply(*arrays: Any) -> Array:
        if not any(map(is_symbolic, arrays)):
            return np.asarray(on_numbers(*arrays))
        return np.asarray(np.frompyfunc(on_sizes, len(arrays), 1)(*arrays), object)

    return apply


minimum = elementwise(np.minimum, smaller)
maximum = elementwise(np.maximum, larger)
rounded_down = elementwise(np.floor, lambda n: whole(n, floor))
rounded_up = elementwise(np.ceil, lambda n: whole(n, ceil))


def divided_by(a: Any, b: Any) -> Array:
    """a / b, rounded towards zero for integers."""
    a, b = np.asarray(a), np.asarray(b)
    if not is_symbolic(a) and not is_symbolic(b):
        if a.dtype.kind == "f":
            return np.asarray(a / b)
        return np.asarray(np.abs(a) // np.abs(b) * np.sign(a) * np.sign(b)).astype(a.dtype)
    if "f" in (a.dtype.kind, b.dtype.kind):
        return np.asarray(a / b, object)
    truncated = "i" in (a.dtype.kind, b.dtype.kind)
    return np.asarray(np.frompyfunc(lambda x, y: _divided(x, y, truncated=truncated), 2, 1)(a, b), object)


def _divided(a: Number, b: Number, *, truncated: bool) -> Number:
    exact = quotient(a, b)
    if exact is not None and whole(exact, floor) is exact:
        return exact
    if truncated and bounds(a)[0] >= 0 and bounds(b)[0] > 0:
        return floordiv(a, b)
    return opaque()


def modulo(a: Any, b: Any) -> Array:
    """a % b, with the sign of b; of integers alone where one is a Size."""
    a, b = np.asarray(a), np.asarray(b)
    if (is_symbolic(a) or is_symbolic(b)) and "i" not in (a.dtype.kind, b.dtype.kind):
        raise UndecidedError
    return elementwise(np.mod, remainder)(a, b)


def cast(array: Any, dtype: Any) -> Array:
    """The array in another type. Raises ValueError for types that no size has, such as floats of 8 bits."""
    target = np.dtype(dtype)
    if target.type.__module__ != "numpy":
        raise ValueError("no size is of such a type")
    if not is_symbolic(array):
        return np.asarray(array).astype(target)
    if target.kind == "f":
        return np.asarray(array)
    if target.kind == "b":
        return np.asarray(np.frompyfunc(bool, 1, 1)(array), object)
    return np.asarray(np.frompyfunc(_truncated, 1, 1)(array), object)


def _truncated(size: Number) -> Number:
    if not isinstance(size, Size):
        return int(size)
    return whole(size, floor) if bounds(size)[0] >= 0 else opaque()


def broadcast_sizes(*shapes: Sequence[Number]) -> Any:
    """The shape that these broadcast to. Raises ValueError if they don't."""
    if not any(isinstance(n, Size) for shape in shapes for n in shape):
        return np.broadcast_shapes(*shapes)  # type: ignore[arg-type]  # they are numbers
    rank = max(map(len, shapes))
    padded = [(*(1,) * (rank - len(shape)), *shape) for shape in shapes]
    return tuple(_broadcast(sizes) for sizes in zip(*padded, strict=True))


def _broadcast(sizes: Sequence[Number]) -> Number:
    plain = {n for n in sizes if not isinstance(n, Size) and n != 1}
    if len(plain) > 1:
        raise ValueError(f"{sizes} can't be broadcast")
    if plain:
        return plain.pop()
    symbolic = {n.key: n for n in sizes if isinstance(n, Size)}
    return 1 if not symbolic else next(iter(symbolic.values())) if len(symbolic) == 1 else opaque(1)


def agreed(a: Sequence[Number] | None, b: Sequence[Number] | None) -> Any:
    """The shape of a tensor that has one of these shapes; None if the shapes certainly differ."""
    if a is None or b is None or len(a) != len(b):
        return None
    shape: list[Number] = []
    for n, m in zip(a, b, strict=True):
        if not isinstance(n, Size) and not isinstance(m, Size):
            if n != m:
                return None
            shape.append(n)
        else:
            same = isinstance(n, Size) and isinstance(m, Size) and n.key == m.key
            shape.append(n if same else opaque(0))
    return tuple(shape)


def key_of(shape: Sequence[Number] | None) -> Any:
    """The shape in a form that can be compared and hashed."""
    return None if shape is None else tuple(n.key if isinstance(n, Size) else n for n in shape)
