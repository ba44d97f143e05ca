"""What is inferred of values is what a run finds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from onnxsurgeon.arrays import is_float
from onnxsurgeon.model.read import read
from onnxsurgeon.runtime.partial_runs import nodes_for, serialise
from onnxsurgeon.runtime.session import Session
from onnxsurgeon.training import seen_values as module
from onnxsurgeon.training.seen_values import seen_values
from paths import FIXTURES


@pytest.mark.parametrize("inferring", [True, False])
@pytest.mark.parametrize("path", sorted(FIXTURES.glob("*.onnx")), ids=lambda path: path.stem)
def test_what_is_inferred_is_what_a_run_finds(
    path: Path, inferring: bool, monkeypatch: pytest.MonkeyPatch  # noqa: FBT001  of pytest
) -> None:  # fmt: skip
    model = read(path)
    nodes, fed = nodes_for(model, model.graph.outputs)
    rng, feed = np.random.default_rng(0), {}
    for value in fed:
        assert value.shape is not None
        dims = [n if isinstance(n, int) else 3 for n in value.shape]
        numbers = rng.integers(0, 4, dims) if value.dtype == ir.DataType.INT64 else rng.standard_normal(dims)
        feed[value.name or ""] = numbers.astype(value.dtype.numpy() if value.dtype else np.float32)
    values = [value for node in nodes for value in node.outputs if value.name]
    run = Session(serialise(model, nodes, feed, values), "cpu", optimise=False).run(feed)
    weights = {name for name, v in model.graph.initializers.items() if v.const_value and v.const_value.size > 8}
    if not inferring:
        monkeypatch.setattr(module, "_inferred", lambda *_: {})
    seen = seen_values(model, nodes, feed, weights, "cpu")
    for name, array in run.items():
        assert seen.shapes[name] == array.shape
        assert seen.floats.get(name) == (array.dtype if is_float(array) else None)
    for name, array in seen.static.items():
        assert np.array_equal(array, run.get(name, array))
    assert not weights & seen.static.keys()
