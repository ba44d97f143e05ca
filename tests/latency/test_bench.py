"""Latencies are those of the models as given; gates fail on what is surely worse."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, load, numpy_helper, save

import onnxsurgeon as osg
from onnxsurgeon.latency.compare import require_passed
from onnxsurgeon.runtime.session import Session
from paths import FIXTURES

DIGITS = FIXTURES / "digits.onnx"
QUICK = {"time_limit": 0.05}


def matmuls(path: Path, width: int, layers: int = 4) -> Path:
    """x of `width` channels through `layers` square products."""
    rng = np.random.default_rng(0)
    names = ["x", *(f"h{k}" for k in range(1, layers)), "y"]
    nodes = [helper.make_node("MatMul", [a, f"w{k}"], [b], name=f"mul{k}") for k, (a, b) in enumerate(pairwise(names))]
    weights = [
        numpy_helper.from_array(rng.standard_normal((width, width)).astype(np.float32), f"w{k}") for k in range(layers)
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", width])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", width])
    graph = helper.make_graph(nodes, "matmuls", [x], [y], weights)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_a_model_with_texts_is_cut_and_timed(tmp_path: Path) -> None:
    model = load(matmuls(tmp_path / "plain.onnx", 16))
    model.graph.node.append(helper.make_node("Identity", ["words"], ["same"]))
    for of, name in ((model.graph.input, "words"), (model.graph.output, "same")):
        of.append(helper.make_tensor_value_info(name, TensorProto.STRING, ["n", 5]))
    save(model, tmp_path / "texts.onnx")
    osg.prune(tmp_path / "texts.onnx", data="none", ratio=0.2).save(tmp_path / "cut.onnx")
    found = osg.bench([tmp_path / "texts.onnx", tmp_path / "cut.onnx"], **QUICK)
    assert all(row.timing.median > 0 for row in found.models)


def test_models_are_timed_side_by_side(tmp_path: Path) -> None:
    large, small = matmuls(tmp_path / "large.onnx", 768), matmuls(tmp_path / "small.onnx", 64)
    found = osg.bench([large, small], batch=8, time_limit=0.3)
    assert found.ratios[0].value == 1.0
    assert found.ratios[1].high < 1.0  # a hundredth of the work
    assert [row.shapes["x"] for row in found.models] == [(8, 768), (8, 64)]
    assert found.conditions.batch == 8
    assert found.conditions.provider == "CPU"
    assert "large.onnx" in repr(found)
    assert "<table>" in found._repr_html_()


def test_a_model_in_memory_and_its_nodes(tmp_path: Path) -> None:
    found = osg.bench(load(matmuls(tmp_path / "m.onnx", 64)), layers=True, **QUICK)
    (row,) = found.models
    assert [node.operator for node in row.nodes] == ["MatMul"] * 4
    assert [node.seconds for node in row.nodes] == sorted((node.seconds for node in row.nodes), reverse=True)


def test_a_static_batch_counts_as_it_is() -> None:
    found = osg.bench(FIXTURES / "residual.onnx", **QUICK)
    assert found.conditions.batch == next(iter(found.models[0].shapes.values()))[0]


def test_what_onnxruntime_refuses_is_an_error_with_its_words(tmp_path: Path) -> None:
    path = matmuls(tmp_path / "m.onnx", 64)
    model = load(path)
    model.graph.node.append(helper.make_node("Reshape", ["y", "shape"], ["z"]))
    model.graph.initializer.append(numpy_helper.from_array(np.array([4, 64]), "shape"))
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("z", TensorProto.FLOAT, [4, 64]))
    save(model, path)
    assert osg.bench(path, batch=4, **QUICK).conditions.batch == 4
    with pytest.raises(osg.ModelError, match="can't run"):
        osg.bench(path, batch=3, **QUICK)


def test_compare_says_what_differs(tmp_path: Path) -> None:
    small = tmp_path / "small.onnx"
    osg.prune(DIGITS, ratio=0.3, data="none").save(small)
    found = osg.compare(DIGITS, small, bench=False, fail_if_larger=True)
    assert found.bench is None
    assert found.failed == ()
    assert {row.weight for row in found.weights} == {
        name
        for name, shape in shapes(DIGITS).items()
        if shape != shapes(small)[name]
    }  # fmt: skip
    worse = osg.compare(small, DIGITS, bench=False, fail_if_larger=True)
    assert len(worse.failed) == 3  # parameters, MACs and bytes
    with pytest.raises(osg.GateError, match="parameters"):
        require_passed(worse)


def shapes(path: Path) -> dict[str, list[int]]:
    return {weight.name: list(weight.dims) for weight in load(path).graph.initializer}


def test_slower_by_more_than_allowed_fails_and_equal_passes(tmp_path: Path) -> None:
    small, large = matmuls(tmp_path / "a.onnx", 64), matmuls(tmp_path / "b.onnx", 64, layers=64)
    worse = osg.compare(small, large, fail_if_slower="50%", time_limit=0.3)
    assert any("slowdown" in line for line in worse.failed)
    same = osg.compare(small, small, fail_if_slower=9.0, **QUICK)
    assert same.failed == ()
    assert same.weights == ()


@pytest.mark.parametrize("word", ["fail_if_slower", "time_limit", "threads", "batch"])
def test_wrong_values_are_refused_before_any_work(word: str) -> None:
    with pytest.raises(osg.UsageError, match=word):
        osg.compare("missing.onnx", "missing.onnx", **{word: -1})  # type: ignore[arg-type]  # that is the point


def test_large_models_are_in_memory_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alive, most = list[Path](), 0

    class Watched(Session):
        def __init__(self, path: Path, *given: Any, **more: Any) -> None:
            nonlocal most
            super().__init__(path, *given, **more)
            alive.append(path)
            most = max(most, len(alive))

        def __del__(self) -> None:
            alive.pop()

    monkeypatch.setattr("onnxsurgeon.latency.bench.Session", Watched)
    monkeypatch.setattr("onnxsurgeon.latency.bench.LARGE", 0)
    found = osg.bench([FIXTURES / "plain.onnx", FIXTURES / "residual.onnx"], time_limit=0.1, device="cpu")
    assert most == 1
    first, second = (row.timing.seconds for row in found.models)
    assert len(first) == len(second) >= 10
