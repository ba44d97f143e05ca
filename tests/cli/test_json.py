"""The JSON report has the keys that its module documents, for every command that has one."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from commands import PRUNE, Run, module
from paths import FIXTURES

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
}


def documented() -> dict[str, set[str]]:
    """Keys by command, from the docstrings of the modules that make the reports."""
    texts = [module(name).__doc__.partition("\n\n    ")[2] for name in ("report.results", "report.latency")]
    text = "\n".join(texts).replace("\n                 ", " ")
    rows = (line.split(";")[0].split() for line in text.splitlines() if line.strip())
    return {command: set(keys) for command, *keys in rows}


@pytest.mark.parametrize("command", CALLS)
def test_a_report_has_the_documented_keys(command: str, run: Run, folder: Path) -> None:
    shutil.copy(FIXTURES / "digits.onnx", "net.onnx")
    shutil.copy(FIXTURES / "digits_test.npz", "test.npz")
    found = json.loads(run(*CALLS[command], "--json").stdout)
    assert set(found) == documented()[command] | HEAD
    assert found["schema"] == module("report.json_report").SCHEMA
    assert re.search(rf"schema.* {found['schema']},", module("report.json_report").__doc__)


def test_every_such_command_is_tested() -> None:
    assert set(documented()) == set(CALLS)
