"""Several models in one call: none harms another, what is done is known again, and a stop leaves nothing behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from typer.main import get_command
from typer.testing import CliRunner, Result

from onnxsurgeon.cli import app
from onnxsurgeon.cli.tasks import Task, tasks
from onnxsurgeon.errors import UsageError
from onnxsurgeon.report.tables_of import TABLES
from onnxsurgeon.surgery.methods import OPERATIONS
from paths import ROOT
from report_schema import require_schema

CUT = ("--ratio", "0.3", "--data", "none", "--output-dir", "out")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with two small models in zoo/."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    Path("zoo").mkdir()
    for name in ("xor", "plain"):
        shutil.copy(ROOT / "fixtures" / f"{name}.onnx", "zoo")
    return tmp_path


def prune(*args: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, ["prune", *args])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.stderr
    assert not list(Path().rglob(".onnxsurgeon*"))
    return result


def stub(path: Path, text: str) -> Path:
    """An interpreter that does `text` first."""
    path.write_text(f'#!/bin/sh\n{text}\nexec {sys.executable} "$@"\n')
    path.chmod(0o755)
    return path


def all_frozen(path: Path) -> None:
    # x [2, 4] -> MatMul w [4, 3] -> y
    weight = numpy_helper.from_array(np.ones((4, 3), np.float32), "w")
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, n]) for name, n in (("x", 4), ("y", 3)))
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"], "m")], "g", [x], [y], [weight])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


@pytest.mark.slow
def test_a_bad_model_stops_no_other(folder: Path) -> None:
    all_frozen(Path("zoo/frozen.onnx"))
    Path("zoo/broken.onnx").write_text("hello, I am text")
    options = ("--exclude=*", "--max-size", "1GB", "--jobs", "2", "--report", "r.json", "--json")
    prune("zoo/*.onnx", *CUT, *options, code=4)  # --exclude * makes all infeasible: the options reach each model
    assert [row["exit_code"] for row in json.loads(Path("r.json").read_text())["models"]] == [4, 4, 3, 3]
    result = prune("zoo/*.onnx", "zoo/missing.onnx", *CUT, "--jobs", "2", "--json", "--round-to=2", code=4)
    found = json.loads(result.stdout)
    require_schema(found)
    assert (found["schema"], found["command"], found["status"], found["exit_code"]) == (2, "prune", "error", 4)
    rows = {Path(row["model"]).stem: row for row in found["models"]}
    assert list(rows) == ["broken", "frozen", "plain", "xor", "missing"]
    assert [row["exit_code"] for row in rows.values()] == [4, 4, 0, 0, 2]
    assert all(row["seconds"]["total"] > 0 and row["schema"] == 2 for row in rows.values())
    assert sorted(path.name for path in Path("out").iterdir()) == [
        "plain.onnx", "plain.onnx.json", "xor.onnx", "xor.onnx.json",
    ]  # fmt: skip
    assert rows["xor"]["after"]["size"] == Path("out/xor.onnx").stat().st_size
    assert rows["xor"]["proof"]["passed"]
    assert rows["xor"]["requested"]["round_to"] == 2
    record = json.loads(Path("out/xor.onnx.json").read_text())
    assert {key: record[key] for key in rows["xor"]} == rows["xor"]
    assert record.keys() - rows["xor"].keys() == {"graph", "curves", "changes"}
    assert "zoo/missing.onnx: not found" in result.stderr
    assert "error: 3 of 5 models failed" in result.stderr


@pytest.mark.slow
def test_what_is_done_is_skipped_if_asked(folder: Path) -> None:
    rest = ("--no-proof", "--json", "--jobs", "2")

    def statuses(*args: str, code: int = 0) -> list[str]:
        rows = json.loads(prune("zoo/*.onnx", *args, "--output-dir", "out", *rest, code=code).stdout)
        return [row["status"] for row in rows["models"]]

    assert statuses("--ratio", "0.3", "-q") == ["not proven", "not proven"]
    before = Path("out/xor.onnx").stat().st_mtime_ns
    assert statuses("--ratio", "0.3", "--resume") == ["skipped", "skipped"]
    os.utime("zoo/plain.onnx")  # newer than its output
    assert statuses("--ratio", "0.3", "--resume", code=2) == ["error", "skipped"]
    assert statuses("--ratio", "0.3", "--resume", "--overwrite") == ["not proven", "skipped"]
    assert Path("out/xor.onnx").stat().st_mtime_ns == before
    assert statuses("--ratio", "0.2", "--resume", code=2) == ["error", "error"], "made with other options"


@pytest.mark.slow
def test_a_process_that_dies_is_that_models_fault(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = 'case "$*" in *plain*) mkdir out/.onnxsurgeon-$$-x; mkdir $TMPDIR/x; echo half >&2; kill -SEGV $$;; esac'
    monkeypatch.setattr(sys, "executable", str(stub(folder / "python", text)))
    monkeypatch.setenv("TMPDIR", str(folder / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)
    Path("tmp").mkdir()
    result = prune("zoo/plain.onnx", "zoo/xor.onnx", *CUT, "--no-proof", "--json", code=1)
    died, other = json.loads(result.stdout)["models"]
    assert (died["status"], died["exit_code"], other["exit_code"]) == ("error", 1, 0)
    assert "SIGSEGV" in died["what"]
    assert died["why"] == "half"
    assert "zoo/plain.onnx: its process was killed by SIGSEGV; half" in result.stderr
    assert not list(Path("tmp").iterdir())


def test_a_process_without_a_report_is_an_internal_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(stub(folder / "python", "exit 0")))
    row = json.loads(prune("zoo/xor.onnx", *CUT, "--json", code=1).stdout)["models"][0]
    assert row["what"] == "its process ended early, with exit code 0"


def test_a_failed_run_is_told_by_its_ratio(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(stub(folder / "python", "exit 0")))
    given = ("zoo/xor.onnx", "--ratio", "0.2,0.5", "--data", "none")
    result = prune(*given, "--report", "r.json", "--html", "r.html", "-q", code=1)
    assert [row["requested"]["ratio"] for row in json.loads(Path("r.json").read_text())["models"]] == [0.2, 0.5]
    assert "error: 2 of 2 runs failed\n  zoo/xor.onnx at 0.2: its process" in result.stderr
    assert "fix: see all of it with onnxsurgeon prune zoo/xor.onnx --data=none --ratio=0.2; --resume" in result.stderr
    assert "xor.onnx, ratio 0.5" in Path("r.html").read_text()


def test_a_process_that_refuses_its_options_is_a_row_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = {"exit_code": 2, "status": "error", "what": "--ratio is 3", "why": "wanted: less", "fix": "cut less"}
    said = json.dumps(report)
    monkeypatch.setattr(sys, "executable", str(stub(folder / "python", f"echo '{said}'; exit 2")))
    result = prune("zoo/*.onnx", *CUT, "--json", code=2)
    rows = json.loads(result.stdout)["models"]
    assert [(row["model"], row["output"]) for row in rows] == [
        ("zoo/plain.onnx", "out/plain.onnx"), ("zoo/xor.onnx", "out/xor.onnx"),
    ]  # fmt: skip
    assert "zoo/xor.onnx: --ratio is 3; wanted: less" in result.stderr
    assert result.stderr.splitlines()[-1] == "fix: cut less", "what mends all of them, like a broken install"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_ends_all_and_leaves_nothing(number: signal.Signals, folder: Path) -> None:
    work = "import pathlib, signal, tempfile, time; signal.signal(signal.SIGTERM, signal.default_int_handler)\n"
    work += "with tempfile.TemporaryDirectory(prefix='.onnxsurgeon-', dir='out'), tempfile.TemporaryDirectory() as f:\n"
    work += "    (pathlib.Path('started') / pathlib.Path(f).name).touch(); time.sleep(60)"
    Path("started").mkdir()
    Path("tmp").mkdir()
    Path("work.py").write_text(work)
    slow = stub(folder / "python", f"exec {sys.executable} work.py")
    program = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a background job ignores it
    program += f"import sys; sys.executable = {str(slow)!r}; from onnxsurgeon.cli import main; main()"
    parent = subprocess.Popen(
        [sys.executable, "-c", program, "prune", "zoo/*.onnx", *CUT, "--jobs", "2", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(folder / "tmp")},
    )  # fmt: skip
    end = time.monotonic() + 20
    while len(list(Path("started").iterdir())) < 2 and time.monotonic() < end:
        time.sleep(0.02)
    parent.send_signal(number)
    said, errors = parent.communicate(timeout=120)
    assert parent.returncode == 130
    assert json.loads(said)["exit_code"] == 130
    assert "interrupted\n  nothing was written" in errors
    assert "Traceback" not in errors
    assert list(Path("out").iterdir()) == []
    assert list(Path("tmp").iterdir()) == []


@pytest.mark.slow
def test_a_dry_run_writes_nothing(folder: Path) -> None:
    prune("zoo/*.onnx", *CUT, "--dry-run", "-q")
    assert not Path("out").exists()


@pytest.mark.slow
def test_people_see_a_row_each(folder: Path) -> None:
    assert prune("zoo/plain.onnx", *CUT, "--no-proof", "-q").output == ""
    result = prune("zoo/xor.onnx", *CUT, "--no-proof", "-v")
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert lines[0].split() == ["not", "proven", "zoo/xor.onnx"]
    assert lines[-1].split()[:3] == ["zoo/xor.onnx", "not", "proven"]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("zoo/xor.onnx", "zoo/plain.onnx"), "--output-dir"),
        (("zoo/*.onnx",), "--output-dir"),
        (("zoo/*.onnx", "--output-dir", "out", "-o", "x.onnx"), "exclude each other"),
        (("zoo/*.onxn", "--output-dir", "out"), "matches no file"),
        (("zoo/*.onnx", "--output-dir", "zoo"), "zoo/plain.onnx would be replaced"),
        (("zoo/*.onnx", "--output-dir", "zoo/xor.onnx"), "is not a folder"),
        (("zoo/*.onnx", "--output-dir", "out", "--report", "zoo/xor.onnx"), "--report"),
        (("zoo/*.onnx", "--output-dir", "out", "--max-size", "5X"), "5X"),
        (("zoo/xor.onnx", "--jobs", "2"), "--output-dir"),
        (("zoo/xor.onnx", "--resume"), "--output-dir"),
    ],
)
def test_wrong_usage_starts_nothing(args: tuple[str, ...], words: str, folder: Path) -> None:
    assert words in prune(*args, "--ratio", "0.3", code=2).stderr
    assert not Path("out").exists()


def test_outputs_are_flat_unless_names_clash(folder: Path) -> None:
    def targets(*texts: str) -> list[str]:
        return [str(task.target) for task in tasks([Path(text) for text in texts], None, Path("out"))]

    for name in ("a/x.onnx", "a/b/y.onnx", "c/[1].onnx", "out/x.onnx", ".hidden/z.onnx"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    assert targets("a/**/*.onnx") == ["out/y.onnx", "out/x.onnx"]
    assert targets("a/x.onnx", "a/x.onnx", "./a/../a/x.onnx") == ["out/x.onnx"]
    assert targets("c/[1].onnx") == ["out/[1].onnx"], "a file of that name comes before a pattern"
    Path("a/b/x.onnx").touch()
    assert targets("a/**/*.onnx") == ["out/b/x.onnx", "out/b/y.onnx", "out/x.onnx"]
    assert {Path(t).parts[1] for t in targets("**/*.onnx")} == {"a", "c", "zoo"}, "not out/ itself, nothing hidden"
    assert tasks([Path("out/*.onnx")], None, Path("out/more")) == [Task(Path("out/x.onnx"), Path("out/more/x.onnx"))]
    with pytest.raises(UsageError, match="would be replaced, but it is one of the models"):
        tasks(
            [Path("x.onnx"), Path("out/x.onnx")], None, Path("out")
        )  # as a shell expands **/*.onnx when it is run again
    assert tasks([Path("zoo/x*.onnx")], None, None) == [Task(Path("zoo/xor.onnx"), Path("zoo/xor.pruned.onnx"))]


@pytest.mark.slow
def test_several_ratios_make_a_model_each_and_one_page(folder: Path) -> None:
    """Each is what a run of its own makes; their reports are beside them, and are shown together again."""
    words = ("zoo/plain.onnx", "--data", "none", "--ratio", "0.2,50%,0.2", "-o", "small.onnx", "--jobs", "2")
    found = json.loads(prune(*words, "--json", "--html", "runs.html").stdout)
    assert [row["output"] for row in found["models"]] == ["small-0.2.onnx", "small-0.5.onnx"]
    assert [row["requested"]["ratio"] for row in found["models"]] == [0.2, 0.5]
    assert all(row["latency"]["models"][0]["model"] == "zoo/plain.onnx" for row in found["models"])
    assert all("graph" not in row for row in found["models"])
    prune("zoo/plain.onnx", "--data", "none", "--ratio", "0.5", "-o", "alone.onnx", "--no-bench")
    assert Path("alone.onnx").read_bytes() == Path("small-0.5.onnx").read_bytes()
    records = ("small-0.2.onnx.json", "small-0.5.onnx.json")
    assert all("graph" in json.loads(Path(record).read_text()) for record in records)
    shown = CliRunner().invoke(app, ["report", *records, "--html", "again.html"])
    assert shown.exit_code == 0
    assert "zoo/plain.onnx at 0.5" in shown.stdout
    for text in (Path("runs.html").read_text(), Path("again.html").read_text()):
        assert text.count("zoo/plain.onnx") > 2
        assert "% of the original" in text
    again = json.loads(prune(*words, "--json", "--resume").stdout)
    assert [row["status"] for row in again["models"]] == ["skipped", "skipped"]
    assert "0.2,x" not in prune(*words[:3], "--ratio", "0.2,x", code=2).stdout


def test_the_report_of_every_command_can_be_shown_again() -> None:
    assert {*TABLES, *OPERATIONS, "edit", "report"} == set(get_command(app).commands)


def test_a_report_is_shown_again_and_nothing_else_is(folder: Path) -> None:
    CliRunner().invoke(app, ["inspect", "zoo/xor.onnx", "--report", "r.json"])
    first = CliRunner().invoke(app, ["inspect", "zoo/xor.onnx"]).stdout
    assert CliRunner().invoke(app, ["report", "r.json"]).stdout == first
    assert json.loads(CliRunner().invoke(app, ["report", "r.json", "--json"]).stdout) == json.loads(
        Path("r.json").read_text()
    )
    Path("list.json").write_text("[1]")
    Path("part.json").write_text(json.dumps({**json.loads(Path("r.json").read_text()), "weights": [{}]}))
    for words in (("none.json",), ("zoo/xor.onnx",), ("list.json",), ("part.json",), ("r.json", "r.json")):
        done = CliRunner().invoke(app, ["report", *words])
        assert done.exit_code == 2
        assert "fix: " in done.stderr
