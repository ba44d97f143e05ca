"""Small graphs of kinds that real files showed come out right. They are not part of the repository."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from onnxsurgeon.errors import ModelError
from onnxsurgeon.pruning.prune import prune
from paths import ROOT

SHARED = next((p / "shared/cases" for p in ROOT.parents if (p / "shared/cases").is_dir()), Path("none"))
MADE = """
minus-one no-shape all-dynamic kv-cache gru-state integer-weights chaotic paired-dims data-dependent random-inside
sequence plugin-head
""".split()
ALONE = """
clamped-length if-on-length if-on-clamped-length mixed-scale-output unsorted ml-front attention-over-pixels
coarse-experts silu-pair int4-blocked stale-constant-info
""".split()
FIRST = {"stale-constant-info": ["constant"]}
KINDS = "spectral weightnorm lora cosine".split()
FEWER = {"coarse-experts": 0.5}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SHARED.is_dir(), reason="the cases are not here"),
]


def pruned(path: Path, ratio: float = 0.3) -> None:
    result = prune(path, ratio=ratio, data="none")
    assert result.after.params <= (1 - ratio) * result.before.params
    proof = result.save(path.with_suffix(".cut.onnx"))
    assert proof is not None
    assert proof.passed


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("cases")
    subprocess.run([sys.executable, SHARED / "make.py", made], check=True)
    return made


@pytest.mark.parametrize("name", MADE)
def test_a_case_is_pruned_and_proven(name: str, folder: Path) -> None:
    pruned(folder / f"{name}.onnx")


def test_without_parameters_nothing_is_cut(folder: Path) -> None:
    with pytest.raises(ModelError, match="nothing can be cut"):
        prune(folder / "relu-only.onnx", ratio=0.3)


@pytest.mark.parametrize("name", ALONE)
def test_a_case_of_its_own_is_pruned_and_proven(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"{name}.onnx"
    subprocess.run([sys.executable, SHARED / f"{name}.py", *FIRST.get(name, []), path], check=True)
    pruned(path, FEWER.get(name, 0.3))


@pytest.mark.parametrize("kind", KINDS)
def test_weights_computed_in_the_graph_are_pruned_and_proven(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"{kind}.onnx"
    subprocess.run([sys.executable, SHARED / "weight-in-graph.py", kind, path], check=True)
    pruned(path)


def test_data_of_a_network_with_time_first_is_read(tmp_path: Path) -> None:
    path, data = tmp_path / "model.onnx", tmp_path / "data.npz"
    subprocess.run([sys.executable, SHARED / "time-major.py", path, data], check=True)
    result = prune(path, ratio=0.3, data=data)
    assert result.save(tmp_path / "cut.onnx") is not None
