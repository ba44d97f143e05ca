"""Scores are what plain numpy says, whatever the batches; what can't be scored is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper, save

import onnxsurgeon as osg
from onnxsurgeon.metrics import METRICS
from onnxsurgeon.options.parsing import resolved
from paths import FIXTURES

RNG = np.random.default_rng(0)


def net(path: Path, batch: int | str = "n", *, extra: str = "") -> Path:
    """x -> MatMul -> y, and a second output where `extra` names its operator."""
    weight = np.random.default_rng(1).standard_normal((6, 7)).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 7])]
    if extra == "Identity":
        nodes.append(helper.make_node("Identity", ["y"], ["z"]))
        outputs.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, [batch, 7]))
    elif extra == "ArgMax":
        nodes.append(helper.make_node("ArgMax", ["y"], ["z"], axis=1))
        outputs = [helper.make_tensor_value_info("z", TensorProto.INT64, [batch, 1])]
    elif extra == "ReduceMean":
        nodes.append(helper.make_node("ReduceMean", ["y"], ["z"], axes=[0], keepdims=0))
        outputs = [helper.make_tensor_value_info("z", TensorProto.FLOAT, [7])]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 6])]
    graph = helper.make_graph(nodes, "net", inputs, outputs, [numpy_helper.from_array(weight, "w")])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture
def data(tmp_path: Path) -> str:
    x = RNG.standard_normal((23, 6)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=x, labels=RNG.integers(0, 7, 23))
    return str(tmp_path / "data.npz")


def outputs(model: Path, data: str) -> tuple[np.ndarray, np.ndarray]:
    with np.load(data) as archive:
        session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
        x = archive["x"]
        size = session.get_inputs()[0].shape[0]
        pad = -len(x) % size if isinstance(size, int) else 0
        x = np.concatenate([x, x[:pad]])
        parts = np.split(x, len(x) // size) if isinstance(size, int) else [x]
        return np.concatenate([session.run(None, {"x": p})[0] for p in parts])[: len(x) - pad], archive["labels"]


@pytest.mark.parametrize("size", ["n", 1, 5])
@pytest.mark.parametrize("batch", [None, 4, 23])
def test_hits_are_what_numpy_counts(size: int | str, batch: int | None, data: str, tmp_path: Path) -> None:
    model = net(tmp_path / "net.onnx", size)
    y, labels = outputs(model, data)
    best = y.argsort(axis=1)[:, ::-1]
    for metric, among in (("top1", 1), ("top5", 5)):
        score = osg.evaluate(model, data, metric=metric, batch=batch if size == "n" else None)
        assert score.value == pytest.approx((best[:, :among] == labels[:, None]).any(axis=1).mean())
        assert (score.samples, score.output, score.higher) == (23, "y", True)
    named = net(tmp_path / "named.onnx", size, extra="ArgMax")
    assert osg.evaluate(named, data).value == osg.evaluate(model, data).value


def test_differences_are_what_numpy_computes(data: str, tmp_path: Path) -> None:
    model = net(tmp_path / "net.onnx")
    y = outputs(model, data)[0].astype(np.float64)
    targets = y + RNG.standard_normal(y.shape)
    with np.load(data) as archive:
        np.savez(tmp_path / "targets.npz", x=archive["x"], labels=targets)
    mse = np.square(y - targets).mean()
    cosine = np.mean([a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(y, targets, strict=True)])
    psnr = 10 * np.log10(np.ptp(targets) ** 2 / mse)
    for metric, value in (("mse", mse), ("cosine", cosine), ("psnr", psnr)):
        for batch in (None, 3):
            score = osg.evaluate(model, str(tmp_path / "targets.npz"), metric=metric, batch=batch)
            assert score.value == pytest.approx(value)
            assert score.higher == (metric != "mse")
        same = osg.evaluate(model, data, metric=metric, against=model)
        assert same.value == {"mse": 0, "cosine": pytest.approx(1), "psnr": np.inf}[metric]
    assert osg.evaluate(model, data, against=model).value == 1


def test_models_with_other_outputs_are_not_compared() -> None:
    model, data = FIXTURES / "digits.onnx", str(FIXTURES / "digits_test.npz")
    other = osg.load(model)
    other.resize("fc=3")
    with pytest.raises(osg.UsageError, match="can't be compared") as error:
        osg.evaluate(model, data, metric="cosine", against=other)
    assert "`against` with the same outputs" in error.value.fix


@given(st.lists(st.integers(1, 9), min_size=1), st.integers(0, 2**32 - 1))
def test_no_metric_depends_on_the_batches(sizes: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    said, wanted = rng.standard_normal((sum(sizes), 8)), rng.standard_normal((sum(sizes), 8))
    cuts = np.cumsum(sizes)[:-1]
    for name, metric in ((name, resolved(found.function)) for name, found in METRICS.items() if found.function):
        whole = metric([(said, wanted)])
        assert metric(zip(np.split(said, cuts), np.split(wanted, cuts), strict=True)) == pytest.approx(whole), name


def test_a_metric_of_ones_own_gets_all_outputs(data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_metrics.py").write_text(
        "def count(batches): return sum(len(labels) for outputs, labels in batches if set(outputs) == {'y', 'z'})\n"
        "count.lower_is_better = True\n"
        "def broken(batches): return 'much'\n"
    )
    monkeypatch.chdir(tmp_path)
    model = net(tmp_path / "net.onnx", 5, extra="Identity")
    score = osg.evaluate(model, data, metric="own_metrics:count")
    assert (score.value, score.higher, score.output) == (23, False, "")
    with pytest.raises(osg.UsageError, match="broken failed"):
        osg.evaluate(model, data, metric="own_metrics:broken")
    with pytest.raises(osg.UsageError, match="all outputs"):
        osg.evaluate(model, data, metric="own_metrics:count", output_name="y")


def test_one_of_several_outputs_is_chosen(data: str, tmp_path: Path) -> None:
    model = net(tmp_path / "net.onnx", extra="Identity")
    assert osg.evaluate(model, data, output_name="z").value == osg.evaluate(model, data, output_name="y").value
    for output, words in ((None, "several outputs"), ("x", "no output x")):
        with pytest.raises(osg.UsageError, match=words):
            osg.evaluate(model, data, output_name=output)


BAD: dict[str, tuple[Callable[[np.ndarray], np.ndarray | None], str, str]] = {
    "top1 needs labels": (lambda labels: None, "top1", ""),
    "not class numbers": (lambda labels: labels + 1, "top1", ""),
    "values from -1": (lambda labels: labels - 1, "top5", ""),
    "type float64": (lambda labels: labels + 0.5, "top1", ""),
    "shape (23, 2)": (lambda labels: np.stack([labels, labels], axis=1), "top1", ""),
    "don't have the shape": (lambda labels: labels, "mse", ""),
    "is not known": (lambda labels: labels, "beauty", ""),
    "can't be split into samples": (lambda labels: labels, "top1", "ReduceMean"),
}


@pytest.mark.parametrize("words", BAD)
def test_what_can_not_be_scored_is_refused(words: str, data: str, tmp_path: Path) -> None:
    change, metric, extra = BAD[words]
    with np.load(data) as archive:
        labels = np.where(np.arange(23) == 0, 0, np.where(np.arange(23) == 1, 6, archive["labels"]))
        changed = change(labels)
        np.savez(tmp_path / "bad.npz", x=archive["x"], **({} if changed is None else {"labels": changed}))
    with pytest.raises(osg.UsageError) as caught:
        osg.evaluate(net(tmp_path / "net.onnx", extra=extra), str(tmp_path / "bad.npz"), metric=metric)
    assert words in str(caught.value)


def test_ranks_of_folders_are_no_classes_of_a_model_with_more(tmp_path: Path) -> None:
    from PIL import Image

    for name in ("cat", "dog"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        Image.new("RGB", (32, 32)).save(tmp_path / "pictures" / name / "a.png")
    with pytest.raises(osg.UsageError, match="2 folders of images for 10 classes"):
        osg.evaluate(FIXTURES / "residual.onnx", str(tmp_path / "pictures"), preprocess="cifar")
