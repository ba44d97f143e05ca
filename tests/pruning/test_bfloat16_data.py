"""A bfloat16 model is calibrated, compared and scored in float32, and stays one."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxsurgeon.evaluation.score import evaluate
from onnxsurgeon.pruning.prune import prune


@pytest.mark.parametrize("given", [TensorProto.FLOAT, TensorProto.BFLOAT16])
def test_data_of_a_bfloat16_model_are_float32(given: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    shapes = {"a": (8, 24), "b": (24, 24), "c": (24, 3)}
    held = [numpy_helper.from_array(rng.standard_normal(s).astype(ml_dtypes.bfloat16), n) for n, s in shapes.items()]
    nodes = [
        helper.make_node("Cast", ["x"], ["h"], to=TensorProto.BFLOAT16),
        helper.make_node("MatMul", ["h", "a"], ["m"]),
        helper.make_node("Relu", ["m"], ["r"]),
        helper.make_node("MatMul", ["r", "b"], ["n"]),
        helper.make_node("Relu", ["n"], ["s"]),
        helper.make_node("MatMul", ["s", "c"], ["y"]),
    ]
    ends = (("x", given, 8), ("y", TensorProto.BFLOAT16, 3))
    info = [helper.make_tensor_value_info(n, t, ["n", k]) for n, t, k in ends]
    graph = helper.make_graph(nodes, "g", info[:1], info[1:], held)
    opsets = [helper.make_opsetid("", 17)]
    model, data, cut = tmp_path / "model.onnx", tmp_path / "data.npz", tmp_path / "cut.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), model)
    np.savez(data, x=rng.standard_normal((64, 8)).astype(np.float32))
    result = prune(model, ratio=0.3, data=data, importance="output-error")
    assert result.save(cut) is not None
    assert result.moved is not None
    assert {t.data_type for t in onnx.load(cut).graph.initializer} == {TensorProto.BFLOAT16}
    assert 0.0 < evaluate(cut, data, metric="cosine", against=model).value < 1.0
