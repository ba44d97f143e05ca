"""The times of kernels: what runs in a turn counts relative to the first model in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from onnxsurgeon.dependency.labels import label
from onnxsurgeon.latency import kernel_times
from onnxsurgeon.latency.bench import Runs, inputs_for
from onnxsurgeon.latency.kernel_times import Reference, Timeable
from onnxsurgeon.latency.kernels import Kernels
from onnxsurgeon.latency.options import Timed
from onnxsurgeon.latency.timing import Timing
from onnxsurgeon.model.model import as_model
from paths import FIXTURES


def test_a_machine_that_changes_its_speed_changes_no_ratio(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second model takes half as long as the first one in each turn, and its kernel a tenth of that."""
    speed = [1.0, 3.0, 3.0, 1.0, 1.2]

    def timed(paths: Sequence[Path], *_: Any, beside: Sequence[Any], **__: Any) -> tuple[list[Runs], list[Timing]]:
        first, second = Timing(tuple(speed)), Timing(tuple(s / 2 for s in speed))
        node = [s / 20 for s in speed]
        return [Runs({"conv": node}, {"conv": "Conv"}, "CPU") for _ in paths], [first, second]

    monkeypatch.setattr(kernel_times, "profiled", timed)
    path = FIXTURES / "residual.onnx"
    labels = label(as_model(path).ir)
    one = Timeable(labels.model, path, inputs_for(labels, Timed()))
    kernels = Kernels(labels)
    name = next(iter(kernels.nodes))
    monkeypatch.setattr(kernels, "find", lambda _: kernels._kernel((kernels.nodes[name],)))
    found = kernel_times.kernel_times(one, kernels, Timed(), seconds=0.0, reference=Reference(one, Timed(), 10.0))
    assert found.seconds == pytest.approx(5.0)
    assert found.times[name] == pytest.approx(0.5)
