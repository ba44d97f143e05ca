"""`check` is a gate: 0 if all conditions hold, 6 if one doesn't, and it says which, by how much, in every format."""

from __future__ import annotations

import json
import os
import re
from dataclasses import fields
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as xml

import numpy as np
import pytest
from typer.testing import CliRunner

import onnxsurgeon as osg
from commands import Run, module
from onnxsurgeon.cli import app
from report_schema import require_schema

HOLDS, FAILS = ("check", "net.onnx", "--max-params", "1M"), ("check", "net.onnx", "--max-params", "1K")
JUNIT = {  # what the schema of Jenkins (junit-10.xsd) allows of an element, as far as it is used: attributes, children
    "testsuites": ({"name", "tests", "failures", "errors"}, {"testsuite"}),
    "testsuite": ({"name", "tests", "failures", "errors"}, {"testcase"}),
    "testcase": ({"name", "classname"}, {"failure", "error", "system-out"}),
    "failure": ({"message", "type"}, set()),
    "error": ({"message", "type"}, set()),
    "system-out": (set(), set()),
}


def gates(run: Run, *args: str, code: int = 0) -> list[dict[str, object]]:
    report = json.loads(run("check", "net.onnx", *args, "--json", code=code).stdout)
    require_schema(report)
    assert report["exit_code"] == code
    found: list[dict[str, object]] = report["gates"]
    return found


def test_a_limit_holds_up_to_itself_and_no_further(run: Run, folder: Path) -> None:
    size = (folder / "net.onnx").stat().st_size
    assert gates(run, "--max-size", str(size))[0]["margin"] == "exactly"
    (gate,) = gates(run, "--max-size", str(size - 1), code=6)
    assert gate["passed"] is False
    assert gate["missed_by"] == 1
    assert gate["measured"] == str(size), "rounded, it would look like the limit"


def test_all_that_fails_is_named_and_nothing_else(run: Run) -> None:
    result = run("check", "net.onnx", "--max-params", "1K", "--max-macs", "1K", "--max-size", "1G", code=6)
    said = [line.split(":")[0].strip() for line in result.stderr.splitlines()]
    assert said == ["error", "parameters", "MACs", "fix"]
    rows = {line.split()[0]: line.split()[-1] for line in result.stdout.splitlines() if line.startswith("--")}
    assert rows == {"--max-params": "FAILED", "--max-macs": "FAILED", "--max-size": "passed"}
    assert result.stdout.splitlines()[-1] == "FAILED  2 of 3 conditions  net.onnx"
    assert run(*HOLDS).stdout.splitlines()[-1] == "PASSED  net.onnx"


def test_growth_is_relative_to_the_other_model(run: Run) -> None:
    run("resize", "net.onnx", "layer1.0.conv1=+1", "-o", "big.onnx", "--no-bench")
    assert all(gate["passed"] for gate in gates(run, "--against", "big.onnx", "--max-growth", "0"))
    arguments = ("check", "big.onnx", "--against", "net.onnx", "--max-growth")
    assert [row["passed"] for row in json.loads(run(*arguments, "0", "--json", code=6).stdout)["gates"]] == [False] * 3
    run(*arguments, "2%")


def test_a_busy_machine_alone_fails_nothing() -> None:
    """A latency fails only if its whole interval is beyond the limit."""
    gate = module("latency.gates").Gate
    doubtful = gate("max_latency", "latency", 2.0, 1.9, "seconds", interval=(1.8, 2.2))
    assert doubtful.passed
    assert doubtful.doubtful
    assert not gate("max_latency", "latency", 2.0, 1.7, "seconds", interval=(1.8, 2.2)).passed
    assert not gate("min_top1", "top1", float("nan"), 0.5, "score", upper=False).passed


@pytest.fixture
def data(folder: Path) -> Path:
    """Samples that are labelled by the network itself, and the same without labels."""
    x = np.random.default_rng(0).standard_normal((16, 3, 16, 16)).astype(np.float32)
    session = module("runtime.session").Session("net.onnx", "cpu")
    (said,) = session.run({"input": x}).values()
    np.savez(folder / "test.npz", input=x, labels=said.argmax(1))
    np.savez(folder / "plain.npz", input=x)
    return folder / "test.npz"


