"""The latency before and after, at the end of `prune` and of edits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxsurgeon.errors import ModelError
from onnxsurgeon.options.shared import Device
from onnxsurgeon.report.json_report import Report

if TYPE_CHECKING:
    from onnxsurgeon.arrays import Shape

SECONDS = 1.0  # for the runs of two models
LARGEST = 1e9  # bytes of a file that runs as a whole just for this


def before_and_after(model: Path, written: Path, **options: Any) -> Report | None:
    """The latencies of two files, as the report has them; None where they can't be measured. options: of `beside`."""
    return beside(model, [written], **options)[0]


def beside(
    model: Path,
    written: Sequence[Path],
    *,
    shapes: Mapping[str, Shape],
    device: Device,
    threads: int | None = None,
    largest: float = LARGEST,
) -> list[Report | None]:
    """The latencies of a file and each that was made of it, as reports have them; None where they can't be measured.

    largest: bytes; a larger file is not run.
    """
    nothing: list[Report | None] = [None] * len(written)
    from onnxsurgeon.latency.bench import side_by_side
    from onnxsurgeon.latency.options import Timed
    from onnxsurgeon.model.model import load
    from onnxsurgeon.report.latency import latencies

    seconds = max(SECONDS * (1 + len(written)) / 2, 1e-9)
    options = Timed(input_shape=shapes, device=device, threads=threads, time_limit=seconds)
    if not written or load(model).bytes > largest:
        return nothing
    paths = [model, *written]
    try:
        found = latencies(side_by_side(paths, options, names=list(map(str, paths)), until_known=0.0))
    except ModelError:  # the proof has said more about it, or the user wanted none
        return nothing
    first, *others = found["models"]
    return [{**found, "models": [first, other]} for other in others]
