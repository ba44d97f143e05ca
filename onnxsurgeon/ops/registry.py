"""The record of an operator, and the table of all records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from onnxsurgeon.arrays import Array, FloatArray, Shape
from onnxsurgeon.neurons.relations import Axes, Axis
from onnxsurgeon.ops.call import Call, Changes, Fact, Keep, Parts, UnknownShape, Unpacking, ValueCall
from onnxsurgeon.ops.gradient import GradientRule
from onnxsurgeon.ops.linear import LinearForm
from onnxsurgeon.ops.shape_inference import ShapeRule

MICROSOFT = "com.microsoft"

Key = tuple[str, str]  # domain, operator
Rule = Callable[[Call], Sequence[Axes | None]]
Resize = Callable[[Call, Keep], Changes]
Factors = list[tuple[int, Axis]]  # axes whose lengths are multiplied: (length, neurons)
Macs = Callable[[Call], list[Factors]]
Unpack = Callable[[Call, int, int, Parts], Unpacking | None]  # the node, its packed input, the axis, the parts
Compute = Callable[[ValueCall], Any]  # an array, or a tuple of one for each output
Bounds = tuple[float, float]
Silence = Literal["none", "data", "all"]
Moves = Literal["no", "rearranged", "joined", "parted"]
LinearIn = Literal["none", "first", "each", "all"]
Kind = Literal["activation", "stack", "sum", "combination", "other"]
Given = Sequence[Fact | None]


class Statistics(NamedTuple):
    """Inputs that hold one number a channel: statistics of the data, and the scale and shift in their place."""

    scale: int
    shift: int
    mean: int
    variance: int

    @property
    def channels(self) -> int:
        """The axis of the data that they are about."""
        return 1

    def fixed(self, attributes: Mapping[str, Any]) -> bool:
        """Whether the node uses the statistics that it holds, not those of each batch."""
        return not attributes.get("training_mode")

    def affine(self, attributes: Mapping[str, Any], held: Sequence[FloatArray]) -> tuple[FloatArray, FloatArray]:
        """Factor and summand for each channel. held: the four inputs, in the order of the fields."""
        scale, shift, mean, variance = held
        factor = scale / np.sqrt(variance + float(attributes.get("epsilon", 1e-5)))
        return factor, shift - mean * factor


class Convolution(NamedTuple):
    """Where a convolution, whose weight is input `weight`, has its data.

    transposed: it spreads each input instead of gathering.
    """

    data: int = 0
    weight: int = 1
    transposed: bool = False

    def groups(self, attributes: Mapping[str, Any]) -> int:
        """Independent parts that its inputs and outputs fall into."""
        return int(attributes.get("group") or 1)


class Flow(NamedTuple):
    """How facts pass through a node with graphs in its attributes.

    enter: (attributes, inputs of the node, number of inputs of the body) -> facts of the body's inputs.
    leave: (attributes, inputs of the node, by body the facts that it returns) -> facts of the outputs.
    carried: (attributes, number of inputs of the body) -> (output, input) of the body, where one turn's result goes
    into the next.
    since: the opset version from which it holds.
    live: (inputs of the node) -> the attribute with the one body that runs, of a choice; None where it isn't known.
    """

    enter: Callable[[Mapping[str, Any], Given, int], Sequence[Fact]]
    leave: Callable[[Mapping[str, Any], Given, Mapping[str, Sequence[Fact]]], Sequence[Fact]]
    carried: Callable[[Mapping[str, Any], int], Sequence[tuple[int, int]]]
    since: int = 1
    live: Callable[[Given], str | None] | None = None


@dataclass(frozen=True)
class Operator:
    """All that is known of one operator. Inputs are named by their positions.

    Neurons and sizes:
    rule: which neurons of its inputs and outputs are the same.
    resize: what its attributes and the inputs that hold sizes become after a cut.
    macs: its multiply-accumulates, as products of axis lengths.
    silence: which inputs must be zero where neurons are dropped, for it to compute what the cut operator does: none
    where it only moves or maps elements, the data of a product with weights, or all.
    zeros: input -> the input whose value is what zero means for it (quantisation).
    ignores: inputs of which it reads the type or the sizes alone, so that they may be cut whatever its rule says.

    What comes out:
    shape: the outputs' shapes, where onnx has no schema or is slow. stands_for: the standard operator (and its version)
    that onnx infers shapes by instead.
    value: the outputs, computed in numpy: the arithmetic with which exporters write sizes.
    from_shape: the output where it follows from the shape of the first input alone.
    spells: of an operator that is a constant, attributes that hold numbers -> their type.
    flow: how facts pass through graphs in its attributes.
    inferred: the input in which a -1 stands for a size that the operator works out.
    moves: whether it does no more than rearrange the elements of its first input, take part of them, or join those of
    all its inputs.
    looks_up: inputs that hold indices -> the table that each looks up.
    unpack: what it does to a tensor that holds several, stacked along an axis.

    New neurons:
    neutral: input -> the value with which a new neuron's parameter leaves the other neurons' function alone.
    zero_points: inputs that are quantised weights -> the input that says what counts as zero.
    proportional: its output is proportional to its first input, where the others are constants.

    Numbers:
    linear: how it is linear in its data, with a weight as the coefficients.
    linear_in: linear, and the same for all neurons that it doesn't sum over: in its first input, in each, or in all
    together.
    fills: the attribute with the number that its output is filled with, 0 by default; "" where it does no such thing.
    bounds: between which bounds it lets a number through unchanged.
    squashes: its outputs are probabilities made of scores.
    keeps_mean: the mean of each channel stays.
    scale: the input that scales each channel, of a normalisation.
    statistics: the inputs of a normalisation that hold statistics of the data. Behind it a channel's mean is its shift,
    and its deviation its scale.

    Edits and training:
    kind: activation; or it takes any number of inputs, which it stacks, sums, or combines otherwise.
    convolution: of a convolution, where its inputs are.
    gradient: the gradient of each input; one rule instead of a tuple is for inputs of any number.
    """

    rule: Rule
    resize: Resize | None = None
    macs: Macs | None = None
    silence: Silence = "all"
    zeros: Mapping[int, int] = field(default_factory=dict)
    ignores: tuple[int, ...] = ()

    shape: ShapeRule | None = None
    stands_for: tuple[str, int] | None = None
    value: Compute | None = None
    from_shape: Callable[[Mapping[str, Any], Shape], Array] | None = None
    spells: Mapping[str, Any] = field(default_factory=dict)
    flow: Flow | None = None
    inferred: int | None = None
    moves: Moves = "no"
    looks_up: Mapping[int, int] = field(default_factory=dict)
    unpack: Unpack | None = None

    neutral: Mapping[int, float] = field(default_factory=dict)
    zero_points: Mapping[int, int] = field(default_factory=dict)
    proportional: bool = False

    linear: LinearForm | None = None
    linear_in: LinearIn = "none"
    fills: str = ""
    bounds: Callable[[Call], Bounds | None] | None = None
    squashes: bool = False
    keeps_mean: bool = False
    scale: int | None = None
    statistics: Statistics | None = None

    kind: Kind = "other"
    convolution: Convolution | None = None
    gradient: GradientRule | tuple[GradientRule | None, ...] = ()

    def gradient_of(self, index: int) -> GradientRule | None:
        """The rule for the gradient of input `index`; None where there is none."""
        if not isinstance(self.gradient, tuple):
            return self.gradient
        return self.gradient[index] if index < len(self.gradient) else None

    @property
    def picks(self) -> tuple[int, int] | None:
        """Of an operator that does no more than pick elements: the input with indices, and the one with elements."""
        return next(iter(self.looks_up.items())) if len(self.looks_up) == 1 and self.macs is None else None

    def choices(self, attributes: Mapping[str, Any], table: Shape) -> int:
        """How many positions of a table an index has to choose from."""
        return table[int(attributes.get("axis") or 0)]

    def compute(self, call: ValueCall) -> list[Array] | None:
        """The outputs; None where numpy can't tell."""
        if self.value is None:
            return None
        try:
            with np.errstate(all="ignore"):
                found = self.value(call)
        except (ValueError, TypeError, IndexError, KeyError, ZeroDivisionError):
            return None
        return [np.asarray(array) for array in (found if isinstance(found, tuple) else (found,))]


