"""What a file states about a node: its operator, its attributes with the schema's defaults, its constant."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from onnxsurgeon.ops.registry import OPERATORS, Kind, Operator
from onnxsurgeon.ops.windows import Convolution


def constant(value: ir.Value | None) -> ir.TensorProtocol | None:
    """The tensor behind an initializer or the output of a Constant node."""
    if value is None:
        return None
    if value.const_value is not None and value.is_initializer():
        return value.const_value
    producer = value.producer()
    spelled = {} if producer is None else _spelled(producer)
    if producer is None or not spelled:
        return None
    attribute = next(iter(producer.attributes.values()), None)
    if attribute is None:
        return None
    if attribute.type == ir.AttributeType.TENSOR:
        tensor: ir.TensorProtocol = attribute.value
        return tensor
    if attribute.name in spelled:
        return ir.Tensor(np.asarray(attribute.value, spelled[attribute.name]), name=value.name)
    return None


def _spelled(node: ir.Node) -> Mapping[str, Any]:
    known = None if node.inputs else operator_of(node)  # it reads nothing
    return {} if known is None else known.spells


def is_constant(node: ir.Node) -> bool:
    """Whether a node only states a constant."""
    return bool(_spelled(node))


@cache
def schema(domain: str, operator: str, version: int) -> onnx.defs.OpSchema | None:
    known = OPERATORS.get((domain, operator))
    if known is not None and known.stands_for is not None:
        (operator, version), domain = known.stands_for, ""
    try:
        return onnx.defs.get_schema(operator, version, domain)
    except onnx.defs.SchemaError:
        return None


@cache
def _defaults(domain: str, operator: str, version: int) -> dict[str, Any]:
    found = schema(domain, operator, version)
    if found is None:
        return {}
    given = {name: a.default_value for name, a in found.attributes.items() if a.default_value.name}
    values = {name: onnx.helper.get_attribute_value(value) for name, value in given.items()}
    return {name: _decoded(value) for name, value in values.items()}


def _decoded(value: Any) -> Any:
    if isinstance(value, list):
        return [_decoded(one) for one in value]
    return value.decode() if isinstance(value, bytes) else value


def domain_of(node: ir.Node) -> str:
    return "" if node.domain == "ai.onnx" else node.domain


def operator_of(node: ir.Node) -> Operator | None:
    """The record of the node's operator; None if it has no rule."""
    return OPERATORS.get((domain_of(node), node.op_type))


def kind_of(node: ir.Node) -> Kind:
    """The kind of the node for edits of structure."""
    known = operator_of(node)
    return "other" if known is None else known.kind


def convolution_of(node: ir.Node) -> Convolution | None:
    """Where a convolution has its data and weight; None of other nodes."""
    known = operator_of(node)
    return None if known is None else known.convolution


def attributes(node: ir.Node, version: int) -> dict[str, Any]:
    """The node's attributes as Python values, the schema's defaults included; tensors as arrays."""
    values = dict(_defaults(domain_of(node), node.op_type, version))
    for name, attribute in node.attributes.items():
        value = attribute.value
        values[name] = value.numpy() if attribute.type == ir.AttributeType.TENSOR else value
    return values
