"""The memory of activations: what is alive together, of a model and of what is cut from it."""

from __future__ import annotations

import functools
from math import prod

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

import onnxsurgeon as osg
from onnxsurgeon.dependency.labels import Labels, label
from onnxsurgeon.dependency.live_memory import Buffer, buffers
from onnxsurgeon.dependency.spaces import Spaces, spaces
from onnxsurgeon.model.model import as_model
from onnxsurgeon.ops.call import TEXT
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


def built(labels: Labels, *wanted: str) -> Spaces:
    return spaces(labels, np.zeros(labels.relations.count), wanted=wanted)


def together(labels: Labels) -> list[list[Buffer]]:
    """The buffers in use at each node."""
    every = list(buffers(labels))
    places = range(1 + max(buffer.last for buffer in every))
    return [[buffer for buffer in every if buffer.first <= place <= buffer.last] for place in places]


def total(held: list[Buffer], keep: np.ndarray | None = None) -> float:
    """The bytes of buffers, of the model or of what is cut from it."""

    def length(size: int, axis: np.ndarray | None) -> int:
        return size if axis is None or keep is None else int(keep[axis].sum())

    return sum(buffer.coefficient * prod(length(*factor) for factor in buffer.factors) for buffer in held)


def peak(labels: Labels) -> float:
    return max(map(total, together(labels)))


@pytest.mark.parametrize("batch", [1, "n"])
def test_what_is_alive_together_counts_once_and_per_sample(batch: int | str) -> None:
    """`r` overwrites `a`, `s` overwrites `b`: the most is `r` and `b`, 16 channels each."""
    labels = label(as_model(network(batch)).ir)
    assert peak(labels) == 2 * 16 * 64 * FLOAT
    problem = built(labels, "memory").problem
    lengths = problem.lengths(np.array([size[-1] for size in problem.sizes], np.int64))
    at_moments = sorted(cost.evaluate(lengths) for cost in problem.costs if cost.name == "memory")
    assert at_moments == [(16 + 4) * 64 * FLOAT, 2 * 16 * 64 * FLOAT]


def test_a_view_is_no_copy_and_ends_with_its_last_reader() -> None:
    held = [sorted(buffer.value.name or "" for buffer in one) for one in together(label(as_model(network()).ir))]
    assert held == [["a"], ["a"], ["a", "b"], ["a", "b"], ["b", "c"], ["c"], ["c"]]


def test_texts_take_memory_too() -> None:
    model = network()
    model.graph.node.append(helper.make_node("Identity", ["words"], ["same"]))
    for of, name in ((model.graph.input, "words"), (model.graph.output, "same")):
        of.append(helper.make_tensor_value_info(name, TensorProto.STRING, [1, 5]))
    made = next(buffer for buffer in buffers(label(as_model(model).ir)) if buffer.value.name == "same")
    assert total([made]) == 5 * TEXT


@pytest.mark.parametrize("name", ["residual", "digits", "concat", "attention", "se", "shuffle"])
def test_budgets_and_reports_count_what_is_in_use_when_it_is_most(name: str) -> None:
    """The moments that a budget leaves out are never the largest, for any cut."""
    labels = label(as_model(FIXTURES / f"{name}.onnx").ir)
    everything, limited, reported = together(labels), built(labels, "memory"), built(labels)
    rng = np.random.default_rng(0)
    for _ in range(10):
        counts = rng.integers(1, np.diff(limited.starts) + 1)
        most = max(total(held, limited.keep(counts, labels.classes.root)) for held in everything)
        assert limited.problem.evaluate(limited.problem.lengths(counts))["memory"] == most
        counts = rng.integers(1, np.diff(reported.starts) + 1)
        most = max(total(held, reported.keep(counts, labels.classes.root)) for held in everything)
        assert reported.problem.evaluate(reported.problem.lengths(counts))["memory"] == most


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
    reported = prune(ratio=0.2)
    assert reported.before.memory == before
    assert reported.after.memory == peak(label(reported.model.ir))
