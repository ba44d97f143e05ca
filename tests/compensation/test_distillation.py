"""Laws: refined together, layers lose less on samples that nothing was fitted to, or stay as they were; the same each
time; what no gradient reaches stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxsurgeon as osg
from drawn_samples import Drawn
from net import Net
from onnxsurgeon.calibration.linear_layers import consumers
from onnxsurgeon.compensation import distillation as refined
from onnxsurgeon.compensation.distillation import distill, pool_samples
from onnxsurgeon.compensation.layerwise import TOGETHER, Change, Targets, sequential
from onnxsurgeon.data import inputs_of, open_data
from onnxsurgeon.dependency.labels import Labels, label
from onnxsurgeon.edit.apply import cut
from onnxsurgeon.runtime.class_scores import changed_classes
from onnxsurgeon.runtime.session import Session
from paths import FIXTURES


def outputs(model: ir.Model, feed: dict[str, np.ndarray]) -> np.ndarray:
    found = Session(ir.to_proto(model).SerializeToString(), "cpu").run(feed)
    return np.asarray(next(iter(found.values())))


def weights(model: ir.Model) -> dict[str, np.ndarray]:
    found = {name: value.const_value for name, value in model.graph.initializers.items()}
    return {name: tensor.numpy() for name, tensor in found.items() if tensor is not None}


ENDS = "Scaler"  # an operator of learners of another kind, which ends gradients
LEARNERS = "ai.onnx.ml"


def made(operator: str, source: str, target: str) -> onnx.NodeProto:
    if operator == ENDS:
        return helper.make_node(operator, [source], [target], domain=LEARNERS, scale=[2.0], offset=[0.1])
    return helper.make_node(operator, [source], [target])


def stopped(first: str, second: str, beside: str | None = None) -> Labels:
    """x > Gemm > `first` (and what `beside` makes of the same is added) > Gemm > `second` > y: 12 hidden units."""
    rng = np.random.default_rng(0)
    shapes = {"w1": (6, 12), "b1": (12,), "w2": (12, 4), "b2": (4,)}
    given = {name: rng.standard_normal(shape).astype(np.float32) / 2 for name, shape in shapes.items()}
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["h"]), made(first, "h", "r"),
        helper.make_node("Gemm", ["r", "w2", "b2"], ["s"]), made(second, "s", "y"),
    ]  # fmt: skip
    if beside:
        more = [made(beside, "h", "b"), helper.make_node("Add", ["r", "b"], ["sum"])]
        nodes[2].input[0] = "sum"
        nodes[2:2] = more
    graph = helper.make_graph(
        nodes, "net", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4])],
        [numpy_helper.from_array(array, name) for name, array in given.items()],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(LEARNERS, 3)]
    return label(ir.from_proto(helper.make_model(graph, opset_imports=opsets, ir_version=9)))


def both(labels: Labels, data: Drawn) -> tuple[ir.Model, ir.Model, list[Change]]:
    """Without four hidden units, fitted by `sequential` and by `distill`; what the latter says of the outputs."""
    hidden = labels.classes.root[consumers(labels)[1].inputs[0]]
    keep = ~np.isin(labels.classes.root, hidden[:4])
    targets = Targets(labels, data, memory=1e9, device="cpu")
    alone, together = cut(labels, keep), cut(labels, keep)
    sequential(targets, keep, alone)
    changes = distill(targets, keep, together)
    return alone, together, [change for change in changes if change.node == TOGETHER]


def changed(a: ir.Model, b: ir.Model) -> set[str]:
    one, other = weights(a), weights(b)
    assert set(one) == set(other)
    return {name for name, array in one.items() if not np.array_equal(array, other[name])}


@pytest.mark.slow
def test_less_is_lost_on_other_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refined, "RATES", (3e-3,))
    monkeypatch.setattr(refined, "EPOCHS", 10)
    with np.load(FIXTURES / "digits_test.npz") as archive:
        np.savez(tmp_path / "half.npz", input=archive["input"][:256])
        feed = {"input": archive["input"][256:]}
    model = osg.load(FIXTURES / "digits.onnx")
    data = open_data(str(tmp_path / "half.npz"), inputs_of(model.ir))
    right = outputs(model.ir, feed)
    lost, changes = [], []
    for how in ("sequential", "distillation"):
        result = osg.prune(model, ratio=0.5, cost="macs", data=data, importance="reconstruction", compensate=how)
        found = outputs(result.ir, feed)
        lost.append(float(((found - right) ** 2).mean()))
        changes += [change for change in result.fitted if change.node == TOGETHER]
    assert changes[0].after < changes[0].before
    assert lost[1] < 0.97 * lost[0]


@pytest.mark.parametrize("beside", [None, "Relu"])
def test_what_no_gradient_reaches_on_all_ways_stays(beside: str | None) -> None:
    alone, together, said = both(stopped(ENDS, "Identity", beside), Drawn("x", (6,), 256))
    assert changed(alone, together) == {name for name in weights(alone) if name.startswith(("w2", "b2"))}
    assert said[0].after < said[0].before


def test_the_same_comes_out_each_time() -> None:
    (_, one, _), (_, other, _) = (both(stopped("Sigmoid", "Identity"), Drawn("x", (6,), 128)) for _ in range(2))
    assert not changed(one, other)


def test_all_stays_where_no_gradient_starts() -> None:
    alone, together, said = both(stopped("Relu", ENDS), Drawn("x", (6,), 256))
    assert not changed(alone, together)
    assert not said


def test_scores_are_taken_before_they_become_probabilities() -> None:
    alone, together, said = both(stopped("Tanh", "Softmax"), Drawn("x", (6,), 256))
    assert len(changed(alone, together)) == 4
    assert said[0].after < said[0].before


def test_training_that_changes_more_classes_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """The squared error falls, but more held-out samples change their class than without training."""
    judged = refined.Training.judged

    def worse(self: refined.Training, weights: dict[str, np.ndarray], held: refined.SamplePool) -> tuple[float, float]:
        trained = any(not np.array_equal(weights[name], self.start[name]) for name in weights)
        return judged(self, weights, held)[0], 0.25 + 0.01 * trained

    monkeypatch.setattr(refined.Training, "judged", worse)
    alone, together, said = both(stopped("Tanh", "Softmax"), Drawn("x", (6,), 256))
    assert not changed(alone, together)
    assert not said


def test_classes_change_only_where_outputs_look_like_scores() -> None:
    scores = np.random.default_rng(0).random((8, 5))
    moved = scores.copy()
    moved[:2, 0], moved[2:, :] = 2.0, moved[2:, :] * 1.01
    top = scores.argmax(axis=1)
    assert changed_classes(scores, moved) == float((top[:2] != 0).mean()) / 4
    assert changed_classes(scores, scores) == 0
    assert changed_classes(scores[:, :1], moved[:, :1]) == 0
    assert changed_classes(scores.reshape(2, 2, 10), moved.reshape(2, 2, 10)) == 0


def test_padding_is_no_sample() -> None:
    labels = stopped("Relu", "Identity")
    for padding in (0, 3):
        found = pool_samples(Targets(labels, Drawn("x", (6,), 40, padding=padding), memory=1e9, device="cpu"))
        assert found is not None
        assert len(found) == 40
        assert found.size == 16 + padding
        assert np.abs(found.feed["x"]).max() < 10
        assert sum(batch.count for batch in found.batches()) == 40
        assert {batch.size for batch in found.batches()} == {found.size}


def stating(size: int, *, mixing: bool) -> Labels:
    """12 hidden units, in batches of `size`, to which a shape is reshaped. mixing: it subtracts the batch's mean."""
    net = Net("stating", (size, 6), width=6)
    x = net.reshape(net.add("Tanh", "tanh", net.gemm("input", "fc1", 12)), "flat", [size, -1], width=12)
    if mixing:
        x = net.add("Sub", "centred", x, net.add("ReduceMean", "mean", x, axes=[0]))
    return label(ir.from_proto(net.finish(net.gemm(x, "fc2", 4), (size, 4)).model()))


@pytest.mark.parametrize(("mixing", "trained"), [(False, {(32, 1)}), (True, {(2, 16)})])
def test_batches_are_enlarged_where_the_size_is_only_stated(
    *, mixing: bool, trained: set[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = set()

    class Watched(refined.Training):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            seen.add((self.seen.size, self.parts))

    monkeypatch.setattr(refined, "Training", Watched)
    alone, together, said = both(stating(2, mixing=mixing), Drawn("input", (6,), 256, step=2))
    assert seen == trained
    assert mixing or said[0].after < said[0].before  # alone, a sample of such a batch has no target
    assert mixing or len(changed(alone, together)) == 4
    assert [[v and v.name for v in node.inputs] for node in alone.graph] == [
        [v and v.name for v in node.inputs] for node in together.graph
    ]


def test_joint_needs_samples() -> None:
    with pytest.raises(osg.UsageError, match="compensate=distillation` needs samples"):
        osg.prune(osg.load(FIXTURES / "digits.onnx"), ratio=0.5, compensate="distillation", data="none")
