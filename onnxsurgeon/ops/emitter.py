"""Emits the nodes with which gradients are computed: operators, constants, and moves of elements along axes."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import onnx

from onnxsurgeon.arrays import Array, Shape

OLDEST = 7  # the opset since which elements broadcast; older ones get no gradients
AXES_AS_INPUT = 13  # the opset since which the axes of a sum are an input
PADS_AS_INPUT = 11  # the opset since which what is padded is
SLICE_BY_INPUTS = 10  # the opset since which the bounds of a slice are
SMALL = 64  # numbers in a constant up to which equal ones are one
RUNS = 4  # neighbours that move together are moved as one, if they are fewer runs
DENSE = 2**20  # numbers of a matrix that moves elements as a product, which is quicker than one by one


class Emitter:
    """Collects nodes and constants. shapes: of all that they may read, by name; what is emitted is added.

    All is computed in one type, `dtype`. types: of values that hold floats; those of others are cast where they are
    read. floats: the names of these values.
    made: what was emitted, so that it is not emitted again. kept: what rules keep for the other inputs of a node.
    whole: the names of integers that were made of floats.
    """

    def __init__(
        self, version: int, shapes: Mapping[str, Shape], types: Mapping[str, Any] | None = None, dtype: Any = np.float32
    ) -> None:
        self.version, self.shapes, self.dtype = version, dict(shapes), np.dtype(dtype)
        self.floats = set(types or ())
        self.types = {name: np.dtype(found) for name, found in (types or {}).items() if found != self.dtype}
        self.nodes, self.constants = list[onnx.NodeProto](), dict[str, Array]()
        self.made, self.kept, self.whole = dict[Any, str](), dict[Any, Any](), set[str]()

    def __call__(self, operator: str, *inputs: str | float, shape: Shape | None = None, **attributes: Any) -> str:
        """The name of the result of `operator`. shape: by default that of its inputs, broadcast."""
        return self.several(operator, *inputs, shapes=[shape], **attributes)[0]

    def several(
        self, operator: str, *inputs: str | float, shapes: Sequence[Shape | None], **attributes: Any
    ) -> list[str]:
        """The names of the results of an operator. shapes: of each; None for that of the inputs, broadcast."""
        names = [self.cast(given) if isinstance(given, str) else self.constant(float(given)) for given in inputs]
        key = (operator, *names, len(shapes), repr(sorted(attributes.items())))
        if key not in self.made:
            self.made[key] = name = self._name()
            outputs = [f"{name} {place}" if place else name for place in range(len(shapes))]
            self.nodes.append(onnx.helper.make_node(operator, names, outputs, name=name, **attributes))
            for output, shape in zip(outputs, shapes, strict=True):
                found = np.broadcast_shapes(*(self.shapes[n] for n in names if n)) if shape is None else shape
                self.shapes[output] = tuple(found)
        return [f"{self.made[key]} {place}" if place else self.made[key] for place in range(len(shapes))]

    def cast(self, name: str) -> str:
        """A value in the type in which all is computed."""
        return self.number(name) if name in self.types else name

    def _name(self) -> str:
        return f"gradient {len(self.nodes) + len(self.constants)}"

    def named(self, value: str, name: str) -> None:
        """Gives a computed value a name."""
        self.shapes.setdefault(name, self.shapes[value])
        if name in self.types:
            to = onnx.helper.np_dtype_to_tensor_dtype(self.types[name])
            self.nodes.append(onnx.helper.make_node("Cast", [value], [name], name=name, to=to))
        else:
            self.nodes.append(onnx.helper.make_node("Identity", [value], [name], name=name))

    def copy(self, value: str) -> str:
        """The same under a name of its own."""
        name = self._name()
        self.nodes.append(onnx.helper.make_node("Identity", [value], [name], name=name))
        self.shapes[name] = self.shapes[value]
        if value in self.types:
            self.types[name] = self.types[value]
        if value in self.floats:
            self.floats.add(name)
        return name

    def constant(self, array: Any) -> str:
        """The name of a constant; arrays of integers keep their types."""
        array = np.asarray(array)
        if array.dtype.kind == "f":
            array = array.astype(self.dtype)
        key = (array.dtype, array.shape, array.tobytes()) if array.size <= SMALL else None
        if key is None or key not in self.made:
            name = self._name()
            self.constants[name], self.shapes[name] = array, array.shape
            if key is None:
                return name
            self.made[key] = name
        return self.made[key]

    def filled(self, shape: Shape, number: float) -> str:
        return self.constant(np.full(shape, number, self.dtype))

    def zeros(self, shape: Shape) -> str:
        """As `filled`; large ones are made where they are read."""
        if prod(shape) <= SMALL:
            return self.filled(shape, 0.0)
        return self("Expand", 0.0, self.constant(np.array(shape, np.int64)), shape=shape)

    def mask(self, operator: str, *inputs: str | float) -> str:
        """1 where a comparison holds, and 0 elsewhere."""
        return self.number(self(operator, *inputs))

    def number(self, value: str) -> str:
        """A truth, an integer, or a float of another type as a number to compute with."""
        key = ("number", value)
        if key not in self.made:
            self.made[key] = name = self._name()
            to = onnx.helper.np_dtype_to_tensor_dtype(self.dtype)
            self.nodes.append(onnx.helper.make_node("Cast", [value], [name], name=name, to=to))
            self.shapes[name] = self.shapes[value]
        return self.made[key]

    def reshaped(self, value: str, shape: Sequence[int]) -> str:
        if self.shapes[value] == tuple(shape):
            return value
        return self("Reshape", value, self.constant(np.array(shape, np.int64)), shape=tuple(shape))

    def transposed(self, value: str, order: Sequence[int]) -> str:
        shape = self.shapes[value]
        return self("Transpose", value, perm=list(order), shape=tuple(shape[axis] for axis in order))

    def swapped(self, value: str) -> str:
        """The last two axes change places."""
        rank = len(self.shapes[value])
        return self.transposed(value, [*range(rank - 2), rank - 1, rank - 2])

    def product(self, a: str, b: str) -> str:
        """A matrix product."""
        one, other = self.shapes[a], self.shapes[b]
        return self("MatMul", a, b, shape=(*np.broadcast_shapes(one[:-2], other[:-2]), one[-2], other[-1]))

    def softmax(self, value: str) -> str:
        """Along the last axis."""
        return self("Softmax", value, axis=len(self.shapes[value]) - 1)

    def total(self, value: str, axes: Sequence[int]) -> str:
        """Summed along `axes`, which stay with length 1."""
        if not axes:
            return value
        shape = tuple(1 if axis in axes else n for axis, n in enumerate(self.shapes[value]))
        if self.version < AXES_AS_INPUT:
            return self("ReduceSum", value, axes=list(axes), keepdims=1, shape=shape)
        return self("ReduceSum", value, self.constant(np.array(axes, np.int64)), keepdims=1, shape=shape)

    def mean(self, value: str, axes: Sequence[int]) -> str:
        return self("Div", self.total(value, axes), float(prod(self.shapes[value][axis] for axis in axes)))

    def summed_to(self, value: str, shape: Shape) -> str:
        """The gradient of a value of this shape that was broadcast."""
        found = self.shapes[value]
        padded = (1,) * (len(found) - len(shape)) + tuple(shape)
        return self.reshaped(self.total(value, [a for a, n in enumerate(padded) if n != found[a]]), shape)

    def spread(self, value: str, shape: Shape) -> str:
        """Broadcast to `shape`, of the same rank."""
        found = self.shapes[value]
        if found == shape:
            return value
        return self("Mul", value, self.filled(tuple(n if n != m else 1 for n, m in zip(shape, found, strict=True)), 1))

    def joined(self, values: Sequence[str], axis: int) -> str:
        if len(values) == 1:
            return values[0]
        shape = list(self.shapes[values[0]])
        shape[axis] = sum(self.shapes[value][axis] for value in values)
        return self("Concat", *values, axis=axis, shape=tuple(shape))

    def parted(self, value: str, lengths: Sequence[int], axis: int = 0) -> list[str]:
        """Consecutive parts along an axis."""
        if len(lengths) == 1:
            return [value]
        shape = self.shapes[value]
        shapes = [(*shape[:axis], length, *shape[axis + 1 :]) for length in lengths]
        if self.version < AXES_AS_INPUT:
            return self.several("Split", value, shapes=shapes, axis=axis, split=list(lengths))
        return self.several("Split", value, self.constant(np.array(lengths, np.int64)), shapes=shapes, axis=axis)

    def integers(self, value: str) -> str:
        """As int64; no gradient passes."""
        found = self("Cast", value, to=onnx.TensorProto.INT64)
        self.whole.add(found)
        return found

    def padded(self, value: str, axis: int, before: int, after: int, number: float = 0.0) -> str:
        return self.widened(value, {axis: (before, after)}, number)

    def widened(self, value: str, ends: Mapping[int, tuple[int, int]], number: float = 0.0) -> str:
        """Pads each axis before and after with `number`."""
        shape = list(self.shapes[value])
        pads = np.zeros((2, len(shape)), np.int64)
        for axis, (before, after) in ends.items():
            pads[:, axis] = before, after
            shape[axis] += before + after
        if not pads.any():
            return value
        if self.version < PADS_AS_INPUT:
            return self("Pad", value, pads=pads.ravel().tolist(), value=number, shape=tuple(shape))
        return self("Pad", value, self.constant(pads.ravel()), number, shape=tuple(shape))

    def selected(self, value: str, axis: int, indices: Array) -> str:
        """The positions `indices` (none below 0) of an axis, in this order."""
        return self.places(value, {axis: np.asarray(indices)})

    def places(self, value: str, wanted: Mapping[int, Array]) -> str:
        """The positions that are wanted of each axis, as `selected`."""
        shape = self.shapes[value]
        wanted = {a: at for a, at in wanted.items() if len(at) != shape[a] or (at != np.arange(shape[a])).any()}
        runs = {axis: at for axis, at in wanted.items() if len(at) and (np.diff(at) == 1).all()}
        if runs:
            value = self._slice(value, {axis: (int(at[0]), int(at[-1]) + 1) for axis, at in runs.items()})
        for axis, at in wanted.items():
            if axis not in runs:
                value = self._gathered(value, axis, at)
        return value

    def _slice(self, value: str, bounds: Mapping[int, tuple[int, int]]) -> str:
        shape = list(self.shapes[value])
        for axis, (start, end) in bounds.items():
            shape[axis] = end - start
        axes, starts, ends = list(bounds), [start for start, _ in bounds.values()], [end for _, end in bounds.values()]
        if self.version < SLICE_BY_INPUTS:
            return self("Slice", value, axes=axes, starts=starts, ends=ends, shape=tuple(shape))
        return self(
            "Slice", value, *(self.constant(np.array(b, np.int64)) for b in (starts, ends, axes)), shape=tuple(shape)
        )

    def _gathered(self, value: str, axis: int, indices: Array) -> str:
        shape = self.shapes[value]
        if len(indices) * shape[axis] <= DENSE:
            return self.mixed(value, axis, np.eye(shape[axis])[indices])
        result = (*shape[:axis], len(indices), *shape[axis + 1 :])
        return self("Gather", value, self.constant(np.asarray(indices, np.int64)), axis=axis, shape=result)

    def mixed(self, value: str, axis: int, matrix: Array) -> str:
        """`matrix`, shape (new, old), times an axis."""
        shape = self.shapes[value]
        result = (*shape[:axis], len(matrix), *shape[axis + 1 :])
        if len(shape) == 1:
            return self.reshaped(self.mixed(self.reshaped(value, (1, *shape)), 1, matrix), result)
        if axis == len(shape) - 1:
            return self.product(value, self.constant(matrix.T.copy()))
        rows = self.reshaped(value, (*shape[: axis + 1], prod(shape[axis + 1 :])))
        return self.reshaped(self.product(self.constant(matrix), rows), result)

    def scattered(self, value: str, axis: int, indices: Array, size: int) -> str:
        """An axis of `size`: at each position the sum of all that `indices` say belongs there."""
        shape, count, steps = self.shapes[value], len(indices), np.diff(indices)
        times = count // size if size and count % size == 0 else 0
        if times > 1 and (indices == np.repeat(np.arange(size), times)).all():  # each position, several times
            blocks = self.reshaped(value, (*shape[:axis], size, times, *shape[axis + 1 :]))
            return self.reshaped(self.total(blocks, [axis + 1]), (*shape[:axis], size, *shape[axis + 1 :]))
        ends = [0, *(np.flatnonzero(steps != 1) + 1).tolist(), count]
        if count and len(ends) <= RUNS:
            parts = []
            for first, last in itertools.pairwise(ends):
                run = self.selected(value, axis, np.arange(first, last))
                parts.append(self.padded(run, axis, int(indices[first]), size - int(indices[last - 1]) - 1))
            return self.sum(parts)
        if count > 1 and steps[0] > 1 and (steps == steps[0]).all():  # positions at regular distances
            step, begin = int(steps[0]), int(indices[0])
            wide = self.padded(self.reshaped(value, (*shape[: axis + 1], 1, *shape[axis + 1 :])), axis + 1, 0, step - 1)
            flat = self.reshaped(wide, (*shape[:axis], count * step, *shape[axis + 1 :]))
            whole = self.selected(flat, axis, np.arange(min(count * step, size - begin)))
            return self.padded(whole, axis, begin, size - begin - self.shapes[whole][axis])
        if count * size <= DENSE:
            return self.mixed(value, axis, np.eye(size)[:, indices])
        value = self.padded(value, axis, 0, 1)
        order = np.argsort(indices, kind="stable")
        inside = np.asarray(indices)[order]
        turn = np.arange(len(inside)) - np.searchsorted(inside, inside)  # how many before it belong to the same place
        parts = []
        for number in range(max(1, int(turn.max(initial=0)) + 1)):
            source = np.full(size, count)
            source[inside[turn == number]] = order[turn == number]
            parts.append(self.selected(value, axis, source))
        return self.sum(parts)

    def sum(self, values: Sequence[str]) -> str:
        return values[0] if len(values) == 1 else self("Sum", *values)
