"""A proof runs on real inputs where they are given; sizes that the user states hold in every run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from onnxsurgeon.errors import ModelError, UsageError
from onnxsurgeon.proof.feeds import unusual_sizes
from onnxsurgeon.pruning.prune import prune
from onnxsurgeon.surgery.network import load

RNG = np.random.default_rng(0)
# It takes only indices below 5 in all, which no random input has.
PICKY = """<ir_version: 8, opset_import: ["" : 17]> g (float[B, 6] x, int64[B, K] z) => (float[B, 3] y) {
    f = Cast<to=1>(z) t = ReduceSum<keepdims=0>(f) i = Cast<to=7>(t) e = Gather(table, i)
    h = MatMul(x, w) s = Add(h, e) r = Relu(s) y = MatMul(r, wo) }"""


@pytest.fixture
def picky(tmp_path: Path) -> Path:
    proto = parser.parse_model(PICKY)
    for name, shape in {"table": (5, 16), "w": (6, 16), "wo": (16, 3)}.items():
        proto.graph.initializer.append(numpy_helper.from_array(RNG.standard_normal(shape).astype(np.float32), name))
    for number, node in enumerate(proto.graph.node):
        node.name = f"n{number}"
    onnx.save(proto, tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def real(rows: int) -> dict[str, np.ndarray]:
    return {"x": RNG.standard_normal((rows, 6)).astype(np.float32), "z": np.eye(rows, 2, dtype=np.int64)}


def test_real_inputs_prove_what_random_ones_can_t(picky: Path, tmp_path: Path) -> None:
    result = prune(picky, ratio=0.3, input_shape={"z": (2, 40)})
    with pytest.raises(ModelError, match="samples"):
        result.save(tmp_path / "cut.onnx")
    np.savez(tmp_path / "real.npz", **real(2))
    for number, samples in enumerate((tmp_path / "real.npz", real(2))):
        proof = result.save(tmp_path / f"cut{number}.onnx", samples=samples)
        assert proof is not None
        assert proof.passed


def test_edits_are_proven_on_real_inputs(picky: Path, tmp_path: Path) -> None:
    network = load(picky)
    network.resize({"n4": 12})
    assert network.save(tmp_path / "edited.onnx", samples=real(3)) is not None


def test_real_inputs_must_be_the_model_s(picky: Path, tmp_path: Path) -> None:
    result = prune(picky, ratio=0.3)
    with pytest.raises(UsageError, match="wanted: x, z"):
        result.save(tmp_path / "cut.onnx", samples={"x": np.ones((2, 6), np.float32)})
    (tmp_path / "broken.npz").write_bytes(b"PK")
    with pytest.raises(UsageError, match="can't be read"):
        result.save(tmp_path / "cut.onnx", samples=tmp_path / "broken.npz")


def test_stated_sizes_hold_in_every_run(picky: Path) -> None:
    labels = prune(picky, ratio=0.3, input_shape={"z": (4, 2)}).labels
    runs = [labels.sizes[0], labels.sizes[2], *unusual_sizes(labels)]
    assert {sizes["z", 1] for sizes in runs} == {2}
    assert labels.assumed() == {}
