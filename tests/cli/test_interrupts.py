"""Whenever a command is stopped: the old file or the new one, a true message, and nothing left after the next run."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import onnx
import pytest

from commands import PRUNE, environment
from examples import examples
from paths import FIXTURES

COMMAND = (*PRUNE, "-o", "out.onnx", "--overwrite", "--save-as-external-data", "--no-proof")
KILLS = examples(few=6, many=300)
AT_A_RENAME = """
import os, signal, sys
from pathlib import Path
left, number, rename = int(sys.argv.pop(1)), int(sys.argv.pop(1)), Path.replace
def replace(self, target):
    global left
    for after in (False, True):
        if left == 0:
            os.kill(os.getpid(), number)
        left -= 1
        found = found if after else rename(self, target)
    return found
Path.replace = replace
from onnxsurgeon.__main__ import main
main()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, and what pruning it wrote."""
    made = tmp_path_factory.mktemp("interrupted")
    (made / "net.onnx").write_bytes((FIXTURES / "residual.onnx").read_bytes())
    finished(made)
    return made


def finished(folder: Path) -> float:
    """Seconds that the command took; afterwards its folder holds nothing that is not wanted."""
    began = time.perf_counter()
    result = subprocess.run(
        [sys.executable, "-m", "onnxsurgeon", *COMMAND], cwd=folder, env=surroundings(folder), capture_output=True
    )
    assert result.returncode == 0, result.stderr
    took = time.perf_counter() - began
    whole(folder)
    names = sorted(path.name for path in folder.iterdir() if path.name != "tmp")
    assert len(names) == 3, names
    assert not list((folder / "tmp").glob(".onnxsurgeon*"))
    return took


def surroundings(folder: Path) -> dict[str, str]:
    (folder / "tmp").mkdir(exist_ok=True)
    return environment(TMPDIR=str(folder / "tmp"))


def whole(folder: Path) -> None:
    """The model loads with all its weights."""
    onnx.checker.check_model(str(folder / "out.onnx"))
    onnx.load(folder / "out.onnx")


def stopped(folder: Path, number: int, command: list[str], delay: float | None) -> None:
    before = (folder / "out.onnx").read_bytes()
    child = subprocess.Popen(
        command, cwd=folder, env=surroundings(folder), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    if delay is not None:
        time.sleep(delay)
        child.send_signal(number)
    _, said = child.communicate()
    whole(folder)
    assert "Traceback" not in said, said
    changed = (folder / "out.onnx").read_bytes() != before
    if number == signal.SIGKILL:
        return
    if delay is not None and delay < READY and not said:  # python itself was not ready
        assert child.returncode in (0, 130, -number)
        assert not changed or child.returncode == 0
    elif child.returncode == 130:
        assert "error: interrupted" in said
        assert ("out.onnx had been written, whole" in said) == changed, said
        assert ("nothing was written" in said) != changed, said
    else:
        assert child.returncode == 0, said
    assert not list(folder.glob(".onnxsurgeon*"))


START, READY = 0.15, 0.5  # seconds until the first line of the command runs: at least, and on a busy machine


@pytest.mark.slow
def test_any_moment(folder: Path) -> None:
    took, rng = finished(folder), random.Random(0)
    command = [sys.executable, "-m", "onnxsurgeon", *COMMAND]
    for _ in range(KILLS):
        number = rng.choice([signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
        stopped(folder, number, command, rng.uniform(START, 1.1 * took))
        if number == signal.SIGKILL:
            finished(folder)
    finished(folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("left", "number"),
    [(left, number) for left in range(8) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)][
        :: examples(few=4, many=1)
    ],
)
def test_between_renames(left: int, number: int, folder: Path) -> None:
    stopped(folder, number, [sys.executable, "-c", AT_A_RENAME, str(left), str(int(number)), *COMMAND], None)
    finished(folder)


@pytest.mark.parametrize("place", ["make_context", "invoke"])
def test_an_interrupt_outside_of_a_command_is_one(place: str, tmp_path: Path) -> None:
    """As while options are read: typer makes an exit code of it, and says nothing."""
    script = f"""
from onnxsurgeon.cli.group import Group
def interrupted(*args, **given): raise KeyboardInterrupt
Group.{place} = interrupted
from onnxsurgeon.__main__ import main
main()
"""
    command = [sys.executable, "-c", script, "inspect", "m.onnx"]
    result = subprocess.run(command, capture_output=True, text=True, env=surroundings(tmp_path))
    assert result.returncode == 130
    assert result.stderr == "error: interrupted\n  nothing was written\n"
