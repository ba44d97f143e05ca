"""Pruning without data: samples that the file suggests, and norms where no samples fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxsurgeon as osg
from onnxsurgeon.data.made_samples import RANGES, Made, draw
from onnxsurgeon.data.model_inputs import Input
from onnxsurgeon.dependency.labels import label
from onnxsurgeon.pruning.options import PruneOptions
from onnxsurgeon.pruning.synthetic import samples_for
from paths import FIXTURES

DIGITS = FIXTURES / "digits.onnx"
FILTERS = 24


def folded(path: Path, word: str) -> Path:
    """x > Conv > Relu > Conv > Relu > GlobalAveragePool > Flatten > Gemm > y, as if it was trained on pictures of a
    range: each layer with a folded normalisation, with shifts from -1 to 1 and deviations of 1."""
    rng = np.random.default_rng(0)
    drawn = draw(Input("x", np.dtype(np.float32), (None, 3, 24, 24)), (3, 24, 24), 32, 0, 5)
    rows = RANGES[word].of(drawn.array, last=False)
    weights: dict[str, np.ndarray] = {}
    nodes, value, channels = [], "x", 3
    for layer in ("a", "b"):
        weight = rng.standard_normal((FILTERS, channels, 1, 1))
        output = np.einsum("ncyx,oc->noyx", rows, weight[..., 0, 0])
        mean, std = output.mean(axis=(0, 2, 3)), output.std(axis=(0, 2, 3))
        shift = rng.uniform(-1, 1, FILTERS)
        weights[f"{layer}.w"] = weight / std[:, None, None, None]
        weights[f"{layer}.b"] = shift - mean / std
        rows = np.maximum((output - mean[:, None, None]) / std[:, None, None] + shift[:, None, None], 0)
        nodes += [helper.make_node("Conv", [value, f"{layer}.w", f"{layer}.b"], [layer], layer)]
        nodes += [helper.make_node("Relu", [layer], [f"{layer}.r"])]
        value, channels = f"{layer}.r", FILTERS
    weights["fc.w"] = rng.standard_normal((FILTERS, 10)) * 2
    nodes += [helper.make_node("GlobalAveragePool", [value], ["p"]), helper.make_node("Flatten", ["p"], ["f"])]
    nodes += [helper.make_node("Gemm", ["f", "fc.w"], ["y"], "fc")]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 24, 24])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 10])],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.mark.parametrize("word", ["0 to 1", "0 to 255", "normalised"])
def test_folded_normalisations_tell_the_range_of_pictures(word: str, tmp_path: Path) -> None:
    data = samples_for(label(osg.load(folded(tmp_path / "net.onnx", word)).ir), PruneOptions(ratio=0.3, samples=16))
    assert isinstance(data.source, Made)
    assert data.source.inputs[0].range is RANGES[word]


def test_a_classifier_tells_pictures_apart(tmp_path: Path) -> None:
    """Whose biases drown them, unless they are from 0 to 255."""
    rng = np.random.default_rng(0)
    weights = {
        "v": rng.standard_normal((16, 3 * 24 * 24)) / 2000, "w": rng.standard_normal((10, 16)) / 4,
        "b": 2 * rng.standard_normal(10),
    }  # fmt: skip
    nodes = [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("Gemm", ["f", "v"], ["h"], transB=1)]
    nodes += [helper.make_node("Relu", ["h"], ["r"]), helper.make_node("Gemm", ["r", "w", "b"], ["y"], transB=1)]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 24, 24])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 10])],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()],
    )  # fmt: skip
    path = tmp_path / "net.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    data = samples_for(label(osg.load(path).ir), PruneOptions(ratio=0.3, samples=16))
    assert isinstance(data.source, Made)
    assert data.source.kinds.startswith("photographs, pixels 0 to 255")


def test_batch_normalisations_tell_what_the_pictures_show() -> None:
    data = samples_for(label(osg.load(DIGITS).ir), PruneOptions(ratio=0.3, samples=32))
    assert isinstance(data.source, Made)
    assert data.source.kinds == "signs, pixels 0 to 1"


@pytest.mark.slow
def test_synthetic_samples_keep_accuracy_that_norms_lose() -> None:
    options = {"ratio": 0.3, "cost": "macs"}
    blind, fitted = (osg.prune(DIGITS, data=data, **options) for data in ("none", "synthetic"))  # type: ignore[arg-type]
    before, norms, ours = (
        osg.evaluate(model, FIXTURES / "digits_test.npz", metric="top1").value for model in (DIGITS, blind, fitted)
    )
    assert before - ours < 0.5 * (before - norms)
    assert "synthetic: signs" in fitted.fitted_to
    assert fitted.moved is not None
    assert fitted.moved.kind == "synthetic"


def test_a_model_that_runs_on_no_samples_is_pruned_by_norms(tmp_path: Path) -> None:
    """The input is a table's index, which is scaled first: the vocabulary is unknown, and ids of one are too large."""
    proto = onnx.load(FIXTURES / "plain.onnx")
    proto.graph.node.insert(0, helper.make_node("Log", ["minus"], ["logarithm"]))
    proto.graph.node.insert(0, helper.make_node("Sub", [proto.graph.input[0].name, "far"], ["minus"]))
    first = next(node for node in proto.graph.node if proto.graph.input[0].name in node.input and node.op_type != "Sub")
    first.input[list(first.input).index(proto.graph.input[0].name)] = "logarithm"
    proto.graph.initializer.append(numpy_helper.from_array(np.float32(1e6), "far"))
    onnx.save(proto, tmp_path / "net.onnx")
    result = osg.prune(tmp_path / "net.onnx", ratio=0.3)
    assert result.fitted_to.startswith("none: norms alone (")
    assert result.counts.tolist() == osg.prune(tmp_path / "net.onnx", ratio=0.3, data="none").counts.tolist()
    with pytest.raises(osg.ModelError, match="NaN"):
        osg.prune(tmp_path / "net.onnx", ratio=0.3, importance="wanda")
