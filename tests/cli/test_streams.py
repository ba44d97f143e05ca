"""Streams: what was asked for goes to stdout, a line a row, without colours; errors and edits speak on stderr."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from typer.testing import CliRunner

from commands import PRUNE, Run, environment, module
from onnxsurgeon.cli import app

WIDTHS = (60, 80, 120, 200)
SHOWN = {
    "inspect": ("inspect", "net.onnx"),
    "validate": ("validate", "net.onnx", "net.onnx"),
    "why": ("inspect", "net.onnx", "--why", "layer2.0.*"),
}
LONG = "/model/backbone/layer4/layer4.1/conv2/Conv[red]<script>"


def on_terminal(columns: int, *args: str, **env: str) -> str:
    """What a terminal of that width gets to see."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    given = {**environment(TERM="xterm", **env)}
    given.pop("COLUMNS", None)
    command = [sys.executable, "-m", "onnxsurgeon", *args]
    child = subprocess.Popen(command, stdin=follower, stdout=follower, stderr=follower, env=given)
    os.close(follower)
    data = b""
    try:
        while part := os.read(leader, 65536):
            data += part
    except OSError:  # the end of a terminal
        pass
    finally:
        os.close(leader)
    assert child.wait() == 0, data
    return re.sub(r"\x1b\[[0-9;]*m", "", data.decode().replace("\r\n", "\n"))  # all but what it looks like


@pytest.mark.parametrize("name", SHOWN)
def test_what_was_asked_for_is_on_stdout_in_plain_lines(name: str, run: Run) -> None:
    result = run(*SHOWN[name])
    assert result.stderr == ""
    assert result.stdout.isascii(), "no boxes"
    assert "\x1b" not in result.stdout
    assert not [line for line in result.stdout.splitlines() if line.endswith(" ")]


@pytest.mark.parametrize("columns", WIDTHS)
def test_a_pipe_has_no_width(columns: int, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    wide = run("inspect", "net.onnx", "-v").stdout
    monkeypatch.setenv("COLUMNS", str(columns))
    assert run("inspect", "net.onnx", "-v").stdout == wide
    row = next(line for line in wide.splitlines() if line.startswith("layer2.0.conv2.weight "))
    assert row.split() == "layer2.0.conv2.weight Conv layer2.0.conv2 64x64x3x3 0, 1 36.9 K -".split()


def test_pruning_is_silent_on_stdout_when_piped(run: Run) -> None:
    result = run(*PRUNE)
    assert result.stdout == ""
    assert "WRITTEN" in result.stderr


def test_a_failed_comparison_shows_its_table_and_its_error(run: Run) -> None:
    run(*PRUNE, "-q")
    result = run("validate", "net.onnx", "net.pruned.onnx", code=5)
    assert "FAILED" in result.stdout
    assert result.stderr.startswith("error: ")
    shapes = run("validate", "net.onnx", "net.pruned.onnx", "--shapes-only").stdout
    assert "PASSED  net.pruned.onnx: only names, types and shapes were compared" in shapes


@pytest.mark.parametrize("columns", WIDTHS)
def test_names_are_whole_on_a_terminal(columns: int, folder: Path) -> None:
    onnx = module("model.model").load("net.onnx")
    names = [node.name for node in onnx.ir.graph if node.op_type == "Conv"]
    lines = on_terminal(columns, "inspect", "net.onnx", "-v").splitlines()
    words = {word for line in lines for word in line.split()}
    assert {*names, *(f"{name}.weight" for name in names)} <= words


def test_names_are_no_markup_and_stay_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    layout = module("report.layout")
    shown = layout.table("node", "~reason", ">size", rows=[(LONG + "\x1b[31m", "because of that", 3)], title=LONG)
    text = layout.as_text([shown, layout.said("proof", LONG)])
    assert text.count(LONG) == 3
    assert "\x1b" not in text


def test_a_log_holds_what_verbose_shows_and_the_screen_stays(run: Run) -> None:
    quiet = run("inspect", "net.onnx")
    logged = run("inspect", "net.onnx", "--log-file", "run.log")
    assert (logged.stdout, logged.stderr) == (quiet.stdout, quiet.stderr)
    text = Path("run.log").read_text()
    first, *lines = text.splitlines()
    assert first.startswith("# onnxsurgeon ")
    assert all(line[:4].isdecimal() and line[10] == " " for line in lines), "each line has its time"
    shown = {line.rstrip() for line in run("inspect", "net.onnx", "-v").stdout.splitlines()}
    assert shown <= {line[25:] for line in lines}
    run("inspect", "net.onnx", "-q", "--log-file", "run.log")
    assert Path("run.log").read_text().count("# onnxsurgeon ") == 2, "the next run is added"


def test_a_log_holds_tracebacks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KeyError("wheel")

    monkeypatch.setattr(module("inspection"), "inspect", fail)
    assert "Traceback" not in CliRunner().invoke(app, ["inspect", "net.onnx", "--log-file", "run.log"]).stderr
    text = Path("run.log").read_text()
    assert "Traceback" in text
    assert "error: internal error" in text


def test_a_folder_that_is_gone_is_no_internal_error(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "gone").mkdir()
    monkeypatch.chdir(folder / "gone")
    (folder / "gone").rmdir()
    said = run("prune", "net.onnx", "--ratio", "30%", code=2).stderr
    assert said.splitlines()[0] == "error: the current folder is gone"
    monkeypatch.chdir(folder)


def test_a_log_never_replaces_another_file(run: Run) -> None:
    for target in ("net.onnx", "none/run.log", "."):
        assert "fix: " in run("inspect", "net.onnx", "--log-file", target, code=2).stderr


@pytest.mark.parametrize(("call", "code"), [("--help", 2), ("check net.onnx --max-params 1K --format junit", 6)])
def test_a_stdout_that_takes_nothing_is_said_in_a_line(call: str, code: int, folder: Path) -> None:
    command = [sys.executable, "-m", "onnxsurgeon", *call.split()]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, env=environment(), check=False)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-2] == "error: stdout can't be written: No space left on device"


@pytest.mark.parametrize(("place", "problem"), [("/dev/full", "No space left on device"), (os.devnull, "")])
def test_a_stream_loses_what_nobody_takes_and_remembers_why(place: str, problem: str) -> None:
    with Path(place).open("w") as opened:
        stream = module("cli.streams").SafeStream(opened)
        stream.write("text")
        stream.flush()
        stream.buffer.write(b"model")
        stream.buffer.flush()
        assert stream.problem == problem


def test_a_stream_of_text_alone_is_one() -> None:
    stream = module("cli.streams").SafeStream(io.StringIO())
    stream.write("text")
    assert not stream.problem
