"""`osg.gradients` are the slopes of the sum of outputs, by name, and names that don't exist are refused."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

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
