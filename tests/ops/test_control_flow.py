"""Law: cutting commutes with what has graphs inside, whatever goes in, goes around, is captured or comes out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from onnx import numpy_helper, parser

from onnxsurgeon.arrays import Mask
from onnxsurgeon.dependency.labels import Labels, label
from onnxsurgeon.edit.apply import cut
from onnxsurgeon.model.read import read
from onnxsurgeon.model.write import write
from onnxsurgeon.proof.comparison import tolerance
from onnxsurgeon.proof.of_a_cut import prove
from random_selection import random_selection

RNG = np.random.default_rng(0)
# x [N, T, 4] > Loop over T: h = Tanh(x[t] u + h r), h is collected > MatMul > y.
LOOP = """
    most = Constant<value_int = 5>() go = Constant<value = bool {1}>()
    e = ReduceMax<keepdims = 0, axes = [1]>(x)
    start = MatMul(e, p)
    last, all = Loop(most, go, start) <body = inner (int64 t, bool on, float[N, 6] h) => (bool next, float g, float c) {
        next = Identity(on)
        xt = Gather<axis = 1>(x, t)
        a = MatMul(xt, u)
        b = MatMul(h, r)
        s = Add(a, b)
        g = Tanh(s)
        c = Relu(g)
    }>
    sum = ReduceSum<keepdims = 0>(all, zero)
    both = Add(sum, last)
    y = MatMul(both, v)
"""
# The same as a Scan along axis 1; its outputs are put together along axis 2.
SCAN = """
    e = ReduceMax<keepdims = 0, axes = [1]>(x)
    start = MatMul(e, p)
    last, all = Scan<num_scan_inputs = 1, scan_input_axes = [1], scan_output_axes = [2], body = inner
        (float[N, 6] h, float[N, 4] xt) => (float g, float c) {
        a = MatMul(xt, u)
        b = MatMul(h, r)
        s = Add(a, b)
        g = Tanh(s)
        c = Relu(g)
    }>(start, x)
    sum = ReduceSum<keepdims = 0>(all, two)
    both = Add(sum, last)
    y = MatMul(both, v)
"""
# A state of two parts that change places in each turn.
SWAPPED = """
    most = Constant<value_int = 3>() go = Constant<value = bool {1}>()
    f = MatMul(x, p)
    e = ReduceMax<keepdims = 0, axes = [1]>(f)
    last = Loop(most, go, e) <body = inner (int64 t, bool on, float h) => (bool next, float g) {
        next = Identity(on)
        left, right = Split<axis = 1>(h)
        q = Neg(right)
        g = Concat<axis = 1>(q, left)
    }>
    y = MatMul(last, v)
"""
# One that grows.
GROWING = """
    most = Constant<value_int = 3>() go = Constant<value = bool {1}>()
    f = MatMul(x, p)
    e = ReduceMax<keepdims = 0, axes = [1]>(f)
    last = Loop(most, go, e) <body = inner (int64 t, bool on, float h) => (bool next, float g) {
        next = Identity(on)
        one = Relu(e)
        g = Concat<axis = 0>(h, one)
    }>
    top = ReduceMax<keepdims = 1, axes = [0]>(last)
    d = MatMul(e, r)
    both = Add(d, top)
    y = MatMul(both, v)
"""
# A constant to start from, a weight that the body returns, and one that is read within and outside.
WEIGHTS = """
    most = Constant<value_int = 3>() go = Constant<value = bool {1}>()
    h0 = MatMul(x, p)
    last, same = Loop(most, go, zeros, r) <body = inner
        (int64 t, bool on, float h, float k) => (bool next, float g, float m) {
        next = Identity(on)
        a = Add(h, bias)
        g = MatMul(a, k)
        m = Identity(k)
    }>
    h1 = MatMul(h0, r)
    h2 = Add(h1, last)
    z = MatMul(h2, v)
    y = ReduceSum<keepdims = 0>(z, one)
"""
# An If in a Loop; its branches capture what is outside of both, and have weights of their own.
NESTED = """
    most = Constant<value_int = 4>() go = Constant<value = bool {1}>()
    e = ReduceMax<keepdims = 0, axes = [1]>(x)
    d = MatMul(e, p)
    f = Relu(d)
    last = Loop(most, go, f) <body = inner (int64 t, bool on, float h) => (bool next, float g) {
        next = Identity(on)
        odd = Mod(t, two0)
        is = Equal(odd, zero0)
        m = MatMul(h, r)
        g = If(is) <
            then_branch = one () => (float g1) { g0 = Add(m, d) g1 = Tanh(g0) },
            else_branch = other () => (float g3) <float[6] w = {1, -2, 3, -4, 5, -6}> { g2 = Mul(h, w) g3 = Sin(g2) }
        >
    }>
    y = MatMul(last, v)
