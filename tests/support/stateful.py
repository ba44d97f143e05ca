"""Networks with states that the caller carries round."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from google.protobuf import text_format
from onnx import numpy_helper, parser

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
