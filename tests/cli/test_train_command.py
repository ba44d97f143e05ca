"""`train` writes a model that its file computes, says what came of it, and an interrupt keeps what was reached."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest

from commands import Run, environment


@pytest.fixture
def data(folder: Path) -> str:
    """Pictures of two kinds for net.onnx, of classes 0 and 1."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 48)
    images = rng.standard_normal((48, 3, 16, 16)).astype(np.float32) + labels[:, None, None, None].astype(np.float32)
    np.savez(folder / "train.npz", input=images, labels=labels)
    return "train.npz"


def test_a_trained_model_is_written_and_reported(run: Run, folder: Path, data: str) -> None:
    options = ("train", "net.onnx", "--data", data, "--val", data, "--epochs", "2", "--lr", "0.01", "--device", "cpu")
    report = json.loads(run(*options, "--json").stdout)
    assert report["output"] == "net.trained.onnx"
    assert report["after"] > report["before"]
    assert report["after"] == max(epoch["score"] for epoch in report["epochs"])
    assert report["difference"] < 1e-3
    assert report["status"] == "written"
    evaluated = run("evaluate", "net.trained.onnx", "--data", data, "--json", "--device", "cpu").stdout
    assert json.loads(evaluated)["score"] == pytest.approx(report["after"])
    before, after = onnx.load("net.onnx"), onnx.load("net.trained.onnx")
    assert list(before.graph.node) == list(after.graph.node)
    assert "exists" in run(*options, code=2).stderr
    shown = run(*options, "--overwrite").stderr
    assert "net.trained.onnx: top1" in shown
    assert "48 held-out samples" in shown


def test_curves_show_every_epoch(run: Run, folder: Path, data: str) -> None:
    options = ("train", "net.onnx", "--data", data, "--val", data, "--epochs", "3", "--html", "curves.html")
    report = json.loads(run(*options, "--json", "--device", "cpu").stdout)
    found = re.findall(r'<script type="application/json">(.*?)</script>', (folder / "curves.html").read_text())
    losses, scores = ([row["loss"] for row in json.loads(found[0])["data"]["values"]], json.loads(found[1])["data"])
    assert losses == [epoch["loss"] for epoch in report["epochs"]]
    expected = [report["before"], *(epoch["score"] for epoch in report["epochs"])]
    assert [row["score"] for row in scores["values"]] == expected
    assert [row["kept"] for row in scores["values"]].index(True) == report["kept"]
    run(*options[:-1], "net.onnx", code=2)


def test_nothing_to_train_is_exit_code_4(run: Run, data: str) -> None:
    assert "nothing can be trained" in run("train", "net.onnx", "--data", data, "--freeze", "*", code=4).stderr


def test_a_training_that_is_not_finite_is_exit_code_4(run: Run, data: str) -> None:
    options = ("--optimiser", "sgd", "--lr", "1e30", "--val", data, "--epochs", "3", "--device", "cpu")
    said = run("train", "net.onnx", "--data", data, *options, code=4).stderr
    assert "training failed at step" in said
    assert "--lr" in said
    assert "nothing was written" in said


@pytest.mark.slow
def test_an_interrupt_keeps_what_was_reached(folder: Path, data: str) -> None:
    command = [sys.executable, "-m", "onnxsurgeon", "train", "net.onnx", "--data", data, "--epochs", "100000"]
    command += ["--checkpoint", "state.npz", "--every", "0", "-o", "out.onnx", "--json"]
    with subprocess.Popen(command, cwd=folder, env=environment(), stdout=subprocess.PIPE) as process:
        end = time.monotonic() + 60
        while not (folder / "state.npz").exists() and time.monotonic() < end:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        try:
            output, _ = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    report = json.loads(output)
    assert report["status"] == "interrupted"
    assert report["stopped"] == "interrupted"
    onnx.checker.check_model(folder / "out.onnx")
