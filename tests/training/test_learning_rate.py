"""Learning rates that are relative to weights: what a network computes decides how it trains, not the size of each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import numpy_helper

import onnxsurgeon as osg
from net import Net
from onnxsurgeon.training.learning_rate import UNKNOWN, factor, learning_rate, sizes, written

X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
Y = np.array([[0], [1], [1], [0]], np.float32)
DATA = [({"input": X}, Y)]
HOW: dict[str, Any] = {"loss": "mse", "epochs": 50, "batch": 4, "device": "cpu", "threads": 1}


def xor(scale: float) -> onnx.ModelProto:
    net = Net("xor", ("batch", 2), width=2)
    x = net.add("Relu", "relu", net.gemm("input", "fc1", 16))
    return rescaled(net.finish(net.gemm(x, "fc2", 1), ("batch", 1)).model(), scale)


def rescaled(model: onnx.ModelProto, scale: float) -> onnx.ModelProto:
    """The same function: what the first layer grows by, the second one shrinks by."""
    for tensor in model.graph.initializer:
        by = scale if tensor.name.startswith("fc1") else 1 / scale if tensor.name == "fc2.weight" else 1.0
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(by), tensor.name))
    return model


@pytest.mark.parametrize("optimiser", ["adam", "adamw"])
def test_networks_that_compute_the_same_train_alike(optimiser: str) -> None:
    losses = {
        lr: [[e.loss for e in osg.train(xor(scale), DATA, optimiser=optimiser, lr=lr, freeze="fc2.bias", **HOW).epochs]
             for scale in (1.0, 1 / 32, 32.0)]
        for lr in ("2%", 0.01)
    }  # fmt: skip
    same, *others = losses["2%"]
    assert same[-1] < same[0] / 2
    assert all(other == pytest.approx(same, rel=1e-2) for other in others)
    assert not any(other == pytest.approx(losses[0.01][0], rel=1e-2) for other in losses[0.01][1:])


def test_a_weight_of_zeros_is_trained() -> None:
    model = xor(1.0)
    for tensor in model.graph.initializer:
        if tensor.name == "fc2.weight":
            tensor.CopyFrom(numpy_helper.from_array(np.zeros_like(numpy_helper.to_array(tensor)), tensor.name))
    found = osg.train(model, DATA, **HOW)
    assert found.epochs[-1].loss < found.epochs[0].loss


def test_a_bias_is_as_large_as_its_weight() -> None:
    start = {"w": np.full((2, 2), 3.0), "b": np.zeros(2), "alone": np.zeros(3), "large": np.full(2, 7.0)}
    assert sizes([("w", "b"), ("alone",), ("w", "large"), ("missing",)], start) == {
        "w": 3.0, "b": 3.0, "alone": UNKNOWN, "large": 7.0
    }  # fmt: skip


@pytest.mark.parametrize(("given", "kept", "number"), [(0.5, 0.5, 0.5), ("0.5", 0.5, 0.5), (" 2.0% ", "2%", 0.02)])
def test_a_learning_rate_is_a_number_or_in_percent(given: Any, kept: Any, number: float) -> None:
    found = learning_rate(given, "`lr`")
    assert found == kept
    assert factor(found) == pytest.approx(number)
    assert written(factor(found), found) == str(kept)


@pytest.mark.parametrize("given", [0, -1, "0%", "-1%", "%", "x%", "nan%", "inf", True, None])
def test_other_learning_rates_are_refused(given: Any) -> None:
    with pytest.raises(osg.UsageError, match="more than 0"):
        learning_rate(given, "`lr`")


def test_a_gradient_that_is_a_step_has_no_relative_rate() -> None:
    with pytest.raises(osg.UsageError, match="not for sgd"):
        osg.train(xor(1.0), DATA, optimiser="sgd", lr="1%", **HOW)


@pytest.mark.parametrize(
    ("optimiser", "scale", "first"), [("adamw", 1.0, "1%"), ("sgd", 20.0, "0.05"), ("sgd", 1e9, "0.05")]
)
def test_a_default_rate_that_does_harm_gives_way_to_lower_ones(
    optimiser: str, scale: float, first: str, tmp_path: Path
) -> None:
    """A network that knows its few samples loses them in large steps; a rate that is asked for stays."""
    model = rescaled(ir.to_proto(osg.train(xor(1.0), DATA, lr="2%", **HOW | {"epochs": 200}).ir), scale)
    said = list[str]()
    how = {"epochs": 3, "optimiser": optimiser, "only_better": True}
    kept = {"checkpoint": tmp_path / "state.npz", "progress": lambda stage, detail: said.append(str(detail))}
    found = osg.train(model, DATA, **HOW | how | kept)
    assert any("did harm" in text and text.endswith(f"again at {found.rate}") for text in said)
    assert f"as {first} did harm" in found.verdict
    assert found.after <= found.before
    assert osg.train(model, DATA, lr=first, **HOW | how).rate == first
    assert osg.train(model, DATA, resume=True, **HOW | how | kept).rate == found.rate


def test_a_default_rate_that_does_good_stays() -> None:
    found = osg.train(xor(1.0), DATA, **HOW)
    assert found.rate == "1%"
    assert "harm" not in found.verdict
