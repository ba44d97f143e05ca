"""Lazily edited weights: per axis, the positions to gather from the weight in the file, and values for new ones.

A recipe is evaluated each time the weight is read, and its result is not kept. Applying a recipe to an edited weight
composes the two, so that a weight is gathered only once after any number of edits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import FloatArray, Ids


class Drawn(NamedTuple):
    """Normally distributed values with mean 0 for one new neuron; each evaluation gives the same values."""

    seed: tuple[int, ...]
    deviation: float


Fill = float | Drawn  # the elements of a new neuron


@dataclass(frozen=True)
class Places:
    """One axis of a recipe.

    positions: the old position of each element; -1 - k for a new one, filled with fills[k]. scale: factors, shape as
        positions.
    """

    positions: Ids
    fills: tuple[Fill, ...] = ()
    scale: FloatArray | None = None

    def after(self, first: Places | None) -> Places:
        """The composition: `first` is applied before these places."""
        if first is None:
            return self
        kept = self.positions >= 0
        source = np.where(kept, self.positions, 0)
        positions = np.where(kept, first.positions[source], self.positions - len(first.fills))
        scale = self.scale
        if first.scale is not None:
            before = np.where(kept, first.scale[source], 1.0)
            scale = before if scale is None else before * scale
        return Places(positions, first.fills + self.fills, scale)


Recipe = tuple[Places | None, ...]  # one per axis; None: unchanged


class EditedWeight(ir.LazyTensor):
    """A weight defined by applying a recipe to a base weight."""

    __slots__ = ("base", "recipe")

    def __init__(self, base: ir.TensorProtocol, recipe: Recipe, name: str | None) -> None:
        shape = [n if p is None else len(p.positions) for n, p in zip(base.shape.numpy(), recipe, strict=True)]
        super().__init__(self._gather, dtype=base.dtype, shape=ir.Shape(shape), name=name or base.name)
        self.base, self.recipe = base, recipe

    def __repr__(self) -> str:  # that of a LazyTensor shows its function, which is bound to this very object
        return f"{self._repr_base()}(base={self.base.name!r}, name={self.name!r})"

    def _gather(self) -> ir.TensorProtocol:
        return ir.Tensor(self._part(self.base.numpy(), self.recipe), dtype=self.dtype, name=self.name)

    def blocks(self, most: int) -> Iterator[Any]:
        """The arrays of the weight's rows, in blocks of about `most` bytes, each computed when its turn comes."""
        array, first = self.base.numpy(), self.recipe[0]
        count = self.shape.numpy()[0]
        step = max(1, most * count // max(1, self.nbytes))
        places = Places(np.arange(count)) if first is None else first
        for start in range(0, count, step):
            rows = slice(start, start + step)
            scale = None if places.scale is None else places.scale[rows]
            yield self._part(array, (Places(places.positions[rows], places.fills, scale), *self.recipe[1:]))

    def _part(self, array: Any, recipe: Recipe) -> Any:
        before = array.shape
        shape = [n if p is None else len(p.positions) for n, p in zip(before, recipe, strict=True)]
        for axis, places in sorted(enumerate(recipe), key=lambda pair: _size(pair[1])):
            if places is not None:
                array = _taken(array, places.positions, axis)
        array = np.ascontiguousarray(array).reshape(shape)
        self._fill(array, before, recipe)
        for axis, places in enumerate(recipe):
            if places is not None and places.scale is not None:  # after filling: it scales new values, too
                factors = places.scale.reshape([-1 if a == axis else 1 for a in range(array.ndim)])
                array = (array * factors).astype(array.dtype)
        return array

    def _fill(self, array: Any, before: tuple[int, ...], recipe: Recipe) -> None:
        """Fill new elements. If new neurons of two axes meet, zero wins over drawn, and drawn over other values."""
        jobs = [
            (0 if isinstance(fill, float) and fill else 2 if isinstance(fill, float) else 1, axis, k, fill)
            for axis, places in enumerate(recipe)
            if places is not None
            for k, fill in enumerate(places.fills)
        ]
        for _, axis, k, fill in sorted(jobs, key=lambda job: job[:3]):
            places = recipe[axis]
            assert places is not None
            where = np.flatnonzero(places.positions == -1 - k)
            if not where.size:
                continue
            index = (slice(None),) * axis
            if isinstance(fill, float):
                array[(*index, where)] = fill
                continue
            rest = before[:axis] + before[axis + 1 :]
            drawn: Any = np.random.default_rng(fill.seed).standard_normal(prod(rest)).reshape(rest)
            for a, other in enumerate(recipe[:axis] + recipe[axis + 1 :]):
                if other is not None:
                    drawn = np.take(drawn, np.maximum(other.positions, 0), a)
            for at in where.tolist():
                array[(*index, at)] = (drawn * fill.deviation).astype(array.dtype)


def _taken(array: Any, positions: Ids, axis: int) -> Any:
    """The elements at these positions; a view where they follow each other."""
    first, count = int(positions[0]) if len(positions) else 0, len(positions)
    if first >= 0 and np.array_equal(positions, np.arange(first, first + count)):
        return array[(slice(None),) * axis + (slice(first, first + count),)]
    return np.take(array, np.maximum(positions, 0), axis)


def _size(places: Places | None) -> float:
    return 0.0 if places is None else len(places.positions)


def take(tensor: ir.TensorProtocol, recipe: Recipe, name: str | None = None) -> ir.TensorProtocol:
    """`tensor` edited by `recipe`, which is evaluated when the result is read."""
    if isinstance(tensor, EditedWeight):
        composed = tuple(old if new is None else new.after(old) for old, new in zip(tensor.recipe, recipe, strict=True))
        return EditedWeight(tensor.base, composed, name or tensor.name)
    return EditedWeight(tensor, recipe, name)
