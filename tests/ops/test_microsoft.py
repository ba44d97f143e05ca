"""Graphs of com.microsoft's operators are cut and proven; a scale that follows from a size is spelled out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxsurgeon as osg
from onnxsurgeon.arrays import Mask
from onnxsurgeon.dependency.labels import Labels, label
from onnxsurgeon.edit.apply import cut
from onnxsurgeon.errors import ModelError
from onnxsurgeon.model.editor import attribute
from onnxsurgeon.model.read import read
from onnxsurgeon.model.write import write
from onnxsurgeon.ops.registry import MICROSOFT
from onnxsurgeon.ops.whole import NCHWC
from onnxsurgeon.proof.comparison import tolerance
from onnxsurgeon.proof.of_a_cut import prove

RNG = np.random.default_rng(0)
HEADS, SIZE = 3, 4


def noise(*shape: int) -> np.ndarray:
    return (RNG.standard_normal(shape) / 2).astype(np.float32)


def model(nodes: list[onnx.NodeProto], weights: dict[str, np.ndarray], width: int, opset: int = 23) -> onnx.ModelProto:
    """x (batch, 5, width) -> nodes -> y"""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 5, width])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 5, width])
    held = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    imports = [helper.make_opsetid("", opset), helper.make_opsetid(MICROSOFT, 1)]
    return helper.make_model(helper.make_graph(nodes, "g", [x], [y], held), opset_imports=imports, ir_version=10)


def projected(operator: str, domain: str, **attributes: int) -> onnx.ModelProto:
    """x -> three MatMul -> attention -> MatMul -> y"""
    inner = HEADS * SIZE
    weights = {name: noise(8, inner) for name in "qkv"} | {"o": noise(inner, 8)}
    nodes = [helper.make_node("MatMul", ["x", name], [f"{name}x"], name=f"to_{name}") for name in "qkv"]
    nodes += [
        helper.make_node(operator, ["qx", "kx", "vx"], ["a"], name="attend", domain=domain, **attributes),
        helper.make_node("MatMul", ["a", "o"], ["y"], name="out"),
    ]
    return model(nodes, weights, 8)


def fused() -> onnx.ModelProto:
    """x -> Attention -> MatMul -> SkipLayerNormalization with x -> y"""
    inner = HEADS * SIZE
    weights = {"w": noise(8, 3 * inner), "b": noise(3 * inner), "o": noise(inner, 8), "s": noise(8), "z": noise(8)}
    nodes = [
        helper.make_node("Attention", ["x", "w", "b"], ["a"], name="attend", domain=MICROSOFT, num_heads=HEADS),
        helper.make_node("MatMul", ["a", "o"], ["p"], name="out"),
        helper.make_node("SkipLayerNormalization", ["p", "x", "s", "z"], ["y"], name="norm", domain=MICROSOFT),
    ]
    return model(nodes, weights, 8)


MODELS = {
    "Attention": projected("Attention", "", q_num_heads=HEADS, kv_num_heads=HEADS),
    "MultiHeadAttention": projected("MultiHeadAttention", MICROSOFT, num_heads=HEADS),
    "fused": fused(),
}


def without(labels: Labels, weight: str, axis: int, positions: list[int]) -> Mask:
    """A selection that drops these neurons of a weight's axis."""
    (found,) = (w for w in labels.weights() if w.value.name == weight)
    ids = found.axes[axis]
    assert ids is not None
    assert not labels.classes.frozen[ids[positions]].any()
    return ~np.isin(labels.classes.root, labels.classes.root[ids[positions]])


def attributes(path: Path) -> dict[str, object]:
    (node,) = (n for n in onnx.load(path).graph.node if n.name == "attend")
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("free", ["heads", "head-size"])
def test_attention_is_cut_by_heads_or_by_their_size(name: str, free: str, tmp_path: Path) -> None:
    source, target = tmp_path / "in.onnx", tmp_path / "out.onnx"
    onnx.save(MODELS[name], source)
    labels = label(read(source), attention=free)  # type: ignore[arg-type]
    keep = without(labels, "w" if name == "fused" else "q", 1, [1])
    write(cut(labels, keep), target)
    proof = prove(labels, keep, source, target, allowed=tolerance(labels, None, None), device="cpu")
    assert proof.passed, proof
    assert proof.moved > 1e-3
    given = attributes(target)
    heads = next(n for key, n in given.items() if key.endswith("num_heads"))
    if free == "heads":
        assert heads == HEADS - 1
        assert "scale" not in given
    else:
        assert heads == HEADS
        assert given["scale"] == pytest.approx(SIZE**-0.5)
        assert ("qkv_hidden_sizes" in given) == (name == "fused")


