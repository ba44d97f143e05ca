"""A wrong cut fails the proof layer by layer, wherever it is wrong; a right one passes, however its outputs differ."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxsurgeon.arrays import Mask
from onnxsurgeon.dependency.labels import Labels, label
from onnxsurgeon.dependency.spaces import spaces
from onnxsurgeon.edit.apply import cut
from onnxsurgeon.model.model import load
from onnxsurgeon.model.read import read
from onnxsurgeon.model.write import write
from onnxsurgeon.proof.comparison import tolerance
from onnxsurgeon.proof.layers import Layers
from onnxsurgeon.proof.of_a_cut import Proof, prove
from onnxsurgeon.proof.reference import reference
from onnxsurgeon.pruning.prune import prune
from onnxsurgeon.runtime.random_inputs import random_inputs
from onnxsurgeon.runtime.session import Session
from paths import FIXTURES, MODELS

DEAD = {"se": "se.expand.weight along axis 1"}  # reads channels that are zero for all inputs that were tried


def chaotic(path: Path, depth: int = 12, gain: float = 40.0) -> Path:
    """x -> (MatMul -> Mul by `gain` -> Sin) x depth -> MatMul: rounding grows from layer to layer."""
    rng, nodes, weights, x = np.random.default_rng(0), [], {"gain": np.float32(gain)}, "x"
    for i in range(depth):
        weights[f"w{i}"] = rng.standard_normal((16 if i == 0 else 48, 48)) / 7
        nodes += [helper.make_node("MatMul", [x, f"w{i}"], [f"m{i}"], f"m{i}")]
        nodes += [helper.make_node("Mul", [f"m{i}", "gain"], [f"k{i}"], f"k{i}")]
        nodes += [helper.make_node("Sin", [f"k{i}"], [f"s{i}"], f"s{i}")]
        x = f"s{i}"
    weights["wy"] = rng.standard_normal((48, 16)) / 7
    nodes += [helper.make_node("MatMul", [x, "wy"], ["y"], "y")]
    tensors = [numpy_helper.from_array(np.asarray(w, np.float32), name) for name, w in weights.items()]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["B", 16]) for name in "xy"]
    graph = helper.make_graph(nodes, "chaotic", ends[:1], ends[1:], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def third_cut(path: Path) -> tuple[Labels, Mask]:
    """Labels, and the mask of a cut that drops about a third of each space."""
    labels = label(load(path).ir)
    built = spaces(labels, np.random.default_rng(0).uniform(0.5, 1.0, labels.relations.count))
    sizes = [s[len(s) * 2 // 3] for s in built.problem.sizes]
    return labels, built.keep(np.maximum(np.array(sizes, np.int64), 1), labels.classes.root)


def proof_of(path: Path, labels: Labels, keep: Mask, edited: Path) -> Proof:
    return prove(labels, keep, path, edited, allowed=tolerance(labels, None, None))


def damaged(path: Path, least: int = 64) -> Iterator[tuple[str, onnx.ModelProto]]:
    """Copies of a model, each with one wrong channel in one weight: along one axis, a slice holds another one's
    values."""
    model = onnx.load(path)
    for number, tensor in enumerate(model.graph.initializer):
        array = numpy_helper.to_array(tensor)
        for axis in range(array.ndim) if array.dtype.kind == "f" and array.size >= least else ():
            if array.shape[axis] < 3:
                continue
            wrong = np.moveaxis(array.copy(), axis, 0)
            wrong[1] = wrong[2]
            copy = onnx.ModelProto()
            copy.CopyFrom(model)
            copy.graph.initializer[number].CopyFrom(
                numpy_helper.from_array(np.ascontiguousarray(np.moveaxis(wrong, 0, axis)), tensor.name)
            )
            yield f"{tensor.name} along axis {axis}", copy


@pytest.mark.slow
def test_where_rounding_moves_the_outputs_layers_decide(tmp_path: Path) -> None:
    path = chaotic(tmp_path / "chaotic.onnx")
    labels, keep = third_cut(path)
    write(cut(labels, keep), tmp_path / "cut.onnx")
    proof = proof_of(path, labels, keep, tmp_path / "cut.onnx")
    assert proof.passed
    assert proof.rounding > 0.1
    for what, model in list(damaged(tmp_path / "cut.onnx"))[::6]:
        onnx.save(model, tmp_path / "damaged.onnx")
        assert not proof_of(path, labels, keep, tmp_path / "damaged.onnx").passed, what


def test_ordinary_networks_are_judged_by_their_outputs(tmp_path: Path) -> None:
    path = chaotic(tmp_path / "calm.onnx", gain=0.5)
    labels, keep = third_cut(path)
    write(cut(labels, keep), tmp_path / "cut.onnx")
    proof = proof_of(path, labels, keep, tmp_path / "cut.onnx")
    assert proof.passed
    assert proof.rounding == 0.0
    assert proof.layers >= 12


@pytest.mark.slow
@pytest.mark.parametrize("memory", [None, 2.0**10])
@pytest.mark.parametrize("path", MODELS, ids=lambda p: p.stem)
def test_one_wrong_channel_in_any_weight_shows_in_a_layer(path: Path, memory: float | None, tmp_path: Path) -> None:
    """Also where stages run one after another, and the values between them lie on disk."""
    labels, keep = third_cut(path)
    write(cut(labels, keep), tmp_path / "cut.onnx")
    feeds = [random_inputs(labels, sizes, 0) for sizes in labels.sizes[:1]]
    pair = partial(Layers, labels, keep, allowed=tolerance(labels, None, None), memory=memory)
    right = pair(reference(labels, keep), read(tmp_path / "cut.onnx"))
    assert (len(right.stages) > 1) == (memory is not None and len(right.points) > 0)
    assert right.run(feeds)[1].passed
    for what, model in list(damaged(tmp_path / "cut.onnx"))[: None if memory is None else 2]:
        onnx.save(model, tmp_path / "damaged.onnx")
        found = pair(reference(labels, keep), read(tmp_path / "damaged.onnx")).run(feeds)[1]
        assert not found.passed or what == DEAD.get(path.stem), what


@pytest.mark.parametrize("path", MODELS, ids=lambda p: p.stem)
def test_a_proof_in_little_memory_finds_the_same(path: Path, tmp_path: Path) -> None:
    labels, keep = third_cut(path)
    write(cut(labels, keep), tmp_path / "cut.onnx")
    allowed = tolerance(labels, None, None)
    whole, staged = (
        prove(labels, keep, path, tmp_path / "cut.onnx", allowed=allowed, memory=memory) for memory in (1e9, 0.0)
    )
    assert whole.passed
    assert staged.passed
    assert staged.moved == pytest.approx(whole.moved, rel=1e-2) or whole.perturbed
    assert staged.layers >= whole.layers
    for what, wrong in list(damaged(tmp_path / "cut.onnx"))[:1]:  # small weights are left alone
        onnx.save(wrong, tmp_path / "damaged.onnx")
        assert not prove(labels, keep, path, tmp_path / "damaged.onnx", allowed=allowed, memory=0.0).passed, what


def test_a_file_beyond_half_of_memory_never_runs_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = chaotic(tmp_path / "deep.onnx", depth=70, gain=0.5)
    seen: list[int] = []
    monkeypatch.setattr(Session, "run", lambda *a, run=Session.run, **k: seen.append(1) or run(*a, **k))
    result = prune(path, ratio=0.3, memory=2**20 + 1)
    assert path.stat().st_size > 2**19
    assert not seen
    proof = result.save(tmp_path / "small.onnx")
    assert proof is not None
    assert proof.layers > 140
    assert result.verdict.outputs.startswith("not compared: the file is larger")


def test_an_error_inside_that_the_outputs_hide_is_found(tmp_path: Path) -> None:
    """x -> MatMul -> Sigmoid, saturated, -> MatMul: another channel in the first weight hardly moves the output."""
    rng = np.random.default_rng(0)
    first = np.abs(rng.standard_normal((16, 32))) * 30 + 30
    tensors = [
        numpy_helper.from_array(np.asarray(array, np.float32), name)
        for name, array in (("w", first), ("b", np.full(32, 500.0)), ("v", rng.standard_normal((32, 8))))
    ]
    nodes = [
        helper.make_node("Sigmoid", ["x"], ["p"], "p"),
        helper.make_node("MatMul", ["p", "w"], ["h"], "h"),
        helper.make_node("Add", ["h", "b"], ["a"], "a"),
        helper.make_node("Sigmoid", ["a"], ["s"], "s"),
        helper.make_node("MatMul", ["s", "v"], ["y"], "y"),
    ]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["B", k]) for n, k in (("x", 16), ("y", 8))]
    graph = helper.make_graph(nodes, "saturated", ends[:1], ends[1:], tensors)
    path = tmp_path / "saturated.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    labels, keep = third_cut(path)
    write(cut(labels, keep), tmp_path / "cut.onnx")
    assert proof_of(path, labels, keep, tmp_path / "cut.onnx").passed
    _, wrong = next(damaged(tmp_path / "cut.onnx"))
    onnx.save(wrong, tmp_path / "damaged.onnx")
    found = proof_of(path, labels, keep, tmp_path / "damaged.onnx")
    assert not found.passed
    assert found.inside


def test_a_type_that_a_file_states_wrongly_changes_no_stage(tmp_path: Path) -> None:
    """A weight is said to be bfloat16: stages are widened, with values that they are fed and compute anew, too."""
    model = onnx.load(FIXTURES / "lstm.onnx")
    model.graph.value_info.append(helper.make_tensor_value_info("fc.bias", TensorProto.BFLOAT16, None))
    onnx.save(model, tmp_path / "model.onnx")
    proof = prune(tmp_path / "model.onnx", ratio=0.3, data="none").save(tmp_path / "small.onnx", device="cpu")
    assert proof is not None
    assert proof.passed
