"""Laws: redundant neurons are cut without loss; each compensation method loses less than the one before; budgets
include the biases that compensation adds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxsurgeon as osg
from drawn_samples import Drawn
from onnxsurgeon.calibration.expected_means import clipped, expected
from onnxsurgeon.calibration.linear_layers import consumers, goals
from onnxsurgeon.calibration.statistics import moments
from onnxsurgeon.compensation.evidence import Evidence
from onnxsurgeon.compensation.layerwise import Targets, from_moments, sequential
from onnxsurgeon.data import inputs_of, open_data
from onnxsurgeon.dependency.labels import Labels, label
from onnxsurgeon.edit.apply import cut
from onnxsurgeon.model.model import Model
from onnxsurgeon.pruning.calibration import reserve
from onnxsurgeon.pruning.options import PruneOptions
from paths import FIXTURES


def outputs(model: ir.Model, feed: dict[str, np.ndarray]) -> np.ndarray:
    session = ort.InferenceSession(ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, feed)[0])


def twins(operator: str, *, biased: bool, behind: bool = False) -> Labels:
    """x > layer > relu > layer. Hidden unit 4 is twice unit 0, and unit 5 is constant.

    behind: the last weight is stored in another shape and reshaped in the graph.
    """
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal((3, 6)).astype(np.float32), rng.standard_normal((6, 2)).astype(np.float32)
    shift = np.array([0.1, 0.2, 0.3, 0.4, 0.2, 1.5], np.float32)
    first[:, 4], first[:, 5] = 2 * first[:, 0], 0
    weights = {"w1": first, "b1": shift, "w2": second}
    nodes = [helper.make_node("Gemm", ["x", "w1", "b1"], ["h"], name="first"), helper.make_node("Relu", ["h"], ["r"])]
    if operator == "Conv":
        weights = {"w1": first.T[:, :, None, None], "b1": shift, "w2": second.T[:, :, None, None]}
        nodes[0] = helper.make_node("Conv", ["x", "w1", "b1"], ["h"], name="first")
    bias = ["b2"] * biased
    if biased:
        weights["b2"] = np.array([1.0, -1.0], np.float32)
    nodes.append(helper.make_node(operator, ["r", "w2", *bias], ["y"], name="second"))
    if behind:
        weights |= {"w2": weights["w2"].reshape(1, 6, 2), "to": np.array([6, 2])}
        nodes[-1].input[1] = "w"
        nodes.insert(0, helper.make_node("Reshape", ["w2", "to"], ["w"], name="reshape"))
    shape: list[int | str] = ["batch", 3, 4, 4] if operator == "Conv" else ["batch", 3]
    graph = helper.make_graph(
        nodes, "net", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 2, *shape[2:]])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )  # fmt: skip
    return label(ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)))


def without(labels: Labels, gone: Sequence[int]) -> np.ndarray:
    """The mask that drops hidden units."""
    hidden = labels.classes.root[consumers(labels)[1].inputs[0]]
    return ~np.isin(labels.classes.root, hidden[list(gone)])


@pytest.mark.parametrize(
    ("operator", "biased", "behind"),
    [
        ("Gemm", True, False), ("Gemm", False, False), ("MatMul", False, False), ("Conv", False, False),
        ("MatMul", False, True),
    ],
)  # fmt: skip
@pytest.mark.parametrize("how", ["linear", "sequential"])
def test_redundant_units_are_cut_without_loss(operator: str, biased: bool, behind: bool, how: str) -> None:  # noqa: FBT001
    labels = twins(operator, biased=biased, behind=behind)
    data = Drawn("x", (3, 4, 4) if operator == "Conv" else (3,), 200)
    keep = without(labels, [4, 5])
    model = cut(labels, keep)
    feed = next(data.batches()).feed
    right, bare = outputs(labels.model, feed), outputs(cut(labels, keep), feed)
    if how == "linear":
        from_moments(labels, keep, model, moments(labels, consumers(labels), data, memory=1e9))
    else:
        sequential(Targets(labels, data, memory=1e9), keep, model)
    found = outputs(model, feed)
    assert np.abs(bare - right).max() > 0.3
    assert np.abs(found - right).max() < 2e-2
    assert found.shape == right.shape


def test_a_constant_is_absorbed_by_biases_alone() -> None:
    labels = twins("Gemm", biased=True)
    keep, data = without(labels, [5]), Drawn("x", (3,), 200)
    model = cut(labels, keep)
    from_moments(labels, keep, model, moments(labels, consumers(labels), data, memory=1e9), biases_only=True)
    feed = next(data.batches()).feed
    assert outputs(model, feed) == pytest.approx(outputs(labels.model, feed), abs=1e-4)


@pytest.mark.slow
def test_each_kind_loses_less_than_the_last(tmp_path: Path) -> None:
    with np.load(FIXTURES / "digits_test.npz") as archive:
        half = {"input": archive["input"][:225]}
        feed = {"input": archive["input"][225:]}
    np.savez(tmp_path / "half.npz", **half)  # type: ignore[arg-type]
    model = osg.load(FIXTURES / "digits.onnx")
    data = open_data(str(tmp_path / "half.npz"), inputs_of(model.ir))
    right = outputs(model.ir, feed)
    lost = []
    for how in ("none", "bias", "linear", "sequential"):
        result = osg.prune(
            model, ratio=0.4, cost="macs", data=data, importance="reconstruction", compensate=how,
            stats=tmp_path / "stats.npz",
        )  # fmt: skip
        lost.append(float(((outputs(result.ir, feed) - right) ** 2).mean()))
        assert all(change.after <= change.before for change in result.fitted)
    assert lost == sorted(lost, reverse=True)
    assert lost[-1] < 0.1 * lost[0]


@pytest.mark.slow
def test_the_proof_covers_the_cut_and_the_file_is_compensated(tmp_path: Path) -> None:
    with np.load(FIXTURES / "digits_test.npz") as archive:
        np.savez(tmp_path / "some.npz", input=archive["input"][:64])
    model = osg.load(FIXTURES / "digits.onnx")
    data = open_data(str(tmp_path / "some.npz"), inputs_of(model.ir))
    result = osg.prune(model, ratio=0.3, data=data)
    proof = result.save(tmp_path / "small.onnx")
    assert proof is not None
    assert proof.passed
    assert result.fitted
    feed = next(data.batches()).feed
    written = outputs(ir.load(tmp_path / "small.onnx"), feed)
    assert written == pytest.approx(outputs(result.ir, feed), rel=1e-4, abs=1e-4)
    assert not np.allclose(written, outputs(result.bare, feed), atol=1e-2)


@pytest.mark.parametrize("metric", ["params", "size"])
def test_budgets_hold_with_the_biases_that_compensation_adds(metric: str, tmp_path: Path) -> None:
    model = osg.load(FIXTURES / "attention.onnx")
    data = open_data(str(_samples(model, tmp_path)), inputs_of(model.ir))
    result = osg.prune(model, ratio=0.3, cost=metric, data=data, importance="l2-norm")  # type: ignore[arg-type]
    result.save(tmp_path / "small.onnx")
    assert result.fitted
    assert result.after.of(metric) <= 0.7 * result.before.of(metric)
    assert osg.load(tmp_path / "small.onnx").bytes == result.after.size


def _samples(model: Model, folder: Path) -> Path:
    rng = np.random.default_rng(0)
    shapes = {wanted.name: [n or 8 for n in wanted.shape[1:]] for wanted in inputs_of(model.ir)}
    np.savez(folder / "x.npz", **{n: rng.standard_normal((32, *s)).astype(np.float32) for n, s in shapes.items()})  # type: ignore[arg-type]
    return folder / "x.npz"


def test_a_sum_corrects_the_error_of_its_shortcut() -> None:
    labels = label(osg.load(FIXTURES / "digits.onnx").ir)
    sums = [goal for goal in goals(labels) if goal.other is not None]
    bounded = [goal for goal in goals(labels) if goal.bounds is not None]
    assert all(goal.value.producer().op_type == "Add" for goal in sums)  # type: ignore[union-attr]
    assert all(goal.bounds == (0.0, np.inf) for goal in bounded)


def test_a_bias_in_its_own_node_hides_no_activation() -> None:
    labels = label(osg.load(FIXTURES / "attention.onnx").ir)
    apart = [goal for goal in goals(labels) if goal.shift is not None]
    assert apart
    for goal in apart:
        assert goal.value.producer().op_type == "Add"  # type: ignore[union-attr]
        assert goal.shift is not None
        assert goal.shift.shape == goal.consumer.outputs.shape


def test_means_of_clipped_normals_are_those_of_samples() -> None:
    mean, deviation = np.array([-1.0, 0.2, 5.0]), np.array([0.5, 2.0, 3.0])
    drawn = (mean + deviation * np.random.default_rng(0).standard_normal((200_000, 3))).clip(0, 6).mean(axis=0)
    assert clipped(mean, deviation, 0.0, 6.0) == pytest.approx(drawn, abs=0.02)


def test_without_data_batch_norms_give_the_means() -> None:
    labels = label(osg.load(FIXTURES / "plain.onnx").ir)
    known = expected(labels, consumers(labels))
    model = osg.load(FIXTURES / "plain.onnx")
    result = osg.prune(model, ratio=0.3, compensate="bias", data="none")
    assert known
    assert result.fitted
    assert reserve(Evidence(labels), PruneOptions(compensate="bias", data="none"))["params"] >= 0


NORMALISED = """
<ir_version: 9, opset_import: ["" : 17]>
net (float[batch, 3, 4, 4] x) => (float[batch, 4, 8, 8] y)
<float[6, 3, 1, 1] w1, float[6, 4, 2, 2] w2, float[4] scale, float[4] shift, float[4] mean, float[4] variance>
{
    h = Conv(x, w1)
    r = Relu(h)
    t = ConvTranspose<strides = [2, 2]>(r, w2)
    y = BatchNormalization(t, scale, shift, mean, variance)
}
"""


def test_a_normalisation_behind_an_unfitted_layer_is_updated() -> None:
    """x > Conv > Relu > ConvTranspose > BatchNormalization, whose input changes if three hidden units are cut."""
    proto, rng = onnx.parser.parse_model(NORMALISED), np.random.default_rng(0)
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in proto.graph.value_info}
    del proto.graph.value_info[:]
    arrays = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    arrays["variance"] = np.abs(arrays["variance"]) + 0.5
    proto.graph.initializer.extend(numpy_helper.from_array(a.astype(np.float32), n) for n, a in arrays.items())
    labels = label(ir.from_proto(proto))
    hidden = labels.classes.root[consumers(labels)[0].outputs[0]]
    keep = ~np.isin(labels.classes.root, hidden[:3])
    model, data = cut(labels, keep), Drawn("x", (3, 4, 4), 200, padding=3)
    feed = {"x": np.concatenate([batch.feed["x"][: batch.count] for batch in data.batches()])}

    def channels(found: np.ndarray) -> np.ndarray:
        rows = np.moveaxis(found, 1, -1).reshape(-1, 4)
        return np.array([rows.mean(axis=0), rows.std(axis=0)])

    right, bare = channels(outputs(labels.model, feed)), channels(outputs(model, feed))
    sequential(Targets(labels, data, memory=1e9), keep, model)
    assert np.abs(bare - right).max() > 0.2
    assert np.abs(channels(outputs(model, feed)) - right).max() < 1e-3
