"""Facts in which sizes are expressions over the dynamic dims: they say which sizes are static.

A graph is evaluated with numbers first. Then it is evaluated with an expression for each dynamic dim; where that can't
tell a size, nothing is known of it, so it is not static. Whether two samples agree is never asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import Array
from onnxsurgeon.dependency.facts import PICKED, UNKNOWN, Evaluator, Facts, NodeInfo, Sizes, is_foreign
from onnxsurgeon.ops.call import Fact, SizeCall, ValueCall
from onnxsurgeon.ops.nodes import is_constant
from onnxsurgeon.ops.size_arrays import is_symbolic, unknown
from onnxsurgeon.ops.size_expressions import Size, opaque, symbol

# what numpy and Python raise where a rule for numbers meets an expression
UNCOMPUTABLE = (ArithmeticError, AttributeError, IndexError, KeyError, TypeError, ValueError)
AllFacts = tuple[Facts, Facts, Facts]  # at two samples of the dynamic dims, and as expressions over these


def all_facts(evaluator: Evaluator, first: Sizes, second: Sizes) -> AllFacts:
    """The facts of a model. Raises ValueError if it does not accept one of the samples."""
    others = evaluator.run(second, PICKED[1])
    numbers = evaluator.run(first)
    evaluated = SizeEvaluator(evaluator, numbers)
    facts = evaluated.input_facts(evaluator.model, {})
    evaluated.evaluate(evaluator.model.graph, facts)
    return numbers, others, facts


def visit(node: ir.Node, evaluator: Evaluator, facts: AllFacts) -> None:
    """Add the facts of the node's outputs to `facts`."""
    for numbers, picked in zip(facts[:2], PICKED, strict=True):
        evaluator.picked = partial(int, picked)
        evaluator.visit(node, numbers)
    evaluator.picked = partial(int, PICKED[0])
    SizeEvaluator(evaluator, facts[0]).visit(node, facts[2])


class SizeEvaluator(Evaluator):
    """Evaluates a graph with an expression for each dynamic dim. numbers: its facts at a sample of these."""

    def __init__(self, evaluator: Evaluator, numbers: Facts) -> None:
        super().__init__(evaluator.model)
        self._nodes, self._constants, self.numbers = evaluator._nodes, evaluator._constants, numbers
        self.lenient = evaluator.lenient
        self.picked = partial(opaque, 0)

    def input_fact(self, value: ir.Value, sizes: Sizes) -> Fact:
        """Each dynamic dim of each input is a symbol of its own: names are not always used for one size only."""
        number = super().input_fact(value, sizes)
        if number.shape is None or value.shape is None:
            return number
        return Fact(number.dtype, self.declared(value))

    def declared(self, value: ir.Value) -> Any:
        """The declared shape, with a symbol for each dynamic dim."""
        shape: Any = value.shape
        return tuple(n if isinstance(n, int) else symbol(f"{value.name}[{axis}]") for axis, n in enumerate(shape))

    def visit(self, node: ir.Node, facts: Facts) -> None:
        """Add the facts of the node's outputs to `facts`."""
        if is_constant(node):
            return
        info, numbers = self.info(node), [self.numbers.get(value, UNKNOWN) for value in node.outputs]
        inputs = [None if v is None else self.fact(v, facts) for v in node.inputs]
        outputs: Sequence[Fact] = numbers
        if is_foreign(info):
            outputs = []
        elif info.bodies:
            outputs = self._through_bodies(node, info, inputs, facts)
        elif any(_depends(fact) for fact in inputs) or (info.operator is not None and info.operator.counts):
            outputs = self._expressed(node, info, inputs)
        for k, (value, number) in enumerate(zip(node.outputs, numbers, strict=True)):
            found = outputs[k] if k < len(outputs) else UNKNOWN
            facts[value] = _reconciled(found if found.shape is not None else self._declared(value, found, info), number)

    def _through_bodies(self, node: ir.Node, info: NodeInfo, inputs: list[Fact | None], facts: Facts) -> Sequence[Fact]:
        try:
            return self._visit_bodies(node, info, inputs, facts)
        except UNCOMPUTABLE:
            for body in info.bodies.values():
                for value in body.inputs:
                    facts[value] = _reconciled(UNKNOWN, self.numbers.get(value, UNKNOWN))
                self.evaluate(body, facts)
            return []

    def _expressed(self, node: ir.Node, info: NodeInfo, inputs: list[Fact | None]) -> Sequence[Fact]:
        operator, values = info.operator, [None if f is None else f.value for f in inputs]
        if operator is not None:
            shapes: Any = [() if f is None or f.shape is None else f.shape for f in inputs]
            if operator.from_shape is not None:
                array = operator.from_shape(info.attributes, shapes[0])
                return [Fact(0, array.shape, array)]
            arrays = self._values(info, inputs, values, len(node.outputs))
            if arrays is not None:
                return [Fact(0, array.shape, array) for array in arrays]
            if operator.sizes is not None:
                shape = self._sizes(info, values, shapes)
                return [] if shape is None else [Fact(0, shape)]
        plain = [f if f is None or not is_symbolic(f.value) else Fact(f.dtype, f.shape) for f in inputs]
        return self._shapes(node, info, plain)

    def _values(
        self, info: NodeInfo, inputs: list[Fact | None], values: list[Array | None], count: int
    ) -> list[Array] | None:
        """The outputs' values, where all inputs' are known; tried with numbers as they are, then as expressions."""
        if info.operator is None or any(f is not None and f.value is None for f in inputs):
            return None
        boxed = [None if v is None else np.asarray(v, object) for v in values]
        first = info.operator.compute(ValueCall(info.attributes, values, count))
        return first if first is not None else info.operator.compute(ValueCall(info.attributes, boxed, count))

    def _sizes(self, info: NodeInfo, values: list[Array | None], shapes: Any) -> Any:
        assert info.operator is not None
        assert info.operator.sizes is not None
        try:
            return info.operator.sizes(SizeCall(info.attributes, values, 1, shapes))
        except UNCOMPUTABLE:
            return None


def _depends(fact: Fact | None) -> bool:
    """Whether a shape or a value depends on a dynamic dim."""
    if fact is None:
        return False
    return is_symbolic(fact.value) or any(isinstance(n, Size) for n in fact.shape or ())


def _reconciled(found: Fact, number: Fact) -> Fact:
    """What is known for sure: expressions, and numbers that agree with the sample; all else may be anything."""
    if number.shape is None:
        return number
    shape: Any = found.shape if found.shape is not None and len(found.shape) == len(number.shape) else None
    sizes: Any = (
        tuple(opaque(0) for _ in number.shape)
        if shape is None
        else tuple(n if isinstance(n, Size) or n == m else opaque(0) for n, m in zip(shape, number.shape, strict=True))
    )
    if number.value is None or any(isinstance(n, Size) for n in sizes):  # as many numbers as a dynamic dim says
        return Fact(number.dtype, sizes)
    value = np.asarray(number.value)
    if found.value is None or np.shape(found.value) != value.shape:
        return Fact(number.dtype, sizes, unknown(value))
    if not is_symbolic(found.value):
        same = np.array_equal(found.value, value, equal_nan=value.dtype.kind == "f")
        return Fact(number.dtype, sizes, value if same else unknown(value))
    kept = [n if isinstance(n, Size) or n == m else opaque() for n, m in zip(found.value.flat, value.flat, strict=True)]
    if not any(isinstance(n, Size) for n in kept):
        return Fact(number.dtype, sizes, value)
    boxed = np.empty(len(kept), object)
    boxed[:] = kept
    return Fact(number.dtype, sizes, boxed.reshape(value.shape))
