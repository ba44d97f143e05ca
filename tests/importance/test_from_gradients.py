"""Laws of criteria from gradients: channels contribute what central differences say, whatever joins them; the criteria
are their formulas in numpy; labels that are missing are drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import make_fixtures
import onnxsurgeon as osg
from net import Net
from onnxsurgeon.compensation.evidence import Evidence
from onnxsurgeon.data import Data, open_data
from onnxsurgeon.dependency.labels import Labels, label
from onnxsurgeon.importance import from_gradients
from onnxsurgeon.importance.criteria import CRITERIA
from onnxsurgeon.importance.from_weights import matrices
from onnxsurgeon.model.read import read
from onnxsurgeon.options.parsing import resolved
from onnxsurgeon.options.shared import OfGradients
from onnxsurgeon.runtime.session import Session
from onnxsurgeon.training.contributions import Average, ChannelEnd, channel_ends
from paths import FIXTURES

WORDS = [word for word, record in CRITERIA.items() if record.needs == "gradients"]
JOINS = ["residual", "dense", "grouped", "depthwise", "se", "shuffle", "attention", "fused_qkv", "deconv", "plain"]
JOINS = [name for name in JOINS if name in make_fixtures.FIXTURES]
COUNT, STEP = 6, 1e-2


def gated(proto: onnx.ModelProto, found: list[ChannelEnd]) -> onnx.ModelProto:
    """The model whose channels are multiplied by an input of their own at each place."""
    made = onnx.ModelProto()
    made.CopyFrom(proto)
    nodes = {node.output[0]: node for node in made.graph.node}
    ranks = {
        v.name: len(v.type.tensor_type.shape.dim) for v in onnx.shape_inference.infer_shapes(made).graph.value_info
    }
    order = {id(node): number for number, node in enumerate(made.graph.node)}
    inserted = []
    for number, place in enumerate(found):
        node = nodes[place.output]
        name = node.input[place.index]
        shape = [1] * (ranks.get(place.value) or 2)
        shape[place.axis] = len(place.ids)
        made.graph.input.append(helper.make_tensor_value_info(place.key, onnx.TensorProto.FLOAT, shape))
        inserted.append((order[id(node)], helper.make_node("Mul", [name, place.key], [f"gated {number}"])))
        node.input[place.index] = f"gated {number}"
    whole = list(made.graph.node)
    for at, extra in sorted(inserted, key=lambda pair: -pair[0]):
        whole.insert(at, extra)
    kept = [copy(node) for node in whole]
    del made.graph.node[:]
    made.graph.node.extend(kept)
    return made


def copy(node: onnx.NodeProto) -> onnx.NodeProto:
    made = onnx.NodeProto()
    made.CopyFrom(node)
    return made


def saved(folder: Path, proto: onnx.ModelProto, *, labels: str = "classes", count: int = COUNT) -> Path:
    """Samples for a model, with class numbers, values, or no labels."""
    rng, given = np.random.default_rng(0), proto.graph.input[0].type.tensor_type.shape.dim
    count = given[0].dim_value or count
    feed = rng.standard_normal((count, *(d.dim_value or 5 for d in given[1:]))).astype(np.float32)
    said = Session(proto.SerializeToString(), "cpu").run({"input": feed})["output"]
    arrays: dict[str, Any] = {"input": feed}
    if labels == "classes":
        arrays["labels"] = rng.integers(0, said.shape[1], (count, *said.shape[2:]))
    elif labels == "values":
        arrays["labels"] = said + rng.standard_normal(said.shape).astype(np.float32)
    np.savez(folder / "seen.npz", **arrays)
    return folder / "seen.npz"


def evidence(labels: Labels, data: Data, **averaging: Any) -> Evidence:
    return Evidence(labels, samples=data, data=data, device="cpu", averaging=OfGradients(**averaging))


def losses(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Of each sample."""
    wrong = (outputs.astype(np.float64) - targets) ** 2
    return np.asarray(wrong.reshape(len(wrong), -1).mean(axis=1))


@pytest.mark.parametrize("name", JOINS)
def test_a_unit_contributes_what_central_differences_say(name: str, tmp_path: Path) -> None:
    proto = make_fixtures.FIXTURES[name]().model()
    onnx.save(proto, tmp_path / "model.onnx")
    labels = label(read(tmp_path / "model.onnx"))
    data = open_data(saved(tmp_path, proto, labels="values"), labels.model)
    found, known = channel_ends(labels), evidence(labels, data)
    worth = from_gradients.fisher(known, "fisher")
    assert not any("no gradient" in note for note in known.notes)
    batch, session = next(data.batches()), Session(gated(proto, found).SerializeToString(), "cpu")
    assert batch.labels is not None
    shapes = {v.name: v.shape for v in session.session.get_inputs()}
    roots = np.unique(labels.classes.root[np.concatenate([place.ids for place in found])])
    roots = roots[~labels.classes.frozen[roots]]
    for root in np.random.default_rng(1).permutation(roots)[:6]:
        ends = []
        for way in (STEP, -STEP):
            gates = {p.key: 1 + way * (labels.classes.root[p.ids] == root).reshape(shapes[p.key]) for p in found}
            feed = {**batch.feed, **{key: gate.astype(np.float32) for key, gate in gates.items()}}
            ends.append(losses(session.run(feed)["output"], batch.labels))
        slope = (ends[0] - ends[1]) / (2 * STEP)
        assert worth[root] == pytest.approx((slope**2).mean(), rel=0.05, abs=1e-5)


