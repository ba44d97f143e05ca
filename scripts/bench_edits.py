"""Measures edits, `bench_edits.py MODEL`: time of one resize and of a hundred in a row, and how often weights are read.

A weight is gathered only when it is written: once, after any number of edits.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from onnxsurgeon.errors import InfeasibleError, UsageError
from onnxsurgeon.model.lazy_weights import EditedWeight
from onnxsurgeon.model.write import write
from onnxsurgeon.surgery.network import Network, load


class Gathers:
    """Counts evaluations of each recipe."""

    def __init__(self) -> None:
        self.count: Counter[str] = Counter()
        gather = EditedWeight._gather

        def counted(taken: EditedWeight) -> Any:
            self.count[taken.name or ""] += 1
            return gather(taken)

        EditedWeight._gather = counted  # type: ignore[method-assign, assignment]


def one_resize(network: Network, name: str) -> float:
    """Seconds."""
    other = network.copy()
    began = time.perf_counter()
    other[name].resize(-8)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--edits", type=int, default=100)
    given = parser.parse_args()
    began = time.perf_counter()
    network, gathers = load(given.model), Gathers()
    print(f"load                       {time.perf_counter() - began:6.2f} s")
    names = [v.name for v in network if (v.width or 0) > 16 and v.operator in ("Conv", "MatMul", "Gemm")]
    seconds = []
    for name in names[:5]:
        try:
            seconds.append(one_resize(network, name))
        except (InfeasibleError, UsageError):
            continue
    print(f"one resize                 {statistics.median(seconds):6.2f} s (median of {len(seconds)})")
    began, done = time.perf_counter(), 0
    while done < given.edits:
        name = names[done % len(names)]
        network.resize(f"{name}~{'-' if done % 2 else '+'}4", importance="uniform")
        done += 1
    print(
        f"{done} resizes in a row      {time.perf_counter() - began:6.2f} s, weights gathered: {gathers.count.total()}"
    )
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        write(network.ir, Path(folder) / "edited.onnx")
        took = time.perf_counter() - began
    most = max(gathers.count.values(), default=0)
    print(
        f"write                      {took:6.2f} s, {len(gathers.count)} weights gathered, each {most} time(s) at most"
    )


if __name__ == "__main__":
    main()
