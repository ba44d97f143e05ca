"""The halves of the zoo's data share nothing; where the zoo is there, its baselines come out."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

import onnxsurgeon as osg
import zoo_data

ZOO = Path(os.environ.get("ZOO", ""))


@pytest.mark.parametrize("count", [1, 500, 3001])
def test_the_halves_are_disjoint_and_make_the_whole(count: int) -> None:
    halves = [zoo_data.positions(count, half) for half in ("calibration", "score")]
    assert np.sort(np.concatenate(halves)).tolist() == zoo_data.positions(count, "all").tolist() == list(range(count))
    assert zoo_data.positions(count, "score").tolist() == halves[1].tolist()


@pytest.mark.skipif(not (ZOO / "BASELINES.json").exists(), reason="the zoo is not here (ZOO)")
@pytest.mark.parametrize("name", ["mnist_cntk", "vnn_cifar10_resnet2b", "vnn_marabou_cifar_medium"])
def test_baselines_come_out(name: str) -> None:
    known = json.loads((ZOO / "BASELINES.json").read_text())[name]
    score = osg.evaluate(ZOO / "models" / f"{name}.onnx", f"zoo_data:{name}_all")
    assert (score.value, score.samples) == (pytest.approx(known["top1"], abs=1e-3), known["n"])
