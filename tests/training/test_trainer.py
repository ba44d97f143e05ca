"""Laws of a training step: its gradient is the loss's slope on whole networks, its optimisers are those of the papers,
parts of a batch make the same step as the whole, padding counts for nothing, and a failed step changes nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

import make_fixtures
from onnxsurgeon.model.editor import set_tensor
from onnxsurgeon.ops.nodes import operator_of
from onnxsurgeon.runtime.session import Session
from onnxsurgeon.training.losses import squared_errors
from onnxsurgeon.training.optimisers import OPTIMISERS
from onnxsurgeon.training.step_graph import Recipe
from onnxsurgeon.training.trainer import NotFiniteError, Part, Trainer

PLAIN = {"momentum": 0.0, "nesterov": 0.0}


def recipe(name: str, **options: Any) -> Recipe:
    """Of a fixture: all its float weights but the statistics, which are those of each batch."""
    model = ir.from_proto(make_fixtures.FIXTURES[name]().model())
    nodes = list(model.graph)
    fixed = {node.inputs[i] for node in nodes for i in (3, 4) if node.op_type == "BatchNormalization"}
    weights = [
        v for v in model.graph.initializers.values() if v.dtype == ir.DataType.FLOAT and v.shape and v not in fixed
    ]
    trains = [node for node in nodes if (known := operator_of(node)) is not None and known.training is not None]
    known: dict[str, Any] = {"optimiser": OPTIMISERS["sgd"], "settings": PLAIN, **options}
    return Recipe(model, list(model.graph.outputs), weights, squared_errors([1.0]), trains=trains, **known)


def part(of: Recipe, shape: tuple[int, ...], *, size: int = 6, seed: int = 0) -> Part:
    rng = np.random.default_rng(seed)
    feed = {"input": rng.standard_normal((size, *shape)).astype(np.float32)}
    targets = {"output": rng.standard_normal((size, 10)).astype(np.float32)}
    return Part(feed, targets, np.full(size, 1 / size, np.float32))


def moved(trainer: Trainer, by: dict[str, np.ndarray], much: float, batch: Part) -> float:
    """The loss with the weights moved."""
    trainer.start({name: trainer.initial[name] + np.float32(much) * by[name] for name in by})
    return trainer.step([batch], 0.0).loss


@pytest.mark.parametrize("name", ["residual", "depthwise", "grouped"])
def test_the_gradient_is_the_slope_of_the_loss(name: str) -> None:
    """Along the gradient, and along a part of it; with the statistics of the batch."""
    of = recipe(name)
    batch = part(of, (3, 16, 16))
    trainer = Trainer(of, batch)
    trainer.step([batch], 1.0)
    after = trainer.weights()
    gradient = {key: trainer.initial[key] - after[key] for key in trainer.layout.shapes}
    rng = np.random.default_rng(0)
    for keep in (1.0, 0.3):
        way = {key: array * (rng.random(array.shape) < keep) for key, array in gradient.items()}
        slope = sum(float((array.astype(np.float64) * gradient[key]).sum()) for key, array in way.items())
        step = 1e-3 / np.sqrt(slope)
        found = (moved(trainer, way, step, batch) - moved(trainer, way, -step, batch)) / (2 * step)
        assert found == pytest.approx(slope, rel=0.03)


def test_running_statistics_move_towards_those_of_the_batch() -> None:
    of = recipe("residual")
    trainer = Trainer(of, batch := part(of, (3, 16, 16)))
    before = trainer.initial
    trainer.step([batch], 0.0)
    first = trainer.weights()
    trainer.step([batch], 0.0)
    second = trainer.weights()
    assert len(trainer.statistics.shapes) >= 2
    for name in trainer.statistics.shapes:
        assert second[name] - first[name] == pytest.approx(0.9 * (first[name] - before[name]), abs=1e-5)
    for name in trainer.layout.shapes:
        assert np.array_equal(second[name], before[name])


def by_hand(name: str, settings: dict[str, float], gradients: list[np.ndarray], rate: float) -> np.ndarray:
    """Where the steps of a paper's formulas lead from 0."""
    w, m, v = (np.zeros_like(gradients[0], np.float64) for _ in range(3))
    for t, g in enumerate(gradients, 1):
        if name == "sgd":
            m = settings["momentum"] * m + g
            w = w - rate * (g + settings["momentum"] * m if settings["nesterov"] else m)
        else:
            m = settings["beta1"] * m + (1 - settings["beta1"]) * g
            v = settings["beta2"] * v + (1 - settings["beta2"]) * g * g
            up, down = m / (1 - settings["beta1"] ** t), np.sqrt(v / (1 - settings["beta2"] ** t))
            w = w - rate * up / (down + settings["tiny"])
    return w


