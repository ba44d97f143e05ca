"""Makes a graph smaller that computes the same: it computes constants, and folds normalisations into layers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import Array, FloatArray
from onnxsurgeon.dependency.labels import Labels, label
from onnxsurgeon.dependency.names import name_of
from onnxsurgeon.dependency.rewrites import KnownModel
from onnxsurgeon.dependency.rewrites.computed_weights import chain_of, evaluated, spent
from onnxsurgeon.edit.step import Step
from onnxsurgeon.model.editor import Editor, copied, feed, remove_dead, set_input
from onnxsurgeon.ops.nodes import attributes, constant, is_constant, operator_of
from onnxsurgeon.ops.registry import ChannelStatistics
from onnxsurgeon.ops.rescaling import Rescaling
from onnxsurgeon.ops.size_expressions import is_static
from onnxsurgeon.surgery.fit_check import checked

SMALL = 1024  # bytes that a constant may take more than those that it was computed from


def fuse(model: ir.Model) -> list[Step]:
    """Computes what depends on constants and static shapes alone, then folds normalisations into layers.

    No step where there is nothing to do.
    """
    steps: list[Step] = []
    for change in (_fold, _join):
        before = label(steps[-1].after if steps else model, rewritten=False)
        editor = Editor(copied(before.model))
        what = change(before, editor)
        if what:
            steps.append(checked(before, editor.finished(), what, same=True))
    return steps


# --- constants --------------------------------------------------------------------------------------------------------


def _fold(labels: Labels, editor: Editor) -> str:
    """Replaces values that are known by constants; what was done, in words."""
    known = KnownModel(labels.model, labels.evaluator, labels.facts)
    found = dict(_constants(known))
    twins = {name_of(node): node for node in editor.model.graph}
    for node, array in found.items():
        twin = twins[name_of(node)]
        if twin.graph is not None:
            value = twin.outputs[0]
            editor.replace(value, editor.weight(f"{value.name}.folded", array))
    gone = len(labels.model.graph) - len(editor.model.graph)
    return f"compute {_counted(len(found), 'constant')}, which {gone} nodes computed" if found else ""


def _constants(known: KnownModel) -> Iterator[tuple[ir.Node, Array]]:
    """The nodes whose only output is known before the model runs, and is read by nodes of which that is not so."""
    settled = {node for node in known.model.graph if _is_known(known, node)}
    for node in known.model.graph:
        if node not in settled or is_constant(node) or node.outputs[0].is_graph_output():
            continue
        if all(use.node in settled for use in node.outputs[0].uses()):
            continue
        array = _array(known, node)
        if array is not None:
            yield node, array


def _is_known(known: KnownModel, node: ir.Node) -> bool:
    if len(node.outputs) != 1 or is_constant(node):
        return False
    operator = operator_of(node)
    if operator is None or operator.zeros or operator.zero_points:  # quantised numbers stay so
        return False
    return node in known.computable or _stated(known, node) is not None


def _stated(known: KnownModel, node: ir.Node) -> Array | None:
    """The value of a node, where shapes alone say it: the same at all sizes of the dynamic dims."""
    value = node.outputs[0]
    fact, sized = (known.evaluator.fact(value, facts) for facts in (known.facts[0], known.facts[2]))
    if sized.value is None or fact.value is None or not all(is_static(n) for n in np.ravel(sized.value)):
        return None
    return np.asarray(fact.value).astype(ir.DataType(fact.dtype).numpy())


def _array(known: KnownModel, node: ir.Node) -> Array | None:
    """The value of a node, if the file does not grow by it."""
    array = _stated(known, node)
    chain = chain_of(known, node) if array is None else None
    if chain is not None and not any(inner not in known.computable for inner in chain):
        room, fact = SMALL + sum(t.nbytes for t in spent(chain)), known.evaluator.fact(node.outputs[0], known.facts[0])
        fits = fact.shape is not None and fact.nbytes <= room
        quantised = any((known_as := operator_of(n)) and (known_as.zeros or known_as.zero_points) for n in chain)
        array = evaluated(known, chain) if fits and not quantised else None
    return None if array is None or array.dtype.kind not in "fiub" else array


# --- normalisations ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Folding:
    """A layer, and the normalisation behind it that nothing else reads the layer's output of."""

    layer: ir.Node
    norm: ir.Node
    rescaling: Rescaling
    statistics: ChannelStatistics


