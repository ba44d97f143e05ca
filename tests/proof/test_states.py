"""States that the caller carries round are found, shrink at both ends, and are proven over several runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

import onnxsurgeon
from onnxsurgeon.dependency.labels import label
from onnxsurgeon.errors import ProofError, UsageError
from onnxsurgeon.model.model import load
from onnxsurgeon.proof.feeds import STEPS
from stateful import CONV, CONV_WEIGHTS, GRU, GRU_WEIGHTS, MODELS, Shapes, build, made


@pytest.mark.parametrize("kind", MODELS)
def test_both_ends_shrink_and_are_proven(tmp_path: Path, kind: str) -> None:
    path, states = made(tmp_path, kind)
    result = onnxsurgeon.prune(path, data="none", ratio=0.4)
    proof = result.save(tmp_path / "cut.onnx")
    assert proof is not None
    assert proof.passed
    assert proof.steps == STEPS
    assert result.labels.states == states
    session = ort.InferenceSession(tmp_path / "cut.onnx")
    shapes = {v.name: v.shape for v in (*session.get_inputs(), *session.get_outputs())}
    changed = {row.name: list(row.after) for row in result.interface}
    assert changed.keys() == {*states, *states.values()}
    for name, shape in changed.items():
        assert [n for n in shape if isinstance(n, int)] == [n for n in shapes[name] if isinstance(n, int)]


DEAD = list(range(3, 11))


@pytest.mark.parametrize(
    ("text", "weights", "dead", "cost"),
    [
        (GRU, GRU_WEIGHTS,
         {w: (1, [*DEAD, *(16 + i for i in DEAD), *(32 + i for i in DEAD)]) for w in ("W1", "R1", "W2", "R2")}
         | {b: (1, [i + 16 * k for k in range(6) for i in DEAD]) for b in ("b1", "b2")}, 0.4),
        (CONV, CONV_WEIGHTS, {"w1": (0, DEAD), "b1": (0, DEAD)}, 0.4),
    ],
    ids=["gru", "convolution"],
)  # fmt: skip
def test_dead_channels_of_states_go_and_nothing_changes(
    tmp_path: Path, text: str, weights: Shapes, dead: Mapping[str, tuple[int, list[int]]], cost: float
) -> None:
    """Channels that stay 0 when the states begin with 0: five runs of both models, each with its own states."""
    path = build(tmp_path, text, weights, dead)
    result = onnxsurgeon.prune(path, data="none", ratio=cost)
    result.save(tmp_path / "cut.onnx")
    begin = next(iter(result.labels.states))
    rng, states = np.random.default_rng(1), {"whole": np.zeros(0), "cut": np.zeros(0)}
    runs = {"whole": ort.InferenceSession(path), "cut": ort.InferenceSession(tmp_path / "cut.onnx")}
    for step in range(5):
        shape = (2, 4, 5) if text is CONV else (5, 2, 12)
        x, found = rng.standard_normal(shape).astype(np.float32), {}
        for name, session in runs.items():
            if step == 0:
                dims = next(v.shape for v in session.get_inputs() if v.name == begin)
                states[name] = np.zeros([n if isinstance(n, int) else 2 for n in dims], np.float32)
            found[name], states[name] = session.run(None, {"x": x, begin: states[name]})
        np.testing.assert_allclose(found["cut"], found["whole"], atol=1e-5)
    assert states["cut"].size < states["whole"].size


def test_a_state_that_comes_out_wrong_is_no_proof(tmp_path: Path) -> None:
    """The outputs of one run are right; only the next one would be wrong."""
    path, _ = made(tmp_path, "lstm")
    result = onnxsurgeon.prune(path, data="none", ratio=0.4)
    node = next(node for node in result.bare.graph if node.op_type == "LSTM")
    first, second = node.outputs[1:3]
    first.name, second.name = "other", "h_out"
    first.name = "c_out"
    with pytest.raises(ProofError):
        result.save(tmp_path / "cut.onnx")
    assert not (tmp_path / "cut.onnx").exists()


def test_the_interface_stays_if_it_must(tmp_path: Path) -> None:
    path, _ = made(tmp_path, "convolution")
    result = onnxsurgeon.prune(path, data="none", max_params=10**6, keep_interface=True)
    assert result.labels.states == {}
    assert result.interface == []
    with pytest.raises(UsageError, match="exclude each other"):
        onnxsurgeon.prune(path, data="none", ratio=0.1, keep_interface=True, states={"cache": "new_cache"})


@pytest.mark.parametrize("pair", ["cache=nothing", "x=y", "cache=new_cache=y"])
def test_a_wrong_pair_is_refused(tmp_path: Path, pair: str) -> None:
    path, _ = made(tmp_path, "convolution")
    with pytest.raises(UsageError, match="states"):
        onnxsurgeon.prune(path, data="none", ratio=0.1, states=[pair])


@pytest.mark.parametrize(
    ("inputs", "outputs", "found"),
    [
        ("x past_k past_v", "y present_k present_v", "past_k=present_k past_v=present_v"),
        ("x past_key_values.0.key", "y present.0.key", "past_key_values.0.key=present.0.key"),
        ("x past_key_values.1.decoder.value", "y present.1.decoder.value",
         "past_key_values.1.decoder.value=present.1.decoder.value"),
        ("x h0 c0", "y hn cn", "h0=hn c0=cn"),
        ("x h_0", "y h_n", "h_0=h_n"),
        ("x state", "y stateN", "state=stateN"),
        ("x conv_cache", "y conv_cache_out", "conv_cache=conv_cache_out"),
        ("x cached_key_0 cached_key_1", "y new_cached_key_0 new_cached_key_1",
         "cached_key_0=new_cached_key_0 cached_key_1=new_cached_key_1"),
        ("x r1i r2i", "y r1o r2o", "r1i=r1o r2i=r2o"),
        ("x hidden_in", "y hidden_out", "hidden_in=hidden_out"),
        ("image_in h_in", "image_out h_out", "h_in=h_out"),
        ("x", "x_out", ""),
        ("input", "output", ""),
        ("image mask", "image_out", ""),
        ("image_in mask_in", "image_out mask_out", ""),
        ("hidden_states mask", "hidden_states_out weights", ""),
        ("input_1 input_2", "output_1 output_2", ""),
    ],
)  # fmt: skip
def test_names_that_say_before_and_after_pair_up(tmp_path: Path, inputs: str, outputs: str, found: str) -> None:
    """All have the same shape: the names alone decide."""
    reads = inputs.split()
    total = reads[0] if len(reads) == 1 else "t"
    body = f"t = Sum ({', '.join(reads)})" if len(reads) > 1 else ""
    body += "".join(f" {name} = MatMul ({total}, w{i})" for i, name in enumerate(outputs.split()))
    body = body.replace(".", "_DOT_")
    declared = [
        ", ".join(f"float[N,8] {name.replace('.', '_DOT_')}" for name in names.split()) for names in (inputs, outputs)
    ]
    weights = {f"w{i}": (8, 8) for i in range(len(outputs.split()))}
    path = build(tmp_path, f"({declared[0]}) => ({declared[1]}) {{ {body} }}", weights)
    labels = label(load(path).ir, carried={})
    assert labels.states == dict(pair.split("=") for pair in found.split())


def test_names_pair_up_only_where_shapes_agree(tmp_path: Path) -> None:
    text = """(float[N,8] x, float[N,8] h0) => (float[N,8] y, float[N,4] hn) {
        s = Add(x, h0) y = MatMul(s, a) hn = MatMul(s, b) }"""
    path = build(tmp_path, text, {"a": (8, 8), "b": (8, 4)})
    assert label(load(path).ir, carried={}).states == {}


def test_an_input_that_only_begins_a_recurrent_layer_needs_no_name(tmp_path: Path) -> None:
    path = build(tmp_path, GRU.replace("h0", "input_7").replace("hn", "Identity_3"), GRU_WEIGHTS)
    assert label(load(path).ir, carried={}).states == {"input_7": "Identity_3"}
