"""Reports are plain JSON, tables show them on any terminal, and amounts read back as they were written."""

from __future__ import annotations

import ast
import io
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnxsurgeon import units
from onnxsurgeon.errors import UsageError
from onnxsurgeon.report import json_report as report
from onnxsurgeon.report import layout, tables

SURGEON_ERRORS = {"SurgeonError", "UsageError", "InfeasibleError", "ModelError", "ProofError", "_invalid", "_sparse"}
PROPER = {"HiGHS", "TMPDIR"}  # words that start a sentence as they are
PRUNED: report.Report = {
    **report.head("prune"),
    "model": "a.onnx",
    "output": "b.onnx",
    "before": {"params": 1_000_000, "macs": 4.1e9, "size": 4_000_000, "nodes": 12},
    "after": {"params": 700_000, "macs": 3.1e9, "size": 2_800_000, "nodes": 12},
    "compensation": [{"node": "head", "before": 0.5, "after": 0.125}],
    "samples": "512 synthetic: photographs",
    "rotated": 7,
    "notes": ["left out"],
    "distillation": {"before": 0.25, "after": 0.2},
    "fine_tuning": {
        "loss": "distill", "metric": "cosine", "before": 0.5, "after": 0.75, "judged_on": "the 4 samples", "kept": 2,
        "stopped": "", "batch": 2, "epochs": [{}, {}],
    },
    "assumed": {"x": [2, 3, 224, 224]},
    "interface": [{"kind": "input", "name": "h0", "before": [1, "batch", 64], "after": [1, "batch", 48]}],
    "changes": [
        {"node": f"/[b]{k}/größe\x1b[31m", "operator": "Conv", "weight": f"w{k}", "before": [64, 3], "after": [9, 3]}
        for k in range(30)
    ],
    "solver": {"status": "optimal", "objective": 1.5, "bound": 2, "gap": 1e-3, "seconds": 0, "spaces": 3, "units": 9},
    "frozen": [
        {
            "reason": "an output of the graph", "operator": "output", "node": "y", "params": 10, "weights": 1,
            "table": False,
        }
    ],
    "score": {
        "metric": "top1", "before": 0.9, "after": 0.89, "samples": 450, "against": None,
        "trials": [{"ratio": 0.5, "drop": 0.01}],
    },
    "proof": {
        "passed": True, "error": 1e-7, "margin": 1e-4, "atol": 1e-5, "rtol": 1e-3, "moved": 0.5,
        "perturbed": False, "weak": False, "layers": 3, "rounding": 0.0, "notes": ["bfloat16 is computed in float32"],
        "samples": 2, "provider": "CPU", "worst": "y",
    },
    "verdict": {
        "cut": "proven", "outputs": "moved", "accuracy": "top1 0.9 -> 0.89", "next": "", "brief": "top1 -0.01",
        "measured": True, "alarming": False, "moved": None,
    },
    "cost_of_run": {"passes": 12.5, "seconds": 3.25, "stages": {}},
    "status": "written",
}  # fmt: skip


def shown(
    parts: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    *,
    columns: str = "",
    encoding: str = "utf-8",
    terminal: bool = False,
) -> str:
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("TERM", "xterm")
    data = io.BytesIO()
    stream = io.TextIOWrapper(data, encoding=encoding, errors="backslashreplace")
    vars(stream)["isatty"] = lambda: terminal
    screen = layout.console(stream)
    for part in parts:
        screen.print(part)
    stream.flush()
    text = data.getvalue().decode(encoding)
    return re.sub(r"\x1b\[[0-9;]*m", "", text) if terminal else text  # all but what it looks like


@pytest.mark.parametrize("number", [0, 7, 999, 1000, 12_345, 999_499, 97_130, 4_089_184_256, 2.5e13])
def test_an_amount_reads_back_to_three_digits(number: float) -> None:
    for text, of_bytes in ((units.count(number), False), (units.size(number), True)):
        assert units.parse(text, option="--x", of_bytes=of_bytes) == pytest.approx(number, rel=5.1e-3)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("5M", 5e6),
        ("1.2G", 1.2e9),
        ("18MB", 18e6),
        ("18MiB", 18 * 2**20),
        ("3ki", 3072),
        ("1e6", 1e6),
        ("12", 12),
        (".5k", 500),
    ],
)
def test_units_are_decimal_or_binary(text: str, number: float) -> None:
    assert units.parse(text, option="--max-size", of_bytes=True) == number


@pytest.mark.parametrize("text", ["", "M", "5X", "-5M", "nan", "inf", "5MM", "5 M B x", "1e999", "5MB"])
def test_a_bad_amount_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        units.parse(text, option="--max-params")