def test_scores_need_to_be_reached(run: Run, data: Path) -> None:
    assert gates(run, "--min-top1", "100%", "--data", "test.npz")[0]["value"] == 1.0
    run("prune", "net.onnx", "--ratio", "0.6", "--data", "none", "-o", "small.onnx", "--no-bench")
    worse = ("check", "small.onnx", "--data", "test.npz")
    run(*worse, "--min-top1", "1", code=6)
    run(*worse, "--against", "net.onnx", "--max-drop", "0.01", code=6)
    run(*worse, "--against", "net.onnx", "--max-drop", "1")
    mse = run("check", "small.onnx", "--data", "plain.npz", "--against", "net.onnx", "--max-mse", "1e-9", code=6)
    assert "mse" in mse.stdout, "samples without labels: the other model's outputs are the targets"
    cosine = run("check", "net.onnx", "--data", "test.npz", "--against", "net.onnx", "--min-cosine", "1", "--json")
    (score,) = json.loads(cosine.stdout)["scores"]
    assert score["compared_with"] == "net.onnx", "class numbers are no targets of a cosine"
    alone = run("check", "net.onnx", "--data", "test.npz", "--min-cosine", "0.9", code=2).stderr
    assert alone.splitlines()[-1].endswith("or --against ORIGINAL")


def test_what_mends_a_failure_fits_it() -> None:
    gate = module("latency.gates").Gate
    size, score = gate("max_size", "file", 2, 1, "bytes"), gate("min_top1", "top1", 0.1, 0.99, "score", upper=False)
    mends = module("latency.gates").mends
    assert mends([size, size]) == "make the model smaller, or change the limit"
    assert mends([score]) == "train the model or cut less of it, or change the limit"
    assert score.said() == "top1: 0.1, at least 0.99 is required (-0.89)"


def test_metrics_and_bounds_are_the_same_ones() -> None:
    scores, metrics = module("evaluation.options").Scores, module("metrics")
    known = {word: metric for word, metric in metrics.METRICS.items() if word != metrics.OWN}
    names = {f"{'min' if metric.higher else 'max'}_{word}" for word, metric in known.items()}
    assert names | {"min_score"} == {field.name for field in fields(scores)}


def test_ones_own_metric(run: Run, data: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "mine.py").write_text("def seven(batches):\n    return sum(1 for _ in batches) and 7.0\n")
    monkeypatch.syspath_prepend(folder)
    assert gates(run, "--data", "test.npz", "--min-score", "mine:seven=7")[0]["what"] == "mine:seven"
    run("check", "net.onnx", "--data", "test.npz", "--min-score", "mine:seven=7.5", code=6)


@pytest.mark.parametrize(
    ("args", "word"),
    [
        ((), "nothing to check"),
        (("--min-top1", "0.5"), "--data"),
        (("--max-growth", "1%"), "--against"),
        (("--max-drop", "1%", "--against", "net.onnx"), "--data"),
        (("--max-params", "1M", "--against", "net.onnx"), "no use"),
        (("--min-top1", "75", "--data", "test.npz"), "did you mean 0.75"),
        (("--max-params", "1M", "--format", "xml"), "--format"),
        (("--max-params", "1M", "--format", "junit", "--json"), "--json"),
        (("--max-params", "1M", "--summary", "none/there.md"), "none/there.md"),
        (("--max-params", "1M", "--summary", "net.onnx"), "net.onnx"),
        (("--min-score", "seven=7", "--data", "test.npz"), "MODULE:FUNCTION"),
    ],
)
def test_a_check_that_makes_no_sense_is_wrong_usage(args: tuple[str, ...], word: str, run: Run) -> None:
    assert word in run("check", "net.onnx", *args, code=2).stderr


def test_annotations_of_github_are_one_line_each(run: Run, folder: Path) -> None:
    (folder / "a,b%:c\n::x.onnx").write_bytes((folder / "net.onnx").read_bytes())
    shown = run("check", "a,b%:c\n::x.onnx", *FAILS[2:], "--max-size", "1", "--format", "github", code=6).stdout
    lines = shown.splitlines()
    assert len(lines) == 2
    form = r"::error file=([^:,\n]*),title=([^:,\n]*)::(.*)"
    matches = [re.fullmatch(form, line) for line in lines]
    assert all(matches)
    assert matches[0] is not None
    assert matches[0][1] == "a%2Cb%25%3Ac%0A%3A%3Ax.onnx"
    assert "%25)" in matches[0][3]
    assert run(*HOLDS, "--format", "github").stdout.startswith("::notice file=net.onnx,title=")
    broken = run("check", "none.onnx", "--max-params", "1", "--format", "github", code=2).stdout
    assert broken.strip() == "::error file=none.onnx,title=onnxsurgeon check::none.onnx not found%0Acheck the path"


