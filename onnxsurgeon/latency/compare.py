"""Compares two models by what they cost and how fast they run, as a whole and weight by weight."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from onnxsurgeon.arrays import Shape
from onnxsurgeon.dependency.costs import COSTS, CostKind
from onnxsurgeon.dependency.labels import Labels
from onnxsurgeon.dependency.measure import Measure
from onnxsurgeon.errors import GateError
from onnxsurgeon.inspection import Inspection, inspect
from onnxsurgeon.latency.bench import Bench, inputs_for, measured
from onnxsurgeon.latency.gates import Gate, growth, slowdown
from onnxsurgeon.latency.options import CompareOptions
from onnxsurgeon.latency.timing import Ratio
from onnxsurgeon.model.model import Source, named, on_disk
from onnxsurgeon.notebook import Shown
from onnxsurgeon.options.record import takes
from onnxsurgeon.units import change, seconds


@dataclass(frozen=True)
class Compared:
    """A weight in both models, by its name. before, after: None where a model has none of that name."""

    weight: str
    node: str
    operator: str
    before: Shape | None
    after: Shape | None


@dataclass(frozen=True, repr=False)
class SideBySide(Shown):
    """Two models side by side. weights: those that differ. bench: None if latency was not measured.

    failed: in words, which of the conditions that were asked for don't hold.
    """

    models: tuple[str, str]
    before: Measure
    after: Measure
    weights: tuple[Compared, ...]
    bench: Bench | None
    failed: tuple[str, ...]
    labels: tuple[Labels, Labels]

    @property
    def ratio(self) -> Ratio | None:
        """How long the second model takes relative to the first."""
        return None if self.bench is None else self.bench.ratios[1]

    def line(self) -> str:
        costs = ", ".join(f"{kind.title} {change(a, b)}" for kind, a, b in _costs(self.before, self.after))
        return costs + (f", latency {change(1.0, self.ratio.value)}" if self.ratio else "")

    def table(self) -> Iterator[Sequence[object]]:
        yield "", *self.models, "change"
        for kind, a, b in _costs(self.before, self.after):
            yield kind.title, kind.written(a), kind.written(b), change(a, b)
        if self.bench and self.ratio:
            a, b = (row.timing.median for row in self.bench.models)
            yield "latency", seconds(a), seconds(b), change(1.0, self.ratio.value)
        yield from ((row.weight, row.before or "-", row.after or "-", "") for row in self.weights)


@takes(CompareOptions)
def compare(before: Source, after: Source, options: CompareOptions) -> SideBySide:
    """Two models side by side: parameters, MACs, size, latency, and the weights that differ.

    Raises ModelError if a model can't be read, or can't run and latency is asked for.
    """
    inspected = [inspect(source, input_shape=options.shapes) for source in (before, after)]
    bench = None
    if options.bench or options.fail_if_slower is not None:
        with ExitStack() as stack:
            paths = [stack.enter_context(on_disk(source)) for source in (before, after)]
            feeds = [inputs_for(found.labels, options) for found in inspected]
            bench = measured(paths, feeds, options, names=[named(source) for source in (before, after)])
    first, second = inspected
    gates = _gates(first.whole, second.whole, bench, options)
    failed = tuple(gate.said() for gate in gates if not gate.passed)
    names = named(before), named(after)
    weights, labels = tuple(_weights(first, second)), (first.labels, second.labels)
    return SideBySide(names, first.whole, second.whole, weights, bench, failed, labels)


def require_passed(found: SideBySide) -> None:
    """Raises GateError if a condition does not hold."""
    if found.failed:
        raise GateError(f"{found.models[1]} is not good enough", why="\n".join(found.failed), fix="see the table")


def _costs(before: Measure, after: Measure) -> Iterator[tuple[CostKind, float, float]]:
    """(cost, before, after) of each cost that was measured."""
    return ((kind, before.of(word), after.of(word)) for word, kind in COSTS.items() if word in before.costs)


def _gates(before: Measure, after: Measure, bench: Bench | None, options: CompareOptions) -> Iterator[Gate]:
    if options.fail_if_larger:
        yield from growth("fail_if_larger", before, after, 0.0)
    if options.fail_if_slower is not None and bench is not None:
        yield slowdown("fail_if_slower", bench.ratios[1], float(options.fail_if_slower))


def _weights(first: Inspection, second: Inspection) -> Iterator[Compared]:
    rows = [{row.tensor.name: row for row in found.weights()} for found in (first, second)]
    for name in dict.fromkeys([*rows[0], *rows[1]]):
        a, b = (found.get(name) for found in rows)
        shapes = [None if row is None else tuple(n or 0 for n in row.tensor.shape) for row in (a, b)]
        row = a or b
        if row is not None and shapes[0] != shapes[1]:
            yield Compared(name, row.node, row.operator, *shapes)
