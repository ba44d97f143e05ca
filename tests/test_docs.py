"""What the README's chapter on surgery shows really runs: its commands, its Python and its recipe."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

import onnxsurgeon as osg
from drawing import Drawing
from onnxsurgeon.cli import app
from paths import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
CHAPTER = README.partition("\n## Surgery\n")[2].partition("\n## ")[0]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", CHAPTER, re.DOTALL | re.MULTILINE)


COMMANDS = [line for line in blocks("")[0].splitlines() if line.startswith("onnxsurgeon ")]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """model.onnx, with the names of the chapter, other.onnx and recipe.yaml.

    in - conv1 - relu1 - conv2 - layer1.conv1 - layer1.relu - add4 - conv3 - relu3 - layer3.conv2 - conv7 - concat2 - fc
           |       |_________________________________________|                                             |
           |_______________________________________________________________________________________________|
    """
    d = Drawing()
    conv1 = d.av("conv1", d.input("in", 3), 16, kernel=3)
    relu1 = d.iv("relu1", conv1)
    inner = d.iv("layer1.relu", d.av("layer1.conv1", d.av("conv2", relu1, 16, kernel=3), 16))
    relu3 = d.iv("relu3", d.av("conv3", d.iv("add4", inner, relu1), 32, kernel=3))
    conv7 = d.av("conv7", d.av("layer3.conv2", relu3, 24), 24)
    d.av("fc", d.cc("concat2", conv7, conv1), 1000)
    d.network(tmp_path).path.rename(tmp_path / "model.onnx")
    other = Drawing(1)
    other.iv("r", other.av("v1", other.input("x", 20), 24))
    other.network(tmp_path).path.rename(tmp_path / "other.onnx")
    (tmp_path / "recipe.yaml").write_text(blocks("yaml")[0])
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("line", COMMANDS, ids=lambda line: line.split()[1])
def test_a_command_runs(line: str, folder: Path) -> None:
    result = CliRunner().invoke(app, [*shlex.split(line, comments=True)[1:], "--device", "cpu"])
    assert result.exit_code == 0, result.output
    assert "PASSED" in result.stderr


def test_every_command_is_there() -> None:
    shown = {line.split()[1] for line in COMMANDS}
    assert shown == {c.name for c in app.registered_commands} & shown
    assert len(shown) == 10


def test_the_recipe_does_what_it_says(folder: Path) -> None:
    result = CliRunner().invoke(app, ["edit", "model.onnx", "recipe.yaml", "-q"])
    assert result.exit_code == 0, result.output
    network = osg.load("model.edited.onnx")
    assert (network["fc"].width, network["conv7"].width) == (10, 32)
    assert network.find("guest.*")
    assert network["extra"].readers == ["layer1.conv1"]


def test_the_python_example_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (program,) = blocks("python")
    exec(compile(program, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert "['layer1.conv1', 'layer1.relu']" in printed
    network = osg.load("surgery.onnx")
    assert (network["conv7"].width, network.find("layer3*")) == (32, [])
    assert osg.load("pruned.onnx").measure().params < osg.load("model.onnx").measure().params