OPERATORS: dict[Key, Operator] = {}


def add(names: str, base: Operator | Rule, *, domain: str = "", **facts: Any) -> None:
    """Registers one record for the operators of a space-separated list: a rule, or another record, and what differs."""
    known = replace(base, **facts) if isinstance(base, Operator) else Operator(base, **facts)
    for name in names.split():
        if (domain, name) in OPERATORS:
            raise ValueError(f"operator {domain}::{name} is registered twice")
        OPERATORS[domain, name] = known


def of_kind(*kinds: Kind) -> list[str]:
    """The standard operators of these kinds, sorted."""
    return sorted(name for (domain, name), known in OPERATORS.items() if not domain and known.kind in kinds)


def run_rule(operator: Operator | None, call: Call) -> list[Axes | None]:
    """The neurons on each output's axes. What the rule did not look at stays whole; without a rule, everything does."""
    if operator is None:
        call.capture("captured by an operator without a rule")
        return call.freeze_all("an operator without a rule")
    try:
        results = list(operator.rule(call))
    except UnknownShape:
        return call.freeze_all("an input of unknown shape")
    lost = any(axes is None and tensor.used for axes, tensor in zip(results, call.outputs, strict=True))
    for index, tensor in enumerate(call.inputs):
        if tensor is None or index in operator.ignores:
            continue
        if lost:
            call.freeze(index, "an output of unknown shape")
        elif index not in call.read and not (tensor.weight and tensor.value is not None):
            call.freeze(index, "the operator reads it whole")
    return results


# --- values ----------------------------------------------------------------------------------------------------------


def plain(function: Callable[..., Any]) -> Compute:
    """A numpy function of all inputs."""
    return lambda call: np.asarray(function(*call.inputs))


def typed(function: Callable[..., Any]) -> Compute:
    """A numpy function of all inputs; its result in the type of the first."""
    return lambda call: np.asarray(function(*call.inputs)).astype(np.asarray(call.inputs[0]).dtype)
