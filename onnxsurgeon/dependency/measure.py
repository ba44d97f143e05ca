"""How large a model is: parameters, MACs, bytes and nodes."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
import onnx_ir as ir

from onnxsurgeon.dependency.labels import Weight
from onnxsurgeon.dependency.spaces import Spaces
from onnxsurgeon.model.model import Model
from onnxsurgeon.ops.nodes import constant


@dataclass(frozen=True)
class Measure:
    """params: elements of weights. macs: per sample. size: bytes on disk. nodes: nodes."""

    params: int
    macs: float
    size: int
    nodes: int

    def of(self, metric: str) -> float:
        return float(getattr(self, metric))


def measure(model: Model, built: Spaces) -> Measure:
    """`model` before anything is cut."""
    full = np.array([s[-1] for s in built.problem.sizes], np.int64)
    macs = next(c for c in built.problem.costs if c.name == "macs").evaluate(built.problem.lengths(full))
    return Measure(count_params(model.ir), macs, model.bytes, count_nodes(model.ir))


def count_params(model: ir.Model) -> int:
    """Elements of the distinct weights of a model."""
    return sum(prod(w.shape) for w in _constants(model) if w.counts)


def count_nodes(model: ir.Model) -> int:
    """Nodes of a model, those of subgraphs included."""
    return sum(1 for _ in model.graph.all_nodes())


def weight_bytes(model: ir.Model) -> int:
    """Bytes of the distinct constants of a model."""
    return sum(w.tensor.nbytes for w in _constants(model))


def _constants(model: ir.Model) -> list[Weight]:
    values = {v: None for node in model.graph.all_nodes() for v in node.inputs if v is not None}
    found = [(value, constant(value)) for value in values]
    return [Weight(value, tensor, (), ()) for value, tensor in found if tensor is not None]
