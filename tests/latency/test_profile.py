"""A profile tells the latency from widths: fits find what made the times, and kernels hold all the work."""

from __future__ import annotations

import json
from dataclasses import asdict
from math import prod
from pathlib import Path

import numpy as np
import pytest
from onnx import helper, load, numpy_helper

import onnxsurgeon as osg
from onnxsurgeon.dependency.labels import label
from onnxsurgeon.latency import device
from onnxsurgeon.latency.bench import Conditions
from onnxsurgeon.latency.kernels import Kernels
from onnxsurgeon.latency.measure_profile import CHECKS
from onnxsurgeon.latency.options import EFFORTS
from onnxsurgeon.latency.profile import load_profile
from onnxsurgeon.latency.time_tables import TimeTable, nested
from onnxsurgeon.model.model import as_model
from paths import FIXTURES

HERE = Conditions("CPU", 2, 1, "1.0")
RESIDUAL = FIXTURES / "residual.onnx"
QUICK = {"time_limit": 0.3, "effort": "fast"}


@pytest.fixture(autouse=True)
def _measured_shortly(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is measured need not be known well here."""
    monkeypatch.setattr(device, "SECONDS", 0.2)
    monkeypatch.setattr(device, "MOST", 0.4)
    monkeypatch.setitem(EFFORTS, "default", EFFORTS["fast"])


@pytest.mark.parametrize("name", ["residual", "digits", "depthwise", "grouped", "concat", "flatten"])
def test_every_product_is_in_a_kernel(name: str) -> None:
    """The kernels that onnxruntime names hold all the work that the graph has, and know what cuts may shorten."""
    path = FIXTURES / f"{name}.onnx"
    labels = label(as_model(path).ir)
    (row,) = osg.bench(path, layers=True, time_limit=0.05).models
    found = Kernels(labels)
    inside = {node for timed in row.nodes if (kernel := found.find(timed.name)) for node in kernel.nodes}
    products = {node for node in labels.calls if (operator := labels.operator(node)) and operator.macs}
    assert products <= inside
    assert all(len(found.find(timed.name).axes) <= 2 for timed in row.nodes if found.find(timed.name))  # type: ignore[union-attr]


def test_equal_layers_are_of_one_kind_and_others_are_not() -> None:
    labels = label(as_model(RESIDUAL).ir)
    found = Kernels(labels)
    kinds = {
        name: kernel.kind for name in found.nodes if (kernel := found.find(name)) and kernel.nodes[0].op_type == "Conv"
    }
    assert kinds["layer1.0.conv1"] == kinds["layer1.0.conv2"] == kinds["layer1.1.conv1"]
    assert kinds["layer2.0.conv1"] != kinds["layer2.0.conv2"]  # a stride
    assert kinds["layer1.0.conv1"] != kinds["layer2.0.conv2"]  # another height and width


def edited(tmp_path: Path, **factors: float) -> Path:
    """A profile of the residual network by its work alone, with some kernels slower by a factor."""
    labels = label(as_model(RESIDUAL).ir)
    found, kernels, tables = Kernels(labels), {}, {}
    for node, call in labels.calls.items():
        operator, kernel = labels.operator(node), found.find(call.name)
        if operator is None or operator.macs is None or kernel is None:
            continue
        work = sum(prod(size for size, _ in each) for each in operator.macs(call))
        full = [len(axis) for axis in kernel.axes]
        lengths = tuple(tuple(range(8, n + 1, 8)) for n in full)
        grid = np.stack(np.meshgrid(*lengths, indexing="ij"), -1)
        seconds = 1e-12 * factors.get(call.name, 1.0) * work * (grid / full).prod(axis=-1)
        kernels[call.name] = call.name
        tables[call.name] = TimeTable(call.operator, lengths, nested(seconds))
    profile = osg.Profile(1e-3, 0.0, 0.0, kernels, tables, HERE)
    profile.save(tmp_path / "device.json")
    return tmp_path / "device.json"


def test_a_profile_of_another_device_decides_what_is_cut(tmp_path: Path) -> None:
    slow, widths = "layer2.0.conv1", []
    for factor in (1.0, 100.0):
        result = osg.prune(RESIDUAL, data="none", ratio=0.3, cost="latency", profile=edited(tmp_path, **{slow: factor}))
        assert 0.5 <= result.after.latency / result.before.latency <= 0.7
        shapes = {w.name: list(w.dims) for w in load(RESIDUAL).graph.initializer}
        shapes |= {weight: list(after) for _, _, weight, _, after in result.changes()}
        layers = {name.removesuffix(".weight"): shape for name, shape in shapes.items() if len(shape) in (2, 4)}
        places = {name: 1 if name == "fc" else 64 if name.startswith("layer2") else 256 for name in layers}
        work = {name: 2 * places[name] * prod(shape) for name, shape in layers.items()}  # of two samples
        assert result.after.latency == pytest.approx(sum(work.values()) * 1e-12 + (factor - 1) * work[slow] * 1e-12)
        assert all(shape[0] % 8 == 0 for name, shape in layers.items() if name != "fc")
        widths.append(layers)
    assert widths[0] != widths[1]


def test_a_profile_is_measured_saved_and_read(tmp_path: Path) -> None:
    found = osg.profile(RESIDUAL, **QUICK)  # type: ignore[arg-type]  # of a table
    assert found.seconds > 0
    assert found.kernels
    found.save(tmp_path / "device.json")
    assert load_profile(tmp_path / "device.json") == found


def bad_table(lengths: object, seconds: object) -> dict[str, object]:
    return {"tables": {"t": {"operator": "Conv", "lengths": lengths, "seconds": seconds}}, "kernels": {"fc": "t"}}


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 99}, {"seconds": -1.0}, {"seconds": 0}, {"kernels": {"fc": "none"}}, {"kernels": 3}, {"more": 1},
        bad_table([[8, 4]], [1.0, 2.0]), bad_table([[4, 8]], [1.0]), bad_table([[4]], [-1.0]), bad_table([], 1.0),
        bad_table([[4], [4]], [1.0]), bad_table([[]], []), bad_table([[4]], ["x"]),
    ],
    ids=str,
)  # fmt: skip
def test_a_broken_profile_is_refused(change: dict[str, object], tmp_path: Path) -> None:
    path = edited(tmp_path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(osg.UsageError, match="not a profile"):
        osg.prune(RESIDUAL, data="none", ratio=0.3, cost="latency", profile=path)


def test_a_profile_of_another_version_or_provider_is_doubted(tmp_path: Path) -> None:
    """What differs from here is a note of the result; nothing is noted of what is the same."""
    path = edited(tmp_path)
    here = asdict(osg.bench(RESIDUAL, time_limit=0.01, threads=2).conditions)
    for change, words in (
        ({}, []),
        ({"onnxruntime": "1.0"}, ["onnxruntime 1.0"]),
        ({"provider": "TensorRT"}, ["TensorRT"]),
        ({"threads": 7}, ["7 threads"]),
    ):
        found = json.loads(path.read_text())
        found["conditions"] = here | change
        path.write_text(json.dumps(found))
        notes = osg.prune(RESIDUAL, data="none", ratio=0.3, cost="latency", profile=path, threads=2).notes
        assert len(notes) == len(words)
        assert all(word in note for word, note in zip(words, notes, strict=True))


def test_a_profile_of_another_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(osg.UsageError, match="another model"):
        osg.prune(FIXTURES / "xor.onnx", data="none", ratio=0.3, cost="latency", profile=edited(tmp_path))


def test_a_second_profile_measures_little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first, second = list[str](), list[str]()
    for said in (first, second):
        osg.profile(RESIDUAL, **QUICK, progress=lambda stage, detail, said=said: said.append(detail))
    assert len(second) == CHECKS <= len(first)


@pytest.mark.slow
def test_a_latency_is_measured_where_it_is_asked_for() -> None:
    result = osg.prune(RESIDUAL, data="none", max_latency="1s", ratio=0.2)
    assert result.before.latency > 0
    assert result.after.latency > 0
    assert "latency" not in osg.prune(RESIDUAL, data="none", ratio=0.2).before.costs


@pytest.mark.slow
def test_a_latency_that_no_width_reaches_says_what_is_possible() -> None:
    with pytest.raises(osg.InfeasibleError, match="the smallest possible value is"):
        osg.prune(RESIDUAL, data="none", max_latency="1us")


@pytest.mark.slow
def test_a_network_that_carries_states_is_measured_with_shorter_ones() -> None:
    rng = np.random.default_rng(0)
    weights = {
        name: numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), name)
        for name, shape in (("w", (1, 3 * 32, 8)), ("r", (1, 3 * 32, 32)), ("head", (32, 4)))
    }
    nodes = [
        helper.make_node("GRU", ["x", "w", "r", "", "", "h0"], ["ys", "hn"], hidden_size=32),
        helper.make_node("Squeeze", ["ys", "axis"], ["flat"]),
        helper.make_node("MatMul", ["flat", "head"], ["y"]),
    ]
    inputs = [helper.make_tensor_value_info("x", 1, [5, 1, 8]), helper.make_tensor_value_info("h0", 1, [1, 1, 32])]
    outputs = [helper.make_tensor_value_info("y", 1, [5, 1, 4]), helper.make_tensor_value_info("hn", 1, [1, 1, 32])]
    axis = numpy_helper.from_array(np.array([1]), "axis")
    graph = helper.make_graph(nodes, "stream", inputs, outputs, [*weights.values(), axis])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    result = osg.prune(model, ratio=0.3, max_latency="1s", states={"h0": "hn"})
    assert result.after.latency > 0
    assert {row.name for row in result.interface} == {"h0", "hn"}
