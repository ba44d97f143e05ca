"""Labels the axes of a model with neurons by running the rules of `ops` over its graph.

Labels are in side tables keyed by `ir.Value`, or by use for small constants that unrelated nodes share. The model is
not changed.
"""

from __future__ import annotations

import gc
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import Shape
from onnxsurgeon.dependency.demands import SizeFitting, unfit
from onnxsurgeon.dependency.dynamic_dims import Samples, dynamic_dims
from onnxsurgeon.dependency.facts import INDEX_TYPES, UNKNOWN, WRONG, Evaluator, tensor
from onnxsurgeon.dependency.open_shapes import shaped
from onnxsurgeon.dependency.rewrites import rewrite, unrolled
from onnxsurgeon.dependency.samples import known_at, proposed
from onnxsurgeon.dependency.size_facts import AllFacts
from onnxsurgeon.dependency.states import States, states, tie
from onnxsurgeon.dependency.unadaptable_sizes import freeze_unadaptable
from onnxsurgeon.errors import ModelError
from onnxsurgeon.neurons.relations import INPUT, OUTPUT, Axes, Classes, Relations
from onnxsurgeon.ops import Call, Operator, Tensor
from onnxsurgeon.ops.nodes import constant, is_constant, operator_of
from onnxsurgeon.ops.registry import Factors, run_rule
from onnxsurgeon.options.shared import Attention

Use = tuple[ir.Node, int]  # one input of one node
ROUNDS = 8  # of sizes that are tried until all nodes fit together


@dataclass(frozen=True)
class Weight:
    """A constant with neurons on its axes, as one or all of its readers see it.

    uses: the inputs that read it under these labels; empty if no rule reads it, so that it is never cut.
    """

    value: ir.Value
    tensor: ir.TensorProtocol
    axes: Axes
    uses: tuple[Use, ...]

    @property
    def shape(self) -> Shape:
        return tuple(self.tensor.shape.numpy())

    @property
    def counts(self) -> bool:
        """Whether its elements count as parameters: indices, sizes, masks and strings don't, weights of layers do."""
        if self.tensor.dtype not in (*INDEX_TYPES, ir.DataType.STRING):
            return True
        readers = [operator_of(use.node) for use in self.value.uses()] if len(self.tensor.shape) > 1 else []
        return any(operator is not None and operator.macs is not None for operator in readers)


@dataclass
class Labels:
    """The neurons on each axis of a model, and their classes.

    model: the labelled model; it computes the same as `original` but may tie fewer neurons (see `rewrites`).
    rotated: whether its weights differ from the original's, too (see `rotation`). states: the output that becomes an
    input of the next run, by input; these may be cut.
    given: input shapes that the user states. fitting: what nodes demand of the sizes of dynamic dims.
    axes: by value. uses: by use, for small constants. calls: each node that ran a rule.
    """

    original: ir.Model
    model: ir.Model
    evaluator: Evaluator
    sizes: Samples
    facts: AllFacts
    given: Mapping[str, Shape]
    fitting: SizeFitting
    states: States = field(default_factory=dict)
    relations: Relations = field(default_factory=Relations)
    axes: dict[ir.Value, Axes] = field(default_factory=dict)
    uses: dict[Use, Axes] = field(default_factory=dict)
    calls: dict[ir.Node, Call] = field(default_factory=dict)
    unknown: dict[str, int] = field(default_factory=dict)  # operators without a rule, and how often
    rotated: bool = False
    classes: Classes = field(init=False)

    def assumed(self) -> dict[str, Shape]:
        """The shapes that were assumed for inputs whose dims, batch apart, are dynamic and not stated."""
        dims = {dim[0] for dim in dynamic_dims(self.model) if dim[3] != "batch"} - self.given.keys()
        inputs = [value for value in self.model.graph.inputs if value.name in dims]
        return {v.name or "": self.evaluator.input_fact(v, self.sizes[0]).shape or () for v in inputs}

    def operator(self, node: ir.Node) -> Operator | None:
        return operator_of(node)

    def known(self, node: ir.Node, index: int) -> Axes | None:
        """The neurons on an input; None if no rule read them."""
        value = node.inputs[index]
        return None if value is None else self.uses.get((node, index), self.axes.get(value))

    def weights(self) -> Iterator[Weight]:
        """All constants of the graph; a constant that is labelled by use appears once per use."""
        by_value: dict[ir.Value, list[Use]] = {}
        for node in self.model.graph.all_nodes():
            for index, value in enumerate(node.inputs):
                if value is not None and constant(value) is not None:
                    by_value.setdefault(value, []).append((node, index))
        for value, uses in by_value.items():
            weight = constant(value)
            assert weight is not None
            single = [(use, self.uses[use]) for use in uses if use in self.uses]
            for use, axes in single:
                yield Weight(value, weight, axes, (use,))
            if value in self.axes:
                yield Weight(value, weight, self.axes[value], tuple(uses))
            elif not single:
                yield Weight(value, weight, (None,) * len(weight.shape), ())

    def macs(self) -> Iterator[tuple[float, Factors]]:
        """Multiply-accumulates per sample as (coefficient, axes whose lengths multiply it)."""
        batch = max((n for (_, axis), n in self.sizes[0].items() if axis == 0), default=1)
        for node, call in self.calls.items():
            known = self.operator(node)
            if known is None or known.macs is None or any(axes is None for axes in call.results[:1]):
                continue
            dynamic = any(any(t.dynamic) for t in (*call.outputs[:1], *(t for t in call.inputs if t)))
            for factors in known.macs(call):
                yield 1.0 / batch if dynamic else 1.0, factors


