"""The last lines of `prune` say what is known; PASSED stands only where something that was asked for passed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from commands import Run


@pytest.mark.parametrize(
    ("options", "status", "last"),
    [
        (("--ratio", "0.2"), "written", "WRITTEN  net.pruned.onnx"),
        (("--ratio", "0.2", "--no-proof"), "not proven", "WRITTEN, not proven  net.pruned.onnx"),
        (("--ratio", "0.2", "--dry-run"), "dry run", "DRY RUN, nothing written"),
        (("--ratio", "0.01", "--data", "x.npz", "--max-moved", "1"), "passed", "PASSED --max-moved 1  net.pruned.onnx"),
        (("--max-params", "1G",), "unchanged", "UNCHANGED, nothing written: it is within its budgets  net.onnx"),
    ],
)  # fmt: skip
def test_only_what_was_asked_for_passes(
    options: tuple[str, ...], status: str, last: str, run: Run, folder: Path
) -> None:
    x = np.random.default_rng(0).standard_normal((8, 3, 16, 16)).astype(np.float32)
    np.savez(folder / "x.npz", input=x)
    result = run(
        "prune", "net.onnx", *options, *(() if "--data" in options else ("--data", "none")), "--report", "r.json"
    )
    lines = result.stderr.rstrip().splitlines()
    assert lines[-1] == last
    words = [line.split()[0] for line in lines[:-1] if line]
    assert words.index("cut") < words.index("outputs") < words.index("accuracy")
    found = json.loads((folder / "r.json").read_text())
    assert found["status"] == status
    assert found["verdict"]["cut"] in result.stderr
    assert found["verdict"]["measured"] is (status == "unchanged")


def test_outputs_that_move_too_far_exit_with_3(run: Run) -> None:
    result = run("prune", "net.onnx", "--ratio", "0.3", "--data", "none", "--max-moved", "0.01", "--json", code=3)
    assert "--max-moved allows 0.01" in json.loads(result.stdout)["why"]


def test_several_models_show_the_verdict_shortly(run: Run, folder: Path) -> None:
    (folder / "b.onnx").write_bytes((folder / "net.onnx").read_bytes())
    result = run("prune", "*.onnx", "--ratio", "0.3", "--data", "none", "--output-dir", "out")
    assert "verdict" in result.stderr.splitlines()[0]
    assert result.stderr.count("(random)") == 2
