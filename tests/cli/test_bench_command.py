"""`bench` and `compare` say what was measured and on what; conditions that don't hold are exit code 6."""

from __future__ import annotations

import json
from pathlib import Path

from commands import Run

QUICK = ("--time-limit", "0.05")


def test_bench_reports_what_it_measured_on(run: Run) -> None:
    report = json.loads(run("bench", "net.onnx", "net.onnx", "--threads", "1", "--json", *QUICK).stdout)
    assert [row["model"] for row in report["models"]] == ["net.onnx"] * 2
    assert report["conditions"]["threads"] == 1
    assert report["models"][0]["interval"][0] <= report["models"][0]["median"] <= report["models"][0]["p95"]


def test_its_table_goes_to_stdout(run: Run) -> None:
    result = run("bench", "net.onnx", "--layers", *QUICK)
    assert "onnxruntime" in result.stdout
    assert "Conv" in result.stdout


def test_a_condition_that_does_not_hold_is_exit_code_6_and_shows_the_table(run: Run, folder: Path) -> None:
    run("prune", "net.onnx", "--ratio", "0.3", "--data", "none", "-o", "small.onnx")
    assert run("compare", "net.onnx", "small.onnx", "--no-bench", "--fail-if-larger").exit_code == 0
    result = run("compare", "small.onnx", "net.onnx", "--no-bench", "--fail-if-larger", "--report", "r.json", code=6)
    assert "FAILED" in result.stdout
    report = json.loads((folder / "r.json").read_text())
    assert report["exit_code"] == 6
    assert len(report["failed"]) == 3
