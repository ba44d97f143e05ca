"""The latency before and after, at the end of `prune` and of edits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from onnxsurgeon.errors import ModelError
from onnxsurgeon.options.shared import Device
from onnxsurgeon.report.json_report import Report

if TYPE_CHECKING:
    from onnxsurgeon.arrays import Shape

SECONDS = 1.0  # for the runs of both models
LARGEST = 1e9  # bytes of a file that runs as a whole just for this


def before_and_after(
    model: Path,
    written: Path,
    *,
    shapes: Mapping[str, Shape],
    device: Device,
    threads: int | None = None,
    largest: float = LARGEST,
) -> Report | None:
    """The latencies of two files, as the report has them; None where they can't be measured.

    largest: bytes; a larger file is not run.
    """
    from onnxsurgeon.latency.bench import side_by_side
    from onnxsurgeon.latency.options import Timed
    from onnxsurgeon.model.model import load
    from onnxsurgeon.report.latency import latencies

    options = Timed(input_shape=shapes, device=device, threads=threads, time_limit=max(SECONDS, 1e-9))
    if load(model).bytes > largest:
        return None
    try:
        found = side_by_side([model, written], options, names=[str(model), str(written)], enough=True)
    except ModelError:  # the proof has said more about it, or the user wanted none
        return None
    return latencies(found)
