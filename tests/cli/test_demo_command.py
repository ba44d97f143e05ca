"""`demo` writes what the wheel ships, changes no other file, and the commands that it shows run there."""

from __future__ import annotations

import json
import shlex
import shutil
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from commands import Run, module
from onnxsurgeon.cli import app
from paths import FIXTURES, ROOT


def test_it_writes_the_fixtures_and_what_it_says_next_runs(run: Run, folder: Path) -> None:
    report = json.loads(run("demo", "there", "--json").stdout)
    assert {Path(name).name for name in report["files"]} == {path.name for path in FIXTURES.iterdir()}
    for name in report["files"]:
        assert (folder / "there" / name).read_bytes() == (FIXTURES / Path(name).name).read_bytes()
    run("demo", "there")  # once more changes nothing
    assert len(report["next"]) == 4


def test_what_it_shows_next_runs(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for pruning and training, which pages of the documentation run: the original stands for what they write."""
    following = json.loads(run("demo", "there", "--json").stdout)["next"]
    monkeypatch.chdir(folder / "there")
    assert [line.rpartition(" -o ")[2] for line in following[1:3]] == ["small.onnx", "tuned.onnx"]
    shutil.copy("fixtures/digits.onnx", "tuned.onnx")
    for line in (following[0], following[3]):
        result = CliRunner().invoke(app, shlex.split(line)[1:])
        assert result.exit_code == 0, result.output


def test_another_file_of_that_name_stays(run: Run, folder: Path) -> None:
    (folder / "there/fixtures").mkdir(parents=True)
    (folder / "there/fixtures/xor.onnx").write_text("mine")
    assert "xor.onnx exists" in run("demo", "there", code=2).stderr
    assert [path.name for path in (folder / "there/fixtures").iterdir()] == ["xor.onnx"], "nothing was written"
    run("demo", "there", "--overwrite")


def test_a_place_that_takes_no_files_is_refused(run: Run, folder: Path) -> None:
    (folder / "file").write_text("")
    assert "can't write" in run("demo", "file", code=2).stderr


def test_the_wheel_ships_them() -> None:
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["force-include"] == {"fixtures": f"onnxsurgeon/{module('cli.demo').PLACE}"}
