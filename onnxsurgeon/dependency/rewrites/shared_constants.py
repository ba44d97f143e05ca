"""Copies nodes that prepare a small constant for several readers: `zeros -> DequantizeLinear -> (Conv, Conv, ...)`.

Exporters and quantisers share equal constants at random. Each reader gets a node of its own, so that the layers
behind it stay unrelated.
"""

from __future__ import annotations

import onnx_ir as ir

from onnxsurgeon.dependency.rewrites.known_model import FactEditor, KnownModel
from onnxsurgeon.model.editor import feed
from onnxsurgeon.ops.nodes import constant, domain_of, operator_of


def find(known: KnownModel, node: ir.Node) -> bool:
    """Whether `node` only maps or moves a small constant, and several nodes read its output."""
    operator = operator_of(node)
    if operator is None or operator.silence != "none" or domain_of(node) or len(node.outputs) != 1:
        return False
    value = node.outputs[0]
    if (
        value.is_graph_output()
        or len(value.uses()) < 2
        or any(v is not None and constant(v) is None for v in node.inputs)
    ):
        return False
    shapes = known.shapes(value) if known.is_tensor(value) and any(v is not None for v in node.inputs) else None
    return shapes is not None and sum(n > 1 for n in shapes[0]) == 1


def unshare(editor: FactEditor, node: ir.Node) -> None:
    """Keep `node` for its first reader, and add a copy for each other reader."""
    if not find(editor.known, node):
        return
    value = node.outputs[0]
    for number, use in enumerate(list(value.uses())[1:], start=1):
        name, output = f"{node.name}.{number}", f"{value.name}.{number}"
        copy = editor.add(node, node.op_type, node.inputs, name, output, node.attributes.values())
        feed([(use.node, use.idx)], copy)
