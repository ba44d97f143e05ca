"""Data of networks with states: runs of their own, states left out, and compensation of the cut network."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

import onnxsurgeon
from onnxsurgeon.model.model import load
from onnxsurgeon.pruning.options import PruneOptions
from onnxsurgeon.runtime.carried_states import opened_with_states
from stateful import MODELS, made

FORMS = {
    "gru of two layers": (None, 2, 12),
    "lstm": (None, 2, 12),
    "convolution": (2, 4, None),
    "grouped queries": (2, None, 24),
}
MODULE = """
import numpy as np
FORM, MASK = {form}, {mask}

def runs(seed):
    rng = np.random.default_rng(seed)
    for n in (6, 9, 7, 8):
        feed = {{"x": rng.standard_normal([n if d is None else d for d in FORM]).astype(np.float32)}}
        yield {{**feed, "mask": np.zeros((2, n), np.float32)}} if MASK else feed
"""


@pytest.fixture
def case(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, dict[str, str]]:
    path, states = made(tmp_path, request.param)
    text = MODULE.format(form=FORMS[request.param], mask=request.param == "grouped queries")
    (tmp_path / "stream_samples.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*filter(None, sys.path)])
    monkeypatch.delitem(sys.modules, "stream_samples", raising=False)
    return path, states


@pytest.mark.parametrize("case", MODELS, indirect=True)
def test_states_that_data_lack_are_those_of_the_run_before(case: tuple[Path, dict[str, str]]) -> None:
    path, states = case
    data = opened_with_states("stream_samples:runs", load(path), PruneOptions())
    session, before = ort.InferenceSession(path), None
    for batch in data.batches():
        assert batch.feed.keys() == {v.name for v in session.get_inputs()}
        for begin, end in states.items():
            found = batch.feed[begin]
            if before is None or "past" in begin:
                assert not found.any()
            else:
                np.testing.assert_array_equal(found, before[end])
        names = [v.name for v in session.get_outputs()]
        before = dict(zip(names, session.run(names, batch.feed), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("compensate", ["linear", "sequential", "distillation"])
@pytest.mark.parametrize("case", MODELS, indirect=True)
def test_a_cut_network_with_states_is_fitted(case: tuple[Path, dict[str, str]], compensate: str) -> None:
    path, states = case
    result = onnxsurgeon.prune(path, ratio=0.3, data="stream_samples:runs", compensate=compensate, mirror=True)
    assert result.labels.states == states
    assert result.fitted
    assert result.moved is not None
    assert np.isfinite(result.moved.share)
    assert "mirror" in result.notes[0]
    proof = result.save(path.with_name("cut.onnx"))
    assert proof is not None
    assert proof.passed


@pytest.mark.parametrize("case", ["lstm"], indirect=True)
def test_a_cut_network_is_evaluated_with_shorter_states(case: tuple[Path, dict[str, str]]) -> None:
    path, _ = case
    onnxsurgeon.prune(path, ratio=0.3).save(path.with_name("cut.onnx"))
    score = onnxsurgeon.evaluate(
        path.with_name("cut.onnx"), "stream_samples:runs", metric="cosine", against=path.with_name("cut.onnx"),
        output_name="y",
    )  # fmt: skip
    assert score.value == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("case", ["lstm"], indirect=True)
def test_states_are_layers_whose_sensitivity_is_measured(case: tuple[Path, dict[str, str]]) -> None:
    found = onnxsurgeon.sensitivity(case[0], "stream_samples:runs", shares=[0.5])
    assert [layer.units for layer in found.layers] == [16]
    assert np.isfinite(found.layers[0].points[0].error)
