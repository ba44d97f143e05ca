"""Laws: an empty edit changes no byte, a cut has the shapes that were said, and it computes what its reference does."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from onnxsurgeon.dependency.labels import kept_shape, label
from onnxsurgeon.edit.apply import cut
from onnxsurgeon.errors import ProofError, SurgeonError
from onnxsurgeon.model.read import read
from onnxsurgeon.model.write import write
from onnxsurgeon.ops import OPERATORS
from onnxsurgeon.proof.comparison import require, tolerance
from onnxsurgeon.proof.of_a_cut import prove
from paths import MODELS
from random_selection import random_selection

each = pytest.mark.parametrize("path", MODELS, ids=lambda p: p.stem)


@each
def test_an_empty_edit_changes_no_byte(path: Path, tmp_path: Path) -> None:
    labels = label(read(path))
    write(cut(labels, np.ones(labels.relations.count, bool)), tmp_path / "same.onnx")
    assert (tmp_path / "same.onnx").read_bytes() == path.read_bytes()


@each
@pytest.mark.parametrize("free", ["auto", "heads"])
def test_a_random_cut_computes_what_its_reference_does(path: Path, free: str, tmp_path: Path) -> None:
    labels = label(read(path), attention=free)  # type: ignore[arg-type]
    for seed, share in enumerate((0.2, 0.6)):
        keep = random_selection(labels, share, seed)
        target = tmp_path / f"cut{seed}.onnx"
        write(cut(labels, keep), target)
        onnx.checker.check_model(str(target), full_check=True)
        proof = prove(labels, keep, path, target, allowed=tolerance(labels, None, None), device="cpu", seed=seed)
        assert proof.passed, proof
        assert keep.all() or proof.moved > 0


@each
def test_untouched_tensors_and_all_names_stay(path: Path, tmp_path: Path) -> None:
    labels = label(read(path))
    keep = random_selection(labels, 0.4, 1)
    write(cut(labels, keep), tmp_path / "cut.onnx")
    before, after = onnx.load(path), onnx.load(tmp_path / "cut.onnx")
    assert before.opset_import == after.opset_import
    assert (before.ir_version, before.producer_name) == (after.ir_version, after.producer_name)
    assert before.graph.input == after.graph.input
    assert before.graph.output == after.graph.output
    old = {t.name: t for t in before.graph.initializer}
    touched = {w.value.name for w in labels.weights() if kept_shape(w.axes, keep, w.shape) != w.shape}
    for tensor in after.graph.initializer:
        if tensor.name in old and tensor.name not in touched and tensor.data_type == onnx.TensorProto.FLOAT:
            assert tensor.SerializeToString() == old[tensor.name].SerializeToString()
    names = {n.name for n in before.graph.node}
    part = re.compile(r"\.(\d+|target)$")  # NAME.0 is a part of what was NAME
    assert {part.sub("", n.name) for n in after.graph.node} - names == set()


def test_a_wrong_rule_is_caught_before_anything_is_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A rule that pairs neurons in the wrong order gives the right shapes, and only the proof can tell."""
    path = next(p for p in MODELS if p.stem == "plain")
    rule = OPERATORS["", "Relu"]
    wrong = replace(
        rule, rule=lambda call: [tuple(a if a is None else a[::-1] for a in axes or ()) for axes in rule.rule(call)]
    )
    monkeypatch.setitem(OPERATORS, ("", "Relu"), wrong)
    labels = label(read(path))
    keep = random_selection(labels, 0.4, 0)
    write(cut(labels, keep), tmp_path / "cut.onnx")
    allowed = tolerance(labels, None, None)
    proof = prove(labels, keep, path, tmp_path / "cut.onnx", allowed=allowed, device="cpu")
    assert not proof.passed
    with pytest.raises(ProofError, match="nothing was written"):
        require(proof, "the cut is wrong", allowed)


def test_a_wrong_rule_is_caught_though_the_outputs_are_saturated(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    #  x > MatMul > Relu > MatMul > Relu > MatMul > Add 1000 > Clip to [0, 1] > y, which is 1 whatever is cut
    rng = np.random.default_rng(0)
    net = parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]> g (float[N, 5] x) => (float[N, 3] y)
        <float[1] far = {1000}, float low = {0}, float high = {1}> {
            a = MatMul(x, u) b = Relu(a) c = MatMul(b, v) d = Relu(c) e = MatMul(d, w) f = Add(e, far)
            y = Clip(f, low, high)
        }"""
    )
    for name, shape in {"u": (5, 8), "v": (8, 6), "w": (6, 3)}.items():
        weight = rng.standard_normal(shape).astype(np.float32)
        net.graph.initializer.append(numpy_helper.from_array(weight, name))
    path, written = tmp_path / "net.onnx", tmp_path / "cut.onnx"
    onnx.save(net, path)
    rule = OPERATORS["", "Relu"]
    wrong = replace(
        rule, rule=lambda call: [tuple(a if a is None else a[::-1] for a in axes or ()) for axes in rule.rule(call)]
    )
    for known, right in ((rule, True), (wrong, False)):
        monkeypatch.setitem(OPERATORS, ("", "Relu"), known)
        labels = label(read(path))
        keep = random_selection(labels, 0.4, 0)
        assert not keep.all()
        write(cut(labels, keep), written, overwrite=True)
        proof = prove(labels, keep, path, written, allowed=tolerance(labels, None, None), device="cpu")
        assert proof.passed == right
        assert proof.perturbed
        assert not proof.weak


def test_a_rule_that_forgets_an_axis_is_caught_while_cutting(monkeypatch: pytest.MonkeyPatch) -> None:
    path = next(p for p in MODELS if p.stem == "residual")
    wrong = replace(OPERATORS["", "Add"], rule=lambda call: [call.axes(0)])
    monkeypatch.setitem(OPERATORS, ("", "Add"), wrong)
    labels = label(read(path))
    with pytest.raises((SurgeonError, ValueError)):
        cut(labels, random_selection(labels, 0.4, 0))
