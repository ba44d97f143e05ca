"""Counts what runs of a network cost, in runs of the whole network on one sample."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import onnx_ir as ir

GRADIENT = 3.0  # what a gradient costs, in runs


@dataclass
class Meter:
    """weights: what each node costs, by the name of its first output; others are free. samples: the sum so far."""

    weights: Mapping[str, float] = field(default_factory=dict)
    samples: float = 0.0

    def add(self, size: int, share: float = 1.0) -> None:
        """Adds a run of a `share` of the network on `size` samples."""
        self.samples += share * size

    def share(self, nodes: Iterable[ir.Node]) -> float:
        """The share of the network that these nodes are."""
        total = sum(self.weights.values())
        return sum(self.weights.get(node.outputs[0].name or "", 0.0) for node in nodes) / total if total else 0.0


_METER: ContextVar[Meter] = ContextVar("meter")


def meter() -> Meter:
    """The meter of the surrounding `metered` block; outside, one that nobody reads."""
    return _METER.get(Meter())


@contextmanager
def metered() -> Iterator[Meter]:
    """Counts all runs within the block."""
    token = _METER.set(Meter())
    try:
        yield _METER.get()
    finally:
        _METER.reset(token)
