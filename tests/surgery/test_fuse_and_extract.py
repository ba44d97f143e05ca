"""A fused network computes the same with fewer nodes; an extracted part computes what it does inside its network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import onnxsurgeon as osg
from drawing import Drawing
from onnxsurgeon.errors import ProofError, UsageError
from onnxsurgeon.runtime.session import Session
from onnxsurgeon.surgery.network import Network, load
from paths import FIXTURES, MODELS

RNG = np.random.default_rng(0)


def made(nodes: Sequence[Any], shape: Sequence[Any], path: Path, dtype: str = "float32", **weights: Any) -> Network:
    """x -> nodes -> y."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    x, y = (helper.make_tensor_value_info(name, kind, dims) for name, dims in (("x", shape), ("y", None)))
    tensors = [numpy_helper.from_array(np.asarray(w), name) for name, w in weights.items()]
    graph = helper.make_graph(list(nodes), "g", [x], [y], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return load(path)


def norm(width: int, dtype: str = "float32") -> dict[str, Any]:
    """The four inputs of a normalisation, far from neutral."""
    names = ("scale", "shift", "mean", "var")
    return {name: RNG.uniform(0.5, 2.0, width).astype(dtype) for name in names}


BN = helper.make_node("BatchNormalization", ["h", "scale", "shift", "mean", "var"], ["y"], "bn", epsilon=0.1)
LAYERS = {
    "conv": ("Conv", (6, 4, 3), {"pads": [1, 1]}, (1, 4, 5)),
    "grouped conv": ("Conv", (6, 2, 3), {"group": 2}, (1, 4, 5)),
    "transposed": ("ConvTranspose", (4, 6, 3), {"strides": [2]}, (1, 4, 5)),
    "transposed in groups": ("ConvTranspose", (4, 3, 3), {"group": 2}, (1, 4, 5)),
    "gemm": ("Gemm", (4, 6), {"alpha": 0.5, "beta": 0.25}, (3, 4)),
    "turned gemm": ("Gemm", (6, 4), {"transB": 1, "beta": 2.0}, (3, 4)),
}


@pytest.mark.parametrize("bias", [None, (6,), (1,), (1, 6)])
@pytest.mark.parametrize("name", LAYERS)
def test_a_normalisation_joins_the_layer_before_it(name: str, bias: tuple[int, ...] | None, tmp_path: Path) -> None:
    operator, shape, attributes, data = LAYERS[name]
    if bias not in (None, (6,)) and operator != "Gemm":
        return
    weights: dict[str, Any] = {"w": RNG.standard_normal(shape).astype("float32"), **norm(6)}
    weights |= {} if bias is None else {"b": RNG.standard_normal(bias).astype("float32")}
    layer = helper.make_node(operator, ["x", "w", *(["b"] if bias else [])], ["h"], "layer", **attributes)
    net = made([layer, BN], data, tmp_path / "m.onnx", **weights)
    net.fuse()
    assert net.find("*") == ["layer"]
    proofs = net.prove(device="cpu")
    assert proofs is not None
    assert proofs.error < 1e-5
    net.save(tmp_path / "out.onnx")
    x = {"x": RNG.standard_normal(data).astype("float32")}
    old, new = (Session(tmp_path / file, "cpu").run(x)["y"] for file in ("m.onnx", "out.onnx"))
    assert np.allclose(old, new, rtol=1e-4, atol=1e-5)


def conv(inputs: Sequence[str] = ("x", "w"), output: str = "h") -> Any:
    return helper.make_node("Conv", list(inputs), [output], f"layer_{output}")


KEPT = {
    "read by another node": [conv(), helper.make_node("Relu", ["h"], ["r"], "r"), BN],
    "batch statistics": [
        conv(),
        helper.make_node(
            "BatchNormalization", ["h", "scale", "shift", "mean", "var"], ["y", "m", "v"], "bn", training_mode=1
        ),
    ],
    "not behind a layer": [helper.make_node("Relu", ["x"], ["h"], "r"), BN],
    "a shared weight": [conv(), conv(output="other"), BN],
}


@pytest.mark.parametrize("name", KEPT)
def test_a_normalisation_stays_where_it_must(name: str, tmp_path: Path) -> None:
    net = made(
        KEPT[name], (1, 4, 5), tmp_path / "m.onnx", w=RNG.standard_normal((4, 4, 1)).astype("float32"), **norm(4)
    )
    net.fuse()
    assert "bn" in net


def test_constants_are_computed_but_no_file_grows(tmp_path: Path) -> None:
    """w + w -> Conv; a large Expand of one number, and quantised weights, stay."""
    net = made(
        [
            helper.make_node("Add", ["w", "w"], ["w2"], "twice"),
            helper.make_node("Conv", ["x", "w2"], ["c"], "conv"),
            helper.make_node("Shape", ["c"], ["s"], "shape"),
            helper.make_node("Expand", ["one", "s"], ["ones"], "expand"),
            helper.make_node("DequantizeLinear", ["q", "qs"], ["qb"], "dq"),
            helper.make_node("Sum", ["c", "ones", "qb"], ["y"], "sum"),
        ],
        (1, 4, 64), tmp_path / "m.onnx", w=RNG.standard_normal((4, 4, 1)).astype("float32"), one=np.ones(1, "float32"),
        q=np.arange(64, dtype="int8"), qs=np.float32(0.1),
    )  # fmt: skip
    net.fuse()
    assert net.find("*") == ["conv", "expand", "dq", "sum"]
    assert net.prove(device="cpu") is not None


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_every_fixture_fuses_and_stays(path: Path) -> None:
    net = load(path)
    net.fuse()
    if net.steps:
        assert len(net) < len(load(path))
        found = net.prove(device="cpu")
        assert found is not None
        assert found.unchanged
    again = net.copy()
    again.fuse()
    assert len(again.steps) == len(net.steps), "a fused network has nothing left to fuse"


def test_a_fused_network_is_edited_and_pruned(tmp_path: Path) -> None:
    net = load(FIXTURES / "digits.onnx")
    net.fuse()
    net.resize("layer1.0.conv1=-4")
    assert net.prove(device="cpu") is not None
    proof = osg.prune(net, ratio=0.3, data="none").save(tmp_path / "small.onnx")
    assert proof is not None
    assert proof.passed


# --- extract ---


@pytest.fixture
def two_paths(tmp_path: Path) -> Network:
    """in -> a -> r1 -> b -> sum -> end
    |________________|
    """
    d = Drawing()
    x = d.input("in", 4)
    d.iv("sum", d.av("b", d.iv("r1", d.av("a", x, 8)), 4), x)
    return d.network(tmp_path)


def ends(net: Network) -> tuple[list[str | None], list[str | None]]:
    return [v.name for v in net.ir.graph.inputs], [v.name for v in net.ir.graph.outputs]


@pytest.mark.parametrize(
    ("begins", "to", "nodes"),
    [
        ((), "r1", ["a", "r1"]),
        ("a", "b", ["r1", "b"]),
        (("r1", "in"), (), ["b", "sum", "sum_end"]),
        (("r1", "in"), ("sum", "b"), ["b", "sum"]),
    ],
)
def test_a_part_computes_what_it_does_inside(
    begins: str | tuple[str, ...], to: str | tuple[str, ...], nodes: list[str], two_paths: Network, tmp_path: Path
) -> None:
    two_paths.extract(begins=begins, ends=to)
    assert two_paths.find("*") == nodes
    if begins and to:
        wanted = [begins] if isinstance(begins, str) else list(begins), [to] if isinstance(to, str) else list(to)
        assert tuple(map(sorted, ends(two_paths))) == tuple(map(sorted, wanted))  # type: ignore[type-var]
    proofs = two_paths.save(tmp_path / "part.onnx")
    assert proofs is not None
    assert proofs.unchanged
    onnx.checker.check_model(str(tmp_path / "part.onnx"), full_check=True)
    proto = onnx.load(tmp_path / "part.onnx")
    assert proto.graph.output[0].type.tensor_type.shape.dim[0].dim_param == "N", "dims keep their names"


def test_a_wrong_part_is_caught(two_paths: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof compares with the values inside the whole network, not with the part itself."""
    two_paths.extract(begins="a", ends="b")
    step = two_paths.steps[-1]
    weight = next(iter(step.after.graph.initializers.values()))
    assert weight.const_value is not None
    two_paths.steps[-1].after.graph.initializers[weight.name or ""].const_value = osg_tensor(weight.const_value)
    with pytest.raises(ProofError):
        two_paths.prove(device="cpu")


def osg_tensor(tensor: Any) -> Any:
    import onnx_ir as ir

    return ir.Tensor(tensor.numpy() * 1.5 + 1, name=tensor.name)


def test_edits_before_and_behind_an_extraction_are_proven(two_paths: Network) -> None:
    two_paths.resize("a=-2")
    two_paths.extract(begins="a", ends="b")
    two_paths.activation("r1", "Tanh")
    two_paths.resize("b=+1")
    proofs = two_paths.prove(device="cpu")
    assert proofs is not None
    assert [step.unchanged for step in proofs.steps] == [False, True, False, True]


@pytest.mark.parametrize(
    ("begins", "to", "word"),
    [
        ("a", "sum", "also needs in"),
        ("b", "r1", "not computed from b"),
        (("a", "in"), "r1", "not computed from in"),
        ("a", "a", "nothing lies between"),
        ("nobody", "b", "no value or node 'nobody'"),
        ("a.weight", "b", "is a weight"),
        ((), (), "nothing says where"),
    ],
)
def test_a_part_that_does_not_stand_alone_is_refused(
    begins: str | tuple[str, ...], to: str | tuple[str, ...], word: str, two_paths: Network
) -> None:
    with pytest.raises(UsageError, match=word):
        two_paths.extract(begins=begins, ends=to)
    assert len(two_paths) == 5


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_first_halves_of_every_fixture(path: Path) -> None:
    """The first half up to a node in the middle, which is there in every network."""
    net = load(path)
    names = net.find("*")
    net.extract(ends=names[len(names) // 2])
    assert net.prove(device="cpu") is not None
