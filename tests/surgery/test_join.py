"""Laws of new joints: the function stays, and what can't be joined is refused before anything changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from drawing import Drawing
from drawn_networks import outputs, sample
from onnxsurgeon.errors import InfeasibleError, UsageError
from onnxsurgeon.surgery import join, rewire
from onnxsurgeon.surgery.network import Network, load
from paths import FIXTURES


def done(network: Network, *steps: object) -> np.ndarray:
    work = network.copy()
    work.do(steps)  # type: ignore[arg-type]
    proofs = work.prove(device="cpu")
    assert proofs is not None
    assert proofs.unchanged
    return outputs(work, sample(work))


def test_the_function_stays() -> None:
    network = load(FIXTURES / "plain.onnx")
    before = outputs(network, sample(network))
    for act in (join.concatenate, join.add):
        np.testing.assert_allclose(done(network, *act(network.ir, "relu1", "conv2")), before, atol=1e-5)


def test_a_concatenation_that_one_node_reads_gets_longer(tmp_path: Path) -> None:
    """in3 -> a4, b5; cc(a, b) -> c: what `c` reads is joined there."""
    d = Drawing()
    x = d.input("x", 3)
    d.av("c", d.cc("cc", d.av("a", x, 4), d.av("b", x, 5)), 2)
    network = d.network(tmp_path)
    work = network.copy()
    work.do(join.concatenate(work.ir, "b", "c"))
    assert work["cc"].inputs == ["a", "b", "b"]
    work.do(join.concatenate(work.ir, "x", "b"))
    assert work["b.concat"].inputs == ["x", "x"]
    np.testing.assert_allclose(outputs(work, sample(work)), outputs(network, sample(network)), atol=1e-4)


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    plain, residual = load(FIXTURES / "plain.onnx"), load(FIXTURES / "residual.onnx")
    for act in (join.concatenate, join.add):
        with pytest.raises(UsageError, match="2 data inputs"):
            act(residual.ir, "conv1", "layer1.0.add")
        with pytest.raises(InfeasibleError):
            act(plain.ir, "fc", "conv2")
        with pytest.raises(InfeasibleError):
            act(plain.ir, "relu1", "fc")


def test_a_chain_of_nodes_goes_at_once() -> None:
    network = load(FIXTURES / "residual.onnx")
    work = network.copy()
    work.do(rewire.remove(work.ir, "layer1.0.conv1", until="layer1.0.relu1"))
    left = {node.name for node in work}
    assert {node.name for node in network} - left == {"layer1.0.conv1", "layer1.0.bn1", "layer1.0.relu1"}
    assert work["layer1.0.conv2"].inputs == ["relu1"]
