"""The memory of activations: what is alive together, of a model and of what is cut from it."""

from __future__ import annotations

import functools
from math import prod

import numpy as np
import pytest
from onnx import ModelProto, helper, numpy_helper

import onnxsurgeon as osg
from onnxsurgeon.dependency.labels import Labels, label
from onnxsurgeon.dependency.live_memory import Terms, _bytes, _together, moments
from onnxsurgeon.dependency.spaces import spaces
from onnxsurgeon.model.model import as_model
from paths import FIXTURES

FLOAT = 4


def network(batch: int | str = 1) -> ModelProto:
    """x (3 channels) -> a (16) -> relu -> b (16) -> + a -> c (4), of 8 by 8 pixels; the result is flattened."""
    rng = np.random.default_rng(0)
    weights = {"wa": (16, 3, 1, 1), "wb": (16, 16, 1, 1), "wc": (4, 16, 1, 1)}
    nodes = [
        helper.make_node("Conv", ["x", "wa"], ["a"]),
        helper.make_node("Relu", ["a"], ["r"]),
        helper.make_node("Conv", ["r", "wb"], ["b"]),
        helper.make_node("Add", ["b", "r"], ["s"]),
        helper.make_node("Conv", ["s", "wc"], ["c"]),
        helper.make_node("Flatten", ["c"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes, "net", [helper.make_tensor_value_info("x", 1, [batch, 3, 8, 8])],
        [helper.make_tensor_value_info("y", 1, [batch, 256])],
        [numpy_helper.from_array(rng.standard_normal(s).astype(np.float32), n) for n, s in weights.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def peak(labels: Labels) -> float:
    return max(map(total, moments(labels)))


def total(terms: Terms) -> float:
    return sum(coefficient * prod(size for size, _ in factors) for coefficient, factors in terms)


@pytest.mark.parametrize("batch", [1, "n"])
def test_what_is_alive_together_counts_once_and_per_sample(batch: int | str) -> None:
    """`r` overwrites `a`, `s` overwrites `b`: the most is `r` and `b`, 16 channels each."""
    labels = label(as_model(network(batch)).ir)
    assert peak(labels) == 2 * 16 * 64 * FLOAT
    assert sorted(map(total, moments(labels))) == [(16 + 4) * 64 * FLOAT, 2 * 16 * 64 * FLOAT]


def test_a_view_is_no_copy_and_ends_with_its_last_reader() -> None:
    held = [sorted(value.name or "" for value in one) for one in _together(label(as_model(network()).ir))]
    assert held == [["a"], ["a"], ["a", "b"], ["a", "b"], ["b", "c"], ["c"]]


@pytest.mark.parametrize("name", ["residual", "digits", "concat", "attention", "se", "shuffle"])
def test_moments_that_are_left_out_are_never_the_largest(name: str) -> None:
    labels = label(as_model(FIXTURES / f"{name}.onnx").ir)
    everything = [[_bytes(labels, value) for value in held] for held in _together(labels)]
    built = spaces(labels, np.zeros(labels.relations.count))
    rng = np.random.default_rng(0)
    for _ in range(10):
        keep = built.keep(rng.integers(1, np.diff(built.starts) + 1), labels.classes.root)

        def cut(terms: Terms, keep: np.ndarray = keep) -> float:
            lengths = ([n if axis is None else int(keep[axis].sum()) for n, axis in of] for _, of in terms)
            return sum(c * prod(of) for (c, _), of in zip(terms, lengths, strict=True))

        assert max(map(cut, moments(labels))) == max(map(cut, everything))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["residual", "digits", "concat"])
def test_a_budget_of_memory_holds_in_the_pruned_model(name: str) -> None:
    path = FIXTURES / f"{name}.onnx"
    before = peak(label(as_model(path).ir))
    prune = functools.partial(osg.prune, path, data="none", time_limit=1.0)
    result = prune(ratio=0.2, max_memory=0.7 * before)
    assert result.before.memory == before
    assert result.after.memory <= 0.7 * before
    assert peak(label(result.model.ir)) == result.after.memory
    halved = prune(ratio=0.5, cost="memory")
    assert halved.after.memory <= 0.5 * before
    assert "memory" not in prune(ratio=0.2).after.costs
