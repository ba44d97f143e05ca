"""`-` is a model on stdin, or stdout for one; an address is refused with a word on what to do."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
from typer.testing import CliRunner, Result

from onnxsurgeon.cli import app


def pipe(data: bytes, *args: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, args, input=data)
    assert result.exit_code == code, result.stderr
    assert "Traceback" not in result.stderr
    assert ".onnxsurgeon" not in result.stderr, "no message names the file that stands for a pipe"
    return result


@pytest.fixture
def net(folder: Path) -> bytes:
    return (folder / "net.onnx").read_bytes()


def test_a_filter_writes_what_the_file_would_hold(net: bytes, folder: Path) -> None:
    prune = ("--ratio", "0.3", "--data", "none", "--no-bench")
    pipe(b"", "prune", "net.onnx", *prune, "-o", "small.onnx")
    result = pipe(net, "prune", "-", *prune)
    assert result.stdout_bytes == (folder / "small.onnx").read_bytes()
    assert result.stderr.rstrip().endswith("WRITTEN  -")
    assert "next " not in result.stderr  # the same once more would need the pipe
    onnx.checker.check_model(onnx.load_from_string(result.stdout_bytes), full_check=True)


def test_edits_are_filters_and_reports_name_the_pipe(net: bytes, folder: Path) -> None:
    fused = pipe(net, "fuse", "-", "-q", "--no-bench", "--report", "r.json").stdout_bytes
    report = json.loads((folder / "r.json").read_text())
    assert (report["model"], report["output"]) == ("-", "-")
    part = pipe(fused, "extract", "-", "--to", "layer1.0.relu", "-q", "--no-bench", "-o", "part.onnx")
    assert part.stdout_bytes == b""
    assert "layer1.0.relu" in pipe((folder / "part.onnx").read_bytes(), "inspect", "-").stdout
    shown = pipe(b"", "resize", "net.onnx", "layer1.0.conv1=-1", "-o", "-", "--no-bench", "-q")
    assert "1 changed" not in pipe(shown.stdout_bytes, "diff", "net.onnx", "-").stdout
    assert pipe(net, "diff", "net.onnx", "-").stdout.splitlines()[0] == "net.onnx -> -"


@pytest.mark.parametrize(
    ("args", "code", "word"),
    [
        (("compare", "-", "-"), 2, "given twice"),
        (("fuse", "-", "--json"), 2, "--json does not go"),
        (("fuse", "-", "--save-as-external-data"), 2, "--save-as-external-data does not go"),
        (("prune", "-", "--ratio", "0.3", "--output-dir", "out"), 2, "one model"),
        (("inspect", "-"), 4, "- is not an ONNX model"),
        (("fuse", "-"), 4, "- is not an ONNX model"),
    ],
)
def test_what_a_pipe_can_not_do(args: tuple[str, ...], code: int, word: str, folder: Path) -> None:
    result = pipe(b"no model", *args, code=code)
    assert word in result.stderr
    assert result.stderr.splitlines()[-1].startswith("fix: ")


@pytest.mark.parametrize("command", ["inspect", "fuse"])
def test_an_empty_pipe_is_no_broken_model(command: str, folder: Path) -> None:
    assert pipe(b"", command, "-", "-q", code=4).stderr.splitlines()[0] == "error: stdin was empty"


@pytest.mark.parametrize(
    "args",
    [
        ("inspect", "https://example.org/a/model.onnx"),
        ("report", "https://example.org/r.json"),
        ("edit", "net.onnx", "https://example.org/recipe.yaml"),
        ("diff", "net.onnx", "s3://bucket/main.onnx"),
        ("check", "net.onnx", "--max-params", "1M", "--report", "https://example.org/r.json"),
        ("prune", "http://example.org/model.onnx", "--ratio", "0.3"),
        ("evaluate", "net.onnx", "--data", "https://example.org/data.npz"),
        ("check", "net.onnx", "--against", "s3://bucket/main.onnx", "--max-growth", "1%"),
        ("splice", "net.onnx", "https://example.org/other.onnx", "--after", "relu1"),
    ],
)
def test_an_address_is_refused_with_a_word(args: tuple[str, ...], folder: Path) -> None:
    said = pipe(b"", *args, code=2).stderr
    address = next(word for word in args if "://" in word)
    assert said.startswith(f"error: {address} is an address, not a file\n")
    assert said.splitlines()[-1].startswith("fix: download it first" if "http" in address else "fix: copy it")
