"""A graph differs from another by exactly what an edit changed, and from itself by nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import onnxsurgeon as osg
from onnxsurgeon.surgery.differences import NodeDifference
from paths import FIXTURES, MODELS

PLAIN = FIXTURES / "plain.onnx"


def differing(network: osg.Network) -> dict[str, NodeDifference]:
    return {row.node: row for row in osg.diff(PLAIN, network).nodes}


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_a_graph_is_the_same_as_itself(path: Path) -> None:
    assert osg.diff(path, path).same


def test_what_an_edit_changed_is_all_that_differs() -> None:
    net = osg.load(PLAIN)
    net.kernel("conv2", 5)
    assert {name: row.changed for name, row in differing(net).items()} == {
        "conv2": ("weights", "kernel_shape", "pads"),
    }
    net.insert("Relu", after="fc", name="last")
    assert set(differing(net)) == {"conv2", "last"}
    assert differing(net)["last"].before is None


def test_what_only_follows_is_told_apart() -> None:
    net = osg.load(PLAIN)
    net.resize("conv2=-8")
    found = differing(net)
    assert {name for name, row in found.items() if row.follows} == {"bn2", "relu2"}
    assert found["conv2"].before is not None
    assert found["conv2"].after is not None
    assert (found["conv2"].before.width, found["conv2"].after.width) == (24, 16)


def test_other_connections_are_seen() -> None:
    net = osg.load(FIXTURES / "residual.onnx")
    net.connect("relu1", "layer1.1.add")
    (row,) = [r for r in osg.diff(FIXTURES / "residual.onnx", net).nodes if r.before and r.after]
    assert row.node == "layer1.1.add"
    assert "inputs" in row.changed


def test_other_numbers_and_ends_are_seen(tmp_path: Path) -> None:
    proto = onnx.load(PLAIN)
    held = next(w for w in proto.graph.initializer if w.name == "fc.weight")
    held.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(held) + np.float32(1), held.name))
    onnx.save(proto, tmp_path / "trained.onnx")
    found = osg.diff(PLAIN, tmp_path / "trained.onnx")
    assert [(row.node, row.changed) for row in found.nodes] == [("fc", ("values",))]
    net = osg.load(PLAIN)
    net.resize("fc=3")
    (end,) = osg.diff(PLAIN, net).ends
    assert (end.name, end.kind) == ("output", "output")
