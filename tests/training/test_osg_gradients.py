"""`osg.gradients` are the slopes of the sum of outputs, by name, and names that don't exist are refused."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import numpy_helper

import make_fixtures
import onnxsurgeon as osg
from onnxsurgeon.model.editor import set_tensor
from onnxsurgeon.runtime.session import Session


def total(model: ir.Model, feed: dict[str, np.ndarray]) -> float:
    found = Session(ir.to_proto(model).SerializeToString(), "cpu").run(feed)
    return float(np.asarray(found["output"], np.float64).sum())


@pytest.mark.parametrize(("name", "shape"), [("residual", (2, 3, 16, 16)), ("attention", (2, 5, 20))])
def test_gradients_are_slopes(name: str, shape: tuple[int, ...]) -> None:
    proto = make_fixtures.FIXTURES[name]().model()
    feed = {"input": np.random.default_rng(0).standard_normal(shape).astype(np.float32)}
    found = osg.gradients(proto, feed, device="cpu")
    assert len(found) > 8
    size = np.sqrt(sum(float((array.astype(np.float64) ** 2).sum()) for array in found.values()))
    ends = []
    for step in (1e-3, -1e-3):
        model = ir.from_proto(proto)
        for key, array in found.items():
            value = model.graph.initializers[key]
            assert value.const_value is not None
            moved = value.const_value.numpy() + np.float32(step / size) * array
            set_tensor(value, ir.Tensor(moved.astype(np.float32), name=key))
        ends.append(total(model, feed))
    assert (ends[0] - ends[1]) / 2e-3 == pytest.approx(size, rel=0.02)


def test_names_that_do_not_exist_are_refused() -> None:
    proto = make_fixtures.FIXTURES["plain"]().model()
    feed = {"input": np.zeros((1, 3, 16, 16), np.float32)}
    assert list(osg.gradients(proto, feed, weights="fc.bias", device="cpu")) == ["fc.bias"]
    with pytest.raises(osg.UsageError, match=r"(?s)no fc.bia\b.*did you mean fc.bias"):
        osg.gradients(proto, feed, weights="fc.bia")
    with pytest.raises(osg.UsageError, match="no logits"):
        osg.gradients(proto, feed, outputs="logits")


CHOICE = """<ir_version: 8, opset_import: ["": 18]>
choice (float[N, 4] x) => (float[N, 2] y) <float[4, 4] first, float[4, 2] second> {{
    hidden = MatMul (x, first)
    {condition}
    chosen = If (flag) <
        then_branch = taken () => (result) {{
            inner = Relu (hidden)
            result = If (flag) <
                then_branch = again () => (result2) {{ result2 = Identity (inner) }},
                else_branch = never () => (result2) {{ result2 = Abs (inner) }}
            >
        }},
        else_branch = other () => (result) {{
            inner = Neg (hidden)
            result = Exp (inner)
        }}
    >
    y = MatMul (chosen, second)
}}
"""
BY_SIZE = "shape = Shape (x) rank = Size (shape) two = Constant <value_int = 2> () flag = Equal (rank, two)"
BY_DATA = "total = ReduceSum <keepdims = 0> (x) zero = Constant <value_float = 0.0> () flag = Greater (total, zero)"


def choice(condition: str) -> onnx.ModelProto:
    proto = onnx.parser.parse_model(CHOICE.format(condition=condition))
    rng = np.random.default_rng(0)
    for name, shape in (("first", (4, 4)), ("second", (4, 2))):
        proto.graph.initializer.append(numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), name))
    return proto


def test_gradients_pass_the_branch_that_sizes_choose() -> None:
    proto = choice(BY_SIZE)
    before = proto.SerializeToString()
    x = np.random.default_rng(1).standard_normal((3, 4)).astype(np.float32)
    first, second = (numpy_helper.to_array(tensor) for tensor in proto.graph.initializer)
    found = osg.gradients(proto, {"x": x}, device="cpu")
    hidden = x @ first
    assert found["second"] == pytest.approx(np.maximum(hidden, 0).T @ np.ones((3, 2)), rel=1e-5)
    assert found["first"] == pytest.approx(x.T @ (np.ones((3, 2)) @ second.T * (hidden > 0)), rel=1e-4)
    assert proto.SerializeToString() == before


def test_no_gradient_passes_a_choice_that_data_make() -> None:
    feed = {"x": np.ones((3, 4), np.float32)}
    assert list(osg.gradients(choice(BY_DATA), feed, device="cpu")) == ["second"]
