"""A model is run up to one value after another, wherever these lead."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from drawing import Drawing
from onnxsurgeon.runtime.partial_runs import Walk
from onnxsurgeon.runtime.session import Session


def test_what_leads_to_no_output_can_be_run(tmp_path: Path) -> None:
    """x -> a -> b and a -> c, where only what does not follow from x is an output."""
    d = Drawing()
    for name, before in (("a", d.input("x", 4)), ("b", "a"), ("c", "a"), ("y", d.input("other", 4))):
        d.av(name, before, 4)
    model = d.network(tmp_path).ir
    value = {v.name: v for v in (*model.graph.inputs, *(v for node in model.graph for v in node.outputs))}
    del model.graph.outputs[:]
    model.graph.outputs.append(value["y"])
    feed = {"x": np.ones((2, 4, 6, 6), np.float32)}
    walk = Walk(model, [feed], [2], limit=1e6, device="cpu", known=[value["x"]])
    for name in ("b", "c"):
        assert [array.shape for array in walk.to(value[name])] == [(2, 4, 6, 6)]


def test_no_outputs_are_none(tmp_path: Path) -> None:
    """onnxruntime itself gives all of them."""
    d = Drawing()
    d.av("a", d.input("x", 4), 4)
    session = Session(d.network(tmp_path).path, "cpu")
    assert session.run({"x": np.ones((1, 4, 6, 6), np.float32)}, []) == {}
