"""The JSON report has the keys that its module documents, for every command that has one."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import jsonschema
import pytest

from commands import PRUNE, Run, module
from paths import FIXTURES
from report_schema import require_schema

MODULES = (
    "report.results", "report.latency", "report.check_report", "report.install_report", "report.diff_report",
    "report.demo_report", "report.searches",
)  # fmt: skip
HEAD = {"schema", "command", "version", "status", "exit_code"}
DATA = ("net.onnx", "--data", "test.npz", "--samples", "8")
CALLS = {
    "prune": PRUNE,
    "inspect": ("inspect", "net.onnx"),
    "validate": ("validate", "net.onnx", "net.onnx"),
    "evaluate": ("evaluate", *DATA),
    "sensitivity": ("sensitivity", *DATA),
    "train": ("train", "net.onnx", "--data", "test.npz", "--samples", "8", "--epochs", "1", "--lr", "0.01"),
    "compress": ("compress", *DATA, "--ratio", "0.2", "--steps", "1", "--fine-tune", "1", "--importance", "taylor"),
    "bench": ("bench", "net.onnx", "--time-limit", "0.05"),
    "profile": ("profile", "net.onnx", "-o", "device.json", "--time-limit", "0.2", "--effort", "fast"),
    "compare": ("compare", "net.onnx", "net.onnx", "--no-bench"),
    "doctor": ("doctor",),
    "demo": ("demo", "there"),
    "diff": ("diff", "net.onnx", "small.onnx"),
    "search": (
        *("search", "--data", "test.npz", "--generations", "1", "--population", "3", "--batches", "1"),
        *("--executor", "here", "--val", "test.npz", "--space", "vectors"),
    ),
    "check": (
        *("check", *DATA, "--min-top1", "0", "--max-latency", "9s", "--time-limit", "0.05"),
        *("--against", "net.onnx", "--max-growth", "0"),
    ),
}


def documented() -> dict[str, set[str]]:
    """Keys by command, from the docstrings of the modules that make the reports."""
    texts = [module(name).__doc__.partition("\n\n    ")[2] for name in MODULES]
    text = "\n".join(texts).replace("\n                 ", " ")
    rows = (line.split(";")[0].split() for line in text.splitlines() if line.strip())
    return {command: set(keys) for command, *keys in rows}


@pytest.mark.parametrize("command", CALLS)
def test_a_report_has_the_documented_keys(command: str, run: Run, folder: Path) -> None:
    shutil.copy(FIXTURES / "digits.onnx", "net.onnx")
    shutil.copy(FIXTURES / "digits_test.npz", "test.npz")
    shutil.copy(FIXTURES / "plain.onnx", "small.onnx")
    found = json.loads(run(*CALLS[command], "--json").stdout)
    assert set(found) == documented()[command] | HEAD
    assert found["schema"] == module("report.json_report").SCHEMA
    assert re.search(rf"schema.* {found['schema']},", module("report.json_report").__doc__)
    require_schema(found)
    with pytest.raises(jsonschema.ValidationError):
        require_schema({**found, "another": 1})


WRONG = (("inspect", "none.onnx"), ("prune", "net.onnx"), ("prune", "net.onnx", "--ratio", "2"), ("bench", "--what"))


@pytest.mark.parametrize("call", WRONG)
def test_the_report_of_an_error_fits_the_schema(call: tuple[str, ...], run: Run) -> None:
    require_schema(json.loads(run(*call, "--json", code=2).stdout))


def test_every_such_command_is_tested() -> None:
    assert set(documented()) == set(CALLS)
