"""Several models on a cluster of two nodes: what a worker or a driver that is killed leaves is done once, and whole."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest

from bench_cluster import MARK, two_nodes, workers
from commands import environment
from paths import FIXTURES

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.slow
NAMES = ("plain", "residual", "se", "xor", "grouped")


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a cluster of two nodes of one core each."""
    monkeypatch.setenv(MARK, str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    found = two_nodes()
    yield found.address
    found.shutdown()


def started(folder: Path, address: str, *more: str) -> subprocess.Popen[str]:
    files = [str(FIXTURES / f"{name}.onnx") for name in NAMES]
    command = [sys.executable, "-m", "onnxsurgeon", "prune", *files, "--ratio", "0.2", "--data", "none", "--json", "-q"]
    command += ["--output-dir", "out", "--executor", "ray", "--address", address, *more]
    return subprocess.Popen(command, cwd=folder, env=environment(), stdout=subprocess.PIPE, text=True)


def records(folder: Path) -> dict[str, int]:
    return {file.name: file.stat().st_mtime_ns for file in (folder / "out").glob("*.onnx.json")}


def awaited(folder: Path, count: int, mark: Path) -> None:
    end = time.monotonic() + 120
    while (len(records(folder)) < count or not workers(str(mark))) and time.monotonic() < end:
        time.sleep(0.02)


def test_nothing_is_lost_and_nothing_done_twice(cluster: str, tmp_path: Path) -> None:
    with started(tmp_path, cluster) as driver:
        awaited(tmp_path, 1, tmp_path)
        done = records(tmp_path)
        os.kill(workers(str(tmp_path))[0], signal.SIGKILL)
        awaited(tmp_path, 2, tmp_path)
        driver.kill()
        assert driver.stdout is not None
        assert driver.stdout.read() == ""  # where the report goes: Ray says there that a worker died
    kept = records(tmp_path)
    assert done.items() <= kept.items()
    with started(tmp_path, cluster, "--resume", "--overwrite") as again:
        output, _ = again.communicate(timeout=240)
    assert again.returncode == 0
    rows = json.loads(output)["models"]
    assert [Path(row["model"]).stem for row in rows] == list(NAMES)
    assert {row["status"] for row in rows} <= {"written", "skipped"}
    assert kept.items() <= records(tmp_path).items()
    for name in NAMES:
        onnx.checker.check_model(tmp_path / "out" / f"{name}.onnx", full_check=True)
    assert not list((tmp_path / "out").glob(".onnxsurgeon-*"))
