"""Small graphs of kinds that real files showed come out right. They are not part of the repository."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from onnxsurgeon.errors import ModelError
from onnxsurgeon.pruning.prune import prune
from paths import CASES
from shared_cases import ALONE, MADE, WEIGHTS, make_case

FEWER = {"coarse-experts": 0.5}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CASES.is_dir(), reason="the cases are not here"),
]


def pruned(path: Path, ratio: float = 0.3) -> None:
    result = prune(path, ratio=ratio, data="none")
    assert result.after.params <= (1 - ratio) * result.before.params
    proof = result.save(path.with_suffix(".cut.onnx"))
    assert proof is not None
    assert proof.passed


@pytest.mark.parametrize("name", [*MADE, *ALONE, *WEIGHTS])
def test_a_case_is_pruned_and_proven(name: str, tmp_path: Path) -> None:
    pruned(make_case(name, tmp_path), FEWER.get(name, 0.3))


def test_without_parameters_nothing_is_cut(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="nothing can be cut"):
        prune(make_case("relu-only", tmp_path), ratio=0.3)


def test_data_of_a_network_with_time_first_is_read(tmp_path: Path) -> None:
    path, data = tmp_path / "model.onnx", tmp_path / "data.npz"
    subprocess.run([sys.executable, CASES / "time-major.py", path, data], check=True)
    result = prune(path, ratio=0.3, data=data)
    assert result.save(tmp_path / "cut.onnx") is not None
