"""What a training collects is what the criterion taylor finds, where the weights hardly move."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import make_fixtures
import onnxsurgeon as osg
from onnxsurgeon.compensation.evidence import Evidence
from onnxsurgeon.data import open_data
from onnxsurgeon.dependency.labels import label
from onnxsurgeon.importance import from_gradients, from_weights
from onnxsurgeon.model.read import read
from onnxsurgeon.runtime.session import Session

COUNT = 20
STILL: dict[str, Any] = {"loss": "mse", "lr": 1e-12, "epochs": 1, "norms": "frozen", "device": "cpu"}


@pytest.mark.parametrize("name", ["residual", "concat", "grouped", "se", "attention", "fused_qkv"])
def test_a_training_collects_what_a_pass_finds(name: str, tmp_path: Path) -> None:
    proto, rng = make_fixtures.FIXTURES[name]().model(), np.random.default_rng(0)
    onnx.save(proto, tmp_path / "model.onnx")
    shape = [d.dim_value or 5 for d in proto.graph.input[0].type.tensor_type.shape.dim[1:]]
    feed = {"input": rng.standard_normal((COUNT, *shape)).astype(np.float32)}
    said = Session(proto.SerializeToString(), "cpu").run(feed)["output"]
    np.savez(tmp_path / "seen.npz", labels=said + rng.standard_normal(said.shape).astype(np.float32), **feed)
    scores = tmp_path / "scores.npz"
    osg.train(tmp_path / "model.onnx", tmp_path / "seen.npz", batch=8, accumulate=2, collect=scores, **STILL)
    labels = label(read(tmp_path / "model.onnx"))
    data = open_data(tmp_path / "seen.npz", labels.model)
    expected = from_gradients.taylor(Evidence(labels, samples=data, data=data, device="cpu"), "taylor")
    found = from_weights.from_file(Evidence(labels), f"file:{scores}")
    free = ~labels.classes.frozen[labels.classes.root]
    totals = [np.bincount(labels.classes.root, np.where(free, worth, 0)) for worth in (found, expected)]
    assert totals[0] == pytest.approx(totals[1], rel=1e-3, abs=1e-7)
    assert totals[0].max() > 0