def test_a_token_that_starts_at_zero_is_cut_with_what_it_joins(tmp_path: Path) -> None:
    """x (batch, 5, 8) -> MatMul -> Concat with (zeros (1, 1, 6) + token) -> MatMul -> y (batch, 6, 8)"""
    weights = {"w": noise(8, 6), "t": noise(6), "o": noise(6, 8), "one": np.array([1, 1, 6])}
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], name="in"),
        helper.make_node("Shape", ["h"], ["size"]),
        helper.make_node("Slice", ["size", "from", "to"], ["width"]),
        helper.make_node("Concat", ["ones", "width"], ["target"], axis=0),
        helper.make_node("ConstantOfShape", ["target"], ["zeros"]),
        helper.make_node("Add", ["zeros", "t"], ["token"], name="token"),
        helper.make_node("ReduceSum", ["h", "axes"], ["sum"]),
        helper.make_node("Add", ["sum", "token"], ["both"]),
        helper.make_node("Add", ["h", "both"], ["g"]),
        helper.make_node("MatMul", ["g", "o"], ["y"], name="out"),
    ]
    weights |= {"from": np.array([2]), "to": np.array([3]), "ones": np.array([1, 1]), "axes": np.array([1])}
    del weights["one"]
    source, target = tmp_path / "in.onnx", tmp_path / "out.onnx"
    onnx.save(model(nodes, weights, 8, opset=17), source)
    labels = label(read(source))
    keep = without(labels, "w", 1, [1, 4])
    write(cut(labels, keep), target)
    proof = prove(labels, keep, source, target, allowed=tolerance(labels, None, None), device="cpu")
    assert proof.passed, proof
    assert {i.name: list(i.dims) for i in onnx.load(target).graph.initializer}["t"] == [4]


def test_an_embedding_is_cut_with_its_norm(tmp_path: Path) -> None:
    """ids (batch, 5) -> EmbedLayerNormalization -> MatMul -> y (batch, 5, 8)"""
    weights = {"words": noise(20, 6), "places": noise(5, 6), "s": noise(6) + 1, "z": noise(6), "o": noise(6, 8)}
    inputs = ["ids", "", "words", "places", "", "s", "z"]
    nodes = [
        helper.make_node("EmbedLayerNormalization", inputs, ["e", "mask"], name="embed", domain=MICROSOFT),
        helper.make_node("MatMul", ["e", "o"], ["y"], name="out"),
    ]
    made = model(nodes, weights, 8, opset=17)
    made.graph.input[0].CopyFrom(helper.make_tensor_value_info("ids", TensorProto.INT32, ["batch", 5]))
    source, target = tmp_path / "in.onnx", tmp_path / "out.onnx"
    onnx.save(made, source)
    labels = label(read(source))
    keep = without(labels, "words", 1, [0, 3])
    write(cut(labels, keep), target)
    proof = prove(labels, keep, source, target, allowed=tolerance(labels, None, None), device="cpu")
    assert proof.passed, proof
    assert {i.name: list(i.dims) for i in onnx.load(target).graph.initializer}["places"] == [5, 4]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (2, ir.AttributeType.INT),
        ([2, 3], ir.AttributeType.INTS),
        (0.5, ir.AttributeType.FLOAT),
        ([0.5, 1.5], ir.AttributeType.FLOATS),
    ],
)
def test_an_attribute_is_of_the_type_of_its_numbers(value: object, expected: ir.AttributeType) -> None:
    made = attribute("name", value)
    assert made.type == expected
    assert made.value == value or tuple(made.value) == tuple(value)  # type: ignore[arg-type]


def test_what_is_laid_out_for_one_processor_is_refused_with_the_way_out(tmp_path: Path) -> None:
    """x > Conv > Relu > Conv > y, as onnxruntime writes it at its highest level: channels are in blocks."""
    weights = {"a": noise(32, 16, 3, 3), "b": noise(16, 32, 1, 1)}
    kept = {"auto_pad": "NOTSET", "dilations": [1, 1], "strides": [1, 1], "group": 1}
    nodes = [
        helper.make_node("ReorderInput", ["x"], ["r"], domain=NCHWC, channels_last=0),
        helper.make_node("Conv", ["r", "a"], ["h"], name="c", domain=NCHWC, pads=[1] * 4, kernel_shape=[3, 3], **kept),
        helper.make_node("Conv", ["h", "b"], ["g"], name="d", domain=NCHWC, pads=[0] * 4, kernel_shape=[1, 1], **kept),
        helper.make_node("ReorderOutput", ["g"], ["y"], domain=NCHWC, channels=16),
    ]
    made = model(nodes, weights, 8, opset=17)
    made.opset_import.append(helper.make_opsetid(NCHWC, 1))
    onnx.save(made, tmp_path / "blocked.onnx")
    with pytest.raises(ModelError, match=r"nothing in[\s\S]*one kind of processor: optimise to the level ext"):
        osg.prune(osg.load(tmp_path / "blocked.onnx"), ratio=0.1, data="none")
