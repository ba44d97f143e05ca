"""The fixtures are sound networks, and the script that makes them says exactly what they hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from make_fixtures import FIXTURES, FOLDER, UNTRAINED, make

SIZES = {"sequence": 7}


def session(name: str) -> ort.InferenceSession:
    return ort.InferenceSession(FOLDER / f"{name}.onnx", providers=["CPUExecutionProvider"])


def run(network: ort.InferenceSession, *, batch: int, seed: int = 0) -> np.ndarray:
    """Output for a random input, shape (batch, ...)."""
    rng = np.random.default_rng(seed)
    (value,) = network.get_inputs()
    shape = [dim if isinstance(dim, int) else {**SIZES, "batch": batch}[dim] for dim in value.shape]
    tokens = value.type == "tensor(int64)"
    feed = rng.integers(0, 50, shape) if tokens else rng.standard_normal(shape, dtype=np.float32)
    return network.run(["output"], {"input": feed})[0]


def test_the_folder_holds_one_file_per_fixture() -> None:
    assert {path.stem for path in FOLDER.glob("*.onnx")} == set(FIXTURES)
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 1_500_000


@pytest.mark.parametrize("name", FIXTURES)
def test_a_fixture_is_valid_and_runs_at_each_batch_size(name: str) -> None:
    model = onnx.load(FOLDER / f"{name}.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert all(node.name for node in model.graph.node)
    network = session(name)
    fixed = network.get_inputs()[0].shape[0]
    for batch in (1, 3) if fixed == "batch" else (fixed,):
        output = run(network, batch=batch)
        assert output.shape[0] == batch
        assert np.isfinite(output).all()
        assert np.abs(output - run(network, batch=batch, seed=1)).max() > 0.01, "it must depend on its input"


@pytest.mark.parametrize("name", [build.__name__ for build in UNTRAINED])
def test_making_a_fixture_again_changes_no_byte(name: str, tmp_path: Path) -> None:
    assert make(name, tmp_path).read_bytes() == (FOLDER / f"{name}.onnx").read_bytes()


def test_xor_is_exclusive_or() -> None:
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
    (output,) = session("xor").run(["output"], {"input": x})
    np.testing.assert_allclose(output[:, 0], [0, 1, 1, 0], atol=0.05)


def test_digits_are_recognised() -> None:
    with np.load(FOLDER / "digits_test.npz") as held_out:
        (logits,) = session("digits").run(["output"], {"input": held_out["input"]})
        assert (logits.argmax(1) == held_out["labels"]).mean() >= 0.97