@pytest.mark.parametrize("name", OPTIMISERS)
@pytest.mark.parametrize("nesterov", [0.0, 1.0])
def test_optimisers_take_the_steps_of_their_formulas(name: str, nesterov: float) -> None:
    """On the last bias, whose gradient is that of the outputs."""
    known = OPTIMISERS[name]
    settings = {**known.settings, **({"nesterov": nesterov} if "nesterov" in known.settings else {})}
    of = recipe("flatten", optimiser=known, settings=settings)
    of = replace(of, weights=[of.model.graph.initializers["fc2.bias"]], trains=())
    parts = [part(of, (3, 16, 16), seed=seed) for seed in range(4)]
    trainer = Trainer(of, parts[0])
    start, gradients = trainer.initial["fc2.bias"], []
    for batch in parts:
        wrong = trainer.predict(batch.feed)["output"] - batch.targets["output"]
        gradients.append(2 * wrong.mean(axis=0))
        trainer.step([batch], 0.01)
    found = trainer.weights()["fc2.bias"] - start
    assert found == pytest.approx(by_hand(name, settings, gradients, 0.01), rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_weight_decay_acts_on_some_weights(name: str) -> None:
    of = recipe("flatten", optimiser=OPTIMISERS[name], settings=OPTIMISERS[name].settings)
    decays = {w.name or "": 0.5 * (len(w.shape or ()) > 1) for w in of.weights}
    batch = part(of, (3, 16, 16))
    plain, decayed = Trainer(of, batch), Trainer(replace(of, decays=decays), batch)
    for trainer in (plain, decayed):
        trainer.step([batch], 0.01)
    for key, start in plain.initial.items():
        if key in plain.layout.shapes:
            gap = plain.weights()[key] - decayed.weights()[key]
            if not decays[key]:
                assert np.array_equal(gap, 0 * gap)
            elif OPTIMISERS[name].decoupled:
                assert gap == pytest.approx(0.01 * 0.5 * start, abs=1e-6)
            else:
                assert gap.any()


def test_parts_make_the_step_of_the_whole() -> None:
    of = recipe("attention")
    rng = np.random.default_rng(0)
    feed = {"input": rng.standard_normal((8, 5, 20)).astype(np.float32)}
    whole = Part(feed, {"output": rng.standard_normal((8, 10)).astype(np.float32)}, np.full(8, 1 / 8, np.float32))
    halves = [
        Part({"input": feed["input"][at]}, {"output": whole.targets["output"][at]}, whole.shares[at])
        for at in (slice(4), slice(4, 8))
    ]
    one, two = Trainer(of, whole), Trainer(replace(of, parts=2), halves[0])
    for _ in range(3):
        a, b = one.step([whole], 0.1), two.step(halves, 0.1)
        assert a.loss == pytest.approx(b.loss, rel=1e-4)
    for name, array in one.weights().items():
        assert array == pytest.approx(two.weights()[name], abs=1e-5)


def test_samples_with_no_share_count_for_nothing() -> None:
    of = recipe("attention")
    rng = np.random.default_rng(0)
    feed = rng.standard_normal((4, 5, 20)).astype(np.float32)
    targets, shares = rng.standard_normal((4, 10)).astype(np.float32), np.array([0.5, 0.5, 0, 0], np.float32)
    found = []
    for fill in (0.0, 7.0):
        feed[2:], targets[2:] = fill, -fill
        trainer = Trainer(of, batch := Part({"input": feed.copy()}, {"output": targets.copy()}, shares))
        loss = trainer.step([batch], 0.1).loss
        found.append((loss, trainer.weights()))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-6)
    for name, array in found[0][1].items():
        assert array == pytest.approx(found[1][1][name], abs=1e-6)


def test_a_step_that_fails_names_the_node_and_changes_nothing() -> None:
    of = recipe("residual")
    for trains, much, where in ((of.trains, 1e30, "statistics"), ((), 3e38, "conv1")):
        trainer = Trainer(replace(of, trains=trains), good := part(of, (3, 16, 16)))
        trainer.step([good], 0.01)
        before = trainer.state()
        bad = replace(good, feed={"input": np.float32(much) * np.sign(good.feed["input"])})
        with pytest.raises(NotFiniteError, match=f"(?s)step 2.*{where}"):
            trainer.step([bad], 0.01)
        after = trainer.state()
        assert all(np.array_equal(before[name], after[name]) for name in before)


def test_a_state_goes_on_to_the_bit() -> None:
    of = recipe("residual", optimiser=OPTIMISERS["adam"], settings=OPTIMISERS["adam"].settings, average=0.9)
    trainer = Trainer(of, batch := part(of, (3, 16, 16)))
    trainer.step([batch], 0.01)
    state = trainer.state()
    trainer.step([batch], 0.01)
    other = Trainer(of, batch)
    other.start(state=state)
    other.step([batch], 0.01)
    for name, array in trainer.state().items():
        assert np.array_equal(array, other.state()[name])


def test_what_is_predicted_is_what_the_model_computes_with_the_weights() -> None:
    of = recipe("residual")
    trainer = Trainer(of, batch := part(of, (3, 16, 16)))
    for _ in range(3):
        trainer.step([batch], 0.05)
    model = of.model.clone()
    for name, array in trainer.weights().items():
        set_tensor(model.graph.initializers[name], ir.Tensor(array, name=name))
    session = Session(ir.to_proto(model).SerializeToString(), "cpu")
    for feed in (batch.feed, {"input": batch.feed["input"][:2]}):
        assert trainer.predict(feed)["output"] == pytest.approx(session.run(feed)["output"], rel=1e-4, abs=1e-4)


def test_a_model_may_use_the_names_of_an_optimisers_states() -> None:
    """The value that is averaged over tokens is called mean, as the state of adam is."""
    of = recipe("attention", optimiser=OPTIMISERS["adam"], settings=OPTIMISERS["adam"].settings)
    rng = np.random.default_rng(0)
    feed = {"input": rng.standard_normal((4, 5, 20)).astype(np.float32)}
    batch = Part(feed, {"output": np.zeros((4, 10), np.float32)}, np.full(4, 0.25, np.float32))
    trainer = Trainer(of, batch)
    losses = [trainer.step([batch], 0.01).loss for _ in range(5)]
    assert losses[-1] < losses[0]
