"""A layer's error is what cutting it alone costs; the page shows all of it and needs nothing from outside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

import onnxsurgeon as osg
from onnxsurgeon.data import inputs_of
from onnxsurgeon.evaluation.sensitivity import Sensitivity
from paths import FIXTURES


@pytest.fixture(scope="module")
def model() -> osg.Model:
    return osg.load(FIXTURES / "digits.onnx")


@pytest.fixture(scope="module")
def data(model: osg.Model) -> osg.Data:
    return osg.open_data(str(FIXTURES / "digits_test.npz"), inputs_of(model.ir), samples=16)


@pytest.fixture(scope="module")
def found(model: osg.Model, data: osg.Data) -> Sensitivity:
    return osg.sensitivity(model, data, shares=(0.5, 0.25))


def test_every_free_space_is_a_layer(found: Sensitivity, model: osg.Model) -> None:
    assert len(found.layers) == osg.inspect(model).spaces
    tied = {layer.nodes for layer in found.layers}
    assert ("conv1", "layer1.0.conv2", "layer1.1.conv2") in tied
    for layer in found.layers:
        assert [point.units for point in layer.points] == [layer.units // 2, layer.units // 4]


def test_an_error_is_that_of_the_model_pruned_there_alone(
    found: Sensitivity, model: osg.Model, data: osg.Data, tmp_path: Path
) -> None:
    layer = next(layer for layer in found.layers if layer.nodes == ("layer2.0.conv1",))
    result = osg.prune(model, ratio=0.01, only=layer.nodes, round_to=layer.points[0].units, data="none")
    result.save(tmp_path / "small.onnx")
    paths = model.path, tmp_path / "small.onnx"
    whole, small = (ort.InferenceSession(path, providers=["CPUExecutionProvider"]) for path in paths)
    batch = next(data.batches())
    before, after = (session.run(None, batch.feed)[0] for session in (whole, small))
    assert layer.points[0].error == pytest.approx(np.linalg.norm(before - after) / np.linalg.norm(before), rel=1e-4)


def test_layers_are_chosen_by_globs(model: osg.Model, data: osg.Data) -> None:
    found = osg.sensitivity(model, data, only=["layer1.*.conv1"], shares=(0.5,))
    assert [layer.nodes[0] for layer in found.layers] == ["layer1.0.conv1", "layer1.1.conv1"]
    with pytest.raises(osg.UsageError, match="only"):
        osg.sensitivity(model, data, only=["nothing"])
    with pytest.raises(osg.InfeasibleError, match="frozen"):
        osg.sensitivity(model, data, only=["fc"])
