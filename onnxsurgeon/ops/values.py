"""Values and shapes that follow from shapes alone: the arithmetic with which exporters write sizes, in numpy.

Each function takes the attributes, the inputs' values (None where absent) and the opset version; it returns the value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import onnx.helper

from onnxsurgeon.arrays import Array, Shape

Attributes = Mapping[str, Any]
Inputs = Sequence[Any]
Compute = Callable[[Attributes, Inputs, int], Any]


def _given(attributes: Attributes, inputs: Inputs, name: str, index: int) -> Any:
    if attributes.get(name) is not None:
        return np.asarray(attributes[name])
    return inputs[index] if index < len(inputs) else None


def _axes(attributes: Attributes, inputs: Inputs, rank: int) -> tuple[int, ...] | None:
    axes = _given(attributes, inputs, "axes", 1)
    return None if axes is None else tuple(int(a) % rank for a in np.ravel(axes))


def _div(attributes: Attributes, inputs: Inputs, version: int) -> Array:
    a, b = inputs
    if not np.issubdtype(np.asarray(a).dtype, np.integer):
        return np.asarray(a / b)
    quotient = np.abs(a) // np.abs(b)
    return np.asarray(quotient * np.sign(a) * np.sign(b)).astype(a.dtype)


def _mod(attributes: Attributes, inputs: Inputs, version: int) -> Array:
    return np.asarray((np.fmod if attributes.get("fmod") else np.mod)(*inputs))


def _slice(attributes: Attributes, inputs: Inputs, version: int) -> Array:
    data = inputs[0]
    starts, ends = _given(attributes, inputs, "starts", 1), _given(attributes, inputs, "ends", 2)
    axes, steps = _given(attributes, inputs, "axes", 3), _given(attributes, inputs, "steps", 4)
    index = [slice(None)] * data.ndim
    for k, (low, high) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        axis, step = int(axes[k]) if axes is not None else k, int(steps[k]) if steps is not None else 1
        index[axis] = slice(low, None if step < 0 and high < -data.shape[axis] else high, step)
    return np.asarray(data[tuple(index)])


def _unsqueeze(attributes: Attributes, inputs: Inputs, version: int) -> Array:
    given = _given(attributes, inputs, "axes", 1)
    return np.expand_dims(inputs[0], tuple(int(a) for a in np.ravel(given)))


def _squeeze(attributes: Attributes, inputs: Inputs, version: int) -> Array:
    return np.asarray(np.squeeze(inputs[0], _axes(attributes, inputs, inputs[0].ndim)))


def _reshape(attributes: Attributes, inputs: Inputs, version: int) -> Array:
    data, target = inputs[0], np.ravel(_given(attributes, inputs, "shape", 1)).tolist()
    copied = not attributes.get("allowzero")
    return np.asarray(np.reshape(data, [data.shape[i] if n == 0 and copied else n for i, n in enumerate(target)]))


def _expand(attributes: Attributes, inputs: Inputs, version: int) -> Array:
    return np.broadcast_to(inputs[0], np.broadcast_shapes(inputs[0].shape, tuple(inputs[1].tolist())))


def _constant_of_shape(attributes: Attributes, inputs: Inputs, version: int) -> Array:
    value = attributes.get("value")
    fill = np.zeros(1, np.float32) if value is None else np.asarray(value)
    return np.full(tuple(inputs[0].tolist()), fill.ravel()[0], fill.dtype)


def _cast(attributes: Attributes, inputs: Inputs, version: int) -> Array:
    return _as(inputs[0], onnx.helper.tensor_dtype_to_np_dtype(int(attributes["to"])))


def _as(value: Any, dtype: Any) -> Array:
    if np.dtype(dtype).type.__module__ != "numpy":  # such as a float of 8 bits
        raise ValueError("no size is of such a type")
    return np.asarray(value).astype(dtype)


def _clip(attributes: Attributes, inputs: Inputs, version: int) -> Array:
    low, high = (_given(attributes, inputs, name, index) for name, index in (("min", 1), ("max", 2)))
    return np.asarray(np.clip(inputs[0], low, high)).astype(inputs[0].dtype)


def _reduce(function: Callable[..., Any]) -> Compute:
    def compute(attributes: Attributes, inputs: Inputs, version: int) -> Array:
        data = np.asarray(inputs[0])
        axes = _axes(attributes, inputs, data.ndim) if data.ndim else None
        if not axes and attributes.get("noop_with_empty_axes"):
            return data
        result = function(data, axis=axes or None, keepdims=bool(attributes.get("keepdims", 1)))
        return np.asarray(result).astype(data.dtype)

    return compute


def _split(attributes: Attributes, inputs: Inputs, version: int) -> tuple[Array, ...]:
    data, axis = inputs[0], int(attributes.get("axis") or 0)
    sizes, count = _given(attributes, inputs, "split", 1), attributes["outputs"]
    if sizes is None:
        size = -(-data.shape[axis] // count)
        sizes = np.full(count, size)
    return tuple(np.split(data, np.cumsum(sizes)[:-1], axis))


def _trilu(attributes: Attributes, inputs: Inputs, version: int) -> Array:
    k = int(inputs[1]) if len(inputs) > 1 and inputs[1] is not None else 0
    return (np.triu if attributes.get("upper", 1) else np.tril)(inputs[0], k)


def _scatter_nd(attributes: Attributes, inputs: Inputs, version: int) -> Array:
    if attributes.get("reduction", "none") != "none":
        raise ValueError("a reducing scatter")
    result, index = np.array(inputs[0]), inputs[1]
    result[tuple(np.moveaxis(index, -1, 0))] = inputs[2]
    return result


def _gather_nd(attributes: Attributes, inputs: Inputs, version: int) -> Array:
    if attributes.get("batch_dims"):
        raise ValueError("batches of their own")
    return np.asarray(inputs[0][tuple(np.moveaxis(inputs[1], -1, 0))])


def _one_hot(attributes: Attributes, inputs: Inputs, version: int) -> Array:
    index, depth, (off, on) = inputs[0], int(np.ravel(inputs[1])[0]), inputs[2]
    axis = int(attributes.get("axis", -1))
    hot = np.expand_dims(index % depth, axis)
    shape = [depth if a == axis % hot.ndim else 1 for a in range(hot.ndim)]
    inside = np.expand_dims((index >= -depth) & (index < depth), axis)
    return np.asarray(np.where(inside & (hot == np.arange(depth).reshape(shape)), on, off))


def _pad(attributes: Attributes, inputs: Inputs, version: int) -> Array:
    pads = _given(attributes, inputs, "pads", 1).reshape(2, -1).T
    if attributes.get("mode", "constant") != "constant" or (len(inputs) > 3 and inputs[3] is not None):
        raise ValueError("an unusual pad")
    fill = inputs[2] if len(inputs) > 2 and inputs[2] is not None else attributes.get("value") or 0
    return np.pad(inputs[0], pads, constant_values=fill)


def _plain(function: Callable[..., Any]) -> Compute:
    return lambda attributes, inputs, version: np.asarray(function(*inputs))


def _typed(function: Callable[..., Any]) -> Compute:
    """numpy's answer in the type of the first input."""
    return lambda attributes, inputs, version: np.asarray(function(*inputs)).astype(np.asarray(inputs[0]).dtype)


