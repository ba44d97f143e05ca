"""Laws: trials never end worse than they begin, a noise of a gain is none, and mirrored samples are samples twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from calibration import Drawn

from onnxsurgeon.data import Input, mirrored
from onnxsurgeon.errors import UsageError
from onnxsurgeon.graph import Labels, label
from onnxsurgeon.load import read
from onnxsurgeon.neurons import Mask
from onnxsurgeon.problem import IntArray
from onnxsurgeon.spaces import Spaces, spaces
from onnxsurgeon.trials import BETTER, tried
from onnxsurgeon.utility import scores

FIXTURES = Path(__file__).parent.parent / "fixtures"


@pytest.fixture(scope="module")
def labels() -> Labels:
    return label(read(FIXTURES / "residual.onnx"))


@pytest.fixture(scope="module")
def built(labels: Labels) -> Spaces:
    return spaces(labels, scores(labels, "l2-norm"))


def half(built: Spaces) -> IntArray:
    """The counts of half of all units that are worth most, by the slopes of the tables."""
    tables = built.problem.tables
    gains = [(gain, space) for space, table in enumerate(tables) for gain in np.diff(table)]
    chosen = sorted(gains, reverse=True)[: len(gains) // 2]
    return np.maximum(1, np.bincount([space for _, space in chosen], minlength=len(tables)))


def test_the_selection_is_the_best_that_was_measured(labels: Labels, built: Spaces) -> None:
    """The loss is of one space alone, the one that is cut most: the trials find it out."""
    root, lost = labels.classes.root, list[float]()
    space = int(np.argmin(half(built) / np.diff(built.starts)))
    here = np.isin(root, built.roots[built.starts[space] : built.starts[space + 1]])

    def loss(keep: Mask) -> float:
        lost.append(1.0 + np.count_nonzero(~keep & here))
        return lost[-1]

    found = tried(built, root, half, loss, trials=30, seed=1)
    kept = found.keep(half(found), root)
    assert 1.0 + np.count_nonzero(~kept & here) <= min(lost) / BETTER
    assert min(lost) < lost[0]
    assert len(lost) <= 31


def test_no_trial_and_no_gain_leave_the_tables_as_they_are(labels: Labels, built: Spaces) -> None:
    root, number = labels.classes.root, iter(range(100))
    for trials, loss in ((0, lambda keep: 1.0), (12, lambda keep: 1.0 - 1e-4 * next(number))):
        found = tried(built, root, half, loss, trials=trials)
        assert all(np.allclose(a, b) for a, b in zip(found.problem.tables, built.problem.tables, strict=True))


def test_tables_that_are_bent_still_rise(labels: Labels, built: Spaces) -> None:
    number = iter(np.geomspace(1, 1e-6, 50))
    found = tried(built, labels.classes.root, half, lambda keep: float(next(number)), trials=20)
    for table in found.problem.tables:
        assert (np.diff(table) >= 0).all()
        assert table[0] == 0


@pytest.mark.parametrize(("shape", "axis"), [((None, 3, 8, 6), 3), ((1, 8, 6, 1), 2)])
def test_mirrored_samples_are_samples_twice(shape: tuple[int | None, ...], axis: int) -> None:
    data = Drawn("x", tuple(n or 1 for n in shape[1:]), 20, step=8)
    found = mirrored(data, [Input("x", np.dtype(np.float32), shape)])
    batches, plain = list(found.batches()), list(data.batches())
    assert len(found) == 40 == sum(batch.count for batch in batches)
    for batch, turned, original in zip(batches[::2], batches[1::2], plain, strict=True):
        assert np.array_equal(batch.feed["x"], original.feed["x"])
        assert np.array_equal(np.flip(turned.feed["x"], axis), original.feed["x"])


@pytest.mark.parametrize(("shape", "dtype"), [((None, 8), "f4"), ((None, 5, 8, 8), "f4"), ((None, 3, 8, 8), "u1")])
def test_what_is_no_picture_is_not_mirrored(shape: tuple[int | None, ...], dtype: str) -> None:
    with pytest.raises(UsageError, match="--mirror"):
        mirrored(Drawn("x", (8,), 4), [Input("x", np.dtype(dtype), shape)])
