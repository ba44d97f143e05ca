"""Laws: a labelled axis has as many neurons as its dim, and equal graphs get equal labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import parser

from onnxsurgeon.dependency.labels import Labels, label
from onnxsurgeon.model.read import read
from paths import MODELS


def labelled(text: str, **weights: np.ndarray) -> Labels:
    model = parser.parse_model(text)
    model.graph.initializer.extend(onnx.numpy_helper.from_array(w, name) for name, w in weights.items())
    return label(ir.from_proto(model))


@pytest.mark.parametrize("path", MODELS, ids=lambda p: p.stem)
def test_every_axis_is_as_long_as_its_dim(path: Path) -> None:
    labels = label(read(path))
    for table in (labels.axes.items(), (((n.inputs[i]), axes) for (n, i), axes in labels.uses.items())):
        for value, axes in table:
            shape = labels.facts[0][value].shape
            assert shape is not None
            assert len(axes) == len(shape)
            assert all(axis is None or len(axis) == n for axis, n in zip(axes, shape, strict=True))


@pytest.mark.parametrize("path", MODELS, ids=lambda p: p.stem)
def test_inputs_and_outputs_are_never_cut(path: Path) -> None:
    labels = label(read(path))
    for value in (*labels.model.graph.inputs, *labels.model.graph.outputs):
        for axis in labels.axes[value]:
            assert axis is None or labels.classes.frozen[axis].all()


@pytest.mark.parametrize("path", MODELS, ids=lambda p: p.stem)
def test_labelling_is_deterministic(path: Path) -> None:
    first, second = label(read(path)), label(read(path))
    assert np.array_equal(first.classes.root, second.classes.root)
    assert np.array_equal(first.classes.frozen, second.classes.frozen)


def test_an_operator_without_a_rule_freezes_what_it_touches_and_is_reported() -> None:
    labels = labelled(
        """<ir_version: 8, opset_import: ["" : 17, "my" : 1]>
        g (float[2, 4] x) => (float[2, 3] y) {
            a = MatMul(x, w1)
            b = my.Thing(a)
            y = MatMul(b, w2)
        }""",
        w1=np.ones((4, 8), np.float32),
        w2=np.ones((8, 3), np.float32),
    )
    assert labels.unknown == {"Thing": 1}
    w1 = next(w for w in labels.weights() if w.value.name == "w1")
    reason = labels.classes.cause(w1.axes[1])
    assert reason is not None
    assert reason.operator == "Thing"


def test_a_constant_that_unrelated_nodes_share_ties_nothing() -> None:
    #  x > MatMul > + zeros > MatMul > + zeros > MatMul > y
    labels = labelled(
        """<ir_version: 8, opset_import: ["" : 17]>
        g (float[2, 4] x) => (float[2, 3] y) {
            a = MatMul(x, w1)
            b = Add(a, zeros)
            c = MatMul(b, w2)
            d = Add(c, zeros)
            y = MatMul(d, w3)
        }""",
        w1=np.ones((4, 8), np.float32),
        w2=np.ones((8, 8), np.float32),
        w3=np.ones((8, 3), np.float32),
        zeros=np.zeros(8, np.float32),
    )
    w2 = next(w for w in labels.weights() if w.value.name == "w2")
    root = labels.classes.root
    assert not np.intersect1d(root[w2.axes[0]], root[w2.axes[1]]).size
    assert not labels.classes.frozen[w2.axes[0]].any()


def test_a_shape_chain_of_a_dynamic_batch_is_followed() -> None:
    #  x > MatMul > Reshape to [Shape(x)[0], 4, 6] > Relu > Transpose > Reshape [0, -1] > MatMul > y
    labels = labelled(
        """<ir_version: 8, opset_import: ["" : 17]>
        g (float[N, 5] x) => (float[N, 3] y)
        <int64[1] four = {4}, int64[1] six = {6}, int64[1] zero = {0}, int64[1] one = {1}, int64[2] flat = {0, -1}> {
            a = MatMul(x, w1)
            s = Shape(a)
            n = Slice(s, zero, one)
            t = Concat<axis = 0>(n, four, six)
            r = Reshape(a, t)
            q = Relu(r)
                p = Transpose<perm = [0, 2, 1]>(q)
            f = Reshape(p, flat)
            y = MatMul(f, w2)
        }""",
        w1=np.ones((5, 24), np.float32),
        w2=np.ones((24, 3), np.float32),
    )
    w1, w2 = (next(w for w in labels.weights() if w.value.name == name) for name in ("w1", "w2"))
    columns, rows = labels.classes.root[w1.axes[1]], labels.classes.root[w2.axes[0]]
    assert len(np.unique(columns)) == 6
    assert np.array_equal(columns.reshape(4, 6).T.ravel(), rows)


def test_an_axis_is_frozen_if_its_size_times_a_dynamic_dim_is_data() -> None:
    #  x > MatMul > a; a / Size(a) > MatMul > y, and likewise where the batch alone is read
    text = """<ir_version: 8, opset_import: ["" : 17]>
        g (float[N, 5] x) => (float[N, 3] y) <int64 zero = {0}> {
            a = MatMul(x, w1)
            s = %s
            f = Cast<to = 1>(s)
            b = Div(a, f)
            y = MatMul(b, w2)
        }"""
    weights = {"w1": np.ones((5, 8), np.float32), "w2": np.ones((8, 3), np.float32)}
    for size, free in (("Size(a)", 0), ("Size(x)", 8), ("Shape<end = 1>(a)", 8), ("Shape<start = 1>(a)", 8)):
        labels = labelled(text % size, **weights)
        weight = next(w for w in labels.weights() if w.value.name == "w1")
        assert weight.axes[1] is not None
        assert (~labels.classes.frozen[weight.axes[1]]).sum() == free


def test_only_the_axes_of_such_a_size_are_frozen() -> None:
    #  x [N, 5, 4] > MatMul > a [N, 5, 8]; a / (N * 5) > MatMul > y
    labels = labelled(
        """<ir_version: 8, opset_import: ["" : 17]>
        g (float[N, 5, 4] x) => (float[N, 5, 3] y) {
            a = MatMul(x, w1)
            s = Shape<end = 2>(a)
            p = ReduceProd<keepdims = 0>(s)
            f = Cast<to = 1>(p)
            b = Div(a, f)
            y = MatMul(b, w2)
        }""",
        w1=np.ones((4, 8), np.float32),
        w2=np.ones((8, 3), np.float32),
    )
    weight = next(w for w in labels.weights() if w.value.name == "w1")
    assert weight.axes[1] is not None
    assert not labels.classes.frozen[weight.axes[1]].any()
