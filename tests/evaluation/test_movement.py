"""How far outputs moved: exact for known changes, on whatever samples, and told in the terms that fit the output."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, save

from onnxsurgeon.data import Batch
from onnxsurgeon.evaluation.movement import MOST_SAMPLES, Movement, movement, some

RNG = np.random.default_rng(0)


def linear(path: Path, weight: np.ndarray, *, then: str = "", kind: int = TensorProto.FLOAT, **given: int) -> Path:
    """x -> MatMul -> (then) -> y"""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["m" if then else "y"])]
    nodes += [helper.make_node(then, ["m"], ["y"], **given)] if then else []
    graph = helper.make_graph(
        nodes, "net", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", len(weight)])],
        [helper.make_tensor_value_info("y", kind, None)], [numpy_helper.from_array(weight.astype(np.float32), "w")],
    )  # fmt: skip
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def batches(x: np.ndarray, size: int, *, padded: bool = False) -> Iterator[Batch]:
    for at in range(0, len(x), size):
        part = x[at : at + size].astype(np.float32)
        missing = size - len(part) if padded else 0
        feed = np.concatenate([part, np.full((missing, x.shape[1]), 1e6, np.float32)])
        yield Batch({"x": feed}, None, len(part), len(feed))


def between(folder: Path, a: np.ndarray, b: np.ndarray, x: np.ndarray, size: int = 8, **more: bool) -> Movement:
    files = linear(folder / "a.onnx", a), linear(folder / "b.onnx", b)
    found = movement(*files, batches(x, size, **more), kind="data", device="cpu")
    assert found is not None
    return found


@pytest.mark.parametrize("padded", ["", "padded"])
@pytest.mark.parametrize("size", [1, 7, 64])
def test_error_and_agreement_are_what_numpy_says(size: int, padded: str, tmp_path: Path) -> None:
    x, a = RNG.standard_normal((30, 6)), RNG.standard_normal((6, 5))
    b = a + 0.3 * RNG.standard_normal((6, 5))
    found = between(tmp_path, a, b, x, size, padded=bool(padded))
    y, z = x @ a, x @ b
    assert found.samples == 30
    assert found.worst.error == pytest.approx(np.linalg.norm(y - z) / np.linalg.norm(y - y.mean(0)), rel=1e-4)
    assert found.worst.agreement == pytest.approx(np.mean(y.argmax(1) == z.argmax(1)))
    assert found.share == pytest.approx(np.mean(y.argmax(1) != z.argmax(1)))


def test_the_same_model_has_not_moved(tmp_path: Path) -> None:
    a = RNG.standard_normal((6, 5))
    assert between(tmp_path, a, a, RNG.standard_normal((9, 6))).share == 0


def test_a_model_that_ignores_its_input_is_as_far_off_as_a_constant_however_large_the_outputs_are(
    tmp_path: Path,
) -> None:
    x = RNG.standard_normal((64, 6))
    x[:, 0] = 1000  # a constant offset of all outputs, which hides a lost signal from a plain relative error
    a = RNG.standard_normal((6, 1))
    b = a * (np.arange(6) == 0)[:, None]
    assert 0.9 < between(tmp_path, a, b, x).share < 1.2


def test_one_class_for_all_samples_says_nothing(tmp_path: Path) -> None:
    """Noise often has the same class in any network; agreement on it is no sign of anything."""
    x, a = np.abs(RNG.standard_normal((16, 6))), np.zeros((6, 3))
    a[:, 1] = 1
    found = between(tmp_path, a, a * 5, x)
    assert found.classes
    assert found.worst.agreement is None
    assert found.share > 1


def test_directions_are_no_classes(tmp_path: Path) -> None:
    x = RNG.standard_normal((16, 6))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    assert not between(tmp_path, np.eye(6), np.eye(6)[::-1], x).classes


def test_choices_differ_by_a_share(tmp_path: Path) -> None:
    files = [
        linear(tmp_path / f"{k}.onnx", k * np.eye(2), then="ArgMax", kind=TensorProto.INT64, axis=1) for k in (1, -1)
    ]
    x = RNG.standard_normal((10, 2))
    found = movement(*files, batches(x, 4), kind="random", device="cpu")
    assert found is not None
    assert found.share == 1


def test_infinite_outputs_count_only_where_the_original_is_finite(tmp_path: Path) -> None:
    x = np.array([[-1.0], [2.0], [3.0], [4.0], [5.0]])
    log = linear(tmp_path / "log.onnx", np.eye(1), then="Log")
    worse = linear(tmp_path / "worse.onnx", -np.eye(1), then="Log")
    same, lost = (movement(log, other, batches(x, 2), kind="data", device="cpu") for other in (log, worse))
    assert same is not None
    assert lost is not None
    assert (same.share, lost.share) == (0, np.inf)


@dataclass(frozen=True)
class Many:
    count: int

    def __len__(self) -> int:
        return self.count

    def batches(self) -> Iterator[Batch]:
        return batches(np.zeros((self.count, 1)), 16)


@pytest.mark.parametrize("count", [1, 100, 500, 5000])
def test_many_samples_are_thinned_evenly(count: int) -> None:
    chosen = sum(batch.count for batch in some(Many(count)))
    assert min(count, MOST_SAMPLES) <= chosen <= 2 * MOST_SAMPLES