@pytest.mark.parametrize("name", ["net.onnx", "<a>&\x1b[31m\"'.onnx", "none.onnx"])
def test_junit_is_what_readers_of_it_know(name: str, run: Run, folder: Path) -> None:
    if name != "none.onnx":
        (folder / name).write_bytes((folder / "net.onnx").read_bytes())
    call = ("check", name, "--max-params", "1K", "--max-macs", "1G", "--format", "junit")
    root = xml.fromstring(run(*call, code=2 if name == "none.onnx" else 6).stdout)
    for element in root.iter():
        attributes, children = JUNIT[element.tag]
        assert set(element.attrib) == attributes
        assert {child.tag for child in element} <= children
    (suite,) = root
    counted = {f"{kind}s": sum(1 for _ in suite.iter(kind)) for kind in ("failure", "error")}
    assert {key: int(suite.attrib[key]) for key in counted} == counted
    assert int(suite.attrib["tests"]) == len(suite)
    assert counted == ({"failures": 0, "errors": 1} if name == "none.onnx" else {"failures": 1, "errors": 0})


def test_a_summary_is_added_to_its_file(run: Run, folder: Path) -> None:
    (folder / "made").mkdir()
    (folder / "made/s.md").write_text("before\n")
    run(*FAILS, "--summary", "made/s.md", "--format", "github", code=6)
    run("check", "none.onnx", "--max-params", "1", "--summary", "made/s.md", code=2)
    before, title, _, _, _, row, *rest = (folder / "made/s.md").read_text().splitlines()
    assert (before, title) == ("before", "### onnxsurgeon check: net\\.onnx")
    assert [cell.strip() for cell in row.split("|")][-2] == "FAILED"
    assert "none\\.onnx not found" in rest


WRONG = (
    ("--max-params", "1Q"),
    (),
    ("--bogus",),
    ("--max-params",),
    ("--max-params", "1M", "--data", "x.npz"),
    ("--max-params", "1M", "--summary", "none/there.md"),
)


@pytest.mark.parametrize("args", WRONG)
def test_no_report_tells_of_an_earlier_run(args: tuple[str, ...], run: Run, folder: Path) -> None:
    """Whatever is wrong, and wherever the option stands."""
    (folder / "r.json").write_text(json.dumps({"schema": 2, "command": "check", "status": "passed", "exit_code": 0}))
    run("check", "--report", "r.json", "net.onnx", *args, code=2)
    report = json.loads((folder / "r.json").read_text())
    require_schema(report)
    assert (report["command"], report["status"], report["exit_code"]) == ("check", "error", 2)


def test_only_reports_make_way(run: Run, folder: Path) -> None:
    """Neither other files, nor what the command reads, nor the record of an output, which says what is done."""
    own = json.dumps({"schema": 2, "command": "prune", "status": "passed", "exit_code": 0})
    for name, text in (("other.json", "{}"), ("read.json", own), ("net.onnx.json", own)):
        (folder / name).write_text(text)
        call = ("report", "read.json") if name == "read.json" else ("check", "net.onnx")
        run(*call, "--report", name, "--bogus", code=2)
        assert (folder / name).read_text() == text


@pytest.mark.parametrize("form", ["json", "junit", "github"])
def test_options_that_cant_be_read_are_told_in_the_form_that_was_asked_for(form: str, run: Run) -> None:
    said = run("check", "net.onnx", "--max-parms", "1M", f"--format={form}", code=2).stdout
    if form == "json":
        require_schema(json.loads(said))
    elif form == "junit":
        assert xml.fromstring(said).attrib["errors"] == "1"
    else:
        assert said.startswith("::error title=onnxsurgeon check::unknown option --max-parms")


def test_nothing_but_a_model_goes_to_its_stdout(run: Run) -> None:
    for more in (("--ratio", "30%"), ("--bogus",)):
        assert run("prune", "net.onnx", "-o", "-", "--json", *more, code=2).stdout == ""


