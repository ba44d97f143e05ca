"""Laws: the table is the error of least squares on the units that stay; orders are nested; XOR keeps what it needs."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest

from drawn_samples import Drawn
from onnxsurgeon.calibration.linear_layers import consumers
from onnxsurgeon.calibration.statistics import Moments, moments
from onnxsurgeon.data import Batch
from onnxsurgeon.dependency.labels import Labels, label
from onnxsurgeon.dependency.spaces import spaces
from onnxsurgeon.importance import optimal_brain_surgeon as reconstruction
from onnxsurgeon.importance.from_weights import scores
from onnxsurgeon.importance.optimal_brain_surgeon import Reconstruction
from onnxsurgeon.importance.output_error import scale_to
from onnxsurgeon.model.read import read
from paths import FIXTURES


def _judge(labels: Labels, known: dict[str, Moments]) -> Reconstruction:
    return Reconstruction(labels, consumers(labels), known, scores(labels, "l2-norm"))


def _hidden(labels: Labels) -> np.ndarray:
    """The units between the two layers of the XOR network."""
    return np.unique(labels.classes.root[consumers(labels)[1].inputs])


@pytest.fixture(scope="module")
def labels() -> Labels:
    return label(read(FIXTURES / "xor.onnx"))


@pytest.fixture(scope="module")
def known(labels: Labels) -> dict[str, Moments]:
    return dict(moments(labels, consumers(labels), Drawn("input", (2,), 500), memory=1e9))


def test_the_table_is_the_error_of_least_squares(
    labels: Labels, known: dict[str, Moments], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconstruction, "RIDGE", 1e-6)
    second = consumers(labels)[1]
    found = _judge(labels, known)(_hidden(labels))
    order, table = found
    covariance, weight = known[second.key].covariance[0], second.matrix()[0]
    total = float((weight * (covariance @ weight)).sum())
    for count in (1, 4, 9, 32):
        stay, gone = order[:count], order[count:]
        ridged = covariance + 1e-6 * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
        schur = ridged[np.ix_(gone, gone)] - ridged[np.ix_(gone, stay)] @ np.linalg.solve(
            ridged[np.ix_(stay, stay)], ridged[np.ix_(stay, gone)]
        )
        expected = float((weight[gone] * (schur @ weight[gone])).sum()) / total
        assert table[-1] - table[count] == pytest.approx(expected, rel=1e-3, abs=1e-6)
    assert (np.diff(table) >= 0).all()


def test_several_units_at_a_time_cost_about_the_same(
    labels: Labels, known: dict[str, Moments], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = _judge(labels, known)(_hidden(labels))
    monkeypatch.setattr(reconstruction, "LARGE", 0)
    monkeypatch.setattr(reconstruction, "STEPS", 8)
    several = _judge(labels, known)(_hidden(labels))
    assert several[1] == pytest.approx(one[1], abs=0.1)


def test_a_space_brings_its_order_and_its_table(labels: Labels, known: dict[str, Moments]) -> None:
    judge, root = _judge(labels, known), labels.classes.root
    built = spaces(labels, scores(labels, "l2"), judge=judge)
    found = judge(_hidden(labels))
    assert np.array_equal(built.roots, _hidden(labels)[found[0]])
    assert np.array_equal(built.problem.tables[0], found[1])
    stays = built.keep(np.array([5]), root)[_hidden(labels)]
    assert np.array_equal(np.flatnonzero(stays), np.sort(found[0][:5]))


def test_measured_losses_are_met_and_more_units_never_hurt() -> None:
    table = np.array([0.0, 5.0, 8.0, 9.5, 10.0])
    found = scale_to(table, {1: 0.3, 3: 0.02})
    assert found[-1] - found[[1, 3]] == pytest.approx([0.3, 0.02])
    assert (np.diff(found) >= 0).all()


class _Truth:
    """The truth table of exclusive or."""

    inputs = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)

    def __len__(self) -> int:
        return 4

    def batches(self) -> list[Batch]:
        return [Batch({"input": self.inputs}, None, 4, 4)]


def test_the_least_useful_half_of_xor_is_of_no_use(labels: Labels) -> None:
    """The 16 least useful of its 32 units, 16 at random, the 16 most useful: what the loss becomes without them."""
    from onnxsurgeon.compensation.layerwise import Targets, sequential
    from onnxsurgeon.edit.apply import cut

    truth, root, hidden = _Truth(), labels.classes.root, _hidden(labels)
    found = _judge(labels, dict(moments(labels, consumers(labels), truth, memory=1e9)))(hidden)  # type: ignore[arg-type]
    targets = Targets(labels, truth, memory=1e9)  # type: ignore[arg-type]

    def loss(gone: np.ndarray) -> float:
        import onnx_ir as ir

        dropped = np.zeros(len(root), np.bool_)
        dropped[hidden[gone]] = True
        model = cut(labels, ~dropped[root])
        sequential(targets, ~dropped[root], model)
        session = ort.InferenceSession(ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"])
        return float(((session.run(None, {"input": truth.inputs})[0].ravel() - [0, 1, 1, 0]) ** 2).mean())

    order = found[0]
    draws = [np.random.default_rng(seed).permutation(32)[:16] for seed in range(9)]
    nothing, least, most = loss(order[:0]), loss(order[16:]), loss(order[:16])
    chance = float(np.mean([loss(draw) for draw in draws]))
    assert abs(least - nothing) < 1e-5
    assert least < chance < most