def _join(labels: Labels, editor: Editor) -> str:
    """Folds normalisations with fixed statistics into the layers before them; what was done, in words."""
    joined = stay = 0
    for norm in list(editor.model.graph):
        operator = operator_of(norm)
        if operator is None or operator.statistics is None:
            continue
        pair = _pair(editor, norm, operator.statistics)
        if pair is None:
            stay += 1
        else:
            _rescale(editor, pair)
            joined += 1
    left = f"; {stay} stay, behind no layer that only they read" if stay else ""
    return f"fold {_counted(joined, 'normalisation')} into the layers before{left}" if joined else ""


def _pair(editor: Editor, norm: ir.Node, statistics: ChannelStatistics) -> Folding | None:
    data, layer = norm.inputs[0], norm.inputs[0].producer() if norm.inputs[0] is not None else None
    operator = None if layer is None else operator_of(layer)
    if data is None or layer is None or operator is None or operator.rescaling is None:
        return None
    version, form = editor.opset, operator.rescaling
    alone = len(data.uses()) == 1 and not data.is_graph_output() and layer.graph is norm.graph
    rest = any(value.uses() or value.is_graph_output() for value in norm.outputs[1:])
    held = [norm.inputs[index] for index in statistics]
    own = layer.inputs[form.weight], layer.inputs[form.bias] if form.bias < len(layer.inputs) else None
    read = [constant(value) for value in (*held, own[0])]
    if not alone or rest or any(tensor is None for tensor in read) or len({t.dtype for t in read if t}) > 1:
        return None
    shared = own[0] is not None and len(own[0].uses()) > 1  # another layer reads the weight
    biased = own[1] is None or constant(own[1]) is not None
    fixed = statistics.fixed(attributes(norm, version))
    if shared or not biased or not fixed or not form.counts(attributes(layer, version)):
        return None
    return Folding(layer, norm, form, statistics)


def _rescale(editor: Editor, pair: Folding) -> None:
    """Gives a layer the weights with which it computes what the normalisation behind it does, and removes that."""
    form, layer, own = pair.rescaling, pair.layer, attributes(pair.layer, editor.opset)
    held = [_exact(constant(pair.norm.inputs[index])) for index in pair.statistics]
    factor, shift = pair.statistics.affine(attributes(pair.norm, editor.opset), held)
    old = constant(layer.inputs[form.weight])
    bias = (
        _exact(constant(layer.inputs[form.bias])) if form.bias < len(layer.inputs) and layer.inputs[form.bias] else None
    )
    assert old is not None
    name = layer.inputs[form.weight].name or name_of(layer)  # type: ignore[union-attr]
    dtype = old.dtype

    def weight() -> ir.TensorProtocol:
        scaled = form.scaled(own, _exact(old), factor)
        return ir.Tensor(np.ascontiguousarray(scaled.astype(dtype.numpy())), dtype=dtype)

    lazy = ir.LazyTensor(weight, dtype=dtype, shape=ir.Shape(old.shape.numpy()), name=f"{name}.fused")
    set_input(layer, form.weight, editor.weight(f"{name}.fused", lazy))
    biased = form.biased(own, bias, factor, shift).astype(dtype.numpy())
    set_input(layer, form.bias, editor.weight(f"{name_of(layer)}.bias.fused", biased, dtype))
    result, uses = pair.norm.outputs[0], list(pair.norm.outputs[0].uses())
    if result.is_graph_output():
        editor.take_over(result, layer.outputs[0])
    feed(uses, layer.outputs[0])
    remove_dead(result)


def _exact(tensor: ir.TensorProtocol | None) -> FloatArray:
    assert tensor is not None
    return np.asarray(tensor.numpy(), np.float64)


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'s' * (number != 1)}"
