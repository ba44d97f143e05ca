"""Laws of `compress`: its steps add up to the ratio, the smallest model that is good enough is written, and a run that
is killed anywhere and goes on ends with the same bytes as one that was not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import onnxsurgeon as osg
from net import Net
from onnxsurgeon.pruning.compression_options import CompressOptions
from paths import FIXTURES, ROOT

ASKED: dict[str, Any] = {
    "ratio": 0.6, "cost": "params", "steps": 3, "importance": "taylor", "compensate": "none", "device": "cpu",
    "lr": 0.02, "seed": 1,
}  # fmt: skip


class KilledError(BaseException):
    """Stands for a kill: nothing handles it."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A small network that was trained, and its samples."""
    folder, rng = tmp_path_factory.mktemp("compress"), np.random.default_rng(0)
    net = Net("blobs", ("batch", 6), width=6)
    x = net.add("Relu", "relu1", net.gemm("input", "fc1", 24))
    x = net.add("Relu", "relu2", net.gemm(x, "fc2", 24))
    proto = net.finish(net.gemm(x, "fc3", 3), ("batch", 3)).model()
    centres = 2 * rng.standard_normal((3, 6))
    labels = rng.integers(0, 3, 192)
    samples = (centres[labels] + rng.standard_normal((192, 6))).astype(np.float32)
    np.savez(folder / "seen.npz", input=samples, labels=labels)
    trained = osg.train(proto, folder / "seen.npz", epochs=8, lr=0.01, device="cpu")
    trained.save(folder / "blobs.onnx")
    return folder / "blobs.onnx", folder / "seen.npz"


def weights(path: Path) -> bytes:
    return b"".join(t.SerializeToString() for t in onnx.load(path).graph.initializer)


@pytest.mark.parametrize("spacing", ["geometric", "linear"])
def test_steps_add_up_to_the_ratio(spacing: str, files: tuple[Path, Path], tmp_path: Path) -> None:
    model, data = files
    found = osg.compress(model, data=data, spacing=spacing, **ASKED)
    found.save(tmp_path / "out.onnx")
    gone = [step.ratio for step in found.steps]
    assert gone == sorted(gone)
    assert gone[-1] == pytest.approx(0.6, abs=0.06)
    wanted = {"geometric": 1 - 0.4 ** (1 / 3), "linear": 0.2}[spacing]
    assert gone[0] == pytest.approx(wanted, abs=0.05)
    sizes = [sum(np.prod(t.dims) for t in onnx.load(p).graph.initializer) for p in (model, tmp_path / "out.onnx")]
    assert 1 - sizes[1] / sizes[0] == pytest.approx(gone[-1], abs=1e-3)
    assert osg.evaluate(tmp_path / "out.onnx", data).value == pytest.approx(found.steps[-1].score)
    assert [row[0] for row in found.table()] == ["step", 1, 2, 3]
    assert "of parameters gone after step 3" in found.line()


def test_the_smallest_that_is_good_enough_is_written(files: tuple[Path, Path], tmp_path: Path) -> None:
    model, data = files
    found = osg.compress(model, data=data, max_drop=0.03, **{**ASKED, "ratio": 0.97, "steps": 6, "lr": 1e-4})
    assert found.best is not None
    assert [step.passed for step in found.steps] == [True] * found.best.number + [False]
    assert "is worse by" in found.stopped
    found.save(tmp_path / "out.onnx")
    before, after = (osg.evaluate(path, data).value for path in (model, tmp_path / "out.onnx"))
    assert before - after <= 0.03
    none = osg.compress(model, data=data, max_drop=0.0, **{**ASKED, "ratio": 0.97, "steps": 1, "lr": 1e-5})
    with pytest.raises(osg.InfeasibleError, match="no step is good enough"):
        none.save(tmp_path / "none.onnx")


PATIENT: dict[str, Any] = {**ASKED, "ratio": 0.9, "max_drop": 0.02, "patience": 3, "fine_tune": 1, "lr": 0.01}


def test_a_step_that_is_not_good_enough_is_trained_again(files: tuple[Path, Path]) -> None:
    model, data = files
    once, often = (osg.compress(model, data=data, **{**PATIENT, "patience": patience}) for patience in (0, 3))
    assert [step.epochs for step in once.steps] == [1] * len(once.steps)
    assert max(step.epochs for step in often.steps if step.passed) > 1
    assert max(step.epochs for step in often.steps) <= 4
    assert once.best is not None
    assert often.best is not None
    assert often.best.number > once.best.number


