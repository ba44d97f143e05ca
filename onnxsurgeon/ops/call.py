"""What a rule sees of one node, and the table in which rules are registered. No graph here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from onnxsurgeon.arrays import Array, Ids, Mask, Shape
from onnxsurgeon.errors import InfeasibleError
from onnxsurgeon.neurons.relations import Axes, Axis, Relations
from onnxsurgeon.neurons.signature import Operand

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


Rule = Callable[["Call"], Sequence[Axes | None]]
Resize = Callable[["Call", Keep], Changes]
Factors = list[tuple[int, Axis]]  # axes whose lengths are multiplied: (length, neurons)
Macs = Callable[["Call"], list[Factors]]


@dataclass(frozen=True, slots=True)
class Fact:
    """dtype: onnx' number of the element type, 0 where unknown. derived: the value comes from a shape."""

    dtype: int = 0
    shape: Shape | None = None
    value: Array | None = None
    derived: bool = False


@dataclass(frozen=True)
class Tensor:
    """What is known of an input or output before labelling.

    shape: at the first of two sample sizes of the dynamic dims. dynamic: per axis, whether the two samples differ.
    value: the tensor itself where it is small and computable, at the first sample; known: per element, whether both
    agree. used: of an output, whether anything reads it.
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
        """The value, where no element depends on a dynamic dim."""
        return self.value if self.value is not None and self.known is not None and bool(np.all(self.known)) else None


@dataclass
class Call:
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

    def axes(self, index: int) -> Axes | None:
        """The neurons on the axes of input `index`; None where it is absent or of unknown rank."""
        self.read.add(index)
        return self.label(index) if self.has(index) else None

    def has(self, index: int) -> bool:
        return index < len(self.inputs) and self.inputs[index] is not None

    def shape(self, index: int) -> Shape | None:
        tensor = self.inputs[index] if index < len(self.inputs) else None
        return None if tensor is None else tensor.shape

    def static(self, index: int) -> Array | None:
        tensor = self.inputs[index] if index < len(self.inputs) else None
        return None if tensor is None else tensor.static

    def parameter(self, name: str, index: int) -> Array | None:
        """What old opsets give as attribute `name` and new ones as input `index`, where it is static."""
        if self.attributes.get(name) is not None:
            return np.asarray(self.attributes[name])
        return self.static(index)

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
        """No neuron of input `index` may be cut."""
        for axis in self.axes(index) or ():
            self.relations.freeze(axis, why)

    def freeze_all(self, why: str) -> list[Axes | None]:
        """Nothing that the node touches may be cut."""
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
    """Raises InfeasibleError where `bounds` part a block that grows: its new neurons would have no place."""
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


Silence = Literal["none", "data", "all"]
Moves = Literal["no", "rearranged", "joined", "parted"]


class Operator(NamedTuple):
    """All that is known of one operator.

    resize: what its attributes and size-bearing inputs become. macs: its multiply-accumulates.
    silence: which inputs must be zero where neurons are dropped, for it to compute what the cut operator does: none
    where it only moves or maps elements, the data of a product with weights, or all.
    zeros: where zero is another input's value (quantisation).
    inferred: the input in which a -1 stands for a size that the operator works out.
    ignores: inputs of which it reads the type or the sizes alone, so that they may be cut whatever its rule says.
    moves: whether it does no more than rearrange the elements of its first input, take part of them, or join those of
    all its inputs.
    looks_up: inputs that hold indices, and the table that each looks up.
    scale: the input that scales each channel, of a normalisation.
    """

    rule: Rule
    resize: Resize | None = None
    macs: Macs | None = None
    silence: Silence = "all"
    zeros: Mapping[int, int] = {}
    ignores: tuple[int, ...] = ()
    inferred: int | None = None
    moves: Moves = "no"
    looks_up: Mapping[int, int] = {}
    scale: int | None = None


Key = tuple[str, str]  # domain, operator
OPERATORS: dict[Key, Operator] = {}


def run_rule(operator: Operator | None, call: Call) -> list[Axes | None]:
    """The neurons on each output's axes. What the rule did not look at stays whole; without a rule, everything does."""
    if operator is None:
        call.capture("captured by an operator without a rule")
        return call.freeze_all("an operator without a rule")
    results = list(operator.rule(call))
    lost = any(axes is None and tensor.used for axes, tensor in zip(results, call.outputs, strict=True))
    for index, tensor in enumerate(call.inputs):
        if tensor is None or index in operator.ignores:
            continue
        if lost:
            call.freeze(index, "an output of unknown shape")
        elif index not in call.read and not (tensor.weight and tensor.value is not None):
            call.freeze(index, "the operator reads it whole")
    return results


def register(
    names: str,
    *,
    domain: str = "",
    resize: Resize | None = None,
    macs: Macs | None = None,
    silence: Silence = "all",
    zeros: Mapping[int, int] | None = None,
    ignores: tuple[int, ...] = (),
    inferred: int | None = None,
    moves: Moves = "no",
    looks_up: Mapping[int, int] | None = None,
    scale: int | None = None,
) -> Callable[[Rule], Rule]:
    """Registers a rule for the operators of a space-separated list."""

    def decorate(rule: Rule) -> Rule:
        for name in names.split():
            if (domain, name) in OPERATORS:
                raise ValueError(f"operator {domain}::{name} is registered twice")
            OPERATORS[domain, name] = Operator(
                rule, resize, macs, silence, zeros or {}, ignores, inferred, moves, looks_up or {}, scale
            )
        return rule

    return decorate
