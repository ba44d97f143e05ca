"""The nodes of a model that onnxruntime has no operator for: vendors' plugins."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import onnx_ir as ir
from onnxruntime.capi import onnxruntime_pybind11_state as onnxruntime

from onnxsurgeon.dependency.labels import Labels
from onnxsurgeon.ops.nodes import domain_of


@cache
def _operators() -> frozenset[tuple[str, str]]:
    return frozenset((schema.domain, schema.name) for schema in onnxruntime.get_all_operator_schema())


def foreign(model: ir.Model) -> list[ir.Node]:
    """The nodes of the main graph whose operator onnxruntime lacks."""
    return [node for node in model.graph if (domain_of(node), node.op_type) not in _operators()]


def known_results(labels: Labels) -> Iterator[ir.Value]:
    """Results of such nodes that something reads, and whose type and shape are known."""
    for node in foreign(labels.model):
        for value in node.outputs:
            fact = labels.facts[0].get(value)
            if value.uses() and fact is not None and fact.shape is not None and fact.dtype:
                yield value
