"""The verdict says what is known, and no more: proof, movement, accuracy; and the command that tells more."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

import onnxsurgeon as osg
from onnxsurgeon.errors import InfeasibleError
from onnxsurgeon.pruning.result import Result
from paths import FIXTURES

DIGITS, SAMPLES = FIXTURES / "digits.onnx", FIXTURES / "digits_test.npz"


def blind() -> Result:
    return osg.prune(DIGITS, ratio=0.3, cost="macs", data="none")


def test_a_cut_is_proven_only_once_it_is(tmp_path: Path) -> None:
    result = blind()
    assert result.verdict.cut.startswith("not proven")
    result.save(tmp_path / "bare.onnx", proof=False, device="cpu")
    assert result.verdict.cut == "not proven: written without a proof"
    result.save(tmp_path / "small.onnx", device="cpu")
    assert result.verdict.cut.startswith("proven: it computes what the original does")


def test_without_samples_accuracy_is_unknown_and_the_next_command_measures_it() -> None:
    verdict = blind().verdict
    assert verdict.moved is not None
    assert verdict.moved.kind == "random"
    assert "random inputs" in verdict.outputs
    assert verdict.accuracy.startswith("unknown")
    assert verdict.alarming
    words = shlex.split(verdict.next)
    assert words[:2] == ["onnxsurgeon", "prune"]
    assert words[words.index("--ratio") + 1] == "0.3"
    assert words[words.index("--cost") + 1] == "macs"
    assert words[-3:] == ["-o", "PRUNED.onnx", "--overwrite"]  # where this one lies


def test_outputs_moved_as_far_as_two_runs_say(tmp_path: Path) -> None:
    result = osg.prune(DIGITS, ratio=0.5, cost="macs", data=SAMPLES, samples=100, importance="l2-norm")
    result.save(tmp_path / "small.onnx", device="cpu")
    moved = result.verdict.moved
    assert moved is not None
    data = osg.open_data(SAMPLES, DIGITS, samples=100)
    score = osg.evaluate(tmp_path / "small.onnx", data, metric="top1", against=DIGITS)
    assert moved.worst.agreement == pytest.approx(score.value)
    assert f"{100 * (1 - score.value):.3g} % of 100 samples" in result.verdict.outputs


def test_a_measured_accuracy_needs_labels() -> None:
    scored = osg.prune(DIGITS, ratio=0.3, data=SAMPLES, samples=64, metric="top1", importance="wanda").verdict
    assert scored.measured
    assert scored.accuracy.startswith("top1 0.")
    assert "also chose" in scored.accuracy
    assert not scored.next
    other = osg.prune(DIGITS, ratio=0.3, data=SAMPLES, samples=64, metric="cosine", importance="wanda").verdict
    assert not other.measured
    assert other.accuracy.startswith("unknown: cosine")


def test_outputs_that_move_too_far_are_refused() -> None:
    with pytest.raises(InfeasibleError, match="outputs moved by") as caught:
        osg.prune(DIGITS, ratio=0.5, cost="macs", max_moved="5%", data="none")
    assert "`max_moved` allows 0.05" in caught.value.why
    kept = osg.prune(DIGITS, ratio=0.1, cost="macs", data=SAMPLES, samples=64, importance="wanda", max_moved=0.5)
    assert kept.moved is not None
    assert kept.moved.share <= 0.5


def test_nothing_cut_is_the_original() -> None:
    result = osg.prune(DIGITS, ratio=0.0)
    assert result.moved is None
    assert result.verdict.cut == "nothing was cut"
    assert not result.verdict.alarming