@pytest.mark.parametrize("form", ["json", "junit", "github", "table"])
def test_several_models_are_all_checked(form: str, run: Run, folder: Path) -> None:
    """As a hook of pre-commit does it. One that can't be read stops no other."""
    (folder / "bad.onnx").write_text("no model")
    call = ("check", "net.onnx", "bad.onnx", "net.onnx", "--max-params", "1K", "--format", form)
    result = run(*call, code=4)
    lines = result.stderr.splitlines()
    assert lines[0] == "error: 3 of 3 models fail"
    assert re.fullmatch(r"fix: net.onnx, net.onnx: make the model smaller.*; bad.onnx: .+", lines[-1])
    if form == "json":
        report = json.loads(result.stdout)
        require_schema(report)
        assert [row["exit_code"] for row in report["models"]] == [6, 4, 6]
    elif form == "junit":
        root = xml.fromstring(result.stdout)
        assert (root.attrib["failures"], root.attrib["errors"]) == ("2", "1")
        assert [suite.attrib["name"] for suite in root] == ["net.onnx", "bad.onnx", "net.onnx"]
    else:
        shown = [
            line
            for line in result.stdout.splitlines()
            if line.startswith(("::error", "FAILED", "onnxsurgeon check: bad"))
        ]
        assert len(shown) == 3
    assert "PASSED" in run("check", "net.onnx", "net.onnx", "--max-params", "1M").stdout


def test_a_model_that_may_not_be_read_stops_no_other(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "secret.onnx").write_bytes((folder / "net.onnx").read_bytes())
    opened = Path.open

    def refused(path: Path, *args: Any, **options: Any) -> Any:
        if path.name == "secret.onnx" and args == ("rb",):
            raise PermissionError(13, "Permission denied")
        return opened(path, *args, **options)

    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.R_OK and access(path, mode))
    monkeypatch.setattr(Path, "open", refused)
    result = CliRunner().invoke(app, ["check", "secret.onnx", "net.onnx", "--max-params", "1M", "--json"])
    assert result.exit_code == 4
    report = json.loads(result.stdout)
    assert [row["exit_code"] for row in report["models"]] == [4, 0]
    assert report["models"][0]["why"] == "Permission denied"


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (("check", "net.onnx", "--max-params", "1M", "--summary", ""), "--summary"),
        (("check", "net.onnx", "--max-params="), "--max-params"),
        (("check", "", "--max-params", "1M"), "an argument"),
        (("check", "-q", "", "--max-params", "1M"), "an argument"),
        (("prune", "net.onnx", "--ratio", "30%", "-o", ""), "-o"),
    ],
)
def test_an_empty_value_is_named(call: tuple[str, ...], name: str, run: Run) -> None:
    """As a variable of a job that is not set."""
    assert run(*call, code=2).stderr.startswith(f"error: {name} is empty\n")


@pytest.mark.parametrize("option", ["--report", "--summary", "--log-file", "--html", "-o", "--output-dir"])
def test_a_folder_that_may_not_be_written_to_is_said_in_the_same_words(
    option: str, run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "ro").mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: not str(path).endswith("ro"))
    call = ("prune", "net.onnx", "--ratio", "30%") if option.endswith(("-o", "-dir")) else ("check", "net.onnx")
    more = () if call[0] == "prune" else ("--max-params", "1M")
    lines = run(*call, *more, option, "ro" if option == "--output-dir" else "ro/new", code=2).stderr.splitlines()
    assert lines[0].startswith("error: can't write ro/n")
    assert lines[1:] == ["  the folder ro is read-only", "fix: choose another"]


def test_globs_may_be_quoted(run: Run, folder: Path) -> None:
    (folder / "more").mkdir()
    (folder / "more/[1].onnx").write_bytes((folder / "net.onnx").read_bytes())
    found = json.loads(run("check", "**/*.onnx", "more/[1].onnx", "--max-params", "1M", "--json").stdout)
    assert [row["model"] for row in found["models"]] == ["more/[1].onnx", "net.onnx", "more/[1].onnx"]
    said = run("check", "no*.onnx", "--max-params", "1M", "--format", "github", code=2)
    assert "no*.onnx' matches no file" in said.stdout


def test_in_python() -> None:
    from paths import FIXTURES

    found = osg.check(FIXTURES / "xor.onnx", max_params=1, max_size="1MB")
    assert [gate.passed for gate in found.gates] == [False, True]
    assert not found.passed
    with pytest.raises(osg.GateError, match="parameters"):
        found.require()
