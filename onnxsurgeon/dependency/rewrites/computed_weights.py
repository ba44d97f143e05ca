"""Replaces a weight that the graph computes from constants by the result: spectral and weight norm, LoRA not merged.

A cut inside such a computation would change weights that stay: a norm is taken over fewer rows. Computations that only
move or scale elements stay, and so does what would make the file larger: a weight that is stored in fewer bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import numpy as np
import onnx
import onnx_ir as ir

from onnxsurgeon.arrays import Array
from onnxsurgeon.dependency.facts import FLOATS
from onnxsurgeon.dependency.rewrites.known_model import FactEditor, KnownModel
from onnxsurgeon.ops.nodes import constant, operator_of

SMALL = 16  # elements; smaller results are not worth it


def find(known: KnownModel, node: ir.Node) -> list[ir.Node] | None:
    """The nodes that compute a weight from constants, in order, ending in `node`; None if it is not such a weight."""
    if node.graph is not known.model.graph or len(node.outputs) != 1 or node.outputs[0].is_graph_output():
        return None
    value, chain = node.outputs[0], chain_of(known, node)
    fact = known.evaluator.fact(value, known.facts[0])
    if chain is None or fact.shape is None or prod(fact.shape) < SMALL or fact.dtype not in FLOATS:
        return None
    if not any(_mixes(inner) for inner in chain) or all(chain_of(known, use.node) for use in value.uses()):
        return None  # it is taken where the whole computation ends
    if fact.nbytes > sum(t.nbytes for t in spent(chain)):
        return None
    return chain


def fold(editor: FactEditor, node: ir.Node) -> None:
    chain = find(editor.known, node)
    array = None if chain is None else evaluated(editor.known, chain)
    if array is not None:
        value, weight = node.outputs[0], editor.weight(f"{node.outputs[0].name}.folded", array)
        editor.replace(value, weight)
        weight.type, weight.shape = ir.TensorType(ir.DataType.from_numpy(array.dtype)), ir.Shape(array.shape)
        for facts in editor.known.facts:
            editor.known.evaluator.fact(weight, facts)


def chain_of(known: KnownModel, node: ir.Node) -> list[ir.Node] | None:
    """The nodes that compute the outputs of `node` from constants alone; None if data or randomness goes in."""
    if node not in known.computable:
        return None
    found: set[ir.Node] = set()
    waiting = [node]
    while waiting:
        inner = waiting.pop()
        if inner not in found:
            found.add(inner)
            made = [v.producer() for v in inner.inputs if v is not None]
            waiting += [maker for maker in made if maker is not None and maker in known.computable]
    return [inner for inner in known.computable if inner in found]


def _mixes(node: ir.Node) -> bool:
    """Whether an element of the output depends on many elements of one input."""
    operator = operator_of(node)
    return operator is None or (operator.silence != "none" and not operator.proportional)


def spent(chain: list[ir.Node]) -> Iterator[ir.TensorProtocol]:
    """The constants that only this computation reads."""
    inside, seen = set(chain), set[ir.Value]()
    for value in (v for node in chain for v in node.inputs if v is not None):
        tensor = constant(value)
        if tensor is not None and value not in seen and all(use.node in inside for use in value.uses()):
            seen.add(value)
            yield tensor


def evaluated(known: KnownModel, chain: list[ir.Node]) -> Array | None:
    """The result of the computation; None if the reference implementation of onnx lacks an operator."""
    from onnx.reference import ReferenceEvaluator  # rarely needed, and slow to import

    held = {v.name or "": constant(v) for node in chain for v in node.inputs if v is not None}
    feeds = {name: tensor.numpy() for name, tensor in held.items() if tensor is not None}
    types = {name: onnx.helper.np_dtype_to_tensor_dtype(array.dtype) for name, array in feeds.items()}
    inputs = [onnx.helper.make_tensor_value_info(name, types[name], feeds[name].shape) for name in feeds]
    output = onnx.helper.make_tensor_value_info(chain[-1].outputs[0].name or "", onnx.TensorProto.FLOAT, None)
    graph = onnx.helper.make_graph([ir.to_proto(node) for node in chain], "weight", inputs, [output])
    opsets = [onnx.helper.make_opsetid(domain, version) for domain, version in known.evaluator.versions.items()]
    try:
        with np.errstate(all="ignore"):
            (found,) = ReferenceEvaluator(onnx.helper.make_model(graph, opset_imports=opsets)).run(None, feeds)
    except Exception:  # noqa: BLE001 - it raises many types; what it can't compute stays computed in the graph
        return None
    array = np.asarray(found)
    return array if np.isfinite(array).all() else None
