"""States that the caller carries round are found, shrink at both ends, and are proven over several runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from google.protobuf import text_format
from onnx import numpy_helper, parser

import onnxsurgeon
from onnxsurgeon.dependency.labels import label
from onnxsurgeon.errors import ProofError, UsageError
from onnxsurgeon.model.model import load
from onnxsurgeon.proof.feeds import STEPS

Shapes = Mapping[str, object]


def build(folder: Path, text: str, weights: Shapes, dead: Mapping[str, tuple[int, list[int]]] | None = None) -> Path:
    """Writes a graph. weights: shapes or arrays. dead: by weight, an axis and positions where it is zero."""
    rng = np.random.default_rng(0)
    model = parser.parse_model(f'<ir_version: 9, opset_import: ["" : 17]> g {text}')
    for name, of in weights.items():
        array = of if isinstance(of, np.ndarray) else rng.uniform(-0.4, 0.4, of).astype(np.float32)  # type: ignore[arg-type]
        if dead and name in dead:
            axis, where = dead[name]
            np.moveaxis(array, axis, 0)[where] = 0
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    text = text_format.MessageToString(model)
    for word, sign in (("_DOT_", "."), ("_PLUS_", " + ")):  # the parser takes no such names
        text = text.replace(word, sign)
    path = folder / "model.onnx"
    onnx.save(text_format.Parse(text, onnx.ModelProto()), path)
    return path


def ints(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


GRU = """(float[T,B,12] x, float[2,B,16] h0) => (float[T,B,3] y, float[2,B,16] hn) {
    a, b = Split <axis=0> (h0, ones)
    o1, e1 = GRU <hidden_size=16> (x, W1, R1, b1, , a)
    s1 = Squeeze (o1, one)
    o2, e2 = GRU <hidden_size=16> (s1, W2, R2, b2, , b)
    s2 = Squeeze (o2, one)
    y = MatMul (s2, wo)
    hn = Concat <axis=0> (e1, e2) }"""
GRU_WEIGHTS: Shapes = {
    "ones": ints(1, 1), "one": ints(1), "W1": (1, 48, 12), "R1": (1, 48, 16), "b1": (1, 96), "W2": (1, 48, 16),
    "R2": (1, 48, 16), "b2": (1, 96), "wo": (16, 3),
}  # fmt: skip
LSTM = """(float[T,B,12] x, float[1,B,16] h_in, float[1,B,16] c_in) =>
    (float[T,B,3] y, float[1,B,16] h_out, float[1,B,16] c_out) {
    o, h_out, c_out = LSTM <hidden_size=16> (x, W, R, b, , h_in, c_in)
    s = Squeeze (o, one)
    y = MatMul (s, wo) }"""
LSTM_WEIGHTS: Shapes = {"one": ints(1), "W": (1, 64, 12), "R": (1, 64, 16), "b": (1, 128), "wo": (16, 3)}
CONV = """(float[B,4,T] x, float[B,16,2] cache) => (float[B,3,T] y, float[B,16,2] new_cache) {
    h = Conv (x, w1, b1)
    r = Relu (h)
    j = Concat <axis=2> (cache, r)
    new_cache = Slice (j, begin, end, axis)
    d = Conv (j, w2, b2)
    y = Relu (d) }"""
CONV_WEIGHTS: Shapes = {
    "begin": ints(-2), "end": ints(2**60), "axis": ints(2), "w1": (16, 4, 1), "b1": (16,), "w2": (3, 16, 3), "b2": (3,),
}  # fmt: skip
KV = """(float[B,T,24] x, float[B,P_PLUS_T] mask,
    float[B,2,P,8] past_key_values_DOT_0_DOT_key,
    float[B,2,P,8] past_key_values_DOT_0_DOT_value)
    => (float[B,T,24] y, float[B,2,S,8] present_DOT_0_DOT_key, float[B,2,S,8] present_DOT_0_DOT_value) {
    q0 = MatMul (x, wq) q1 = Reshape (q0, heads) q2 = Transpose <perm=[0,2,1,3]> (q1)
    k0 = MatMul (x, wk) k1 = Reshape (k0, groups) k2 = Transpose <perm=[0,2,1,3]> (k1)
    v0 = MatMul (x, wv) v1 = Reshape (v0, groups) v2 = Transpose <perm=[0,2,1,3]> (v1)
    present_DOT_0_DOT_key = Concat <axis=2> (past_key_values_DOT_0_DOT_key, k2)
    present_DOT_0_DOT_value = Concat <axis=2> (past_key_values_DOT_0_DOT_value, v2)
    ku = Unsqueeze (present_DOT_0_DOT_key, two) kr = Expand (ku, twice) kf = Reshape (kr, joined)
    vu = Unsqueeze (present_DOT_0_DOT_value, two) vr = Expand (vu, twice) vf = Reshape (vr, joined)
    kt = Transpose <perm=[0,1,3,2]> (kf)
    s = MatMul (q2, kt) m = Unsqueeze (mask, middle) sm = Add (s, m) p = Softmax <axis=-1> (sm)
    o = MatMul (p, vf) o1 = Transpose <perm=[0,2,1,3]> (o) o2 = Reshape (o1, flat)
    a = MatMul (o2, wo) r = Add (x, a) h = MatMul (r, w1) g = Relu (h) d = MatMul (g, w2) y = Add (r, d) }"""
KV_WEIGHTS: Shapes = {
    "wq": (24, 32), "wk": (24, 16), "wv": (24, 16), "wo": (32, 24), "w1": (24, 48), "w2": (48, 24),
    "heads": ints(0, 0, 4, 8), "groups": ints(0, 0, 2, 8), "two": ints(2), "middle": ints(1, 2),
    "twice": ints(1, 1, 2, 1, 1), "joined": ints(0, 4, -1, 8), "flat": ints(0, 0, 32),
}  # fmt: skip
MODELS = {
    "gru of two layers": (GRU, GRU_WEIGHTS, {"h0": "hn"}),
    "lstm": (LSTM, LSTM_WEIGHTS, {"h_in": "h_out", "c_in": "c_out"}),
    "convolution": (CONV, CONV_WEIGHTS, {"cache": "new_cache"}),
    "grouped queries": (
        KV, KV_WEIGHTS, {f"past_key_values.0.{word}": f"present.0.{word}" for word in ("key", "value")}
    ),
}  # fmt: skip


def made(folder: Path, kind: str) -> tuple[Path, dict[str, str]]:
    text, weights, states = MODELS[kind]
    return build(folder, text, weights), states


@pytest.mark.parametrize("kind", MODELS)
def test_both_ends_shrink_and_are_proven(tmp_path: Path, kind: str) -> None:
    path, states = made(tmp_path, kind)
    result = onnxsurgeon.prune(path, ratio=0.4)
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
    result = onnxsurgeon.prune(path, ratio=cost)
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
    result = onnxsurgeon.prune(path, ratio=0.4)
    node = next(node for node in result.bare.graph if node.op_type == "LSTM")
    first, second = node.outputs[1:3]
    first.name, second.name = "other", "h_out"
    first.name = "c_out"
    with pytest.raises(ProofError):
        result.save(tmp_path / "cut.onnx")
    assert not (tmp_path / "cut.onnx").exists()


def test_the_interface_stays_if_it_must(tmp_path: Path) -> None:
    path, _ = made(tmp_path, "convolution")
    result = onnxsurgeon.prune(path, max_params=10**6, keep_interface=True)
    assert result.labels.states == {}
    assert result.interface == []
    with pytest.raises(UsageError, match="exclude each other"):
        onnxsurgeon.prune(path, ratio=0.1, keep_interface=True, states={"cache": "new_cache"})


@pytest.mark.parametrize("pair", ["cache=nothing", "x=y", "cache=new_cache=y"])
def test_a_wrong_pair_is_refused(tmp_path: Path, pair: str) -> None:
    path, _ = made(tmp_path, "convolution")
    with pytest.raises(UsageError, match="states"):
        onnxsurgeon.prune(path, ratio=0.1, states=[pair])


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
