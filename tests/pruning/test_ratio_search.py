"""The smallest model that is good enough is good enough, on the data that were given."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

import onnxsurgeon as osg
from onnxsurgeon.data import Data, inputs_of, open_data
from onnxsurgeon.model.model import Model
from onnxsurgeon.pruning.ratio_search import Examiner, smallest
from paths import FIXTURES


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
    found = smallest(lambda ratio: osg.prune(model, ratio=ratio), Examiner(model, data, metric), max_drop=max_drop)
    found.result.save(tmp_path / "small.onnx")
    against = None if metric == "top1" else model.path
    score = osg.evaluate(tmp_path / "small.onnx", data, metric=metric, against=against)
    assert score == found.after
    assert found.before.loss(score) <= max_drop
    assert found.result.after.params < found.result.before.params
    kept = [trial.ratio for trial in found.trials if trial.drop <= max_drop]
    assert found.result.after.params <= (1 - max(kept)) * found.result.before.params
    assert all(trial.drop > max_drop for trial in found.trials if trial.ratio > max(kept))


def test_where_all_is_allowed_it_is_nearly_the_least_that_there_is(model: Model, data: Data) -> None:
    found = smallest(lambda ratio: osg.prune(model, ratio=ratio), Examiner(model, data), max_drop=1.0)
    assert 1 - found.result.after.params / found.result.before.params > osg.inspect(model).most["params"] - 0.01


def test_other_budgets_hold_too(model: Model, data: Data) -> None:
    found = smallest(lambda r: osg.prune(model, ratio=r, max_macs=1e6), Examiner(model, data), max_drop=0.9)
    assert found.result.after.macs <= 1e6
    with pytest.raises(osg.InfeasibleError, match="no selection meets the budgets"):
        smallest(lambda r: osg.prune(model, ratio=r, max_macs=10), Examiner(model, data), max_drop=0.9)


def test_where_none_is_good_enough_it_says_so(model: Model, data: Data) -> None:
    class Strict(Examiner):
        def result(self, result: osg.Result) -> osg.Score:
            from dataclasses import replace

            return replace(super().result(result), value=math.nan)

    with pytest.raises(osg.InfeasibleError, match="no smaller model"):
        smallest(lambda ratio: osg.prune(model, ratio=ratio), Strict(model, data), max_drop=0.5)
    with pytest.raises(osg.UsageError, match="--max-drop"):
        smallest(lambda ratio: osg.prune(model, ratio=ratio), Examiner(model, data), max_drop=-1)
    with pytest.raises(osg.UsageError, match="inf"):
        smallest(lambda ratio: osg.prune(model, ratio=ratio), Examiner(model, data, "psnr"), max_drop=1)


def test_targets_are_what_differences_are_taken_from(model: Model, tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((4, 1, 8, 8)).astype(np.float32)
    for labels, target in ((np.zeros((4, 10)), True), (np.zeros(4, np.int64), False)):
        np.savez(tmp_path / "data.npz", input=x, labels=labels)
        data = open_data(str(tmp_path / "data.npz"), inputs_of(model.ir))
        assert Examiner(model, data, "mse").against == (None if target else model.path)
    assert Examiner(model, data, "top1").against is None
