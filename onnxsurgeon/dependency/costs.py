"""The costs of a model that a budget can limit: one field for each, from which all that is said of it is made.

A cost is its field `max_WORD` of `CostLimits`: the option `max_params` and --max-params, the word of `cost`, the key in
reports, its row in tables, its terms for the solver and its measure come from there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from onnxsurgeon import units
from onnxsurgeon.options.parsing import amount, duration, share, word_of
from onnxsurgeon.options.record import REMOVE, Options, option, option_of

_COUNT = amount()


@dataclass(frozen=True)
class CostKind:
    """A cost. title: in tables. written: how a number is shown.

    terms: `module:function` that takes the axis lengths of a graph (`dependency.spaces.Lengths`) and yields products of
    them, (coefficient, factors), whose sum is the cost. buffers: `module:function` that takes labels and yields
    products that count from one moment to another; the cost is the largest sum at one. Without both, the cost is
    measured on a device.
    measure: `module:function` that takes a model and what its terms come to, and returns the cost. rest:
    `module:function` of a model, for what no term is about. reads: reads a limit.
    """

    title: str
    measure: str
    terms: str = ""
    buffers: str = ""
    rest: str = ""
    written: Callable[[float], str] = units.count
    reads: Callable[[Any, str], Any] = _COUNT

    @property
    def timed(self) -> bool:
        """Whether it is measured on a device."""
        return not self.terms and not self.buffers


def _limit(help: str, kind: CostKind, metavar: str = "N") -> Any:
    return option(None, help, panel=REMOVE, metavar=metavar, read=kind.reads, about=kind)


@dataclass(frozen=True, kw_only=True)
class Reduction(Options):
    """How much less of one cost a model may have."""

    ratio: float | str | None = option(
        None, "Reduce `cost` by at least this share, with little excess: 0.3 or 30%.", panel=REMOVE, metavar="R",
        read=share("0 <= ratio < 1", lambda x: 0 <= x < 1),
    )  # fmt: skip
    cost: str = option(
        "params", "The cost that `ratio` or `max_drop` reduces.", panel=REMOVE,
        words=lambda: COSTS, read=word_of(lambda: COSTS),
    )  # fmt: skip

    @property
    def share(self) -> float | None:
        """The ratio as a number."""
        return None if self.ratio is None else float(self.ratio)


@dataclass(frozen=True, kw_only=True)
class CostLimits(Options):
    """What a model may cost: a limit for each cost."""

    max_params: float | str | None = _limit(
        "Largest number of parameters, like 5M.",
        CostKind("parameters", "dependency.measure:params_of", "dependency.measure:params_terms"),
    )
    max_macs: float | str | None = _limit(
        "Largest number of MACs per sample, like 1.2G.",
        CostKind("MACs", "dependency.measure:as_estimated", "dependency.measure:macs_terms"),
    )
    max_size: float | str | None = _limit(
        "Largest file, like 18MB or 18MiB.",
        CostKind(
            "file", "dependency.measure:size_of", "dependency.measure:size_terms",
            rest="dependency.measure:size_of_the_rest", written=units.size, reads=amount(of_bytes=True),
        ),
    )  # fmt: skip
    max_memory: float | str | None = _limit(
        "Largest memory of activations per sample, like 64MB, at the moment when it is most.",
        CostKind(
            "peak memory", "dependency.measure:as_estimated", buffers="dependency.live_memory:buffers",
            written=units.size, reads=amount(of_bytes=True),
        ),
    )  # fmt: skip
    max_latency: float | str | None = _limit(
        "Longest time of a run on this device, like 8ms.",
        CostKind("latency", "dependency.measure:as_estimated", written=units.seconds, reads=duration),
        metavar="TIME",
    )

    @property
    def limits(self) -> dict[str, float]:
        """The given limits, by cost."""
        given = {word: getattr(self, f"max_{word}") for word in COSTS}
        return {word: float(value) for word, value in given.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Budgets(CostLimits, Reduction):
    """What a model may cost: a ratio for one cost, and limits for any."""

    @property
    def wanted(self) -> set[str]:
        """The costs that are asked about."""
        return {self.cost, *self.limits}


COSTS: dict[str, CostKind] = {
    of.name.removeprefix("max_"): option_of(of).about for of in fields(CostLimits) if of.name.startswith("max_")
}