def mlp() -> onnx.ModelProto:
    net = Net("mlp", ("batch", 4), width=4)
    x = net.add("Relu", "relu", net.gemm("input", "fc1", 8))
    return net.finish(net.gemm(x, "fc2", 3), ("batch", 3)).model()


def by_hand(proto: onnx.ModelProto, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """(contributions of the hidden units to the cross-entropy of each sample, weight * gradient of each sample)."""
    w = {t.name: numpy_helper.to_array(t).astype(np.float64) for t in proto.graph.initializer}
    hidden = np.maximum(x @ w["fc1.weight"].T + w["fc1.bias"], 0)
    scores = hidden @ w["fc2.weight"].T + w["fc2.bias"]
    said = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    wrong = said - np.eye(3)[y]
    back = wrong @ w["fc2.weight"]
    before = back * (hidden > 0)
    first, second = before[:, :, None] * x[:, None], wrong[:, :, None] * hidden[:, None]
    return hidden * back, {"fc1.weight": first * w["fc1.weight"], "fc2.weight": second * w["fc2.weight"]}


def test_criteria_are_their_formulas(tmp_path: Path) -> None:
    proto = mlp()
    onnx.save(proto, tmp_path / "model.onnx")
    labels = label(read(tmp_path / "model.onnx"))
    data = open_data(saved(tmp_path, proto, count=10), labels.model, batch=4)  # the last batch is smaller
    with np.load(tmp_path / "seen.npz") as archive:
        x, y = archive["input"], archive["labels"]
    contributions, effects = by_hand(proto, x, y)
    (place,) = channel_ends(labels)
    unit = labels.classes.root[place.ids]

    def found(word: str, **averaging: Any) -> np.ndarray:
        function = resolved(CRITERIA[word].function)
        values = function(evidence(labels, data, **averaging), word)
        return np.bincount(labels.classes.root, values, minlength=len(values))[unit]

    def close(expected: np.ndarray) -> Any:
        return pytest.approx(expected, rel=1e-4, abs=1e-7)

    means = [np.abs(contributions[at : at + 4]).mean(axis=0) for at in (0, 4, 8)]
    assert found("taylor") == close(np.abs(contributions).mean(axis=0))
    assert found("taylor", ewma=0.25) == close(0.75 * means[2] + 0.25 * (0.75 * means[1] + 0.25 * means[0]))
    assert found("taylor", every_nth=2) == close((4 * means[0] + 2 * means[2]) / 6)
    assert found("fisher") == close((contributions**2).mean(axis=0))
    sums = {name: [effect[at : at + 4].sum(axis=0) for at in (0, 4, 8)] for name, effect in effects.items()}
    for word, each in (
        ("taylor-weight", lambda effect, axis: effect.sum(axis=axis) ** 2),
        ("obd", lambda effect, axis: (effect**2).sum(axis=axis)),
    ):
        axes = {"fc1.weight": 1, "fc2.weight": 0}
        parts = {n: sum(k * each(e, axes[n]) for k, e in zip((4, 4, 2), sums[n], strict=True)) / 10 for n in sums}
        assert found(word) == close(parts["fc1.weight"] + parts["fc2.weight"])
    assert len(list(matrices(labels))) == 2


def test_an_average_weighs_samples_alike_or_forgets() -> None:
    alike, forgets = Average(None), Average(0.9)
    for average in (alike, forgets):
        average.add({"": np.array([1.0])}, 3)
        average.add({"": np.array([5.0])}, 1)
    assert alike.values[""] == pytest.approx([2.0])
    assert forgets.values[""] == pytest.approx([1.4])


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("kind", ["classes", "none"])
def test_a_cut_by_gradients_needs_no_labels(word: str, kind: str, tmp_path: Path) -> None:
    proto = make_fixtures.FIXTURES["plain"]().model()
    onnx.save(proto, tmp_path / "model.onnx")
    data = saved(tmp_path, proto, labels=kind)
    cuts = [
        osg.prune(
            tmp_path / "model.onnx", ratio=0.5, cost="macs", data=data, importance=word, compensate="none",
            device="cpu", max_moved=None,
        )
        for _ in range(2)
    ]  # fmt: skip
    assert cuts[0].after.of("macs") <= 0.5 * cuts[0].before.of("macs")
    assert np.array_equal(cuts[0].keep, cuts[1].keep)
    said = "the model drew itself" if kind == "none" else "cross-entropy on the labels"
    assert any(said in note for note in cuts[0].notes)


def test_gradients_need_samples() -> None:
    with pytest.raises(osg.UsageError, match=r"`importance=taylor` needs samples"):
        osg.prune(FIXTURES / "plain.onnx", ratio=0.5, data="none", importance="taylor")
