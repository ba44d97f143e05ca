"""The smallest model that is good enough is good enough, on the data that were given."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

import onnxsurgeon as osg
from onnxsurgeon.compensation import evidence
from onnxsurgeon.data import Data, inputs_of, open_data
from onnxsurgeon.model.model import Model
from onnxsurgeon.pruning.options import PruneOptions
from onnxsurgeon.pruning.ratio_search import Examiner, search
from paths import FIXTURES

WITHOUT_DATA = {"importance": "l2-norm", "compensate": "none"}


@pytest.fixture(scope="module")
def model() -> Model:
    return osg.load(FIXTURES / "digits.onnx")


@pytest.fixture(scope="module")
def data(model: Model) -> Data:
    return open_data(str(FIXTURES / "digits_test.npz"), inputs_of(model.ir))


@pytest.mark.slow
@pytest.mark.parametrize(("metric", "max_drop"), [("top1", 0.05), ("top1", 0.3), ("mse", 5.0), ("cosine", 0.05)])
def test_what_is_written_keeps_the_bound(
    metric: str, max_drop: float, model: Model, data: Data, tmp_path: Path
) -> None:
    result = osg.prune(model, data=data, metric=metric, max_drop=max_drop, **WITHOUT_DATA)
    found = result.score
    assert found is not None
    result.save(tmp_path / "small.onnx")
    against = None if metric == "top1" else model.path
    score = osg.evaluate(tmp_path / "small.onnx", data, metric=metric, against=against)
    assert score == found.after
    assert found.before.loss(score) <= max_drop
    assert result.after.params < result.before.params
    kept = [trial.ratio for trial in found.trials if trial.drop <= max_drop]
    assert result.after.params <= (1 - max(kept)) * result.before.params
    assert all(trial.drop > max_drop for trial in found.trials if trial.ratio > max(kept))


def test_where_all_is_allowed_it_is_nearly_the_least_that_there_is(model: Model, data: Data) -> None:
    result = osg.prune(model, data=data, max_drop=1.0, **WITHOUT_DATA)
    assert 1 - result.after.params / result.before.params > osg.inspect(model).most["params"] - 0.01


@pytest.mark.slow
def test_other_budgets_hold_too(model: Model, data: Data) -> None:
    result = osg.prune(model, data=data, max_drop=0.9, max_macs="1M", **WITHOUT_DATA)
    assert result.after.macs <= 1e6
    with pytest.raises(osg.InfeasibleError, match="no selection meets the budgets"):
        osg.prune(model, data=data, max_drop=0.9, max_macs=10, **WITHOUT_DATA)


@pytest.mark.slow
def test_where_none_is_good_enough_it_says_so(model: Model, data: Data) -> None:
    class Strict(Examiner):
        def result(self, result: osg.Result) -> osg.Score:
            from dataclasses import replace

            return replace(super().result(result), value=math.nan)

    with pytest.raises(osg.InfeasibleError, match="no smaller model"):
        search(
            lambda ratio: osg.prune(model, ratio=ratio, data="none"),
            Strict(model, data),
            PruneOptions(data=data, max_drop=0.5),
        )  # fmt: skip
    with pytest.raises(osg.UsageError, match="`max_drop` -1 is not valid"):
        osg.prune(model, data=data, max_drop=-1)
    with pytest.raises(osg.UsageError, match="inf"):
        osg.prune(model, data=data, metric="psnr", max_drop=1)


@pytest.mark.slow
def test_candidates_share_what_the_data_tell(model: Model, data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    """The statistics are taken once, and the result is that of a pruning at its ratio alone."""
    passes = []
    taken = evidence.moments
    monkeypatch.setattr(evidence, "moments", lambda *a, **k: passes.append(1) or taken(*a, **k))
    found = osg.prune(model, data=data, max_drop=0.1, importance="wanda", compensate="linear")
    assert found.score is not None
    assert len(found.score.trials) > 5
    assert len(passes) == 1
    best = max(trial.ratio for trial in found.score.trials if trial.drop <= 0.1)
    again = osg.prune(model, data=data, ratio=best, importance="wanda", compensate="linear")
    assert np.array_equal(found.keep, again.keep)


def test_targets_are_what_differences_are_taken_from(model: Model, tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((4, 1, 8, 8)).astype(np.float32)
    for labels, target in ((np.zeros((4, 10)), True), (np.zeros(4, np.int64), False)):
        np.savez(tmp_path / "data.npz", input=x, labels=labels)
        data = open_data(str(tmp_path / "data.npz"), inputs_of(model.ir))
        assert Examiner(model, data, "mse").against is (None if target else model)
    assert Examiner(model, data, "top1").against is None
