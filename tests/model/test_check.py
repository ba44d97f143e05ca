"""A model is checked in full before it is written, as onnx checks a file, with its weights left where they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxsurgeon as osg
from onnxsurgeon.errors import ProofError
from onnxsurgeon.model.check import fault
from onnxsurgeon.model.model import load
from onnxsurgeon.model.read import read
from onnxsurgeon.model.write import structure
from paths import MODELS


def verdict(path: Path) -> bool:
    """Whether onnx accepts the file."""
    try:
        onnx.checker.check_model(path, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError):
        return False
    return True


@pytest.mark.parametrize("path", MODELS, ids=lambda p: p.stem)
def test_the_verdict_is_that_of_onnx(path: Path, tmp_path: Path) -> None:
    assert not fault(structure(read(path)))
    broken = onnx.load(path)
    name = next(node.output[0] for node in broken.graph.node if node.output[0] != broken.graph.output[0].name)
    del broken.graph.value_info[:]
    broken.graph.value_info.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 2, 3, 4, 5, 6, 7]))
    onnx.save(broken, tmp_path / "broken.onnx")
    assert bool(fault(structure(read(tmp_path / "broken.onnx")))) != verdict(tmp_path / "broken.onnx")


def constants_with_stated_shapes(path: Path) -> None:
    """x -> Gemm -> Relu -> MatMul -> y; the weights are Constant nodes, and value_info states their shapes, too."""
    rng = np.random.default_rng(0)
    shapes = {"w0": (16, 48), "b0": (48,), "w1": (48, 5)}
    held = {n: numpy_helper.from_array(rng.standard_normal(s).astype(np.float32), n) for n, s in shapes.items()}
    nodes = [helper.make_node("Constant", [], [n], name=f"const_{n}", value=t) for n, t in held.items()]
    nodes += [
        helper.make_node("Gemm", ["x", "w0", "b0"], ["a"], name="gemm"),
        helper.make_node("Relu", ["a"], ["b"], name="relu"),
        helper.make_node("MatMul", ["b", "w1"], ["y"], name="matmul"),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 16])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 5])]
    info = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, value_info=info)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def test_shapes_that_the_file_states_of_constants_follow_the_cut(tmp_path: Path) -> None:
    constants_with_stated_shapes(tmp_path / "model.onnx")
    osg.prune(load(tmp_path / "model.onnx"), ratio=0.3, data="none").save(tmp_path / "pruned.onnx")
    network = osg.load(tmp_path / "model.onnx")
    network["gemm"].resize(-16)
    network.save(tmp_path / "resized.onnx")
    for name in ("pruned.onnx", "resized.onnx"):
        onnx.checker.check_model(tmp_path / name, full_check=True)


def test_an_invalid_model_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxsurgeon.edit.sizes._drop_stale_shapes", lambda *given: None)
    constants_with_stated_shapes(tmp_path / "model.onnx")
    result = osg.prune(load(tmp_path / "model.onnx"), ratio=0.3, data="none")
    with pytest.raises(ProofError, match="fails the check of onnx"):
        result.save(tmp_path / "pruned.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
