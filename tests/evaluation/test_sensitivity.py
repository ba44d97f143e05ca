"""A layer's error is what cutting it alone costs; the page shows all of it and needs nothing from outside."""

from __future__ import annotations

import re
from math import inf
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import onnxruntime as ort
import pytest

import onnxsurgeon as osg
from onnxsurgeon.data import inputs_of
from onnxsurgeon.evaluation.sensitivity import LayerSensitivity, Point, Sensitivity
from onnxsurgeon.report import html, results
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


ODD = Sensitivity(
    (
        LayerSensitivity(("<b>&\"'", "x<y"), "Conv", 8, (Point(0.5, 4, 0.0), Point(0.25, 2, inf))),
        LayerSensitivity(("tiny",), "Gemm", 2, (Point(0.5, 1, 1e-9),)),
    ),
    (0.5, 0.25), 3, "CPU",
)  # fmt: skip


@pytest.mark.parametrize("odd", [False, True])
def test_the_page_shows_every_point_and_needs_nothing_else(odd: bool, found: Sensitivity) -> None:  # noqa: FBT001
    shown = ODD if odd else found
    text = html.page(results.sensitive(shown, Path("a<b.onnx"), "data.npz", "l2-norm"))
    assert text.count("<circle") == sum(len(layer.points) for layer in shown.layers)
    assert not re.search(r"https?:|<script|src=|url\(|@import", text)
    page = ElementTree.fromstring(text.removeprefix(html.BEGIN).replace('<meta charset="utf-8">', ""))
    assert [h.text for h in page.iter("h2")] == [layer.nodes[0] for layer in shown.layers]
    numbers = [float(c.attrib[key]) for c in page.iter("circle") for key in ("cx", "cy")]
    assert all(0 <= n <= html.WIDTH for n in numbers)
