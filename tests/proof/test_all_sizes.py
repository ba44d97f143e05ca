"""A cut model computes what it must at all sizes of its dynamic dims, not only at those at which it was labelled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxsurgeon.dependency.dynamic_dims import dynamic_dims
from onnxsurgeon.dependency.labels import label
from onnxsurgeon.dependency.spaces import spaces
from onnxsurgeon.edit.apply import cut
from onnxsurgeon.errors import ProofError
from onnxsurgeon.model.model import load
from onnxsurgeon.model.write import write
from onnxsurgeon.proof.comparison import Tolerance
from onnxsurgeon.proof.feeds import unusual_sizes
from onnxsurgeon.proof.of_a_cut import prove
from onnxsurgeon.proof.reference import fixed_size, reference
from onnxsurgeon.runtime.random_inputs import random_inputs
from paths import MODELS

SIZES = (1, 2, 3, 7, 31, 63, 64, 65, 100, 128, 200, 300)


class Graph:
    """A graph of [b, s, 16] -> [b, t, 5] that is written node by node."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def const(self, *numbers: int) -> str:
        return self.hold(np.array(numbers, np.int64))

    def scalar(self, number: int) -> str:
        return self.hold(np.array(number, np.int64))

    def hold(self, array: np.ndarray) -> str:
        self.weights.append(numpy_helper.from_array(array, f"c{len(self.weights)}"))
        return self.weights[-1].name

    def op(self, kind: str, *inputs: str, **attributes: object) -> str:
        name = f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=f"{name}_n", **attributes))
        return name

    def linear(self, x: str, i: int, o: int) -> str:
        weight = self.hold((self.rng.standard_normal((i, o)) / np.sqrt(i)).astype(np.float32))
        return self.op("Add", self.op("MatMul", x, weight), self.hold(np.full(o, 0.1, np.float32)))

    def size(self, x: str, axis: int) -> str:
        return self.op("Gather", self.op("Shape", x), self.const(axis), axis=0)

    def attention(self, h: str) -> str:
        """Its heads are taken apart by sizes that are computed."""
        n, s = self.size(h, 0), self.size(h, 1)
        heads = self.op("Concat", n, s, self.const(4, 8), axis=0)
        q, k, v = (
            self.op("Transpose", self.op("Reshape", self.linear(h, 32, 32), heads), perm=[0, 2, 1, 3]) for _ in range(3)
        )
        scores = self.op("Softmax", self.op("MatMul", q, self.op("Transpose", k, perm=[0, 1, 3, 2])), axis=-1)
        mixed = self.op("Transpose", self.op("MatMul", scores, v), perm=[0, 2, 1, 3])
        return self.op("Reshape", mixed, self.op("Concat", n, s, self.const(32), axis=0))

    def save(self, result: str, path: Path) -> None:
        self.nodes.append(helper.make_node("Identity", [result], ["y"], name="end"))
        inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["b", "s", 16])]
        outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
        graph = helper.make_graph(self.nodes, "g", inputs, outputs, self.weights)
        opsets = [helper.make_opsetid("", 17)]
        onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)


def first_64(g: Graph, h: str) -> str:
    return g.op("Slice", h, g.const(0), g.const(64), g.const(1))


def last_64(g: Graph, h: str) -> str:
    return g.op("Slice", h, g.const(-64), g.const(2**31 - 1), g.const(1))


def at_most(kind: str) -> Callable[[Graph, str], str]:
    def clamp(g: Graph, h: str) -> str:
        end = g.op(kind, g.size(h, 1), *((g.const(64),) if kind == "Min" else (g.scalar(1), g.scalar(64))))
        return g.op("Slice", h, g.const(0), end, g.const(1))

    return clamp


def whole_windows(g: Graph, h: str) -> str:
    """The remainder of a division by 8 is cut off."""
    size = g.size(h, 1)
    end = g.op("Sub", size, g.op("Mod", size, g.const(8)))
    return g.op("Slice", h, g.const(0), end, g.const(1))


def padded_to_windows(g: Graph, h: str) -> str:
    """Filled up to a multiple of 8."""
    size = g.size(h, 1)
    more = g.op("Mod", g.op("Sub", g.const(8), g.op("Mod", size, g.const(8))), g.const(8))
    return g.op("Pad", h, g.op("Concat", g.const(0, 0, 0, 0), more, g.const(0), axis=0))


def with_positions(g: Graph, h: str) -> str:
    """A table of positions is cut to the length, which is 128 at most."""
    h = g.op("Slice", h, g.const(0), g.const(128), g.const(1))
    table = g.hold(np.random.default_rng(1).standard_normal((1, 128, 32)).astype(np.float32))
    return g.op("Add", h, g.op("Slice", table, g.const(0), g.size(h, 1), g.const(1)))


