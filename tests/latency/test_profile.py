"""A profile tells the latency from widths: fits find what made the times, and kernels hold all the work."""

from __future__ import annotations

import json
from math import prod
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper, load, numpy_helper

import onnxsurgeon as osg
from onnxsurgeon.dependency.labels import label
from onnxsurgeon.latency.bench import Conditions
from onnxsurgeon.latency.kernels import Kernels
from onnxsurgeon.latency.profile import BLOCKS, KernelTime, fitted, load_profile
from onnxsurgeon.model.model import as_model
from paths import FIXTURES

HERE = Conditions("CPU", 2, 1, "1.0")
RESIDUAL = FIXTURES / "residual.onnx"
QUICK = {"time_limit": 0.3, "widths": 4}


@given(
    st.lists(st.tuples(*[st.floats(0.1, 10.0)] * 3), min_size=1, max_size=4),
    st.sampled_from(BLOCKS),
    st.integers(0, 2**31),
)
def test_a_fit_finds_the_terms_and_the_block_that_made_the_times(
    terms: list[tuple[float, float, float]], block: int, seed: int
) -> None:
    widths = np.random.default_rng(seed).integers(1, 200, (60, len(terms), 2))

    def sizes(step: int) -> np.ndarray:
        into, out = np.moveaxis(-(-widths // step) * step, -1, 0).astype(float)
        return np.stack([into * out, out, into], -1)

    times = 5.0 + np.einsum("rks,ks->rk", sizes(block), np.array(terms))
    totals = 7.0 + times.sum(axis=1)
    names = [f"k{n}" for n in range(len(terms))]
    found = fitted(names, {step: sizes(step) for step in BLOCKS}, times, totals, HERE)
    assert found.block == block
    assert found.error < 1e-6
    guess = found.constant + sum(
        np.dot([t.work, t.written, t.read], row) for t, row in zip(found.kernels.values(), sizes(block)[0], strict=True)
    )
    assert guess == pytest.approx(totals[0])


@pytest.mark.parametrize("name", ["residual", "digits", "depthwise", "grouped", "concat", "flatten"])
def test_every_multiply_accumulate_is_in_a_kernel(name: str) -> None:
    """The kernels that onnxruntime names hold all the work that the graph has."""
    path = FIXTURES / f"{name}.onnx"
    labels = label(as_model(path).ir)
    (row,) = osg.bench(path, layers=True, time_limit=0.05).models
    found = Kernels(labels)
    everything = np.ones(labels.relations.count, np.bool_)
    work = sum(kernel.sizes(everything, 1)[0] for node in row.nodes if (kernel := found.find(node.name)))
    batch = max((n for (_, axis), n in labels.sizes[0].items() if axis == 0), default=1)
    assert work == pytest.approx(batch * osg.inspect(path).whole.macs)


def edited(tmp_path: Path, **factors: float) -> Path:
    """A profile of the residual network by its work alone, with some kernels slower by a factor."""
    labels = label(as_model(RESIDUAL).ir)
    names = [call.name for node, call in labels.calls.items() if (o := labels.operator(node)) and o.macs]
    kernels = {name: KernelTime(0.0, work=1e-12 * factors.get(name, 1.0)) for name in names}
    profile = osg.Profile(1e-3, 0.0, 8, 0.0, kernels, HERE)
    profile.save(tmp_path / "device.json")
    return tmp_path / "device.json"


def test_a_profile_of_another_device_decides_what_is_cut(tmp_path: Path) -> None:
    slow, widths = "layer2.0.conv1", []
    for factor in (1.0, 100.0):
        result = osg.prune(RESIDUAL, data="none", ratio=0.3, cost="latency", profile=edited(tmp_path, **{slow: factor}))
        assert 0.69 <= result.after.latency / result.before.latency <= 0.7
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


@pytest.mark.parametrize(
    "change",
    [{"schema": 99}, {"block": 0}, {"seconds": -1.0}, {"kernels": {"a": {"fixed": -1.0}}}, {"kernels": 3}, {"more": 1}],
    ids=str,
)
def test_a_broken_profile_is_refused(change: dict[str, object], tmp_path: Path) -> None:
    path = edited(tmp_path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(osg.UsageError, match="not a profile"):
        osg.prune(RESIDUAL, data="none", ratio=0.3, cost="latency", profile=path)


def test_a_latency_is_measured_where_it_is_asked_for() -> None:
    result = osg.prune(RESIDUAL, data="none", max_latency="1s", ratio=0.2)
    assert result.before.latency > 0
    assert result.after.latency > 0
    assert "latency" not in osg.prune(RESIDUAL, data="none", ratio=0.2).before.costs


def test_a_latency_that_no_width_reaches_says_what_is_possible() -> None:
    with pytest.raises(osg.InfeasibleError, match="the smallest possible value is"):
        osg.prune(RESIDUAL, data="none", max_latency="1us")


def test_noise_alone_corrects_no_prediction() -> None:
    from onnxsurgeon.latency.timing import Ratio

    noisy = Ratio(0.6, 0.5, 0.8)
    assert [noisy.nearest(expected) for expected in (0.4, 0.7, 0.9)] == [0.5, 0.7, 0.8]


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
