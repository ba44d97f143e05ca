"""One node without its graph: the calls that rules, shapes and values receive, and their arithmetic."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from onnxsurgeon.arrays import Array, Ids, Mask, Shape
from onnxsurgeon.errors import InfeasibleError
from onnxsurgeon.neurons.relations import Axes, Axis, Relations
from onnxsurgeon.neurons.signature import Operand
from onnxsurgeon.ops.size_arrays import Sizes

TEXT = 32  # bytes of a text in onnxruntime
Changes = dict[str | int, Any]  # attribute name or input index -> its new value (None: remove the attribute)


class Keep(Protocol):
    """A selection. root: the class of each neuron. Called: how many neurons of an axis stand in each one's place.

    origins: of each place afterwards, the old position and which copy of it. parts: whether bounds part a block that
    grows.
    """

    @property
    def root(self) -> Ids: ...

    def __call__(self, axis: Ids, /) -> npt.NDArray[Any]: ...

    def origins(self, axis: Ids, /) -> tuple[Ids, Ids]: ...

    def parts(self, axis: Ids, bounds: Ids, /) -> bool: ...


@dataclass(frozen=True, slots=True)
class Fact:
    """dtype: onnx' number of the element type, 0 where unknown. derived: the value comes from a shape."""

    dtype: int = 0
    shape: Shape | None = None
    value: Array | None = None
    derived: bool = False

    @property
    def element(self) -> float:
        """Bytes of an element: of one of float32 where the type is unknown, of a text without what is in it."""
        dtype = ir.DataType(self.dtype or ir.DataType.FLOAT)
        return TEXT if dtype == ir.DataType.STRING else dtype.itemsize

    @property
    def nbytes(self) -> float:
        """Bytes of the whole; 0 where the shape is unknown."""
        return 0.0 if self.shape is None else prod(self.shape) * self.element


@dataclass(frozen=True)
class Tensor:
    """What is known of an input or output before labelling.

    shape: at the first of two sample sizes of the dynamic dims. dynamic: per axis, whether it depends on a dynamic dim.
    value: the tensor itself where it is small and computable, at the first sample; known: per element, whether it
    depends on none. used: of an output, whether anything reads it.
    """

    name: str
    shape: Shape | None = None
    dynamic: tuple[bool, ...] = ()
    value: Array | None = None
    known: Mask | None = None
    other: Shape | None = None  # the shape at the second sample
    weight: bool = False  # a constant of the graph
    used: bool = True

    @property
    def static(self) -> Array | None:
        """The value, if no element depends on a dynamic dim; else None."""
        return self.value if self.value is not None and self.known is not None and bool(np.all(self.known)) else None


class Parameters(ABC):
    """What a node states as attributes, and in newer opsets as inputs; schema defaults are among the attributes."""

    attributes: Mapping[str, Any]

    @abstractmethod
    def has(self, index: int) -> bool:
        """Whether input `index` is given."""

    @abstractmethod
    def static(self, index: int) -> Array | None:
        """The value of input `index`; None where it is absent, or depends on data or a dynamic dim."""

    def parameter(self, name: str, index: int) -> Array | None:
        """The value of attribute `name` (old opsets) or input `index` (new ones), if it is static."""
        given = self.attributes.get(name)
        return self.static(index) if given is None else np.asarray(given)

    @property
    def group(self) -> int:
        """The attribute `group` of convolutions."""
        return int(self.attributes.get("group") or 1)

    def axis(self, rank: int, default: int = 0) -> int:
        """The attribute `axis`, counted from the front."""
        given = self.attributes.get("axis")
        return int(default if given is None else given) % max(rank, 1)

    def listed_axes(self, rank: int, index: int = 1) -> list[int] | None:
        """The parameter `axes`, counted from the front; None where it is absent or not static."""
        given = self.parameter("axes", index)
        return None if given is None else [int(a) % rank for a in given.ravel()]


@dataclass(frozen=True)
class ValueCall(Parameters):
    """One node whose inputs have these values; None where one is absent. outputs: how many it has."""

    attributes: Mapping[str, Any]
    inputs: Sequence[Any]
    outputs: int = 1

    def has(self, index: int) -> bool:
        return index < len(self.inputs) and self.inputs[index] is not None

    def static(self, index: int) -> Array | None:
        return self.inputs[index] if index < len(self.inputs) else None


@dataclass(frozen=True)
class SizeCall(ValueCall):
    """One node whose sizes may be expressions over dynamic dims. shapes: of the inputs, () where one is absent."""

    shapes: Sequence[Sizes] = ()


class Demand(NamedTuple):
    """What a node demands of sizes: two are equal, or the first is a multiple of the second; 1 may broadcast."""

    size: Any
    wanted: Any
    multiple: bool = False
    broadcasts: bool = False

    @property
    def met(self) -> bool:
        """Whether it is, of two numbers."""
        if self.broadcasts and 1 in (self.size, self.wanted):
            return True
        return bool(self.wanted and self.size % self.wanted == 0 if self.multiple else self.size == self.wanted)


class UnknownShape(Exception):
    """A rule needs an unknown shape."""


