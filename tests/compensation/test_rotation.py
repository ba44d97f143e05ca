"""Laws: rotating a stream does not change what the network computes; nodes that treat channels differently are not in a
stream; the first components matter most; cuts of components are proven."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxsurgeon as osg
from drawn_samples import Drawn
from onnxsurgeon.compensation.rotation import LinearStream, rotate, streams
from onnxsurgeon.dependency.labels import Labels, label
from onnxsurgeon.runtime.random_inputs import random_inputs
from onnxsurgeon.runtime.session import Session
from paths import MODELS

WIDTH = 8
Line = tuple[str, Sequence[str], str]  # operator, inputs, output; attributes by output


@dataclass(frozen=True)
class Net:
    """A network with nodes from x, shape (2, 3, 5, 5) or (2, 5, 3), to y. weights: shapes or arrays, by name."""

    lines: Sequence[Line]
    weights: dict[str, Any]
    attributes: dict[str, dict[str, Any]] = field(default_factory=dict)
    x: tuple[int, ...] = (2, 3, 5, 5)
    opset: int = 17

    def proto(self) -> onnx.ModelProto:
        rng = np.random.default_rng(0)
        given = {n: rng.standard_normal(w) if isinstance(w, tuple) else np.asarray(w) for n, w in self.weights.items()}
        arrays = {n: a if a.dtype == np.int64 else (np.abs(a) if n[0] == "v" else a) for n, a in given.items()}
        tensors = [
            numpy_helper.from_array(a if a.dtype == np.int64 else a.astype(np.float32), n) for n, a in arrays.items()
        ]
        nodes = [
            helper.make_node(operator, list(inputs), [output], name=output, **self.attributes.get(output, {}))
            for operator, inputs, output in self.lines
        ]
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, self.x)
        graph = helper.make_graph(nodes, "net", [x], [onnx.ValueInfoProto(name="y")], tensors)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=9)
        return onnx.shape_inference.infer_shapes(made)

    def labels(self) -> Labels:
        return label(ir.from_proto(self.proto()))


PIXELS: dict[str, Any] = {"w1": (WIDTH, 3, 1, 1), "b1": (WIDTH,), "w2": (WIDTH, 6, 3, 3), "w3": (4, WIDTH, 3, 3)}
UP = [("Conv", ["x", "w1", "b1"], "a")]
PADDED = {"pads": [1, 1, 1, 1]}
BLOCK: list[Line] = [
    ("Conv", ["a", "wide"], "h"), ("Relu", ["h"], "r"), ("Conv", ["r", "w2"], "n"), ("Add", ["a", "n"], "s"),
]  # fmt: skip
RESIDUAL = Net(
    [*UP, *BLOCK, ("Conv", ["s", "w3"], "y")], PIXELS | {"wide": (6, WIDTH, 1, 1)}, {"n": PADDED, "y": PADDED}
)
NORM: dict[str, Any] = {"g": (WIDTH,), "b": (WIDTH,), "m": (WIDTH,), "v": (WIDTH,)}
TOKENS: dict[str, Any] = {"w1": (3, WIDTH), "b1": (WIDTH,), "w3": (WIDTH, 4)}
LINEAR = [("MatMul", ["x", "w1"], "p"), ("Add", ["b1", "p"], "a")]


def pixels(*lines: Line, attributes: dict[str, dict[str, Any]] | None = None, **weights: Any) -> Net:
    """A convolution, `lines` from a to s, and a convolution."""
    return Net([*UP, *lines, ("Conv", ["s", "w3"], "y")], PIXELS | weights, {"y": PADDED, **(attributes or {})})


def tokens(*lines: Line, attributes: dict[str, dict[str, Any]] | None = None, **weights: Any) -> Net:
    """A matrix product with a bias, `lines` from a to s, and a matrix product."""
    return Net([*LINEAR, *lines, ("MatMul", ["s", "w3"], "y")], TOKENS | weights, attributes or {}, (2, 5, 3))


GOOD = {
    "residual": RESIDUAL,
    "a norm behind a writer": pixels(("BatchNormalization", ["a", "g", "b", "m", "v"], "s"), **NORM),
    "a norm before readers": tokens(
        ("Transpose", ["a"], "t"), ("BatchNormalization", ["t", "g", "b", "m", "v"], "n"), ("Transpose", ["n"], "s"),
        ("MatMul", ["a", "w4"], "u"), ("Relu", ["u"], "ru"), ("MatMul", ["ru", "w5"], "un"), ("Add", ["a", "un"], "z"),
        attributes={"t": {"perm": [0, 2, 1]}, "s": {"perm": [0, 2, 1]}}, w4=(WIDTH, 5), w5=(5, WIDTH), **NORM,
    ),
    "means": pixels(("AveragePool", ["a"], "q"), ("Neg", ["q"], "s"), attributes={"q": {"kernel_shape": [2, 2]}}),
    "a scalar": pixels(("Mul", ["k", "a"], "c"), ("Div", ["c", "k"], "d"), ("Sub", ["c", "d"], "s"), k=np.float32(2.5)),
    "gated": pixels(("Conv", ["x", "gate"], "e"), ("Sigmoid", ["e"], "f"), ("Mul", ["a", "f"], "s"), gate=(1, 3, 1, 1)),
    "joined beside": tokens(("Concat", ["start", "a"], "s"), attributes={"s": {"axis": 1}}, start=(2, 1, WIDTH)),
    "positions": tokens(("Add", ["a", "where"], "s"), where=(5, WIDTH)),
    "zeros": tokens(
        ("ConstantOfShape", ["many"], "z"), ("Add", ["z", "start"], "c"), ("Concat", ["c", "a"], "s"),
        attributes={"s": {"axis": 1}}, many=np.array([2, 1, WIDTH]), start=(2, 1, WIDTH),
    ),
    "attended": tokens(
        ("MatMul", ["x", "w6"], "l"), ("Softmax", ["l"], "o"), ("MatMul", ["o", "a"], "s"), w6=(3, 5)
    ),
    "one token": tokens(("ReduceMean", ["a"], "s"), attributes={"s": {"axes": [1], "keepdims": 0}}),
    "parts": tokens(
        ("Slice", ["a", "zero", "three", "one"], "i"), ("Gather", ["a", "pick"], "j"), ("Concat", ["i", "j"], "s"),
        attributes={"s": {"axis": 1}, "j": {"axis": 1}}, zero=np.array([0]), three=np.array([3]), one=np.array([1]),
        pick=np.array([4, 0]),
    ),
}  # fmt: skip
BAD = {
    "clipped": pixels(("Relu", ["a"], "s")),
    "one by one": pixels(("Conv", ["a", "d"], "s"), attributes={"s": {"group": WIDTH}}, d=(WIDTH, 1, 1, 1)),
    "a factor for each": pixels(("Mul", ["a", "each"], "s"), each=(WIDTH, 1, 1)),
    "the same for all": pixels(("Conv", ["x", "gate"], "e"), ("Add", ["a", "e"], "s"), gate=(1, 3, 1, 1)),
    "the same constant": pixels(("Add", ["a", "k"], "s"), k=np.float32(2.5)),
    "ones": tokens(
        ("ConstantOfShape", ["many"], "z"), ("Add", ["z", "start"], "c"), ("Concat", ["c", "a"], "s"),
        attributes={"s": {"axis": 1}, "z": {"value": numpy_helper.from_array(np.ones(1, np.float32))}},
        many=np.array([2, 1, WIDTH]), start=(2, 1, WIDTH),
    ),
    "largest": pixels(("MaxPool", ["a"], "s"), attributes={"s": {"kernel_shape": [2, 2]}}),
    "a norm before padding": pixels(
        ("BatchNormalization", ["a", "g", "b", "m", "v"], "s"), ("Relu", ["a"], "z"), **NORM
    ),
    "a norm along them": tokens(("LayerNormalization", ["a", "g", "b"], "s"), g=(WIDTH,), b=(WIDTH,)),
    "summed up": tokens(("ReduceSum", ["a", "last"], "t"), ("Mul", ["a", "t"], "s"), last=np.array([2])),
    "two readers of one weight": tokens(
        ("Add", ["a", "where"], "s"), ("MatMul", ["a", "w3"], "other"), ("Relu", ["other"], "z"), where=(5, WIDTH)
    ),
}  # fmt: skip


def same(labels: Labels, found: Sequence[LinearStream]) -> float:
    """The relative change of the outputs after rotating all streams at random."""
    rng = np.random.default_rng(1)
    rotations = {s.key: rng.standard_normal((len(s.roots),) * 2) + 3 * np.eye(len(s.roots)) for s in found}
    feed = random_inputs(labels, labels.sizes[0], 0)
    before, after = (
        Session(ir.to_proto(model).SerializeToString(), "cpu", optimise=False).run(feed)
        for model in (labels.original, rotate(labels, rotations, found))
    )
    return max(float(np.abs(before[n] - after[n]).max() / np.abs(before[n]).max()) for n in before)


@pytest.mark.parametrize("name", GOOD)
def test_a_rotated_stream_computes_the_same(name: str) -> None:
    labels = GOOD[name].labels()
    (stream,) = streams(labels)
    assert len(stream.roots) == WIDTH
    assert same(labels, [stream]) < 1e-4


@pytest.mark.parametrize("name", BAD)
def test_nodes_that_treat_channels_differently_end_a_stream(name: str) -> None:
    assert not streams(BAD[name].labels())


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_fixtures_compute_the_same(path: Path) -> None:
    labels = label(osg.load(path).ir)
    found = streams(labels)
    assert not found or same(labels, found) < 1e-4


def test_norms_are_folded() -> None:
    for name in GOOD:
        labels = GOOD[name].labels()
        found = streams(labels)
        model = rotate(labels, {s.key: np.eye(WIDTH) for s in found}, found)
        assert not [node for node in model.graph if node.op_type == "BatchNormalization"]
        assert len(model.graph) <= len(labels.model.graph) + name.startswith("a norm before")


def flat(folder: Path) -> Path:
    """A residual network whose stream spans only three directions, spread over all its channels."""
    model = RESIDUAL.proto()
    rng = np.random.default_rng(2)
    basis = rng.standard_normal((WIDTH, 3)).astype(np.float32)
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if tensor.name in ("w1", "w2", "b1"):
            inner = rng.standard_normal((3, *array.shape[1:])).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(np.tensordot(basis, inner, 1), tensor.name))
    onnx.save(model, folder / "flat.onnx")
    return folder / "flat.onnx"


@pytest.mark.parametrize("importance", ["output-error", "reconstruction"])
def test_empty_components_are_cut_without_loss(tmp_path: Path, importance: str) -> None:
    path = flat(tmp_path)
    data = Drawn("x", (3, 5, 5), 32, step=2)
    options: dict[str, Any] = {"ratio": 0.55, "data": data, "importance": importance, "only": ["a", "n", "s"]}
    feed = {"x": np.random.default_rng(5).standard_normal((2, 3, 5, 5)).astype(np.float32)}
    expected = Session(path).run(feed)["y"]
    errors = []
    for option in (True, False):
        result = osg.prune(osg.load(path), rotate=option, **options)
        assert result.rotated == option
        proof = result.save(tmp_path / f"{option}.onnx")
        assert proof is not None
        assert proof.passed
        found = Session(tmp_path / f"{option}.onnx").run(feed)["y"]
        errors.append(float(np.abs(found - expected).max() / np.abs(expected).max()))
    assert errors[0] < 1e-3


def test_streams_are_rotated_only_with_data(tmp_path: Path) -> None:
    path, data = flat(tmp_path), Drawn("x", (3, 5, 5), 32, step=2)
    model = osg.load(path)
    assert osg.prune(model, ratio=0.3, data=data, importance="reconstruction").rotated == 1
    assert osg.prune(model, ratio=0.3, data=data, importance="l2", compensate="none").rotated == 0
    assert osg.prune(model, ratio=0.3, data="none").rotated == 0
    with pytest.raises(osg.UsageError, match="`rotate=True` needs samples"):
        osg.prune(model, ratio=0.3, rotate=True, data="none")


def test_nothing_is_rotated_if_nothing_is_cut(tmp_path: Path) -> None:
    onnx.save(RESIDUAL.proto(), tmp_path / "net.onnx")
    model = osg.load(tmp_path / "net.onnx")
    result = osg.prune(model, max_params=10**6, data=Drawn("x", (3, 5, 5), 32, step=2), importance="reconstruction")
    assert ir.to_proto(result.ir) == ir.to_proto(model.ir)


@pytest.mark.slow
def test_statistics_contain_their_rotations(tmp_path: Path) -> None:
    model, data = osg.load(flat(tmp_path)), Drawn("x", (3, 5, 5), 32, step=2)
    options: dict[str, Any] = {"ratio": 0.3, "data": data, "importance": "reconstruction", "stats": tmp_path / "s.npz"}
    first, again = (osg.prune(model, **options) for _ in range(2))
    assert ir.to_proto(first.ir) == ir.to_proto(again.ir)
    with pytest.raises(osg.UsageError, match="other rotations"):
        osg.prune(model, rotate=False, **options)
    options["data"] = "none"
    assert osg.prune(model, compensate="linear", **options).rotated == 1
    del options["data"]
    plain = osg.prune(model, **{**options, "stats": tmp_path / "plain.npz"}, data=data, rotate=False)
    assert plain.rotated == osg.prune(model, **{**options, "stats": tmp_path / "plain.npz"}, data=data).rotated == 0


def test_readers_are_as_named() -> None:
    (stream,) = streams(RESIDUAL.labels())
    assert [node.name for node in stream.readers] == ["h", "y"]
    assert [node.name for node in stream.writers] == ["a", "n"]
