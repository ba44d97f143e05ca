"""Commands that take data: exit codes, files that must not appear, and what they report."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from commands import PRUNE, Run
from paths import FIXTURES


@pytest.fixture
def digits(folder: Path) -> Path:
    shutil.copy(FIXTURES / "digits.onnx", folder / "net.onnx")
    shutil.copy(FIXTURES / "digits_test.npz", folder / "test.npz")
    return folder


EVALUATE = ("evaluate", "net.onnx", "--data", "test.npz")


def test_evaluate_tells_the_score(digits: Path, run: Run) -> None:
    found = json.loads(run(*EVALUATE, "--json", "--report", "r.json").stdout)
    assert json.loads(Path("r.json").read_text()) == found
    assert found["score"] == pytest.approx(443 / 450)
    assert (found["metric"], found["samples"], found["output_name"]) == ("top1", 450, "output")
    assert "0.9844" in run(*EVALUATE).stdout
    assert json.loads(run(*EVALUATE, "--samples", "9", "--batch", "2", "--json").stdout)["samples"] == 9
    against = json.loads(run(*EVALUATE, "--metric", "psnr", "--against", "net.onnx", "--json").stdout)
    assert (against["score"], against["against"]) == (None, "net.onnx")


@pytest.mark.slow
def test_max_drop_ends_with_a_model_that_keeps_it(digits: Path, run: Run) -> None:
    args = ("prune", "net.onnx", "--max-drop", "0.1", "--data", "test.npz", "--importance", "wanda", "--json")
    found = json.loads(run(*args).stdout)
    score = found["score"]
    assert found["status"] == "passed"
    assert score["drop"] <= 0.1
    assert score["after"] == score["before"] - score["drop"]
    assert any(trial["drop"] == score["drop"] for trial in score["trials"])
    measured = json.loads(run("evaluate", "net.pruned.onnx", "--data", "test.npz", "--json").stdout)
    assert measured["score"] == score["after"]
    assert found["requested"]["max_drop"] == 0.1
    assert found["requested"]["metric"] == "top1"


@pytest.mark.slow
def test_a_score_alone_is_told_before_and_after(digits: Path, run: Run) -> None:
    result = run(*PRUNE, "--data", "test.npz", "--metric", "cosine")
    assert "cosine against the original 1 -> " in result.stderr


@pytest.mark.slow
def test_where_no_model_is_good_enough_the_exit_code_is_3(digits: Path, run: Run) -> None:
    (digits / "strict.py").write_text(
        "import numpy as np\ncalls = []\n"
        "def strict(batches):\n    calls.append(1)\n    list(batches)\n    return -len(calls)\n"
    )
    args = ("prune", "net.onnx", "--max-drop", "0", "--data", "test.npz", "--metric", "strict:strict")
    result = run(*args, "--importance", "wanda", "--samples", "64", "--json", code=3)
    assert "no smaller model was found" in result.stderr
    assert json.loads(result.stdout)["exit_code"] == 3


def test_sensitivity_shows_layers_and_draws_them(digits: Path, run: Run) -> None:
    args = ("sensitivity", "net.onnx", "--data", "test.npz", "--only", "layer1*")
    found = json.loads(run(*args, "--json", "--html", "s.html").stdout)
    assert found["samples"] == 32
    assert len(found["layers"]) == 3
    assert set(found["layers"][0]["points"][0]) == {"share", "units", "error"}
    assert Path("s.html").read_text().startswith("<!doctype html>")
    assert "layer1.0.conv1" in run(*args, "--html", "s.html").stdout
    assert "--html" in run(*args, "--html", "net.onnx", code=2).stderr
    (digits / "precious.html").write_text("precious")
    assert "precious.html exists" in run(*args, "--html", "precious.html", code=2).stderr


COMMANDS = {
    "evaluate": ("evaluate", "net.onnx"),
    "prune": ("prune", "net.onnx", "--max-drop", "0.1", "-o", "small.onnx"),
    "sensitivity": ("sensitivity", "net.onnx", "--html", "s.html"),
}
GOOD = np.zeros((3, 1, 8, 8), np.float32)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("arrays", "code", "words"),
    [
        ({"a": GOOD, "b": GOOD}, 2, "unknown: a, b"),
        ({"input": GOOD[0]}, 2, "wrong shape"),
        ({"input": GOOD.astype(np.float64)}, 2, "wrong type"),
        ({"input": GOOD + np.float32(np.nan)}, 2, "NaN"),
        ({"input": GOOD[:0]}, 2, "no samples"),
        ({"input": np.array([{}])}, 4, "can't be read"),
    ],
)
def test_bad_arrays_end_every_command(
    command: str,
    arrays: dict[str, np.ndarray],
    code: int,
    words: str,
    digits: Path,
    run: Run,
) -> None:
    np.savez(digits / "bad.npz", **arrays)
    result = run(*COMMANDS[command], "--data", "bad.npz", code=code)
    assert words in result.stderr
    assert result.stdout == ""
    assert not (digits / "small.onnx").exists(), "the page of a failed run says why it failed"


@pytest.mark.parametrize("command", COMMANDS)
def test_bad_folders_end_every_command(command: str, digits: Path, run: Run) -> None:
    (digits / "pictures").mkdir()
    args = (*COMMANDS[command], "--data", "pictures")
    assert "--preprocess is missing" in run(*args, code=2).stderr
    assert "no images" in run(*args, "--preprocess", "unit", code=2).stderr
    (digits / "pictures" / "a.png").write_bytes(b"no picture")
    assert "can't be read" in run(*args, "--preprocess", "unit", code=4).stderr
    assert "does not exist" in run(*COMMANDS[command], "--data", "nofolder", code=2).stderr
    assert "unknown kind" in run(*COMMANDS[command], "--data", "net.onnx", code=2).stderr


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ((*PRUNE, "--max-drop", "0.1", "--data", "test.npz"), "exclude each other"),
        (("prune", "net.onnx", "--max-drop", "0.1"), "there is no data"),
        ((*PRUNE, "--samples", "3"), "there is no data"),
        ((*PRUNE, "--compensate", "linear"), "there is no data"),
        ((*PRUNE, "--importance", "wanda"), "there is no data"),
        (("prune", "net.onnx", "--max-drop", "0.1", "--data", "test.npz", "--metric", "beauty"), "beauty"),
        (("evaluate", "net.onnx"), "--data"),
        ((*EVALUATE, "--preprocess", "unit"), "--preprocess"),
        ((*EVALUATE, "--samples", "0"), "--samples"),
        ((*EVALUATE, "--metric", "beauty"), "beauty"),
        ((*EVALUATE, "--metric", "no_such:thing"), "can't be imported"),
        ((*EVALUATE, "--output-name", "x"), "no output x"),
        ((*EVALUATE, "--against", "none.onnx"), "none.onnx"),
        (("sensitivity", "net.onnx", "--data", "test.npz", "--only", "x"), "--only"),
        (("sensitivity", "net.onnx", "--data", "test.npz", "--importance", "x"), "importance"),
    ],
)
def test_wrong_usage_is_exit_2(args: tuple[str, ...], words: str, digits: Path, run: Run) -> None:
    result = run(*args, code=2)
    assert words in result.stderr
    assert result.stdout == ""


@pytest.mark.slow
def test_several_models_may_each_be_searched(digits: Path, run: Run) -> None:
    shutil.copy(digits / "net.onnx", digits / "other.onnx")
    args = ("prune", "net.onnx", "other.onnx", "--output-dir", "out", "--max-drop", "0.1", "--data", "test.npz")
    args += ("--importance", "wanda", "--compensate", "linear", "--samples", "256")
    found = json.loads(run(*args, "--json").stdout)
    assert [row["score"]["drop"] <= 0.1 for row in found["models"]] == [True, True]
    again = json.loads(run(*args, "--json", "--resume").stdout)
    assert [row["status"] for row in again["models"]] == ["skipped"] * 2


@pytest.mark.parametrize("command", ["evaluate", "sensitivity"])
def test_every_help_ends_with_two_examples(command: str, run: Run) -> None:
    lines = run(command, "--help").stdout.rstrip().splitlines()
    assert lines[-3].strip() == "Examples:"
    assert all(line.strip().startswith("onnxsurgeon ") for line in lines[-2:])