@contextmanager
def without_gc() -> Iterator[None]:
    """Pause the garbage collector, which would walk the growing tables repeatedly and find no garbage."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        (gc.enable if collecting else gc.disable)()


@without_gc()
def label(
    model: ir.Model,
    *,
    attention: Attention = "auto",
    shapes: Mapping[str, Shape] | None = None,
    carried: States | None = None,
    unfrozen: Collection[str] = (),
    detached: Collection[ir.Value] = (),
    rewritten: bool = True,
    original: ir.Model | None = None,
) -> Labels:
    """The labels of all axes of `model`.

    attention: which factor of heads x head size is cut. shapes: stated input shapes. carried: the stated states; others
    are found; None keeps all inputs and outputs as they are. unfrozen: inputs and outputs whose neurons are not frozen.
    detached: values whose readers see other neurons than their producer. rewritten: rewrite the model if that ties
    fewer neurons. original: the model that `model` computes the same as with other weights.
    Raises ModelError if the model is not valid.
    """
    try:
        return _label(model, attention, shapes or {}, carried, unfrozen, detached, original, rewritten=rewritten)
    except WRONG as error:
        place = next(iter(getattr(error, "__notes__", ())), "")
        raise ModelError(
            f"the model is not valid: {f'{place} does' if place else 'its nodes do'} not fit what it is given",
            why=f"{type(error).__name__}: {error}",
            fix="check it with onnx.checker and in onnxruntime; if it is valid, report it",
        ) from error


def _label(
    model: ir.Model, attention: Attention, shapes: Mapping[str, Shape], carried: States | None,
    unfrozen: Collection[str], detached: Collection[ir.Value], original: ir.Model | None, *, rewritten: bool,
) -> Labels:  # fmt: skip
    source, rotated, candidates = original or model, original is not None, list[Labels]()
    if rewritten:
        model = shaped(model, shapes, partial(label, shapes=shapes, rewritten=False))
    evaluator = Evaluator(model)
    for sizes in proposed(evaluator, shapes):
        fitting = SizeFitting(model, shapes)
        for _ in range(ROUNDS):
            known = known_at(evaluator, sizes, lenient=rewritten)
            pairs = {} if carried is None else states(model, known.facts, carried)
            if rewritten:
                known = rewrite(unrolled(known, *sizes[:2]))
            found = Labels(
                source, known.model, known.evaluator, sizes, known.facts, shapes, fitting, pairs, rotated=rotated
            )
            _Labeller(found, unfrozen, detached).run()
            before, sizes = sizes, fitting.better(found)
            if sizes == before:
                break
        candidates.append(found)
    labels = min(candidates, key=unfit)
    labels.classes = labels.relations.resolve(attention)
    for node, call in labels.calls.items():
        call.label = partial(labels.known, node)
    return labels


class _Labeller:
    """Runs the rules in graph order."""

    def __init__(self, labels: Labels, unfrozen: Collection[str], detached: Collection[ir.Value]) -> None:
        self.labels, self.relations, self.detached = labels, labels.relations, detached
        self.unfrozen = {*unfrozen, *labels.states, *labels.states.values()}
        self.tensors: dict[ir.Value, Tensor] = {}
        self.returned: list[ir.Value] = []  # outputs of subgraphs

    def run(self) -> None:
        self.relations.operator = "input"
        for value in self.labels.model.graph.inputs:
            tensor = self._tensor(value)
            if not value.is_initializer() and tensor.shape is not None:
                self.relations.node = value.name or ""
                sizes = [1 if dynamic else n for n, dynamic in zip(tensor.shape, tensor.dynamic, strict=True)]
                self.labels.axes[value] = self._fresh(tuple(sizes))
                for axis in () if value.name in self.unfrozen else self.labels.axes[value]:
                    self.relations.freeze(axis, INPUT)
        self._walk(self.labels.model.graph)
        self.relations.operator = "output"
        constants = [value for value in self.returned if constant(value) is not None]
        for value in (*self.labels.model.graph.outputs, *constants):
            self.relations.node = value.name or ""
            for axis in () if value.name in self.unfrozen else self.labels.axes.get(value, ()):
                self.relations.freeze(axis, OUTPUT)
        self._tie_states()

    def _tie_states(self) -> None:
        inputs, outputs = self.labels.model.graph.inputs, self.labels.model.graph.outputs
        ends = {value.name: self.labels.axes.get(value) for value in outputs}
        for value in inputs:
            end = self.labels.states.get(value.name or "")
            if end is not None:
                self.relations.node = value.name or ""
                tie(self.relations, self.labels.axes.get(value), ends[end])

    def _walk(self, graph: ir.Graph) -> None:
        for node in graph:
            # rules read the result of shape arithmetic as a number: it has no neurons
            if not is_constant(node) and not all(self._is_value(v) for v in node.outputs):
                try:
                    self._visit(node)
                except WRONG as error:
                    error.add_note(f"{node.op_type} {self.relations.node}")
                    raise

    def _is_value(self, value: ir.Value) -> bool:
        return self.labels.facts[0].get(value, UNKNOWN).value is not None

    def _visit(self, node: ir.Node) -> None:
        labels, known = self.labels, operator_of(node)
        name = node.name or (node.outputs[0].name if node.outputs else "") or ""
        self.relations.node, self.relations.operator = name, node.op_type
        call = Call(
            name,
            node.op_type,
            labels.evaluator.version(node),
            labels.evaluator.attributes(node),
            [None if v is None else self._tensor(v) for v in node.inputs],
            [replace(self._tensor(v), used=len(v.uses()) > 0 or v.is_graph_output()) for v in node.outputs],
            self.relations,
            partial(self._label, node),
            partial(self._body, node),
            partial(self._capture, node),
        )
        if known is None:
            labels.unknown[node.op_type] = labels.unknown.get(node.op_type, 0) + 1
        call.results = run_rule(known, call)
        labels.calls[node] = call
        freeze_unadaptable(labels, node, call)
        for value, axes in zip(node.outputs, call.results, strict=False):
            if axes is not None:
                labels.axes[value] = self._fresh_copy(axes) if value in self.detached else axes

    def _fresh_copy(self, axes: Axes) -> Axes:
        return tuple(None if axis is None else self.relations.fresh(len(axis)) for axis in axes)

    def _tensor(self, value: ir.Value) -> Tensor:
        known = self.tensors.get(value)
        if known is None:
            known = self.tensors[value] = tensor(value, *self.labels.facts)
        return known

    def _blank(self, value: ir.Value) -> Axes | None:
        shape = self.labels.facts[0].get(value, UNKNOWN).shape
        return None if shape is None else (None,) * len(shape)

    def _label(self, node: ir.Node, index: int) -> Axes | None:
        """The neurons on one input. Small constants get fresh ones per use: exporters share equal constants."""
        value = node.inputs[index]
        assert value is not None
        weight = constant(value)
        if weight is None:
            return self.labels.axes.get(value) or self._blank(value)
        shape = tuple(weight.shape.numpy())
        small = sum(n > 1 for n in shape) <= 1 or weight.dtype in INDEX_TYPES
        if small and (node, index) not in self.labels.uses:
            self.labels.uses[node, index] = self._fresh(shape)
        elif not small and value not in self.labels.axes:
            self.labels.axes[value] = self._fresh(shape)
        return self.labels.uses[node, index] if small else self.labels.axes[value]

    def _fresh(self, shape: Shape) -> Axes:
        return tuple(self.relations.fresh(n) if n > 1 and 0 not in shape else None for n in shape)

    def _body(self, node: ir.Node, name: str, inputs: Sequence[Axes | None]) -> list[Axes | None]:
        graph: ir.Graph = node.attributes[name].value
        for value, axes in zip(graph.inputs, inputs, strict=True):
            blank = self._blank(value)
            if axes is not None and blank is not None and len(axes) == len(blank):
                self.labels.axes[value] = axes
            elif axes is not None:
                for axis in axes:
                    self.relations.freeze(axis, "its shape changes in a loop")
        self._walk(graph)
        self.relations.node, self.relations.operator = node.name or "", node.op_type
        self.returned += list(graph.outputs)
        return [self.labels.axes.get(v) or self._blank(v) for v in graph.outputs]

    def _capture(self, node: ir.Node, why: str) -> None:
        for attribute in node.attributes.values():
            if attribute.type == ir.AttributeType.GRAPH:
                for inner in attribute.value.all_nodes():
                    for index, value in enumerate(inner.inputs):
                        if value is not None:  # a weight may not have labels yet
                            axes = self.labels.axes.get(value) if constant(value) is None else self._label(inner, index)
                            for axis in axes or ():
                                self.relations.freeze(axis, why)


def kept_shape(axes: Axes, keep: np.ndarray, shape: Shape) -> Shape:
    """The shape of a tensor of `shape` after a cut that keeps the neurons in `keep`, shape (neurons,)."""
    return tuple(n if axis is None else int(keep[axis].sum()) for n, axis in zip(shape, axes, strict=True))
