"""Cuts of the model that a search begins with, where that exceeds the limits: candidates begin within them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onnxsurgeon.errors import InfeasibleError
from onnxsurgeon.model.write import write
from onnxsurgeon.pruning.prune import prune
from onnxsurgeon.search.options import SearchOptions
from onnxsurgeon.surgery.network import Network, load

SHARES = 1.0, 0.9, 0.8  # of the limits
SAMPLES = 256  # that choose and repair a cut


def cuts(
    source: Network, data: str, limits: Mapping[str, float], options: SearchOptions, folder: Path
) -> list[Network]:
    """The source, cut to several shares of the limits; as it is where it holds them, or nothing can be cut so far.

    Written to `folder`, so that a search that goes on has the same. A latency is not cut to: it takes measurements.
    """
    counted = {word: limit for word, limit in limits.items() if word != "latency"}
    costs = source.measure().costs
    if not counted or all(costs.get(word, limit + 1) <= limit for word, limit in counted.items()):
        return [source]
    found = list[Network]()
    for share in SHARES:
        path = folder / f"model.{share:g}.onnx"
        if not path.exists():
            asked: dict[str, Any] = {f"max_{word}": limit * share for word, limit in counted.items()}
            try:
                cut = prune(
                    source, data=data, samples=SAMPLES, effort="fast", seed=options.seed, device=options.device,
                    input_shape=options.shapes, preprocess=options.preprocess, **asked,
                )  # fmt: skip
            except InfeasibleError:
                return found or [source]
            write(cut.model.ir, path)
        found.append(load(path))
    return found
