"""An effort sets importance and compensation; given ones win."""

from __future__ import annotations

from typing import Any

import pytest

import onnxsurgeon as osg
from drawn_samples import Drawn
from onnxsurgeon.compensation.compensations import COMPENSATIONS
from onnxsurgeon.errors import UsageError
from onnxsurgeon.importance.criteria import CRITERIA
from onnxsurgeon.importance.cut_trials import COST, MOST, PASSES, trial_samples
from onnxsurgeon.options.shared import Counted
from onnxsurgeon.pruning.efforts import DEFAULT, EFFORTS
from onnxsurgeon.pruning.options import PruneOptions
from paths import FIXTURES

SAMPLES = FIXTURES / "digits_test.npz"


def chosen(**given: Any) -> tuple[str, str]:
    options = PruneOptions(ratio=0.3, **given)
    return options.word, next(word for word, record in COMPENSATIONS.items() if record is options.compensation)


@pytest.mark.parametrize("word", EFFORTS)
def test_an_effort_stands_for_options_that_exist_and_given_ones_win(word: str) -> None:
    effort = EFFORTS[word]
    assert effort.importance in CRITERIA
    assert chosen(effort=word, data=SAMPLES) == (effort.importance, effort.compensate)
    assert chosen(effort=word, data=SAMPLES, importance="wanda") == ("wanda", effort.compensate)
    assert chosen(effort=word, data=SAMPLES, compensate="bias") == (effort.importance, "bias")


def test_the_default_is_an_effort() -> None:
    assert chosen(data=SAMPLES) == chosen(data=SAMPLES, effort=DEFAULT)


def test_the_best_needs_samples() -> None:
    with pytest.raises(UsageError, match="`effort=best` needs samples"):
        PruneOptions(ratio=0.3, effort="best", data="none")


def test_a_fast_cut_is_refitted(tmp_path: Any) -> None:
    result = osg.prune(FIXTURES / "digits.onnx", ratio=0.3, cost="macs", effort="fast", data=SAMPLES, samples=64)
    assert result.fitted
    result.save(tmp_path / "small.onnx", device="cpu")


@pytest.mark.parametrize(("word", "most"), [("fast", 10), ("default", 60)])
def test_an_effort_costs_no_more_passes_than_it_says(word: str, most: float) -> None:
    result = osg.prune(FIXTURES / "digits.onnx", ratio=0.3, cost="macs", effort=word, data=SAMPLES, samples=96)
    assert result.passes["calibrate"] == pytest.approx(1)
    assert result.passes["compensate"] <= 1
    assert result.passes["compare"] == pytest.approx(2)
    assert (result.passes["weigh"] > 0) is (word == "default")
    assert sum(result.passes.values()) <= most


def test_long_stages_count_what_is_done() -> None:
    heard: dict[str, list[Counted]] = {}

    def progress(stage: str, detail: str) -> None:
        if isinstance(detail, Counted):
            heard.setdefault(stage, []).append(detail)

    osg.prune(FIXTURES / "digits.onnx", ratio=0.3, cost="macs", data=SAMPLES, samples=64, progress=progress)
    assert list(heard) == ["calibrate", "weigh", "compensate"]
    for steps in heard.values():
        assert [step.done for step in steps] == sorted(step.done for step in steps)
        assert all(step.done < step.total and str(step).startswith(f"{step.done} of {step.total}") for step in steps)


def test_trials_of_deep_networks_run_on_fewer_samples() -> None:
    many = Drawn("x", (1,), 400, step=1)
    for layers in (1, 10, 100, 1000):
        samples = trial_samples(layers, many)
        passes = layers * COST * samples / len(many)
        assert passes <= PASSES
        assert samples == MOST or passes > 0.8 * PASSES
