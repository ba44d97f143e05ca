"""What onnxruntime can't run is left out of the proof, which says so; all else is proven."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxsurgeon.errors import ProofError
from onnxsurgeon.proof.comparison import Tolerance
from onnxsurgeon.proof.of_a_cut import prove
from onnxsurgeon.pruning.prune import prune
from onnxsurgeon.pruning.result import Result

RNG = np.random.default_rng(0)
INFO = {
    "with its shape": [helper.make_tensor_value_info("p", TensorProto.FLOAT, ["n", 6, "h", "w"])],
    "without": [],
}


def weights(**shapes: tuple[int, ...]) -> list[onnx.TensorProto]:
    return [numpy_helper.from_array((RNG.standard_normal(s) / 3).astype(np.float32), n) for n, s in shapes.items()]


def saved(
    folder: Path, nodes: list[onnx.NodeProto], held: list[onnx.TensorProto], outputs: list[str], **more: object
) -> Path:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])
    graph = helper.make_graph(nodes, "g", [x], [onnx.ValueInfoProto(name=name) for name in outputs], held, **more)
    for value in graph.output:
        value.type.tensor_type.elem_type = TensorProto.FLOAT
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("vendor", 1)]
    path = folder / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=8), path)
    return path


def layers(read: str, names: str, made: str) -> list[onnx.NodeProto]:
    """Conv, Relu, Conv."""
    first, last = names.split()
    return [
        helper.make_node("Conv", [read, first], [f"{first}.c"], f"conv {first}", pads=[1] * 4),
        helper.make_node("Relu", [f"{first}.c"], [f"{first}.r"], f"relu {first}"),
        helper.make_node("Conv", [f"{first}.r", last], [made], f"conv {last}"),
    ]


def plugin(folder: Path, info: list[onnx.ValueInfoProto]) -> Path:
    """x > layers > a plugin > layers."""
    plug = helper.make_node("Warp", ["q"], ["p"], "plug", domain="vendor")
    nodes = [*layers("x", "a b", "q"), plug, *layers("p", "c d", "y")]
    held = weights(a=(16, 3, 3, 3), b=(6, 16, 1, 1), c=(16, 6, 3, 3), d=(2, 16, 1, 1))
    return saved(folder, nodes, held, ["y"], value_info=info)


@pytest.mark.parametrize("stated", INFO)
def test_both_sides_of_a_foreign_operator_are_proven(stated: str, tmp_path: Path) -> None:
    path = plugin(tmp_path, INFO[stated])
    result = prune(path, ratio=0.3)
    proof = result.save(tmp_path / "cut.onnx")
    assert proof is not None
    assert ["plug (Warp)" in note for note in proof.notes] == [True]
    for wrong in ("b", "d"):  # before and behind it
        with pytest.raises(ProofError):
            refuted(result, path, tmp_path / "cut.onnx", wrong)


def refuted(result: Result, original: Path, cut: Path, weight: str) -> None:
    """Proves a file in which a weight is wrong."""
    proto = onnx.load(cut)
    tensor = next(t for t in proto.graph.initializer if t.name == weight)
    tensor.CopyFrom(numpy_helper.from_array(2 * numpy_helper.to_array(tensor), weight))
    wrong = cut.with_name("wrong.onnx")
    onnx.save(proto, wrong)
    found = prove(result.labels, result.keep, original, wrong, allowed=Tolerance(1e-5, 1e-3))
    if not found.passed:
        raise ProofError("it differs")


def test_a_foreign_operator_at_the_end_leaves_what_it_reads_to_compare(tmp_path: Path) -> None:
    end = helper.make_node("Detect", ["boxes", "boxes"], ["y"], "detect", domain="vendor")
    held = weights(a=(16, 3, 3, 3), b=(6, 16, 1, 1))
    path = saved(tmp_path, [*layers("x", "a b", "boxes"), end], held, ["y"])
    result = prune(path, ratio=0.3)
    assert result.save(tmp_path / "cut.onnx") is not None
    with pytest.raises(ProofError):
        refuted(result, path, tmp_path / "cut.onnx", "b")


@pytest.mark.parametrize("given", [TensorProto.FLOAT, TensorProto.BFLOAT16])
def test_bfloat16_is_proven_in_float32(given: int, tmp_path: Path) -> None:
    shapes = {"a": (8, 24), "b": (24,), "c": (24, 3)}
    held = [numpy_helper.from_array(RNG.standard_normal(s).astype(ml_dtypes.bfloat16), n) for n, s in shapes.items()]
    nodes = [
        helper.make_node("Cast", ["x"], ["h"], to=TensorProto.BFLOAT16),
        helper.make_node("MatMul", ["h", "a"], ["m"]),
        helper.make_node("Add", ["m", "b"], ["s"]),
        helper.make_node("Relu", ["s"], ["r"]),
        helper.make_node("MatMul", ["r", "c"], ["y"]),
    ]
    ends = (("x", given, 8), ("y", TensorProto.BFLOAT16, 3))
    info = [helper.make_tensor_value_info(n, t, ["n", k]) for n, t, k in ends]
    graph = helper.make_graph(nodes, "g", info[:1], info[1:], held)
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path / "model.onnx")
    proof = prune(tmp_path / "model.onnx", ratio=0.3).save(tmp_path / "cut.onnx")
    assert proof is not None
    assert proof.notes == ("bfloat16 is computed in float32",)
    kept = onnx.load(tmp_path / "cut.onnx").graph.initializer
    assert {t.data_type for t in kept} == {TensorProto.BFLOAT16}