VALUES: dict[str, Compute] = {
    "Abs": _plain(np.abs),
    "Add": _plain(np.add),
    "And": _plain(np.logical_and),
    "Cast": _cast,
    "CastLike": lambda a, x, v: _as(x[0], x[1].dtype),
    "Ceil": _plain(np.ceil),
    "Clip": _clip,
    "Concat": lambda a, x, v: np.concatenate(x, int(a["axis"])),
    "ConstantOfShape": _constant_of_shape,
    "Cos": _typed(np.cos),
    "CumSum": lambda a, x, v: _cumsum(a, x),
    "Div": _div,
    "Equal": _plain(np.equal),
    "Exp": _typed(np.exp),
    "Expand": _expand,
    "Flatten": lambda a, x, v: x[0].reshape(int(np.prod(x[0].shape[: int(a.get("axis", 1))])), -1),
    "Floor": _plain(np.floor),
    "Gather": lambda a, x, v: np.take(x[0], x[1], int(a.get("axis") or 0)),
    "GatherElements": lambda a, x, v: np.take_along_axis(
        x[0], x[1] % x[0].shape[int(a.get("axis") or 0)], int(a.get("axis") or 0)
    ),
    "GatherND": _gather_nd,
    "Greater": _plain(np.greater),
    "GreaterOrEqual": _plain(np.greater_equal),
    "Identity": lambda a, x, v: x[0],
    "Less": _plain(np.less),
    "LessOrEqual": _plain(np.less_equal),
    "Log": _typed(np.log),
    "Max": lambda a, x, v: np.maximum.reduce(np.broadcast_arrays(*x)),
    "Min": lambda a, x, v: np.minimum.reduce(np.broadcast_arrays(*x)),
    "Mod": _mod,
    "Mul": _plain(np.multiply),
    "Neg": _plain(np.negative),
    "NonZero": lambda a, x, v: np.asarray(np.nonzero(x[0]), np.int64),
    "Not": _plain(np.logical_not),
    "OneHot": _one_hot,
    "Or": _plain(np.logical_or),
    "Pad": _pad,
    "Pow": _typed(np.power),
    "Range": lambda a, x, v: np.arange(*(np.asarray(i).item() for i in x), dtype=np.asarray(x[0]).dtype),
    "Reciprocal": _typed(np.reciprocal),
    "ReduceMax": _reduce(np.max),
    "ReduceMin": _reduce(np.min),
    "ReduceProd": _reduce(np.prod),
    "ReduceSum": _reduce(np.sum),
    "Reshape": _reshape,
    "Round": _plain(np.round),
    "ScatterND": _scatter_nd,
    "Sign": _plain(np.sign),
    "Sin": _typed(np.sin),
    "Slice": _slice,
    "Split": _split,
    "Sqrt": _typed(np.sqrt),
    "Squeeze": _squeeze,
    "Sub": _plain(np.subtract),
    "Sum": lambda a, x, v: np.sum(np.broadcast_arrays(*x), axis=0, dtype=x[0].dtype),
    "Tile": lambda a, x, v: np.tile(x[0], x[1]),
    "Transpose": lambda a, x, v: np.transpose(x[0], a.get("perm")),
    "Trilu": _trilu,
    "Unsqueeze": _unsqueeze,
    "Where": _plain(np.where),
    "Xor": _plain(np.logical_xor),
}


# What follows from the shape of an input, whatever its values.
FROM_SHAPE: dict[str, Callable[[Attributes, Shape], Array]] = {
    "Shape": lambda a, shape: np.asarray(shape[a.get("start") or 0 : a.get("end")], np.int64),
    "Size": lambda a, shape: np.asarray(prod(shape), np.int64),
}

# What is no computation but a constant that the graph spells as a node, and the types of its attributes of numbers.
CONSTANT = "Constant"
SPELLED: dict[str, Any] = {
    "value_int": np.int64,
    "value_ints": np.int64,
    "value_float": np.float32,
    "value_floats": np.float32,
}


def _cumsum(attributes: Attributes, inputs: Inputs) -> Array:
    if attributes.get("exclusive") or attributes.get("reverse"):
        raise ValueError("an unusual cumulative sum")
    return np.cumsum(inputs[0], axis=int(np.ravel(inputs[1])[0]), dtype=inputs[0].dtype)
