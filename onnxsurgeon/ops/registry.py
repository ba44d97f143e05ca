"""The record of an operator, and the table of all records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from onnxsurgeon.arrays import Array, FloatArray, Shape
from onnxsurgeon.neurons.relations import Axes, Axis
from onnxsurgeon.ops.call import Call, Changes, Demand, Fact, Keep, Parts, SizeCall, UnknownShape, Unpacking, ValueCall
from onnxsurgeon.ops.gradient import GradientRule
from onnxsurgeon.ops.linear import LinearForm
from onnxsurgeon.ops.rescaling import Rescaling
from onnxsurgeon.ops.sequence_calls import Elements, FromElements
from onnxsurgeon.ops.shape_inference import ShapeRule
from onnxsurgeon.ops.size_arrays import Sizes
from onnxsurgeon.ops.training_form import TrainingForm
from onnxsurgeon.ops.windows import Convolution

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
Windows = Literal["none", "slid", "whole"]
Given = Sequence[Fact | None]


class ChannelStatistics(NamedTuple):
    """The inputs of a normalisation that hold one number per channel: statistics of the data, a scale and a shift."""

    scale: int
    shift: int
    mean: int
    variance: int

    @property
    def channels(self) -> int:
        """The axis of the data along which the channels lie."""
        return 1

    def fixed(self, attributes: Mapping[str, Any]) -> bool:
        """Whether the node uses the statistics that it holds, not those of each batch."""
        return not attributes.get("training_mode")

    def affine(self, attributes: Mapping[str, Any], held: Sequence[FloatArray]) -> tuple[FloatArray, FloatArray]:
        """The scale and the shift that the node applies to each channel. held: its inputs, ordered as the fields."""
        scale, shift, mean, variance = held
        factor = scale / np.sqrt(variance + float(attributes.get("epsilon", 1e-5)))
        return factor, shift - mean * factor


class Flow(NamedTuple):
    """How facts (types, shapes, values) pass through a node that has graphs as attributes, its bodies."""

    # (attributes, inputs of the node, number of inputs of the body) -> facts of the body's inputs
    enter: Callable[[Mapping[str, Any], Given, int], Sequence[Fact]]
    # (attributes, inputs of the node, by attribute the facts of the body's outputs) -> facts of the node's outputs
    leave: Callable[[Mapping[str, Any], Given, Mapping[str, Sequence[Fact]]], Sequence[Fact]]
    # (attributes, number of inputs of the body) -> (output, input) of the body: what one turn hands to the next
    carried: Callable[[Mapping[str, Any], int], Sequence[tuple[int, int]]]
    since: int = 1  # the first opset version for which this holds
    # (inputs of the node) -> the attribute with the branch that is taken; None if that is not known
    live: Callable[[Given], str | None] | None = None


@dataclass(frozen=True)
class Operator:
    """The record of one operator. Numbers are positions among its inputs."""

    # Neurons and sizes
    rule: Rule  # which neurons of its inputs and outputs are the same
    resize: Resize | None = None  # what attributes and inputs that hold sizes become after a cut
    macs: Macs | None = None  # its multiply-accumulates, as products of axis lengths
    # Which inputs must be zero at the dropped neurons, for the operator to compute what it computes after the cut:
    # none if it moves or maps elements, the data of a product with weights, or all.
    silence: Silence = "all"
    zeros: Mapping[int, int] = field(default_factory=dict)  # quantised input -> the input that holds its zero point
    ignores: tuple[int, ...] = ()  # inputs of which it reads only the type or the sizes: they may be cut

    # Shapes and values of its outputs
    shape: ShapeRule | None = None  # where onnx has no schema, or answers slowly
    stands_for: tuple[str, int] | None = None  # the ONNX operator and version by which onnx infers its shapes
    value: Compute | None = None  # the outputs in numpy, for the arithmetic with which exporters compute sizes
    # the first output's shape where values of inputs say it; sizes and values may be expressions over dynamic dims
    sizes: Callable[[SizeCall], Sizes | None] | None = None
    demands: Callable[[SizeCall], Sequence[Demand]] | None = None  # of sizes, beside what its signature says
    from_shape: Callable[[Mapping[str, Any], Shape], Array] | None = None  # the output, from the first input's shape
    spells: Mapping[str, Any] = field(default_factory=dict)  # of Constant: attributes that hold numbers -> their type
    flow: Flow | None = None
    counts: bool = False  # how long its output is depends on data: how many elements it picks
    inferred: int | None = None  # the input in which -1 stands for a size that the operator works out
    # It only reorders the elements of its first input, takes part of them, or joins those of all inputs.
    moves: Moves = "no"
    view: bool = False  # its output is its first input in another shape: nothing is copied
    random: Callable[[Call], bool] | None = None  # whether a node returns other numbers each time
    carries: Mapping[int, int] = field(default_factory=dict)  # input that it begins with -> output that it ends with
    looks_up: Mapping[int, int] = field(default_factory=dict)  # input with indices -> the table that they look up
    unpack: Unpack | None = None  # how it treats a tensor that holds several, stacked along an axis

    elements: Elements | None = None  # the elements of the sequence that it makes
    from_elements: FromElements | None = None  # the tensor that it makes of the elements of a sequence

    # Weights of new neurons
    neutral: Mapping[int, float] = field(default_factory=dict)  # input -> the value that changes no other neuron
    zero_points: Mapping[int, int] = field(default_factory=dict)  # quantised weight -> the input with its zero point
    proportional: bool = False  # the output is proportional to the first input, if the others are constants

    # What it does to numbers
    linear: LinearForm | None = None  # how it multiplies its data by a weight
    # Linear in the first input, in each, or in all together; and it treats all neurons alike that it doesn't sum over.
    linear_in: LinearIn = "none"
    fills: str = ""  # it fills its output with the number in this attribute, 0 by default
    bounds: Callable[[Call], Bounds | None] | None = None  # between which it returns its input unchanged
    squashes: bool = False  # it makes probabilities of scores
    keeps_mean: bool = False  # the mean of each channel stays
    scale: int | None = None  # of a normalisation: the input that scales each channel
    rescaling: Rescaling | None = None  # of a layer: the weights with which its output is scaled and shifted
    statistics: ChannelStatistics | None = None  # then a channel's mean is its shift, and its deviation its scale

    # Edits and training
    kind: Kind = "other"  # an activation; or it stacks, sums, or otherwise combines any number of inputs
    convolution: Convolution | None = None
    windows: Windows = "none"  # it pools: in windows that slide over space, or all of space
    gradient: GradientRule | tuple[GradientRule | None, ...] = ()  # of each input; or one rule for all of them
    training: TrainingForm | None = None  # how it works in training, if not as it infers

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
        """The outputs; None if numpy can't compute them."""
        if self.value is None:
            return None
        try:
            with np.errstate(all="ignore"):
                found = self.value(call)
        except (ArithmeticError, AttributeError, IndexError, KeyError, TypeError, ValueError):
            return None
        return [np.asarray(array) for array in (found if isinstance(found, tuple) else (found,))]


OPERATORS: dict[Key, Operator] = {}


def always(call: Call) -> bool:
    """Whatever the node's inputs and attributes are."""
    return True


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
    """The neurons on each output's axes. Freezes inputs that the rule does not read; without a rule, all inputs."""
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