@pytest.mark.slow
@pytest.mark.parametrize("asked", [ASKED, PATIENT], ids=["steps", "patience"])
def test_a_run_that_was_killed_ends_as_one_that_was_not(
    asked: dict[str, Any], files: tuple[Path, Path], tmp_path: Path
) -> None:
    model, data = files
    said: list[tuple[str, str]] = []
    whole = osg.compress(model, data=data, progress=lambda *words: said.append(words), **asked)
    whole.save(tmp_path / "whole.onnx")
    kills = np.random.default_rng(2).choice(len(said), 6, replace=False)
    for number in sorted(kills.tolist()):
        left, folder = [number], tmp_path / f"killed {number}"

        def kill(*_: str, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise KilledError

        kept = {**asked, "folder": folder, "every": 0.0}
        with pytest.raises(KilledError):
            osg.compress(model, data=data, progress=kill, **kept)
        again = osg.compress(model, data=data, resume=True, **kept)
        again.save(tmp_path / f"{number}.onnx")
        assert weights(tmp_path / f"{number}.onnx") == weights(tmp_path / "whole.onnx"), said[number]
        assert [step.score for step in again.steps] == [step.score for step in whole.steps]


def test_an_interrupt_keeps_what_was_reached(files: tuple[Path, Path], tmp_path: Path) -> None:
    model, data = files

    def interrupt(stage: str, detail: str) -> None:
        if (stage, detail) == ("step", "2 of 3"):
            raise KeyboardInterrupt

    found = osg.compress(model, data=data, progress=interrupt, folder=tmp_path, **ASKED)
    assert found.stopped == "interrupted"
    assert found.best is not None
    assert found.best.number == 1
    with pytest.raises(osg.UsageError, match="holds a compression"):
        osg.compress(model, data=data, folder=tmp_path, **ASKED)
    with pytest.raises(osg.UsageError, match=r"(?s)holds another compression.*seed: 1, now 2"):
        osg.compress(model, data=data, folder=tmp_path, resume=True, **{**ASKED, "seed": 2})
    assert len(osg.compress(model, data=data, folder=tmp_path, resume=True, **ASKED).steps) == 3


def test_less_a_quantile_each_layer_has_channels_to_lose(files: tuple[Path, Path], tmp_path: Path) -> None:
    """Without it, a layer of a hundred times the importance loses nothing."""
    np.savez(tmp_path / "scores.npz", fc1=np.arange(1.0, 25), fc2=100 * np.arange(1.0, 25))
    asked: dict[str, Any] = {"ratio": 0.05, "data": "none", "importance": f"file:{tmp_path / 'scores.npz'}"}
    for less in (None, 0.3):
        found = osg.prune(files[0], less_quantile=less, **asked)
        gone = {node for node, _, _, old, new in found.changes() if new[0] < old[0]}
        assert ("fc2" in gone) == (less is not None)


def test_what_does_not_fit_together_is_refused() -> None:
    for asked, said in (
        ({"data": "x.npz"}, "there is no goal"),
        ({"ratio": 0.5}, "`data` is not given"),
        ({"ratio": 0.5, "data": "x.npz", "resume": True}, "`resume` needs `folder`"),
        ({"ratio": 0.5, "data": "x.npz", "importance": "output-error", "less_quantile": 0.2}, "`less_quantile` is for"),
    ):
        with pytest.raises(osg.UsageError, match=said):
            CompressOptions(**asked)


@pytest.mark.slow
def test_a_process_that_was_killed_goes_on(tmp_path: Path) -> None:
    command = [
        *(sys.executable, "-m", "onnxsurgeon", "compress", str(FIXTURES / "digits.onnx"), "--json", "-q"),
        *("--data", str(FIXTURES / "digits_train.npz"), "--val", str(FIXTURES / "digits_test.npz"), "--cost", "macs"),
        *("--ratio", "0.6", "--steps", "2", "--importance", "taylor", "--compensate", "none", "--every", "0"),
        *("--max-drop", "0.05", "--fine-tune", "1", "--device", "cpu"),
    ]
    whole = subprocess.run([*command, "-o", str(tmp_path / "whole.onnx")], cwd=ROOT, capture_output=True, check=True)
    goes_on = [*command, "--folder", str(tmp_path / "steps"), "--resume", "-o", str(tmp_path / "killed.onnx")]
    with subprocess.Popen(goes_on, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while not (tmp_path / "steps" / "step-1.cut-0.npz").exists():
            time.sleep(0.01)
            assert process.poll() is None
        os.kill(process.pid, signal.SIGKILL)
    assert not (tmp_path / "killed.onnx").exists()
    again = subprocess.run(goes_on, cwd=ROOT, capture_output=True, check=True)
    assert weights(tmp_path / "killed.onnx") == weights(tmp_path / "whole.onnx")
    reports = [json.loads(run.stdout) for run in (whole, again)]
    assert [step["score"] for step in reports[0]["steps"]] == [step["score"] for step in reports[1]["steps"]]
    assert reports[1]["status"] == "written"
