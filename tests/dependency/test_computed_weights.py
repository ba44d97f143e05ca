"""A weight that the graph computes from constants is one weight: a cut changes nothing that stays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxsurgeon as osg
from onnxsurgeon.dependency.labels import label
from onnxsurgeon.model.read import read

OPERATORS = {
    "weight norm": ["ReduceL2", "Div", "Mul"],
    "low rank": ["MatMul", "Add"],
    "spectral norm": ["MatMul", "MatMul", "Div"],
}


class Net:
    """x -> Gemm -> Relu -> Gemm -> y. folded: the weights are computed beforehand."""

    def __init__(self, *, folded: bool) -> None:
        self.rng, self.folded = np.random.default_rng(0), folded
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def hold(self, array: np.ndarray) -> str:
        self.weights.append(numpy_helper.from_array(np.asarray(array, np.float32), f"c{len(self.weights)}"))
        return self.weights[-1].name

    def op(self, kind: str, *inputs: str, **attributes: object) -> str:
        name = f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=f"{name}_n", **attributes))
        return name

    def weight(self, kind: str, outputs: int, inputs: int) -> str:
        w = self.rng.standard_normal((outputs, inputs)) / np.sqrt(inputs)
        if kind == "weight norm":
            g = self.rng.uniform(0.5, 1.5, (outputs, 1))
            if self.folded:
                return self.hold(g * w / np.linalg.norm(w, axis=1, keepdims=True))
            held = self.hold(w)
            return self.op("Mul", self.op("Div", held, self.op("ReduceL2", held, axes=[1], keepdims=1)), self.hold(g))
        if kind == "low rank":
            a, b = self.rng.standard_normal((outputs, 4)) / 2, self.rng.standard_normal((4, inputs)) / 4
            return (
                self.hold(w + a @ b)
                if self.folded
                else self.op("Add", self.hold(w), self.op("MatMul", *map(self.hold, (a, b))))
            )
        u, _, v = np.linalg.svd(w, full_matrices=False)
        if self.folded:
            return self.hold(w / (u[:, 0] @ w @ v[0]))
        held = self.hold(w)
        return self.op("Div", held, self.op("MatMul", self.op("MatMul", self.hold(u[:, 0]), held), self.hold(v[0])))

    def save(self, kind: str, path: Path) -> None:
        h = self.op("Relu", self.op("Gemm", "x", self.weight(kind, 48, 16), self.hold(np.full(48, 0.1)), transB=1))
        y = self.op("Gemm", h, self.weight(kind, 5, 48), self.hold(np.zeros(5)), transB=1)
        inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 16])]
        outputs = [helper.make_tensor_value_info(y, TensorProto.FLOAT, ["n", 5])]
        graph = helper.make_graph(self.nodes, "g", inputs, outputs, self.weights)
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def run(path: Path) -> np.ndarray:
    x = np.random.default_rng(1).standard_normal((3, 16)).astype(np.float32)
    return np.asarray(ort.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0])


@pytest.mark.parametrize("kind", OPERATORS)
def test_pruning_is_that_of_the_file_with_its_weights_computed(kind: str, tmp_path: Path) -> None:
    for name, folded in (("computed", False), ("folded", True)):
        Net(folded=folded).save(kind, tmp_path / f"{name}.onnx")
    np.testing.assert_allclose(run(tmp_path / "computed.onnx"), run(tmp_path / "folded.onnx"), atol=1e-5)
    budget = 0.7 * osg.load(tmp_path / "folded.onnx").measure().params
    for name in ("computed", "folded"):
        osg.prune(tmp_path / f"{name}.onnx", max_params=budget, data="none").save(tmp_path / f"{name}.pruned.onnx")
    np.testing.assert_allclose(run(tmp_path / "computed.pruned.onnx"), run(tmp_path / "folded.pruned.onnx"), atol=1e-5)


@pytest.mark.parametrize("kind", OPERATORS)
def test_a_weight_with_other_readers_stays(kind: str, tmp_path: Path) -> None:
    """Its result would have to be stored beside it."""
    net = Net(folded=False)
    net.save(kind, tmp_path / "model.onnx")
    model = onnx.load(tmp_path / "model.onnx")
    largest = max(model.graph.initializer, key=lambda t: int(np.prod(t.dims)))
    model.graph.node.append(helper.make_node("Identity", [largest.name], ["copy"], name="copy_n"))
    model.graph.output.append(helper.make_tensor_value_info("copy", TensorProto.FLOAT, list(largest.dims)))
    onnx.save(model, tmp_path / "read.onnx")
    operators = [node.op_type for node in label(read(tmp_path / "read.onnx")).model.graph]
    assert operators.count("Gemm") == 2
    assert all(operator in operators for operator in OPERATORS[kind])


def test_randomness_is_not_a_constant(tmp_path: Path) -> None:
    net = Net(folded=False)
    noise = net.op("RandomNormalLike", net.hold(np.zeros((48, 16))))
    net.op("Gemm", "x", net.op("MatMul", net.hold(np.eye(48)), noise), transB=1)
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 16])]
    outputs = [helper.make_tensor_value_info(net.nodes[-1].output[0], TensorProto.FLOAT, ["n", 48])]
    graph = helper.make_graph(net.nodes, "g", inputs, outputs, net.weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "m.onnx")
    assert "MatMul" in [node.op_type for node in label(read(tmp_path / "m.onnx")).model.graph]


@pytest.mark.parametrize("ratio", [0.05, 0.5])
def test_nothing_is_cut_where_computing_a_weight_saves_enough(ratio: float, tmp_path: Path) -> None:
    Net(folded=False).save("low rank", tmp_path / "computed.onnx")
    result = osg.prune(tmp_path / "computed.onnx", ratio=ratio, data="none")
    assert result.after.params <= (1 - ratio) * result.before.params
    assert result.keep.all() == (ratio < 0.2)  # the factors take over a fifth of the parameters
    result.save(tmp_path / "small.onnx", device="cpu")
    if result.keep.all():
        assert not result.unchanged
        np.testing.assert_allclose(run(tmp_path / "small.onnx"), run(tmp_path / "computed.onnx"), atol=1e-5)
