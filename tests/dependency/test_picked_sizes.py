"""A size that depends on data hides nothing else: channels go on behind it, and are cut and proven."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxsurgeon as osg
from onnxsurgeon.dependency.labels import label
from onnxsurgeon.model.read import read


def tokens(path: Path, *, branches: int = 1) -> Path:
    """x -> MatMul -> Relu -> (rows whose sum is positive, found once for each branch) -> MatMul -> Relu -> MatMul."""
    rng, nodes, weights = np.random.default_rng(0), [], []

    def op(kind: str, *inputs: str, **attributes: object) -> str:
        nodes.append(helper.make_node(kind, list(inputs), [f"v{len(nodes)}"], name=f"n{len(nodes)}", **attributes))
        return f"v{len(nodes) - 1}"

    def hold(array: np.ndarray) -> str:
        weights.append(numpy_helper.from_array(array, f"c{len(weights)}"))
        return weights[-1].name

    def linear(x: str, i: int, o: int) -> str:
        return op("MatMul", x, hold((rng.standard_normal((i, o)) / np.sqrt(i)).astype(np.float32)))

    h = op("Relu", linear("x", 16, 32))
    rows = []
    for number in range(branches):
        bound = hold(np.array(5.0 + number, np.float32))
        chosen = op("Greater", op("ReduceSum", h, hold(np.array([1])), keepdims=0), bound)
        index = op("Squeeze", op("Transpose", op("NonZero", chosen), perm=[1, 0]), hold(np.array([1])))
        rows.append(op("Gather", h, index, axis=0))
    h = op("Relu", linear(rows[0] if branches == 1 else op("Concat", *rows, axis=0), 32, 48))
    nodes.append(helper.make_node("Identity", [linear(h, 48, 5)], ["y"], name="end"))
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 16])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["k", 5])]
    graph = helper.make_graph(nodes, "g", inputs, outputs, weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.mark.parametrize("branches", [1, 2])
def test_layers_behind_a_choice_of_rows_are_cut_and_proven(branches: int, tmp_path: Path) -> None:
    result = osg.prune(tokens(tmp_path / "model.onnx", branches=branches), ratio=0.5, data="none")
    proof = result.save(tmp_path / "pruned.onnx")
    assert proof is not None
    assert proof.moved > 0.01
    assert len(result.changes()) >= 2
    assert result.labels.classes.frozen.mean() < 0.5


def test_the_size_is_not_static_and_no_two_are_equal(tmp_path: Path) -> None:
    labels = label(read(tokens(tmp_path / "model.onnx", branches=2)))
    counts = [labels.facts[2][node.outputs[0]].shape for node in labels.model.graph if node.op_type == "NonZero"]
    assert len({str(shape[1]) for shape in counts if shape is not None}) == 2
    end = labels.facts[2][labels.model.graph.outputs[0]].shape
    assert end is not None
    assert end[1] == 5
    assert not isinstance(end[0], int)
