"""Laws: an importance is additive and never depends on how a weight is stored or read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from onnxsurgeon.dependency.labels import Labels, label
from onnxsurgeon.errors import UsageError
from onnxsurgeon.importance import from_weights as importance
from onnxsurgeon.model.read import read
from paths import FIXTURES


@pytest.fixture(scope="module")
def labels() -> Labels:
    return label(read(FIXTURES / "residual.onnx"))


@pytest.mark.parametrize("criterion", ["l1", "l2", "l2-norm"])
def test_norms_are_those_of_numpy(labels: Labels, criterion: str) -> None:
    expected = np.zeros(labels.relations.count)
    for weight in labels.weights():
        array = weight.tensor.numpy()
        for a, axis in enumerate(weight.axes):
            if axis is not None and weight.counts and array.ndim > 1 and not labels.classes.frozen[axis].all():
                rows = np.moveaxis(array, a, 0).reshape(len(axis), -1).astype(np.float64)
                norm = np.abs(rows).sum(1) if criterion == "l1" else np.sqrt((rows**2).sum(1))
                np.add.at(expected, axis, norm / norm.mean() if criterion == "l2-norm" else norm)
    assert importance.scores(labels, criterion) == pytest.approx(expected, rel=1e-5)


def test_chunks_change_nothing(labels: Labels, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = importance.scores(labels, "l1")
    monkeypatch.setattr(importance, "CHUNK", 1000)
    assert importance.scores(labels, "l1") == pytest.approx(whole, rel=1e-6)


def test_random_is_seeded_and_uniform_is_uniform(labels: Labels) -> None:
    first, again, other = (importance.scores(labels, "random", seed=s) for s in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert np.bincount(labels.classes.root, importance.scores(labels, "uniform")).max() == 1.0


def test_bn_scale_is_the_norms_scale(labels: Labels) -> None:
    found = importance.scores(labels, "bn-scale")
    node = next(n for n in labels.calls if n.op_type == "BatchNormalization")
    axis = labels.uses[node, 1][0]
    assert axis is not None
    assert node.inputs[1] is not None
    assert node.inputs[1].const_value is not None
    scale = np.abs(node.inputs[1].const_value.numpy())
    assert found[axis] == pytest.approx(scale, rel=1e-6)


def test_scores_from_a_file_land_on_their_node(labels: Labels, tmp_path: Path) -> None:
    call = next(c for c in labels.calls.values() if c.operator == "Conv")
    width = call.outputs[0].shape[1]  # type: ignore[index]
    np.savez(tmp_path / "scores.npz", **{call.name: np.arange(width)})
    found = importance.scores(labels, f"file:{tmp_path / 'scores.npz'}")
    assert call.results[0] is not None
    assert found[call.results[0][1]].tolist() == list(range(width))


@pytest.mark.parametrize("given", [{"nothing": np.ones(3)}, {"conv1": np.ones(3)}])
def test_scores_that_fit_nothing_are_refused(labels: Labels, tmp_path: Path, given: dict[str, np.ndarray]) -> None:
    np.savez(tmp_path / "scores.npz", **given)
    with pytest.raises(UsageError, match="fit no output"):
        importance.scores(labels, f"file:{tmp_path / 'scores.npz'}")


def test_an_unknown_criterion_is_refused(labels: Labels) -> None:
    with pytest.raises(UsageError, match="known: l1, l2"):
        importance.scores(labels, "magic")