def test_json_is_strict_and_exact() -> None:
    found = report.to_json(
        {"a": np.float64(1 / 3), "b": math.inf, "c": (np.int64(3), None), "d": float("nan"), "e": "ü"}
    )
    assert json.loads(found) == {"a": 1 / 3, "b": None, "c": [3, None], "d": None, "e": "ü"}
    assert found.isascii()


def test_a_table_shows_what_the_report_says(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(tables.pruned(PRUNED, verbose=False), monkeypatch)
    for word in (
        "1.00 M",
        "700 K",
        "-30.0 %",
        "4.10 G",
        "64x3",
        "9x3",
        "left out",
        "1xbatchx64",
        "1xbatchx48",
        "an output of the graph",
        "ran on CPU",
        "0.100 %",
        "7 linear streams",
    ):
        assert word in text
    assert f"and {len(PRUNED['changes']) - tables.ROWS} more weights" in text
    assert text.rstrip().endswith("WRITTEN  b.onnx")
    assert "\x1b" not in text, "no colour where there is no terminal, no codes from names"


def test_verbose_shows_every_row(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(tables.pruned(PRUNED, verbose=True), monkeypatch)
    assert "more weights" not in text
    assert "w29" in text


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
@pytest.mark.parametrize("columns", ["20", "40", "300"])
def test_tables_fit_any_terminal(columns: str, encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(tables.pruned(PRUNED, verbose=True), monkeypatch, columns=columns, encoding=encoding, terminal=True)
    assert "\x1b" not in text
    if encoding == "utf-8":
        assert max(map(len, text.splitlines())) <= int(columns)


def test_several_models_have_a_row_each(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = report.failure(UsageError("[b]/x.onnx not found", why="first\nsecond", fix="check"), 2)
    rows = [
        {**PRUNED, "exit_code": 0, "seconds": {"total": 1.25}},
        {**PRUNED, "exit_code": 0, "seconds": {"total": 0}, "proof": {**PRUNED["proof"], "error": None}},
        {**report.head("prune"), "model": "[b]/x.onnx", **failed, "seconds": {"total": 0.1}},
    ]
    lines = shown(tables.several({"models": rows}, verbose=False), monkeypatch).splitlines()[-3:]
    assert lines[0].split() == "a.onnx written -30.0 % -24.4 % -30.0 % 1.0e-07 top1 -0.01 1.2".split()
    assert lines[2].split() == "[b]/x.onnx not run - - - - - 0.1".split()
    assert tables.reason(rows[2]) == "not found; first"


def test_a_report_is_written_whole_and_spares_models(tmp_path: Path) -> None:
    model, target = tmp_path / "m.onnx", tmp_path / "r.json"
    model.write_bytes(b"\x08\x07")
    report.check_report(target, model)
    report.save({"a": 1}, target)
    report.check_report(target, model)
    report.save({"a": 2}, target)
    assert json.loads(target.read_text()) == {"a": 2}
    (tmp_path / "link.json").symlink_to(model)
    for path in (model, tmp_path / "link.json", tmp_path / "none" / "r.json", tmp_path):
        with pytest.raises(UsageError):
            report.check_report(path, model)
    other = tmp_path / "other.onnx"
    other.write_bytes(b"\x08\x07")
    with pytest.raises(UsageError, match="was not written by"):
        report.check_report(other, model)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link.json", "m.onnx", "other.onnx", "r.json"]


def wordings() -> list[tuple[str, str]]:
    """Where every error is made, and what its parts start and end with, as far as that is text."""
    found = []
    for path in sorted(Path(report.__file__).parent.rglob("*.py")):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in SURGEON_ERRORS:
                for part in (*call.args, *(word.value for word in call.keywords)):
                    found += [(f"{path.name}:{part.lineno}", text) for text in _edges(part)]
    return found


def _edges(part: ast.expr) -> list[str]:
    if isinstance(part, ast.IfExp):
        return [*_edges(part.body), *_edges(part.orelse)]
    pieces = part.values if isinstance(part, ast.JoinedStr) else [part]
    texts = [p.value if isinstance(p, ast.Constant) and isinstance(p.value, str) else "{}" for p in pieces]
    return ["".join(texts)] if texts else []


def test_errors_are_worded_alike() -> None:
    for where, text in wordings():
        first = text.split()[0] if text.split() else ""
        assert first in PROPER or first[:1] == first[:1].lower(), f"{where}: {text!r} starts with a capital"
        assert text.endswith("...") or not text.endswith("."), f"{where}: {text!r} ends with a full stop"