@dataclass
class Call(Parameters):
    """One node while its rule runs: `inputs` and `outputs` are tensors, `axes(i)` the neurons of input i."""

    name: str
    operator: str
    version: int
    attributes: Mapping[str, Any]
    inputs: Sequence[Tensor | None]
    outputs: Sequence[Tensor]
    relations: Relations
    label: Callable[[int], Axes | None] = lambda index: None
    body: Callable[[str, Sequence[Axes | None]], list[Axes | None]] = lambda name, inputs: []
    """Labels the graph in an attribute, whose inputs have these neurons; the neurons of its outputs."""
    capture: Callable[[str], None] = lambda why: None  # freezes what graphs in attributes use from outside
    results: list[Axes | None] = field(default_factory=list)
    soft: list[tuple[int, int]] = field(default_factory=list)  # (input, axis): the operator normalises along it
    read: set[int] = field(default_factory=set)  # inputs whose neurons the rule looked at
    misfit: str = ""  # why the shapes of the inputs do not fit together, where they don't
    pattern: tuple[str, Mapping[str, int]] | None = None  # the signature that the rule read, and known letters

    def axes(self, index: int) -> Axes | None:
        """The neurons on the axes of input `index`; None where it is absent or of unknown rank."""
        self.read.add(index)
        return self.label(index) if self.has(index) else None

    def known(self, index: int) -> Axes:
        """As `axes`. Raises UnknownShape, on which everything is frozen, where they are not known."""
        found = self.axes(index)
        if found is None:
            raise UnknownShape
        return found

    def sizes(self, index: int) -> Shape:
        """The shape of input `index`. Raises UnknownShape."""
        found = self.shape(index)
        if found is None:
            raise UnknownShape
        return found

    def made(self, index: int) -> Shape:
        """The shape of output `index`. Raises UnknownShape."""
        found = self.outputs[index].shape
        if found is None:
            raise UnknownShape
        return found

    def has(self, index: int) -> bool:
        return index < len(self.inputs) and self.inputs[index] is not None

    def shape(self, index: int) -> Shape | None:
        tensor = self.inputs[index] if index < len(self.inputs) else None
        return None if tensor is None else tensor.shape

    def rank(self, index: int = 0) -> int:
        """How many axes input `index` has; 0 where that is not known."""
        return len(self.shape(index) or ())

    def static(self, index: int) -> Array | None:
        tensor = self.inputs[index] if index < len(self.inputs) else None
        return None if tensor is None else tensor.static

    def spelled(self, name: str, index: int, value: Array | Sequence[int]) -> Changes:
        """The change that gives parameter `name` or input `index` a new value, wherever this node has it."""
        if self.attributes.get(name) is not None:
            return {name: np.asarray(value).tolist()}
        old = self.static(index)
        return {index: np.asarray(value, np.int64 if old is None else old.dtype)}

    def operand(self, index: int) -> Operand | None:
        shape = self.shape(index)
        axes = None if shape is None else self.axes(index)
        return None if shape is None or axes is None else Operand(shape, axes)

    def result(self, index: int) -> Operand:
        """Output `index` as an operand, once the rule has run; no axes where its rank is unknown."""
        axes, shape = self.results[index], self.outputs[index].shape
        return Operand((), ()) if axes is None or shape is None else Operand(shape, axes)

    def blank(self, index: int) -> Axes | None:
        """Output `index` without neurons."""
        shape = self.outputs[index].shape
        return None if shape is None else (None,) * len(shape)

    def freeze(self, index: int, why: str) -> None:
        """Freezes input `index`."""
        for axis in self.axes(index) or ():
            self.relations.freeze(axis, why)

    def freeze_all(self, why: str) -> list[Axes | None]:
        """Freezes all inputs and outputs of the node."""
        for index in range(len(self.inputs)):
            self.freeze(index, why)
        return [self.blank(i) for i in range(len(self.outputs))]

    def normalises(self, index: int, axes: Sequence[int]) -> None:
        """The operator reduces input `index` along `axes`: cutting there is legal, but not the same as silencing."""
        labelled = self.axes(index) or ()
        self.soft += [(index, a) for a in axes if -len(labelled) <= a < len(labelled) and labelled[a] is not None]


def kept(keep: Keep, size: int, axis: Axis) -> int:
    """The length of an axis after the cut."""
    return size if axis is None else int(keep(axis).sum())


def unchanged(keep: Keep, axis: Ids) -> bool:
    """Whether an axis stays as it is."""
    return bool((keep(axis) == 1).all())


def require_whole(call: Call, keep: Keep, axis: Axis, bounds: Sequence[int]) -> None:
    """Raises InfeasibleError if `bounds` part a block that grows: its new neurons would have no place."""
    if axis is not None and keep.parts(axis, np.asarray(bounds, np.int64)):
        raise InfeasibleError(
            f"what {call.name} ({call.operator}) parts or joins can't grow so",
            why="neurons that grow together lie on both sides of a bound",
            fix="grow another node",
        )


def blocks(keep: Keep, axis: Ids, size: int) -> int:
    """How many blocks of `size` neurons are left. A block of one class goes, stays or grows as a whole."""
    rows, classes = keep(axis).reshape(-1, size), keep.root[axis].reshape(-1, size)
    if len(rows) == 1:
        return 1
    whole = (classes == classes[:, :1]).all(axis=1)
    return int(np.where(whole, rows[:, 0], rows.any(axis=1)).sum())


# --- a tensor that holds several, stacked along an axis ---------------------------------------------------------------

Parts = tuple[int, ...]


class PackedPart(NamedTuple):
    """The content of an output: `parts` stacked along `axis`; None: a single one, without that axis."""

    axis: int | None
    parts: Parts


class Unpacking(NamedTuple):
    """How a node treats a packed tensor.

    pieces: one for each output. copied: whether it is done to each part (else the parts stay as they are); then
    `attributes` and the constants in `inputs` replace the node's own in the copies.
    """

    pieces: tuple[PackedPart, ...]
    copied: bool = False
    attributes: Mapping[str, Sequence[int]] = {}
    inputs: Mapping[int, Sequence[int]] = {}
