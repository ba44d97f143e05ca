"""Gradients of whole networks: along random directions of all weights, central differences in float64 say the same; and
so do gradients of the same network in other floats."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from onnxsurgeon.ops.nodes import operator_of
from onnxsurgeon.runtime.session import Session
from onnxsurgeon.training.differentiate import Tape
from paths import FIXTURES, ZOO

SAME = ["attention", "deconv", "depthwise", "fused_qkv", "grouped", "lstm", "residual", "se", "shuffle"]
REAL = ["mnist_cntk", "vnn_cifar10_vit_pgd", "vnn_oval_cifar_deep", "tinyml_cifar_fp32"]
FILES = [
    *(FIXTURES / f"{name}.onnx" for name in SAME),
    *(pytest.param(ZOO / f"real/models/{name}.onnx", marks=pytest.mark.slow) for name in REAL),
]
STEP, FLOAT = 1e-6, "tensor(float)"  # the type of what is never anything else, such as the scales of Resize


class BatchNormalization(OpRun):
    """As it infers: in opset 9 the evaluator's own takes any momentum for training."""

    def _run(self, x: np.ndarray, *given: np.ndarray, epsilon: float = 1e-5, **_: object) -> tuple[np.ndarray]:
        scale, shift, mean, variance = (a.reshape(-1, *(1,) * (x.ndim - 2)) for a in given)
        return (scale * (x - mean) / np.sqrt(variance + epsilon) + shift,)


Arrays = dict[str, np.ndarray]


def load(path: Path) -> onnx.ModelProto:
    if not path.is_file():
        pytest.skip("not part of the repository")
    return onnx.load(path)


def retyped(proto: onnx.ModelProto, kind: type[np.floating]) -> onnx.ModelProto:
    """The same network in other floats."""
    made, number = onnx.ModelProto(), helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    made.CopyFrom(proto)
    del made.graph.value_info[:]
    version = made.opset_import[0].version
    formal = [(node, onnx.defs.get_schema(node.op_type, version, node.domain).inputs) for node in made.graph.node]
    fixed = {n for node, inputs in formal for n, i in zip(node.input, inputs, strict=False) if i.type_str == FLOAT}
    held = [(t, t.name) for t in made.graph.initializer if t.name not in fixed]
    held += [(a.t, a.t.name) for node in made.graph.node for a in node.attribute if a.HasField("t")]
    for tensor, name in held:
        if tensor.data_type == TensorProto.FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(kind), name))
    for value in [*made.graph.input, *made.graph.output]:
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = number
    for node in made.graph.node:
        for attribute in node.attribute:
            if attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = number
    return made


def feed_of(proto: onnx.ModelProto) -> Arrays:
    rng, held, feed = np.random.default_rng(0), {t.name for t in proto.graph.initializer}, {}
    for value in proto.graph.input:
        if value.name not in held:
            kind = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
            dims = [d.dim_value or 2 for d in value.type.tensor_type.shape.dim]
            feed[value.name] = np.asarray(rng.standard_normal(dims)).astype(kind)
    return feed


def _passes(node: ir.Node, index: int) -> bool:
    """Whether the input is one by which the operator is differentiated: scales of Resize are not."""
    known = operator_of(node)
    return known is not None and known.gradient_of(index) is not None


def gradients(proto: onnx.ModelProto, feed: Arrays) -> tuple[Arrays, Arrays]:
    """(gradients, factors): of the sum of the outputs, each element times its factor, by all weights, by name."""
    model = ir.from_proto(proto)
    read = {v.name for node in model.graph for k, v in enumerate(node.inputs) if v is not None and _passes(node, k)}
    floats = {t.name for t in proto.graph.initializer if numpy_helper.to_array(t).dtype.kind == "f"}
    names = [t.name for t in proto.graph.initializer if t.name in floats & read]
    tape = Tape(model, list(model.graph.outputs), names, feed)
    rng, shapes = np.random.default_rng(1), tape.emit.shapes
    factors = {o.name or "": rng.standard_normal(shapes[o.name or ""]) for o in model.graph.outputs}
    found, lost = tape.gradients({name: tape.emit.constant(array) for name, array in factors.items()})
    assert not lost
    assert set(names) <= set(found)
    kept = {name: found[name] for name in names if name in found}
    arrays = Session(tape.proto([], list(kept.values())).SerializeToString(), "cpu").run(feed)
    return {name: arrays[value] for name, value in kept.items()}, factors


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_central_differences_say_the_same(path: Path) -> None:
    proto = load(path)
    feed = feed_of(proto)
    found, factors = gradients(proto, feed)
    wide, rng = retyped(proto, np.float64), np.random.default_rng(2)
    held = {t.name: numpy_helper.to_array(t) for t in wide.graph.initializer}
    along = {name: rng.standard_normal(g.shape) * np.abs(held[name]).mean() for name, g in found.items()}

    def value(way: float) -> float:
        moved = onnx.ModelProto()
        moved.CopyFrom(wide)
        for tensor in moved.graph.initializer:
            if tensor.name in along:
                name = tensor.name
                tensor.CopyFrom(numpy_helper.from_array(held[name] + way * along[name], name))
        inputs = {name: a.astype(np.float64) if a.dtype == np.float32 else a for name, a in feed.items()}
        outputs = ReferenceEvaluator(moved, new_ops=[BatchNormalization]).run(list(factors), inputs)
        return sum(float((y * factors[name]).sum()) for name, y in zip(factors, outputs, strict=True))

    slope = (value(STEP) - value(-STEP)) / (2 * STEP)
    terms = [float((g.astype(np.float64) * along[name]).sum()) for name, g in found.items()]
    assert sum(terms) == pytest.approx(slope, abs=2e-3 * sum(map(abs, terms)) + 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", SAME)
def test_weights_in_half_precision_have_nearly_the_same_gradients(name: str) -> None:
    proto = load(FIXTURES / f"{name}.onnx")
    feed = feed_of(proto)
    usual, _ = gradients(proto, feed)
    half = {k: a.astype(np.float16) if a.dtype == np.float32 else a for k, a in feed.items()}
    found, _ = gradients(retyped(proto, np.float16), half)
    for weight, gradient in found.items():
        assert gradient.dtype == np.float32
        assert gradient == pytest.approx(usual[weight], rel=0.1, abs=0.1 * float(np.abs(usual[weight]).max()) + 1e-3)
