"""A cut model computes what it must at all sizes of its dynamic dims, not only at those at which it was labelled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from all_sizes import SIZES, compare_at_all_sizes
from node_by_node import Graph
from onnxsurgeon.dependency.dynamic_dims import dynamic_dims
from onnxsurgeon.dependency.labels import label
from onnxsurgeon.errors import ProofError
from onnxsurgeon.model.model import load
from onnxsurgeon.proof.comparison import Tolerance
from onnxsurgeon.proof.feeds import unusual_sizes
from onnxsurgeon.proof.of_a_cut import prove
from paths import CASES, MODELS, ZOO
from shared_cases import ALONE, MADE, make_case, make_skeleton
from sized_graphs import KINDS, first_64, save_kind

NOT_COMPARED = {"random-inside": "draws its own noise", "plugin-head": "does not run", "chaotic": "is all rounding"}
LESS = {"coarse-experts": 0.5}
SKELETONS = """
hf_bert_script hf_distilbert_script hf_llama_dynamo timm_hrnet_w18_small_script timm_mobilevit_xxs_script
timm_pvt_v2_b0_script timm_test_vit_script timm_resnest14d_script timm_test_nfnet_script tv_shufflenet_v2_x1_0_script
""".split()
ONE_SIZE = {"timm_test_vit_script"}  # the table of positions allows one size; the batch varies
SMALL = (1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 24, 31)
SIDES = (32, 33, 47, 48, 63, 64, 65, 96, 97, 128, 160, 200)
BATCHES = (1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13, 16)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_sizes_that_are_computed_stay_computed(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    save_kind(kind, path)
    assert compare_at_all_sizes(path, tmp_path, sizes=SMALL if kind == "window attention" else SIZES) >= 8


def test_the_proof_looks_at_sizes_around_a_limit(tmp_path: Path) -> None:
    """A file in which a clamped length became a constant is right at usual sizes, and refused all the same."""
    original, wrong = Graph(), Graph()
    for g, length in ((original, 0), (wrong, 64)):
        h = first_64(g, g.linear("x", 16, 32))
        g.save(g.op("Reshape", h, g.const(0, length, 4, 8)), tmp_path / f"{length}.onnx")
    labels = label(load(tmp_path / "0.onnx").ir)
    assert {n for sizes in unusual_sizes(labels) for n in sizes.values()} >= {1, 2, 7, 63, 64, 65}
    keep, allowed = np.ones(labels.relations.count, np.bool_), Tolerance(1e-5, 1e-3)
    assert prove(labels, keep, tmp_path / "0.onnx", tmp_path / "0.onnx", allowed=allowed).samples == 8
    with pytest.raises(ProofError, match="does not run"):
        prove(labels, keep, tmp_path / "0.onnx", tmp_path / "64.onnx", allowed=allowed)


@pytest.mark.slow
@pytest.mark.parametrize("path", [p for p in MODELS if list(dynamic_dims(load(p).ir))], ids=lambda p: p.stem)
def test_fixtures_are_right_at_all_sizes(path: Path, tmp_path: Path) -> None:
    assert compare_at_all_sizes(path, tmp_path) > 0


@pytest.mark.slow
@pytest.mark.skipif(not CASES.is_dir(), reason="the cases are not here")
@pytest.mark.parametrize("name", [name for name in (*MADE, *ALONE) if name not in NOT_COMPARED])
def test_cases_are_right_at_all_sizes(name: str, tmp_path: Path) -> None:
    path = make_case(name, tmp_path)
    if not list(dynamic_dims(load(path).ir)):
        pytest.skip("no dynamic sizes")
    sizes = SMALL if name == "attention-over-pixels" else SIZES
    assert compare_at_all_sizes(path, tmp_path, LESS.get(name, 0.3), sizes) > 0


@pytest.mark.slow
@pytest.mark.skipif(not ZOO.is_dir(), reason="the skeletons are not here")
@pytest.mark.parametrize("name", SKELETONS)
def test_skeletons_are_right_at_all_sizes(name: str, tmp_path: Path) -> None:
    path = make_skeleton(name, tmp_path, open_dims=name not in ONE_SIZE)
    sizes = SIZES if name.startswith("hf") else BATCHES if name in ONE_SIZE else SIDES
    assert compare_at_all_sizes(path, tmp_path, 0.2, sizes) > 0
