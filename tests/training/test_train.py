"""Laws of `train`: the graph stays and only weights change; what is asked to stay does; the best epoch is kept; going
on from a checkpoint is not having stopped, to the bit; each loss, schedule and augmentation does what it says."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

import make_fixtures
import onnxsurgeon as osg
from net import Net
from onnxsurgeon.files import uninterrupted
from onnxsurgeon.runtime.session import Session
from onnxsurgeon.training import augmentations
from onnxsurgeon.training.losses import LOSSES
from onnxsurgeon.training.schedules import SCHEDULES, rate
from paths import FIXTURES

X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
Y = np.array([[0], [1], [1], [0]], np.float32)
XOR: dict[str, Any] = {"loss": "mse", "optimiser": "adam", "lr": 0.02, "device": "cpu", "threads": 1}


def xor_net() -> onnx.ModelProto:
    net = Net("xor", ("batch", 2), width=2)
    x = net.gemm(net.add("Relu", "relu", net.gemm("input", "fc1", 32)), "fc2", 1)
    return net.finish(x, ("batch", 1)).model()


def outputs(model: osg.Trained | onnx.ModelProto, feed: dict[str, np.ndarray]) -> np.ndarray:
    proto = model if isinstance(model, onnx.ModelProto) else ir.to_proto(model.ir)
    return np.asarray(next(iter(Session(proto.SerializeToString(), "cpu").run(feed).values())))


def weights(model: ir.Model) -> dict[str, np.ndarray]:
    return {name: v.const_value.numpy() for name, v in model.graph.initializers.items() if v.const_value is not None}


def split(count: int = 96) -> tuple[list[Any], list[Any]]:
    """Some digits to train on, and some held out."""
    found = []
    for name in ("train", "test"):
        with np.load(FIXTURES / f"digits_{name}.npz") as archive:
            found.append([({"input": archive["input"][:count]}, archive["labels"][:count])])
    return found[0], found[1]


DIGITS: dict[str, Any] = {"device": "cpu", "threads": 1, "batch": 32}


def test_xor_is_learned() -> None:
    found = osg.train(xor_net(), [({"input": X}, Y)], epochs=300, **XOR)
    assert found.after < 1e-3 < found.before
    assert outputs(found, {"input": X}) == pytest.approx(Y, abs=0.1)
    assert set(found.names) == {"fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"}


@pytest.mark.slow
def test_digits_are_learned_from_random_weights() -> None:
    with np.load(FIXTURES / "digits_train.npz") as archive:
        seen = dict(archive)
    model = make_fixtures.trained_digits(make_fixtures.digits().model(), seen, epochs=12)
    assert osg.evaluate(model, FIXTURES / "digits_test.npz", device="cpu").value >= 0.98


@pytest.fixture(scope="module")
def tuned() -> osg.Trained:
    return osg.train(FIXTURES / "digits.onnx", split()[0], epochs=2, **DIGITS)


def test_only_weights_change(tuned: osg.Trained, tmp_path: Path) -> None:
    tuned.save(tmp_path / "tuned.onnx", device="cpu")
    before, after = onnx.load(FIXTURES / "digits.onnx"), onnx.load(tmp_path / "tuned.onnx")
    changed = {
        a.name for a, b in zip(before.graph.initializer, after.graph.initializer, strict=True)
        if a.raw_data != b.raw_data
    }  # fmt: skip
    statistics = {i for node in before.graph.node if node.op_type == "BatchNormalization" for i in node.input[3:]}
    assert changed == {*tuned.names, *statistics}
    for proto in (before, after):
        proto.graph.ClearField("initializer")
    assert before == after


def test_the_best_epoch_on_held_out_samples_is_kept() -> None:
    seen, held = split()
    epochs: list[osg.Epoch] = []
    found = osg.train(
        FIXTURES / "digits.onnx", seen, val=held, epochs=4, optimiser="sgd", lr=0.3, schedule="constant",
        on_epoch=epochs.append, **DIGITS,
    )  # fmt: skip
    assert found.epochs == tuple(epochs)
    scores = [epoch.score for epoch in epochs]
    best = max(score for score in scores if score is not None)
    assert found.after == max(best, found.before)
    assert found.kept == (0 if best < found.before else 4 - scores[::-1].index(best))
    assert osg.evaluate(found.model, _written(held), device="cpu").value == pytest.approx(found.after)


@pytest.mark.parametrize("ended", [False, True])
def test_weights_that_score_worse_on_their_own_samples_are_not_kept(ended: bool) -> None:  # noqa: FBT001  of pytest
    seen, _ = split()
    bad: dict[str, Any] = {"epochs": 2, "lr": 0.5, "schedule": "constant", "on_epoch": lambda _: not ended, **DIGITS}
    last, found = (osg.train(FIXTURES / "digits.onnx", seen, only_better=only, **bad) for only in (False, True))
    assert last.after < last.before
    assert last.kept == len(last.epochs) == (1 if ended else 2)
    assert (found.kept, found.after) == (0, found.before)
    before = weights(osg.load(FIXTURES / "digits.onnx").ir)
    assert all(np.array_equal(array, before[name]) for name, array in weights(found.ir).items())
    assert "nothing was better than the start" in found.verdict
    better = osg.train(FIXTURES / "digits.onnx", seen, only_better=True, epochs=1, lr=1e-4, **DIGITS)
    assert (better.kept, better.after >= better.before) == (1, True)


def _written(batches: list[Any]) -> Any:
    from onnxsurgeon.training.training_set import of_batches

    return of_batches(batches, FIXTURES / "digits.onnx", samples=None, batch=None, seed=0)


def test_what_is_frozen_stays() -> None:
    seen, _ = split(32)
    found = osg.train(FIXTURES / "digits.onnx", seen, epochs=1, freeze=["layer1*", "*.bias"], **DIGITS)
    assert found.names
    assert not [name for name in found.names if name.startswith("layer1") or name.endswith(".bias")]
    before = weights(osg.load(FIXTURES / "digits.onnx").ir)
    for name, array in weights(found.ir).items():
        if name.startswith("layer1"):
            assert np.array_equal(array, before[name])
    with pytest.raises(osg.UsageError, match=r"(?s)laye1.*matches nothing"):
        osg.train(FIXTURES / "digits.onnx", seen, freeze=["laye1"], **DIGITS)
    with pytest.raises(osg.ModelError, match="nothing can be trained"):
        osg.train(FIXTURES / "digits.onnx", seen, freeze=["*"], **DIGITS)


def test_frozen_norms_keep_their_statistics() -> None:
    seen, _ = split(32)
    found = osg.train(FIXTURES / "digits.onnx", seen, epochs=1, norms="frozen", **DIGITS)
    before, after = weights(osg.load(FIXTURES / "digits.onnx").ir), weights(found.ir)
    assert all(np.array_equal(before[name], after[name]) for name in before if "running" in name)


@pytest.mark.parametrize("stop", [1, 3, 5])
def test_going_on_is_not_having_stopped(stop: int, tmp_path: Path) -> None:
    """A training that is interrupted after any step, and resumed, ends with the same bits."""
    seen, held = split()
    options: dict[str, Any] = {**DIGITS, "val": held, "epochs": 2, "augment": ["shift", "mixup"], "ema": 0.9}
    options["collect"] = tmp_path / "scores.npz"
    whole = osg.train(FIXTURES / "digits.onnx", seen, **options)
    scores, steps = options["collect"].read_bytes(), 0

    def interrupt(stage: str, detail: str) -> None:
        nonlocal steps
        steps += stage == "train" and " of " in detail and detail[0].isdigit()
        if steps == stop:
            steps += 1
            raise KeyboardInterrupt

    options |= {"checkpoint": tmp_path / "state.npz", "every": 0.0}
    first = osg.train(FIXTURES / "digits.onnx", seen, progress=interrupt, **options)
    assert first.stopped == "interrupted"
    second = osg.train(FIXTURES / "digits.onnx", seen, resume=True, **options)
    assert second.stopped == ""
    assert options["collect"].read_bytes() == scores
    assert [replace(e, seconds=0) for e in second.epochs] == [replace(e, seconds=0) for e in whole.epochs]
    found = weights(second.ir)
    assert all(np.array_equal(array, found[name]) for name, array in weights(whole.ir).items())
    with pytest.raises(osg.UsageError, match=r"(?s)another training.*lr"):
        osg.train(FIXTURES / "digits.onnx", seen, resume=True, **options, lr=0.5)


def test_a_training_that_fails_keeps_the_last_good_weights() -> None:
    found = osg.train(xor_net(), [({"input": X}, Y)], epochs=50, loss="mse", optimiser="sgd", lr=1e4, device="cpu")
    assert "not finite" in found.stopped
    assert "step" in found.stopped
    assert all(np.isfinite(array).all() for array in weights(found.ir).values())


@pytest.mark.slow
def test_a_student_learns_what_its_teacher_says() -> None:
    seen, held = split(256)
    plain = [(feed, None) for feed, _ in seen]
    feeds = [feed for feed, _ in plain]
    small = osg.prune(FIXTURES / "digits.onnx", ratio=0.5, data="none")
    found = osg.train(
        small, feeds, val=[held[0][0]], loss="distill", teacher=FIXTURES / "digits.onnx", epochs=4, lr=3e-3, **DIGITS
    )
    assert found.metric == "cosine"
    assert found.after > max(found.before, 0.9)


def test_weights_in_constants_and_tied_weights_are_trained() -> None:
    """x > MatMul w > Relu > MatMul w > y, where w is the output of a Constant."""
    w = numpy_helper.from_array(np.eye(4, dtype=np.float32) + 0.1, "w")
    nodes = [
        helper.make_node("Constant", [], ["w"], value=w), helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]), helper.make_node("MatMul", ["r", "w"], ["y"]),
    ]  # fmt: skip
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in "xy")
    model = helper.make_model(
        helper.make_graph(nodes, "tied", [x], [y]), opset_imports=[helper.make_opsetid("", 17)], ir_version=9
    )
    rng = np.random.default_rng(0)
    a = rng.standard_normal((8, 4)).astype(np.float32)
    b = rng.standard_normal((8, 4)).astype(np.float32)
    found = osg.train(model, [({"x": a}, b)], loss="mse", optimiser="sgd", lr=0.01, momentum=0, epochs=1, device="cpu")
    assert found.names == ("w",)
    start = np.eye(4) + 0.1
    h = a.astype(np.float64) @ start
    r = np.maximum(h, 0)
    back = 2 * (r @ start - b) / b.size
    gradient = r.T @ back + a.T @ ((back @ start.T) * (h > 0))
    (constant,) = [node for node in found.ir.graph if node.op_type == "Constant"]
    assert constant.attributes["value"].value.numpy() == pytest.approx(start - 0.01 * gradient, abs=1e-5)


def test_float16_is_trained_in_float32_and_stays_float16(tmp_path: Path) -> None:
    proto = xor_net()
    for tensor in proto.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    batches = [({"input": X.astype(np.float16)}, Y)]
    found = osg.train(proto, batches, epochs=300, **XOR)
    assert found.after < 1e-3
    found.save(tmp_path / "half.onnx", device="cpu")
    written = onnx.load(tmp_path / "half.onnx")
    assert {tensor.data_type for tensor in written.graph.initializer} == {TensorProto.FLOAT16}
    assert outputs(written, {"input": X.astype(np.float16)}) == pytest.approx(Y, abs=0.1)


def test_norms_that_were_folded_come_back_and_go_again(tmp_path: Path) -> None:
    """conv > relu > conv > relu > pool > fc, with biases and no norms."""
    net = Net("folded", ("batch", 1, 8, 8), width=1)
    x = net.add("Relu", "r1", net.conv("input", "conv1", 8, bias=True))
    x = net.add("Relu", "r2", net.conv(x, "conv2", 8, bias=True))
    model = make_fixtures.classify(net, x).model()
    seen, held = split()
    idle: dict[str, Any] = {"lr": 1e-12, "optimiser": "sgd", "momentum": 0, "norms": "frozen"}
    still = osg.train(model, seen, epochs=1, unfold_bn=True, **idle, **DIGITS)
    feed = {"input": held[0][0]["input"]}
    before = outputs(model, feed)
    assert outputs(still, feed) == pytest.approx(before, abs=1e-4 * float(np.abs(before).max()))
    found = osg.train(model, seen, epochs=6, lr=0.01, unfold_bn=True, **DIGITS)
    assert [node.op_type for node in found.ir.graph] == [node.op_type for node in model.graph.node]
    assert found.after > found.before
    found.save(tmp_path / "folded.onnx", device="cpu")  # its proof compares the folded model with what was trained
    with pytest.raises(osg.InfeasibleError, match="nothing to unfold"):
        osg.train(FIXTURES / "digits.onnx", seen, unfold_bn=True, **DIGITS)


def own(output: tuple[int, ...], labels: tuple[int, ...]) -> onnx.ModelProto:
    """The squared error of each sample."""
    nodes = [
        helper.make_node("Sub", ["a", "b"], ["wrong"]), helper.make_node("Mul", ["wrong", "wrong"], ["square"]),
        helper.make_node("ReduceMean", ["square"], ["loss"], axes=[1], keepdims=0),
    ]  # fmt: skip
    a, b, loss = (helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("a", "b", "loss"))
    graph = helper.make_graph(nodes, "own", [a, b], [loss])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def test_a_loss_of_ones_own_is_that_of_its_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    options = {**XOR, "epochs": 20}
    one = osg.train(xor_net(), [({"input": X}, Y)], **options)
    other = osg.train(xor_net(), [({"input": X}, Y)], **{**options, "loss": f"{Path(__file__).stem}:own"})
    for name, array in weights(one.ir).items():
        assert array == pytest.approx(weights(other.ir)[name], abs=1e-5)


NUMBERS = {"bce": (Y, 1e-2), "mse": (Y, 1e-3), "mae": (Y, 0.1)}


@pytest.mark.parametrize("loss", NUMBERS)
def test_losses_of_numbers_lead_to_them(loss: str) -> None:
    labels, close = NUMBERS[loss]
    found = osg.train(xor_net(), [({"input": X}, labels)], epochs=400, **{**XOR, "loss": loss})
    said = outputs(found, {"input": X})
    said = 1 / (1 + np.exp(-said)) if loss == "bce" else said
    assert said == pytest.approx(Y, abs=0.2)
    assert found.epochs[-1].loss < close


def test_the_loss_of_the_first_epoch_is_its_formula() -> None:
    """For one batch with all samples, before any step."""
    rng = np.random.default_rng(0)
    net = Net("small", ("batch", 5), width=5)
    model = net.finish(net.add("Softmax", "softmax", net.gemm("input", "fc", 3)), ("batch", 3)).model()
    x, classes = rng.standard_normal((7, 5)).astype(np.float32), rng.integers(0, 3, 7)
    soft = rng.dirichlet(np.ones(3), 7).astype(np.float32)
    p = outputs(model, {"input": x}).astype(np.float64)
    for labels, wanted in (
        (classes, -np.log(p[np.arange(7), classes]).mean()),
        (soft, -(soft * np.log(p)).sum(axis=1).mean()),
    ):
        found = osg.train(
            model, [({"input": x}, labels)], epochs=1, batch=7, device="cpu", metric="mse" if labels is soft else None
        )
        assert found.epochs[0].loss == pytest.approx(wanted, rel=1e-4)
    for loss, wanted in (("mse", ((p - soft) ** 2).mean()), ("mae", np.abs(p - soft).mean())):
        found = osg.train(model, [({"input": x}, soft)], epochs=1, batch=7, loss=loss, device="cpu")
        assert found.epochs[0].loss == pytest.approx(wanted, rel=1e-4)
    assert {"cross-entropy", "bce", "mse", "mae", "distill"} < set(LOSSES)


@pytest.mark.parametrize("word", SCHEDULES)
def test_schedules_begin_and_end_as_they_say(word: str) -> None:
    rates = [rate(word, 0.1, step, 100, 0) for step in range(100)]
    assert max(rates) == pytest.approx(0.1, rel=1e-2)
    assert min(rates) >= 0
    assert (rates[-1] == 0.1) == (word == "constant")
    warm = [rate(word, 0.1, step, 100, 10) for step in range(10)]
    assert np.diff(warm) == pytest.approx(0.1 / 11)


@pytest.mark.parametrize("word", augmentations.AUGMENTATIONS)
def test_augmentations_change_pictures_the_same_way_each_time(word: str) -> None:
    rng = np.random.default_rng(0)
    feed = {"x": rng.standard_normal((16, 3, 12, 10)).astype(np.float32)}
    targets = {"y": np.eye(4, dtype=np.float32)[rng.integers(0, 4, 16)]}
    chosen = ((word, augmentations.AUGMENTATIONS[word].strength),)
    kept = feed["x"].copy()
    once, again = (augmentations.augmented(feed, targets, chosen, {"x": 3}, np.random.default_rng(1)) for _ in range(2))
    last = {"x": np.moveaxis(feed["x"], 1, 3)}
    turned, _ = augmentations.augmented(last, targets, chosen, {"x": 2}, np.random.default_rng(1))
    assert np.array_equal(once[0]["x"], again[0]["x"])
    assert np.array_equal(np.moveaxis(turned["x"], 3, 1), once[0]["x"])
    assert np.array_equal(feed["x"], kept)
    assert not np.array_equal(once[0]["x"], kept)
    assert once[0]["x"].shape == kept.shape
    assert once[0]["x"].dtype == np.float32
    assert once[1]["y"].sum(axis=1) == pytest.approx(np.ones(16), abs=1e-5)
    assert (word == "mixup") == (not np.array_equal(once[1]["y"], targets["y"]))


def test_memory_chooses_the_batch() -> None:
    seen, _ = split(96)
    little = osg.train(FIXTURES / "digits.onnx", seen, epochs=1, memory="3MB", device="cpu", norms="frozen")
    much = osg.train(FIXTURES / "digits.onnx", seen, epochs=1, memory="1GB", device="cpu")
    assert little.batch < much.batch <= 96
    with pytest.raises(osg.InfeasibleError, match="too little"):
        osg.train(FIXTURES / "digits.onnx", seen, memory="1.1MB", device="cpu")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"loss": "distill"}, "teacher"),
        ({"teacher": "a.onnx"}, "teacher"),
        ({"loss": "hinge"}, "hinge"),
        ({"resume": True}, "checkpoint"),
        ({"memory": "1GB", "batch": 4}, "exclude"),
        ({"nesterov": True}, "sgd"),
        ({"augment": "spin"}, "spin"),
        ({"augment": "flip:7"}, "strength"),
        ({"output_name": "nothing"}, "no output"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, Any], said: str) -> None:
    seen, _ = split(32)
    with pytest.raises(osg.UsageError, match=said):
        osg.train(FIXTURES / "digits.onnx", seen, **options)


def test_labels_that_do_not_fit_are_refused() -> None:
    seen, _ = split(32)
    feed = seen[0][0]
    for labels in (seen[0][1] + 90, seen[0][1] - 0.5, np.zeros((32, 3), np.float32)):
        with pytest.raises(osg.UsageError, match="labels are not class numbers"):
            osg.train(FIXTURES / "digits.onnx", [(feed, labels)], **DIGITS)
    with pytest.raises(osg.UsageError, match="needs labels"):
        osg.train(FIXTURES / "digits.onnx", [feed], **DIGITS)


def test_an_interrupt_waits_until_a_step_is_whole() -> None:
    done = []

    def step() -> None:
        with uninterrupted():
            os.kill(os.getpid(), signal.SIGINT)
            done.append("the rest")

    with pytest.raises(KeyboardInterrupt):
        step()
    assert done
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def stating(size: int, *, mixing: bool = False, written: bool = False) -> onnx.ModelProto:
    """A network that states a batch size. mixing: it also subtracts the mean of the batch. written: it also reshapes to
    a constant shape that holds the size."""
    net = Net("stating", (size, 2), width=2)
    x = net.gemm("input", "fc1", 8)
    if mixing:
        x = net.add("Sub", "centred", x, net.add("ReduceMean", "mean", x, axes=[0]))
    if written:
        x = net.reshape(x, "flat", [size, -1], width=8)
    return net.finish(net.gemm(net.add("Relu", "relu", x), "fc2", 1), (size, 1)).model()


@pytest.mark.parametrize(("stated", "form"), [(1, {}), (2, {}), (1, {"written": True}), (2, {"written": True})])
def test_a_batch_size_that_is_only_stated_is_no_limit(stated: int, form: dict[str, bool], tmp_path: Path) -> None:
    np.savez(tmp_path / "xor.npz", input=np.tile(X, (4, 1)), labels=np.tile(Y, (4, 1)))
    free = stating(stated, **form)
    found = osg.train(free, tmp_path / "xor.npz", epochs=200, batch=8, **XOR)
    assert found.batch == 8
    assert found.after < found.before / 2
    assert [d.dim_value for d in ir.to_proto(found.ir).graph.input[0].type.tensor_type.shape.dim] == [stated, 2]
    assert found.save(tmp_path / "trained.onnx") == pytest.approx(0, abs=1e-5)
    assert [node.input for node in ir.to_proto(found.ir).graph.node] == [node.input for node in free.graph.node]
    assert osg.train(free, tmp_path / "xor.npz", epochs=1, **XOR).batch == 16


@pytest.mark.parametrize("form", [{}, {"mixing": True}])
def test_a_teacher_that_states_a_batch_size_teaches_any_that_it_can(form: dict[str, bool], tmp_path: Path) -> None:
    """A teacher whose outputs depend on the size of the batch is asked in batches of its own."""
    np.savez(tmp_path / "xor.npz", input=np.tile(X, (4, 1)))
    teacher = stating(2, written=True, **form)
    asked = XOR | {"loss": "distill", "teacher": teacher, "batch": 8, "epochs": 1}
    assert osg.train(stating(2), tmp_path / "xor.npz", **asked).batch == 8
    assert osg.train(teacher, tmp_path / "xor.npz", **asked).before == pytest.approx(1.0)


def test_a_teacher_that_reads_other_inputs_is_refused() -> None:
    teacher = stating(2)
    teacher.graph.input[0].name = teacher.graph.node[0].input[0] = "pictures"
    with pytest.raises(osg.UsageError, match="the teacher reads pictures, which the model doesn't"):
        osg.train(stating(2), [{"input": X}], **XOR | {"loss": "distill", "teacher": teacher})


def test_a_batch_size_that_is_a_limit_is_added_up(tmp_path: Path) -> None:
    """Gradients of four batches of two make a step on eight samples; in other batches the network would compute others,
    so it is compared with accumulation that was asked for."""
    np.savez(tmp_path / "xor.npz", input=np.tile(X, (4, 1)), labels=np.tile(Y, (4, 1)))
    bound, free = stating(2, mixing=True), stating(2, mixing=True)
    free.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    free.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    found = osg.train(bound, tmp_path / "xor.npz", epochs=3, batch=8, **XOR)
    asked = osg.train(free, tmp_path / "xor.npz", epochs=3, batch=2, accumulate=4, **XOR)
    assert (found.batch, asked.batch) == (8, 2)
    for name, array in weights(found.ir).items():
        assert weights(asked.ir)[name] == pytest.approx(array, abs=1e-6)
    assert osg.train(bound, tmp_path / "xor.npz", epochs=1, **XOR).batch == 16
