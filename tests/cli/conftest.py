"""Fixtures of all tests of the command line."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from commands import Run
from onnxsurgeon.cli import app
from paths import FIXTURES


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with one model, in which the command runs; latencies are measured in a few runs."""
    monkeypatch.setattr("onnxsurgeon.cli.latency.SECONDS", 0.0)
    shutil.copy(FIXTURES / "residual.onnx", tmp_path / "net.onnx")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def models() -> tuple[str, ...]:
    """The files of the folder that no command may change."""
    return ("net.onnx",)


@pytest.fixture
def run(folder: Path, models: tuple[str, ...]) -> Run:
    """Runs a command and checks what holds for all: no traceback, models stay, and a failure changes no file."""

    def runs(*args: str, code: int = 0) -> Result:
        before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
        result = CliRunner().invoke(app, args)
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.stderr
        after = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
        assert all(after[folder / name] == before[folder / name] for name in models)
        assert not [path for path in folder.iterdir() if path.name.startswith(".onnxsurgeon")]
        if code:
            reports = (".json", ".html")
            assert {p: b for p, b in after.items() if p.suffix not in reports} == {
                p: b for p, b in before.items() if p.suffix not in reports
            }
            lines = result.stderr.strip().splitlines()
            assert any(line.startswith("error: ") for line in lines), result.stderr
            if code != 130:
                assert lines[-1].startswith("fix: "), result.stderr
        return result

    return runs
