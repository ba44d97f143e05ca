"""Two tutorials: of a trained XOR the least important half of the units can go; and a network that is too shallow
learns once it has two more layers, which begin as the identity."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

import onnxsurgeon as osg
from net import Net
from onnxsurgeon.runtime.session import Session

UNITS, GONE = 32, 16
SIDE, COUNT = 4, 20 * 64
ONCE: dict[str, Any] = {
    "optimiser": "adam", "lr": 0.01, "schedule": "constant", "loss": "bce", "batch": 64, "epochs": 1,
    "device": "cpu", "threads": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def xor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a network that has learned XOR, and its samples."""
    folder = tmp_path_factory.mktemp("xor")
    samples = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
    np.savez(folder / "xor.npz", input=samples, labels=(samples.sum(1, keepdims=True) == 1).astype(np.float32))
    net = Net("xor", ("batch", 2), width=2)
    x = net.gemm(net.add("Relu", "relu", net.gemm("input", "fc1", UNITS)), "fc2", 1)
    found = osg.train(
        net.finish(x, ("batch", 1)).model(), folder / "xor.npz", loss="mse", optimiser="adam", lr=0.02, epochs=300,
        device="cpu", threads=1,
    )  # fmt: skip
    assert found.after < 0.001 < found.before
    found.save(folder / "xor.onnx")
    return folder


def error(folder: Path, name: str = "xor.onnx") -> float:
    return osg.evaluate(folder / name, folder / "xor.npz", metric="mse", device="cpu").value


def halved(folder: Path, importance: str, seed: int = 0) -> float:
    """The error of the network without half of its hidden units."""
    found = osg.prune(
        folder / "xor.onnx", max_params=4 * (UNITS - GONE) + 1, data=folder / "xor.npz", importance=importance,
        compensate="none", seed=seed, device="cpu",
    )  # fmt: skip
    assert ("fc1", (UNITS, 2), (UNITS - GONE, 2)) in [(node, old, new) for node, _, _, old, new in found.changes()]
    found.save(folder / "half.onnx", overwrite=True, device="cpu")
    return error(folder, "half.onnx")


@pytest.mark.parametrize("criterion", ["wanda", "taylor", "fisher"])
def test_the_least_important_half_of_xor_can_go(criterion: str, xor: Path) -> None:
    """Least = original < random < most."""
    w = {name: v.const_value.numpy() for name, v in osg.load(xor / "xor.onnx").ir.graph.initializers.items()
         if v.const_value is not None}  # fmt: skip
    with np.load(xor / "xor.npz") as archive:
        hidden = np.maximum(archive["input"] @ w["fc1.weight"].T + w["fc1.bias"], 0)
    worth = np.abs(hidden * w["fc2.weight"]).sum(axis=0)
    np.savez(xor / "least.npz", fc1=worth.max() + 1 - worth)
    random = float(np.mean([halved(xor, "random", seed) for seed in range(5)]))
    assert halved(xor, criterion) == pytest.approx(error(xor), abs=1e-5)
    assert error(xor) + 1e-3 < random < halved(xor, f"file:{xor / 'least.npz'}")


def pictures(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Half of them are any bits; in the others each quadrant is the opposite of those beside it."""
    rng, half = np.random.default_rng(seed), SIDE // 2
    one = rng.integers(0, 2, (count, half, half))
    rows = [np.concatenate(pair, axis=2) for pair in ((1 - one, one), (one, 1 - one))]
    kind = np.arange(count) % 2
    bits = np.where(kind[:, None, None] == 1, np.concatenate(rows, axis=1), rng.integers(0, 2, (count, SIDE, SIDE)))
    return bits[:, None].astype(np.float32), np.eye(2, dtype=np.float32)[kind]


def network(layers: int, seed: int) -> onnx.ModelProto:
    """Convolutions of 16 channels, the mean over places, and a score for both kinds; with Glorot's weights."""
    net = Net(f"pictures {seed}", ("batch", 1, SIDE, SIDE), width=1)
    x = "input"
    for number in range(1, layers + 1):
        x = net.add("Relu", f"relu{number}", net.conv(x, f"conv{number}", 16, bias=True))
    x = net.add("Flatten", "flat", net.add("GlobalAveragePool", "pool", x))
    made = net.finish(net.gemm(x, "fc", 2), ("batch", 2))
    for name, array in made.params.items():
        weights, places = array.ndim > 1, int(np.prod(array.shape[2:]))
        scale = np.sqrt(2 / (places * sum(array.shape[:2]))) if weights else 0.0
        made.params[name] = (scale * made.rng.standard_normal(array.shape)).astype(np.float32)
    return made.model()


def loss(found: osg.Trained) -> float:
    """Binary cross-entropy on held-out pictures."""
    bits, wanted = pictures(1024, 99)
    proto = ir.to_proto(found.ir).SerializeToString()
    scores = Session(proto, "cpu").run({"input": bits})["output"].astype(np.float64)
    return float((np.maximum(scores, 0) - scores * wanted + np.log1p(np.exp(-np.abs(scores)))).mean())


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_two_layers_more_learn_what_one_can_not(seed: int, tmp_path: Path) -> None:
    for name, number in (("first", 2 * seed), ("more", 2 * seed + 1)):
        bits, wanted = pictures(COUNT, number)
        np.savez(tmp_path / f"{name}.npz", input=bits, labels=wanted)
    old = osg.train(network(1, seed), tmp_path / "first.npz", **ONCE)
    assert loss(old) > 0.6
    old.save(tmp_path / "old.onnx", device="cpu")
    deeper = osg.load(tmp_path / "old.onnx")
    for number in (2, 3):
        deeper.insert("Conv", after=f"relu{number - 1}", kernel=3, name=f"conv{number}")
        deeper.insert("Relu", after=f"conv{number}", name=f"relu{number}")
    deeper.save(tmp_path / "deeper.onnx")
    both = [
        Session(tmp_path / name, "cpu").run({"input": pictures(64, 98)[0]})["output"]
        for name in ("old.onnx", "deeper.onnx")
    ]
    assert np.array_equal(both[0], both[1])
    more = tmp_path / "more.npz"
    grown, new, on = (
        loss(osg.train(model, more, **ONCE))
        for model in (tmp_path / "deeper.onnx", network(3, seed), tmp_path / "old.onnx")
    )
    assert grown < new < on
