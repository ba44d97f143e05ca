"""Kernels are timed one by one where the profiler says nothing of them, as on CUDA."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import onnxsurgeon as osg
from onnxsurgeon.dependency.labels import label
from onnxsurgeon.latency import kernel_times
from onnxsurgeon.latency.bench import Runs, inputs_for
from onnxsurgeon.latency.kernels import Kernels
from onnxsurgeon.latency.kernels_alone import COPIES, _copied, timed_alone
from onnxsurgeon.latency.options import Timed
from onnxsurgeon.latency.timing import Timing
from onnxsurgeon.model.model import as_model
from onnxsurgeon.runtime.partial_runs import piece
from onnxsurgeon.runtime.session import Session
from paths import FIXTURES


@pytest.mark.parametrize("name", ["residual", "digits", "depthwise", "grouped", "concat", "attention"])
def test_all_kernels_run_alone(name: str) -> None:
    """Each node is in one kernel, and each kernel runs with the values that it has in its model."""
    model = as_model(FIXTURES / f"{name}.onnx")
    labels = label(model.ir)
    kernels = Kernels(labels).all()
    nodes = [node for kernel in kernels for node in kernel.nodes]
    assert len(nodes) == len(set(nodes))
    assert set(nodes) == set(labels.calls) & set(labels.model.graph)
    options = Timed(device="cpu", threads=1)
    times = timed_alone(labels.model, inputs_for(labels, options), kernels, options)
    products = [k.name for k in kernels if (o := labels.operator(k.nodes[0])) is not None and o.macs is not None]
    assert set(products) <= times.keys()
    assert all(seconds > 0 for seconds in times.values())


def test_copies_compute_the_same_side_by_side() -> None:
    model = as_model(FIXTURES / "digits.onnx").ir
    x = np.random.default_rng(0).standard_normal((1, *(int(n) for n in model.graph.inputs[0].shape[1:]))).astype("f")  # type: ignore[index,arg-type]
    name = model.graph.inputs[0].name or ""
    proto, _ = piece(model, list(model.graph), {name: x}, model.graph.outputs, refer=False)
    copies = Session(_copied(proto, set()).SerializeToString(), "cpu")
    found = copies.run({f"{name}{k}": x * (k + 1) for k in range(COPIES)})
    one = Session(proto.SerializeToString(), "cpu")
    assert len(found) == COPIES * len(model.graph.outputs)
    for k in range(COPIES):
        for output, value in one.run({name: x * (k + 1)}).items():
            np.testing.assert_allclose(found[f"{output}{k}"], value, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_a_profile_needs_no_profiler(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = kernel_times.profiled

    def silent(*given: Any, **more: Any) -> tuple[list[Runs], list[Timing]]:
        found, timings = measured(*given, **more)
        return [replace(runs, nodes={}) for runs in found], timings

    monkeypatch.setattr("onnxsurgeon.latency.kernel_times.profiled", silent)
    found = osg.profile(FIXTURES / "residual.onnx", effort="fast", time_limit=3.0, fresh=True, device="cpu")
    assert found.tables
    assert all((table.values > 0).all() for table in found.tables.values())
    labels = label(as_model(FIXTURES / "residual.onnx").ir)
    assert len(list(found.parts(labels))) == len(found.kernels)
