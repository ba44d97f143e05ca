"""Finds sizes of the dynamic dims at which the nodes of a graph fit together, from what each node demands.

Signatures of operators say which axes are equally long: a state has the batch of its data, an input the channels of the
weight that reads it. The sizes found are samples, no more: nothing is taken for static because of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING, Any

import onnx_ir as ir

from onnxsurgeon.arrays import Shape
from onnxsurgeon.dependency.dynamic_dims import Dim, Samples, dynamic_dims, foreign_dims
from onnxsurgeon.dependency.facts import UNKNOWN, Evaluator, Facts, Sizes
from onnxsurgeon.neurons.signature import equal_axes
from onnxsurgeon.ops.call import Call, Demand, SizeCall
from onnxsurgeon.ops.nodes import operator_of
from onnxsurgeon.ops.size_expressions import Size

if TYPE_CHECKING:
    from onnxsurgeon.dependency.labels import Labels

TRIES = 4  # of changing sizes, each of which may make others wrong
LARGEST = 2**14  # the largest size that is looked for
Place = tuple[str, int]  # an input and one of its axes


class SizeFitting:
    """Makes sizes of a model's dynamic dims fit. given: shapes that the user states, by input; they stay."""

    def __init__(self, model: ir.Model, given: Mapping[str, Shape]) -> None:
        self.dims: dict[Place, Dim] = {(d[0], d[1]): d for d in (*dynamic_dims(model), *foreign_dims(model))}
        self.free = [place for place, dim in self.dims.items() if dim[0] not in given]
        self.free.sort(key=lambda place: self.dims[place][3] == "batch")  # the last to be changed
        self.found: list[dict[Place, int]] = [{}, {}, {}]  # by sample: what nodes demand

    def better(self, labels: Labels) -> Samples:
        """The samples of `labels`, with sizes changed to what nodes demand."""
        first, second, third = labels.sizes
        if not self.free:
            return labels.sizes
        return (
            self._fitted(labels, first, labels.facts[0], self.found[0]),
            self._fitted(labels, second, labels.facts[1], self.found[1]),
            self._fitted(labels, third, run(labels.evaluator, third), self.found[2]) if any(self.found) else third,
        )

    def samples(self, labels: Labels, others: Samples) -> Samples:
        """Other samples, changed to what nodes demand."""
        first, second, third = (self.at(labels, sizes) for sizes in others)
        return first, second, third

    def at(self, labels: Labels, sizes: Sizes) -> Sizes:
        """Other sizes, changed to what nodes demand."""
        found: dict[Place, int] = {}
        for _ in range(TRIES if any(self.found) else 0):
            before, sizes = sizes, self._fitted(labels, sizes, run(labels.evaluator, sizes), found)
            if sizes == before:
                break
        return sizes

    def _fitted(self, labels: Labels, sizes: Sizes, facts: Facts, found: dict[Place, int]) -> Sizes:
        """The sizes, with those changed that a demand is not met with. found: what was changed so far."""
        fitted = dict(sizes)
        for node, call in labels.calls.items():
            unmet = [(k, d) for k, d in enumerate(demands(labels.evaluator, node, call, facts)) if not d.met]
            symbolic = list(demands(labels.evaluator, node, call, labels.facts[2])) if unmet else []
            for k, number in unmet:
                if k < len(symbolic):
                    changed = self._met(fitted, found, number, symbolic[k])
                    if not changed and fitted == sizes:  # the facts are still true
                        changed = self._searched(labels, sizes, found, (node, k), symbolic[k])
                    found |= changed
                    fitted |= changed
        return fitted

    def _met(self, sizes: Sizes, found: Sizes, number: Demand, symbolic: Demand) -> dict[Place, int]:
        """The sizes that must change for a demand to be met; none where that isn't known."""
        sides = [(symbolic.size, number.wanted), (symbolic.wanted, number.size)]
        if number.multiple:
            sides = [(symbolic.size, -(-number.size // number.wanted) * number.wanted if number.wanted else 0)]
        for side, wanted in sides:
            for place in self.free if isinstance(side, Size) else ():
                size = solved(side, place, wanted, sizes)
                if size is not None and place not in found:
                    same = [p for p in self.free if self.dims[p][2] == self.dims[place][2] and p not in found]
                    return dict.fromkeys(same, size)
        ones = {place: 1 for place in self.free if place not in found}
        if not number.multiple or ones.items() <= sizes.items():
            return {}
        changed = self._met({**sizes, **ones}, found, number, symbolic)  # one dim alone, beside others of 1
        return {**ones, **changed} if changed else {}

    def _searched(
        self, labels: Labels, sizes: Sizes, found: Sizes, where: tuple[ir.Node, int], symbolic: Demand
    ) -> dict[Place, int]:
        """One size for all lengths, heights and widths, at which a size inside is what a weight wants: by bisection."""
        (node, k), low, high = where, 1, LARGEST
        inner = [p for p in self.free if self.dims[p][3] in ("space", "time") and p not in found]
        if symbolic.multiple or isinstance(symbolic.size, Size) == isinstance(symbolic.wanted, Size):
            return {}
        while inner and low < high:
            middle = (low + high) // 2
            facts = run(labels.evaluator, {**sizes, **dict.fromkeys(inner, middle)})
            made = list(demands(labels.evaluator, node, labels.calls[node], facts))[k : k + 1]
            size, wanted = (made[0][:2] if isinstance(symbolic.size, Size) else made[0][1::-1]) if made else (0, 1)
            low, high = (middle + 1, high) if size < wanted else (low, middle)
        return dict.fromkeys(inner, low) if low < LARGEST else {}


def unfit(labels: Labels) -> int:
    """How many nodes don't fit together or have outputs of unknown shape, or empty ones, as far as one can tell."""
    shapes = {value: fact.shape for value, fact in labels.facts[0].items()}
    made = [shapes.get(value) for node in labels.calls for value in node.outputs]
    ranks = [(value.shape, shapes.get(value)) for value in labels.model.graph.outputs]
    wrong = sum(a is not None and b is not None and len(a) != len(b) for a, b in ranks)
    empty = sum(shape is None or min(shape, default=1) < 1 for shape in made)
    return empty + wrong + sum(bool(call.misfit) for call in labels.calls.values())


def run(evaluator: Evaluator, sizes: Sizes) -> Facts:
    """The facts at these sizes; unknown where a node refuses them."""
    before, evaluator.lenient = evaluator.lenient, True
    try:
        return evaluator.run(sizes)
    finally:
        evaluator.lenient = before


def demands(evaluator: Evaluator, node: ir.Node, call: Call, facts: Facts) -> Iterator[Demand]:
    """What a node demands of the sizes of its inputs, which are numbers or expressions over dynamic dims."""
    known = [None if v is None else facts.get(v) or evaluator.constant_fact(v) or UNKNOWN for v in node.inputs]
    shapes: list[Any] = [None if fact is None else fact.shape for fact in known]
    operator = operator_of(node)
    if operator is not None and operator.demands is not None and all(shape is not None for shape in shapes):
        values = [None if fact is None else fact.value for fact in known]
        try:
            yield from operator.demands(SizeCall(call.attributes, values, 1, shapes))
        except (ArithmeticError, IndexError, TypeError, ValueError):  # sizes that it can't compute with
            return
    if call.pattern is not None:
        yield from _by_signature(*call.pattern, shapes)


def _by_signature(text: str, sizes: Mapping[str, int], shapes: Sequence[Any]) -> Iterator[Demand]:
    letters, composites = equal_axes(text, [None if shape is None else len(shape) for shape in shapes])
    known: dict[str, Any] = dict(sizes)
    for letter, places in letters.items():
        found = [shapes[k][axis] for k, axis in places]
        known.setdefault(letter, found[0])
        yield from (Demand(b, found[0], broadcasts=True) for b in found[1:])
        yield from (Demand(b, a, broadcasts=True) for a, b in pairwise(found[1:]))
        yield from (Demand(a, sizes[letter], broadcasts=True) for a in found if letter in sizes)
    for (k, axis), factors in composites:
        known |= {factor: int(factor) for factor in factors if factor.isdigit()}
        if all(factor in known for factor in factors):
            yield Demand(shapes[k][axis], prod(known[factor] for factor in factors))


def solved(side: Size, place: Place, wanted: Any, sizes: Sizes) -> int | None:
    """The size of a dim at which an expression is `wanted`; None where that is no positive integer, or not known."""
    slope, rest = Fraction(0), Fraction(0)
    name = f"{place[0]}[{place[1]}]"
    values = {f"{other}[{axis}]": n for (other, axis), n in sizes.items()}
    for monomial, coefficient in side.terms.items():
        keys = [factor.key for factor in monomial]
        if any(key != name and key not in values for key in keys) or keys.count(name) > 1:
            return None
        term = coefficient * prod(values[key] for key in keys if key != name)
        slope, rest = (slope + term, rest) if name in keys else (slope, rest + term)
    if not slope:
        return None
    found = (Fraction(int(wanted)) - rest) / slope
    return int(found) if found.denominator == 1 and 1 <= found <= 2**31 else None