def branch_on_length(g: Graph, h: str) -> str:
    """64 frames at most; another branch for fewer."""
    h = first_64(g, h)
    full = g.op("Equal", g.op("Gather", g.op("Shape", h), g.scalar(1), axis=0), g.scalar(64))
    bodies = {}
    for name in ("then_branch", "else_branch"):
        weight = g.hold((g.rng.standard_normal((32, 32)) / 6).astype(np.float32))
        node = helper.make_node("MatMul", [h, weight], [f"{name}_out"], name=name)
        info = helper.make_tensor_value_info(f"{name}_out", TensorProto.FLOAT, ["b", "t", 32])
        bodies[name] = helper.make_graph([node], name, [], [info])
    return g.op("If", full, **bodies)


KINDS = {
    "first 64": first_64,
    "last 64": last_64,
    "Min": at_most("Min"),
    "Clip": at_most("Clip"),
    "whole windows": whole_windows,
    "padded to windows": padded_to_windows,
    "positions": with_positions,
    "a branch on the length": branch_on_length,
}


def outputs(path: Path, feed: dict[str, np.ndarray]) -> list[np.ndarray] | None:
    """None where the model does not accept the sizes."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    try:
        return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"]).run(None, feed)
    except Exception:  # noqa: BLE001 - onnxruntime raises many types
        return None


def compare_at_all_sizes(path: Path, folder: Path) -> int:
    """The number of sizes at which both ran and agreed."""
    labels = label(load(path).ir)
    built = spaces(labels, np.random.default_rng(0).uniform(0.5, 1.0, labels.relations.count))
    problem = built.problem
    sizes = [s[(len(s) + 1) // 2] if len(s) > 2 else s[-1] for s in problem.sizes]
    keep = built.keep(np.maximum(np.array(sizes, np.int64), 1), labels.classes.root)
    write(cut(labels, keep), folder / "cut.onnx")
    write(reference(labels, keep), folder / "reference.onnx")
    if fixed_size(labels, keep):
        return 0
    dims, agreed = list(dynamic_dims(labels.model)), 0
    for size in SIZES:
        chosen = {(name, axis): min(size, 3) if kind == "batch" else size for name, axis, _, kind in dims}
        feed = random_inputs(labels, chosen, 0)
        if outputs(path, feed) is None:
            continue
        expected, found = outputs(folder / "reference.onnx", feed), outputs(folder / "cut.onnx", feed)
        assert expected is not None, f"the reference fails at {size}"
        assert found is not None, f"the cut model fails at {size}"
        for a, b in zip(expected, found, strict=True):
            assert a.shape == b.shape, size
            np.testing.assert_allclose(b, a, rtol=1e-3, atol=1e-4 * max(1.0, float(np.abs(a).max(initial=0.0))))
        agreed += 1
    return agreed


@pytest.mark.parametrize("kind", KINDS)
def test_sizes_that_are_clamped_stay_computed(kind: str, tmp_path: Path) -> None:
    g = Graph()
    h = KINDS[kind](g, g.linear("x", 16, 32))
    path = tmp_path / "model.onnx"
    g.save(g.linear(g.attention(h), 32, 5), path)
    assert compare_at_all_sizes(path, tmp_path) >= 8


def test_the_proof_looks_at_sizes_around_a_limit(tmp_path: Path) -> None:
    """A file in which a clamped length became a constant is right at usual sizes, and refused all the same."""
    original, wrong = Graph(), Graph()
    for g, length in ((original, 0), (wrong, 64)):
        h = first_64(g, g.linear("x", 16, 32))
        g.save(g.op("Reshape", h, g.const(0, length, 4, 8)), tmp_path / f"{length}.onnx")
    labels = label(load(tmp_path / "0.onnx").ir)
    assert {n for sizes in unusual_sizes(labels) for n in sizes.values()} >= {1, 2, 7, 63, 64, 65}
    keep, allowed = np.ones(labels.relations.count, np.bool_), Tolerance(1e-5, 1e-3)
    assert prove(labels, keep, tmp_path / "0.onnx", tmp_path / "0.onnx", allowed=allowed).samples == 8
    with pytest.raises(ProofError, match="does not run"):
        prove(labels, keep, tmp_path / "0.onnx", tmp_path / "64.onnx", allowed=allowed)


@pytest.mark.parametrize("path", [p for p in MODELS if list(dynamic_dims(load(p).ir))], ids=lambda p: p.stem)
def test_fixtures_are_right_at_all_sizes(path: Path, tmp_path: Path) -> None:
    assert compare_at_all_sizes(path, tmp_path) > 0
