"""Networks with random nodes are proven: both sides get the same noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import numpy_helper, parser

import onnxsurgeon
from onnxsurgeon.dependency.labels import label
from onnxsurgeon.errors import ProofError
from onnxsurgeon.model.model import load
from onnxsurgeon.proof.noise import noise

WIDTHS = {"a": (12, 32), "b": (32, 32), "c": (32, 32), "d": (32, 5), "table": (7, 32)}
NODES = {
    "noise like a tensor": "n = RandomNormalLike (h) z = Add (h, n)",
    "uniform noise like a tensor": "n = RandomUniformLike (h) z = Add (h, n)",
    "noise of a fixed size": "n = RandomNormal <shape=[1, 12]> () m = MatMul (n, a) z = Add (h, m)",
    "bernoulli": "p = Sigmoid (h) z = Bernoulli (p)",
    "dropout in training": "z = Dropout (h, half, yes)",
    "dropout that returns its mask": "e, k = Dropout (h, half, yes) f = Cast <to=1> (k) z = Add (e, f)",
    "multinomial": "l = MatMul (h, w) i = Multinomial <sample_size=1> (l) z0 = Gather (table, i) z = Squeeze (z0, one)",
}


def build(folder: Path, middle: str) -> Path:
    rng = np.random.default_rng(0)
    model = parser.parse_model(
        f"""<ir_version: 9, opset_import: ["" : 17]> g (float[N,12] x) => (float[N,5] y) {{
        g = MatMul (x, a) r = Relu (g) h = MatMul (r, b) {middle} o = MatMul (z, c) q = Relu (o) y = MatMul (q, d) }}"""
    )
    arrays = {name: rng.uniform(-0.5, 0.5, shape).astype(np.float32) for name, shape in WIDTHS.items()}
    arrays |= {"w": rng.uniform(-0.5, 0.5, (32, 7)).astype(np.float32), "half": np.array(0.5, np.float32)}
    arrays |= {"yes": np.array(True), "no": np.array(False), "one": np.array([1], np.int64)}
    read = {name for node in model.graph.node for name in node.input}
    model.graph.initializer.extend(numpy_helper.from_array(a, name) for name, a in arrays.items() if name in read)
    path = folder / "model.onnx"
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("kind", NODES)
def test_a_cut_with_noise_is_proven(tmp_path: Path, kind: str) -> None:
    result = onnxsurgeon.prune(build(tmp_path, NODES[kind]), ratio=0.4)
    proof = result.save(tmp_path / "cut.onnx")
    assert proof is not None
    assert proof.passed
    assert proof.error < 1e-4


@pytest.mark.parametrize("kind", NODES)
@pytest.mark.parametrize("weight", ["b", "d"])
def test_a_wrong_weight_before_or_after_the_noise_is_no_proof(tmp_path: Path, kind: str, weight: str) -> None:
    result = onnxsurgeon.prune(build(tmp_path, NODES[kind]), ratio=0.4)
    value = result.bare.graph.initializers[weight]
    assert value.const_value is not None
    value.const_value = ir.Tensor(np.float32(1.3) * value.const_value.numpy(), name=weight)
    with pytest.raises(ProofError):
        result.save(tmp_path / "cut.onnx")


@pytest.mark.parametrize(
    ("middle", "random"),
    [
        ("z = Dropout (h)", False),
        ("z = Dropout (h, half)", False),
        ("z = Dropout (h, half, no)", False),
        ("z = Dropout (h, half, yes)", True),
        ("z = Dropout (h, , yes)", True),
    ],
)
def test_dropout_is_random_only_in_training(tmp_path: Path, middle: str, random: object) -> None:
    labels = label(load(build(tmp_path, middle)).ir)
    assert bool(noise(labels, np.ones(labels.relations.count, np.bool_)).made) == random
