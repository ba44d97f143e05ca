"""Sizes of dynamic dims are found at which the nodes of a graph fit together; what the user states stays."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import numpy_helper, parser

from onnxsurgeon.dependency.demands import unfit
from onnxsurgeon.dependency.labels import label
from onnxsurgeon.dependency.samples import LARGE, largest
from onnxsurgeon.errors import ModelError
from onnxsurgeon.pruning.prune import prune

RNG = np.random.default_rng(0)


def model(text: str, dims: str = "", opset: int = 17, **weights: tuple[int, ...] | np.ndarray) -> onnx.ModelProto:
    """dims: `unnamed`, `shapeless` or `all` dynamic."""
    proto = parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]> g {text}')
    for name, given in weights.items():
        array = given if isinstance(given, np.ndarray) else RNG.standard_normal(given).astype(np.float32)
        proto.graph.initializer.append(numpy_helper.from_array(array, name))
    for number, node in enumerate(proto.graph.node):
        node.name = f"{node.op_type}_{number}"
    for value in proto.graph.input:
        if dims == "shapeless":
            value.type.tensor_type.ClearField("shape")
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if dims == "all":
                dim.dim_param = f"{value.name}_{axis}"
            elif dims == "unnamed" and dim.dim_param:
                dim.Clear()
    for value in proto.graph.output:
        value.type.tensor_type.ClearField("shape") if dims == "shapeless" else None
    return proto


MLP = "a = MatMul(h, w) r = Relu(a) y = MatMul(r, wo)"
AGREE: dict[str, tuple[str, Mapping[str, tuple[int, ...] | np.ndarray]]] = {
    "a sum": (
        "(float[B, N, 6] x, float[B, M, 6] z) => (float[B, N, 3] y) { h = Add(x, z) " + MLP + " }",
        {"w": (6, 16), "wo": (16, 3)},
    ),
    "a concatenation": (
        "(float[B, 4] x, float[C, 2] z) => (float[B, 3] y) { h = Concat<axis=1>(x, z) " + MLP + " }",
        {"w": (6, 16), "wo": (16, 3)},
    ),
    "a mask of windows": (
        "(float[B, 1, N] x, float[C, M] z) => (float[B, 3] y) { c = Conv<strides=[4]>(x, k) u = Unsqueeze(z, one)"
        " m = Mul(c, u) h = ReduceSum<keepdims=0>(m, two) " + MLP + " }",
        {"k": (6, 1, 8), "w": (6, 16), "wo": (16, 3), "one": np.array([1]), "two": np.array([2])},
    ),
    "a state": (
        "(float[T, B, 6] x, float[1, S, 8] z) => (float[B, 3] y) { o, n = GRU<hidden_size=8>(x, W, R, b, , z)"
        " h = ReduceMean<axes=[0, 1], keepdims=0>(o) " + MLP + " }",
        {"W": (1, 24, 6), "R": (1, 24, 8), "b": (1, 48), "w": (8, 16), "wo": (16, 3)},
    ),
    "a picture in a vector": (
        "(float[N] x) => (float[1, 3, M, K] y) { p = Reshape(x, s) c = Conv(p, w) r = Relu(c) y = Conv(r, wo) }",
        {"s": np.array([1, 3, 10, 10]), "w": (8, 3, 3, 3), "wo": (3, 8, 1, 1)},
    ),
    "pictures in a vector": (
        "(float[N] x) => (float[B, 3, M, K] y) { p = Reshape(x, s) c = Conv(p, w) r = Relu(c) y = Conv(r, wo) }",
        {"s": np.array([-1, 3, 10, 10]), "w": (8, 3, 3, 3), "wo": (3, 8, 1, 1)},
    ),
}
NORM = {"s": (3,), "b": (3,), "m": (3,), "v": np.ones(3, np.float32)}
ALL: dict[str, tuple[str, Mapping[str, tuple[int, ...] | np.ndarray]]] = {
    "Conv": (
        "(float[B, 3, H, W] x) => (float[B, 3, H, W] y) { c = Conv(x, w) r = Relu(c) y = Conv(r, wo) }",
        {"w": (8, 3, 3, 3), "wo": (3, 8, 1, 1)},
    ),
    "a normalisation first": (
        "(float[B, 3, H, W] x) => (float[B, 3, H, W] y) { n = BatchNormalization(x, s, b, m, v) c = Conv(n, w)"
        " r = Relu(c) y = Conv(r, wo) }",
        {"w": (8, 3, 3, 3), "wo": (3, 8, 1, 1), **NORM},
    ),
    "Gemm": (
        "(float[B, 5] x) => (float[B, 3] y) { a = Gemm(x, w) r = Relu(a) y = Gemm(r, wo) }",
        {"w": (5, 16), "wo": (16, 3)},
    ),
    "LSTM": (
        "(float[T, B, 6] x) => (float[T, B, 3] y) { o, n, c = LSTM<hidden_size=8>(x, W, R, b) s = Squeeze(o, one)"
        " y = MatMul(s, wo) }",
        {"W": (1, 32, 6), "R": (1, 32, 8), "b": (1, 64), "one": np.array([1]), "wo": (8, 3)},
    ),
    "Transpose": (
        "(float[B, 5, T] x) => (float[B, T, 3] y) { h = Transpose<perm=[0, 2, 1]>(x) " + MLP + " }",
        {"w": (5, 16), "wo": (16, 3)},
    ),
    "a flattened picture": (
        "(float[B, 1, H, W] x) => (float[B, 3] y) { c = Conv(x, k) m = MaxPool<kernel_shape=[2, 2], strides=[2, 2]>(c)"
        " h = Flatten(m) " + MLP + " }",
        {"k": (4, 1, 5, 5), "w": (4 * 12 * 12, 16), "wo": (16, 3)},
    ),
}


@pytest.mark.parametrize("kind", AGREE)
def test_sizes_that_must_agree_are_found(kind: str, tmp_path: Path) -> None:
    text, weights = AGREE[kind]
    proven(model(text, "unnamed", **weights), tmp_path)


@pytest.mark.parametrize("dims", ["all", "shapeless"])
@pytest.mark.parametrize("kind", ALL)
def test_ranks_and_channels_follow_from_what_reads_an_input(kind: str, dims: str, tmp_path: Path) -> None:
    text, weights = ALL[kind]
    proven(model(text, dims, **weights), tmp_path)


def proven(proto: onnx.ModelProto, folder: Path) -> None:
    path = folder / "model.onnx"
    onnx.save(proto, path)
    result = prune(path, ratio=0.2, data="none")
    assert unfit(result.labels) == 0
    proof = result.save(folder / "cut.onnx")
    assert proof is not None
    assert proof.samples >= 2


MATMULS = ("(float[N, 16] x) => (float[N, 3] y) { a = MatMul(x, w) r = Relu(a) y = MatMul(r, wo) }",
           {"w": (16, 32), "wo": (32, 3)})  # fmt: skip


def test_a_rank_that_follows_from_nothing_is_asked_for(tmp_path: Path) -> None:
    proto = model(MATMULS[0], "shapeless", **MATMULS[1])
    with pytest.raises(ModelError, match="input_shape"):
        label(ir.from_proto(proto))
    onnx.save(proto, tmp_path / "model.onnx")
    result = prune(tmp_path / "model.onnx", ratio=0.2, input_shape={"x": (2, 7, 16)})
    assert result.labels.sizes[0] == result.labels.sizes[2] == {("x", 0): 2, ("x", 1): 7, ("x", 2): 16}
    assert result.save(tmp_path / "cut.onnx") is not None


def test_the_sizes_assumed_are_those_that_need_little_memory() -> None:
    """Attention over all pixels: its scores have as many elements as the fourth power of height and width."""
    proto = model(
        "(float[B, 4, H, W] x) => (float[B, N, 4] y) { f = Reshape(x, s) t = Transpose<perm=[0, 2, 1]>(f)"
        " q = MatMul(t, w) k = MatMul(t, w2) kt = Transpose<perm=[0, 2, 1]>(k) a = MatMul(q, kt)"
        " p = Softmax<axis=-1>(a) y = MatMul(p, t) }",
        s=np.array([0, 4, -1]), w=(4, 8), w2=(4, 8),
    )  # fmt: skip
    labels = label(ir.from_proto(proto))
    assert largest(labels.facts[0]) <= LARGE
    assert labels.sizes[0]["x", 2] > 1