"""
# What a body returns is normalised along the neurons.
NORMALISED = """
    most = Constant<value_int = 2>() go = Constant<value = bool {1}>()
    f = MatMul(x, p)
    e = ReduceMax<keepdims = 0, axes = [1]>(f)
    last = Loop(most, go, e) <body = inner (int64 t, bool on, float h) => (bool next, float g) {
        next = Identity(on)
        m = MatMul(h, r)
        g = Softmax(m)
    }>
    y = MatMul(last, v)
"""
GRAPHS = {
    "loop": LOOP,
    "scan": SCAN,
    "swapped": SWAPPED,
    "nested": NESTED,
    "weights": WEIGHTS,
    "normalised": NORMALISED,
}


def model(text: str, opset: int = 17) -> onnx.ModelProto:
    """`text` in a graph of x [N, 5, 4] and y [N, 3]."""
    proto = parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : {opset}]> g (float[N, 5, 4] x) => (float[N, 3] y) {{ {text} }}'
    )
    for graph in graphs(proto.graph):
        for info in (*graph.input, *graph.output):
            if not info.type.tensor_type.shape.dim and info.name not in ("t", "on", "next"):
                info.type.tensor_type.ClearField("shape")
    weights = {"u": (4, 6), "r": (6, 6), "v": (6, 3), "p": (4, 6)}
    held = {name: (RNG.standard_normal(shape) / 2).astype(np.float32) for name, shape in weights.items()}
    held |= {"zero": np.array([0]), "two": np.array([2]), "two0": np.array(2), "zero0": np.array(0)}
    held |= {"zeros": np.zeros((1, 6), np.float32), "bias": np.ones(6, np.float32), "one": np.array([1])}
    used = set(re.findall(r"\w+", text))
    proto.graph.initializer.extend(numpy_helper.from_array(a, name) for name, a in held.items() if name in used)
    for number, node in enumerate(proto.graph.node):
        node.name = f"{node.op_type}_{number}"
    return proto


def graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """The graphs inside."""
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield attribute.g
                yield from graphs(attribute.g)


def free(labels: Labels, name: str) -> list[int]:
    """Per axis of a weight, how many of its neurons may be cut."""
    weight = next(w for w in labels.weights() if w.value.name == name and w.uses)
    return [0 if axis is None else int((~labels.classes.frozen[axis]).sum()) for axis in weight.axes]


@pytest.mark.parametrize("name", GRAPHS)
def test_any_cut_is_proven(name: str, tmp_path: Path) -> None:
    source, target = tmp_path / "in.onnx", tmp_path / "out.onnx"
    onnx.save(model(GRAPHS[name]), source)
    labels = label(read(source))
    cuts = 0
    for seed in range(8):
        keep = random_selection(labels, 0.5, seed)
        write(cut(labels, keep), target, overwrite=True)
        proof = prove(labels, keep, source, target, allowed=tolerance(labels, None, None), device="cpu", seed=seed)
        assert proof.passed, proof
        assert not proof.weak
        if name != "normalised":
            check_apart(source, target, labels, keep)
        cuts += not keep.all()
    assert cuts >= 4


def check_apart(source: Path, target: Path, labels: Labels, keep: Mask) -> None:
    """Without our reference: what is dropped is 0 everywhere where its weights are."""
    proto = onnx.load(source)
    weight = next(w for w in labels.weights() if w.value.name == "v" and w.uses)
    assert weight.axes[0] is not None
    gone = ~keep[weight.axes[0]]
    for tensor in proto.graph.initializer:
        array = numpy_helper.to_array(tensor).copy()
        if tensor.name in ("p", "u", "r"):
            array[:, gone] = 0
        if tensor.name in ("r", "v"):
            array[gone] = 0
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    x = RNG.standard_normal((3, 5, 4)).astype(np.float32)
    found = [
        ort.InferenceSession(model, providers=["CPUExecutionProvider"]).run(["y"], {"x": x})[0]
        for model in (proto.SerializeToString(), str(target))
    ]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", GRAPHS)
def test_channels_pass_through(name: str) -> None:
    labels = label(ir.from_proto(model(GRAPHS[name])))
    assert free(labels, "v") == [6, 0]


def test_what_changes_its_shape_stays_whole() -> None:
    labels = label(ir.from_proto(model(GROWING)))
    assert free(labels, "v") == [0, 0]
    reasons = {reason.text for reason in labels.classes.causes}
    assert "its shape changes in a loop" in reasons
