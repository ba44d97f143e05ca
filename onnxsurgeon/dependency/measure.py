"""How large a model is: what it costs by each cost there is, and how many nodes it has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from onnxsurgeon.dependency.costs import COSTS
from onnxsurgeon.dependency.labels import Weight
from onnxsurgeon.model.model import Model
from onnxsurgeon.model.write import size
from onnxsurgeon.ops.nodes import constant
from onnxsurgeon.ops.registry import Factors
from onnxsurgeon.options.parsing import resolved

if TYPE_CHECKING:
    from onnxsurgeon.dependency.labels import Labels
    from onnxsurgeon.dependency.spaces import Lengths, Spaces

Terms = Iterator[tuple[float, Factors]]


@dataclass(frozen=True)
class Measure:
    """costs: by word, which are attributes, too: `params` (elements of weights), `macs` (per sample), `size` (bytes on
    disk), `memory` (bytes of activations per sample, when they are most), and where it was asked for `latency` (seconds
    of a run). nodes: those of subgraphs included."""

    costs: Mapping[str, float]
    nodes: int

    def of(self, cost: str) -> float:
        return float(self.costs[cost])

    def counts(self) -> dict[str, float]:
        """All of it by name, as reports have it."""
        costs = {word: int(cost) if cost == int(cost) else cost for word, cost in self.costs.items()}
        return {**costs, "nodes": self.nodes}

    def __getattr__(self, name: str) -> Any:
        if name in COSTS and name in self.costs:
            return self.costs[name]
        raise AttributeError(f"a measure has no {name!r}; it has {', '.join(self.costs)} and nodes")


def measured(model: Model | ir.Model, estimates: Mapping[str, float]) -> Measure:
    """What `model` costs. estimates: what the terms of each cost come to."""
    costs = {word: resolved(kind.measure)(model, estimates[word]) for word, kind in COSTS.items() if word in estimates}
    return Measure(costs, count_nodes(_graph(model)))


def measure(model: Model, built: Spaces) -> Measure:
    """`model` before anything is cut."""
    lengths = built.problem.lengths(np.array([s[-1] for s in built.problem.sizes], np.int64))
    return measured(model, built.problem.evaluate(lengths))


def overhead(model: Model) -> dict[str, float]:
    """What no term is about, by cost."""
    return {word: resolved(kind.rest)(model) for word, kind in COSTS.items() if kind.rest}


def params_terms(lengths: Lengths) -> Terms:
    """One for each element of a weight."""
    return ((1.0, _factors(weight)) for weight in lengths.weights if weight.counts)


def params_of(model: Model | ir.Model, estimate: float) -> int:
    return count_params(_graph(model))


def macs_terms(lengths: Lengths) -> Terms:
    return lengths.labels.macs()


def as_estimated(model: Model | ir.Model, estimate: float) -> float:
    """What the terms come to, which is exact for MACs."""
    return estimate


def macs_by_output(labels: Labels) -> dict[str, float]:
    """The MACs of each node, by the name of its first output."""
    found = {}
    for node, call in labels.calls.items():
        known = labels.operator(node)
        factors = known.macs(call) if known is not None and known.macs is not None else ()
        found[node.outputs[0].name or ""] = float(sum(prod(size for size, _ in each) for each in factors))
    return found


def size_terms(lengths: Lengths) -> Terms:
    """The bytes of constants."""
    return ((w.tensor.nbytes / max(1, prod(w.shape)), _factors(w)) for w in lengths.weights)


def size_of(model: Model | ir.Model, estimate: float) -> int:
    """Bytes of the file: of the one that it was read from, or would be written to."""
    return model.bytes if isinstance(model, Model) else size(model)


def _factors(weight: Weight) -> Factors:
    return list(zip(weight.shape, weight.axes, strict=True))


def _graph(model: Model | ir.Model) -> ir.Model:
    return model.ir if isinstance(model, Model) else model


def count_params(model: ir.Model) -> int:
    """Elements of the distinct weights of a model."""
    return sum(prod(w.shape) for w in _constants(model) if w.counts)


def count_nodes(model: ir.Model) -> int:
    """Nodes of a model, those of subgraphs included."""
    return sum(1 for _ in model.graph.all_nodes())


def size_of_the_rest(model: Model) -> int:
    """Bytes of the file beside the distinct constants."""
    return model.bytes - sum(w.tensor.nbytes for w in _constants(model.ir))


def _constants(model: ir.Model) -> list[Weight]:
    values = {v: None for node in model.graph.all_nodes() for v in node.inputs if v is not None}
    found = [(value, constant(value)) for value in values]
    return [Weight(value, tensor, (), ()) for value, tensor in found if tensor is not None]
