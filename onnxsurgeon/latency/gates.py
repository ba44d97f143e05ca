"""Gates: conditions that a model has to hold, each with what was measured, the limit, and by how much it is missed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from onnxsurgeon import units
from onnxsurgeon.dependency.costs import COSTS, CostKind
from onnxsurgeon.dependency.measure import Measure
from onnxsurgeon.latency.timing import Interval, Ratio, Timing

FASTER = "make the model faster"
MENDS = {"score": "train the model or cut less of it", "seconds": FASTER, "share": FASTER}  # by unit; others are sizes
DIFFERENCES = {"score": "{:+.4g}".format, "share": "{:+.1%}".format}  # by unit; others differ by a share of the limit


@dataclass(frozen=True)
class Gate:
    """A condition: `value` may be `limit` at most, or at least if not `upper`.

    name: of the option that asked for it. what: was measured, in words. unit: of `value` and `limit`. written: shows
    them. interval: of 95 %, where the value is known no better; the gate holds if one end of it does, so that a busy
    machine alone fails no build.
    """

    name: str
    what: str
    value: float
    limit: float
    unit: str
    written: Callable[[float], str] = "{:.4g}".format
    upper: bool = True
    interval: Interval | None = None

    @property
    def passed(self) -> bool:
        """Whether it holds; a value that is no number holds nothing."""
        low, high = self.interval or (self.value, self.value)
        return low <= self.limit if self.upper else high >= self.limit

    @property
    def missed_by(self) -> float:
        """How far the value is on the wrong side of the limit, in its unit; negative on the right side."""
        return self.value - self.limit if self.upper else self.limit - self.value

    @property
    def doubtful(self) -> bool:
        """Whether the limit lies within the interval, so that another run may say something else."""
        return self.interval is not None and self.interval[0] <= self.limit < self.interval[1]

    @property
    def measured(self) -> str:
        """The value, in words."""
        return self._shown(self.value)

    @property
    def allowed(self) -> str:
        """The limit, in words."""
        return f"at {'most' if self.upper else 'least'} {self._shown(self.limit)}"

    def _shown(self, number: float) -> str:
        """Rounded, but where value and limit would look the same."""
        same = self.value != self.limit and self.written(self.value) == self.written(self.limit)
        return f"{number:.9g}" if same else self.written(number)

    @property
    def margin(self) -> str:
        """By how much it is missed or held, in words."""
        if self.value == self.limit:
            return "exactly"
        if self.unit in DIFFERENCES:
            return DIFFERENCES[self.unit](self.value - self.limit)
        return units.change(self.limit, self.value) if self.limit else f"+{self.written(self.value)}"

    def said(self) -> str:
        """All of it in a line."""
        return in_line(self.what, self.measured, self.allowed, self.margin, upper=self.upper)


def in_line(what: str, measured: str, allowed: str, margin: str, *, upper: bool) -> str:
    """What was measured and what is allowed, or required, in a line."""
    return f"{what}: {measured}, {allowed} is {'allowed' if upper else 'required'} ({margin})"


def mends(failed: Iterable[Gate]) -> str:
    """What makes gates hold that don't, by what they are about."""
    ways = dict.fromkeys(MENDS.get(gate.unit, "make the model smaller") for gate in failed)
    return f"{', '.join(ways)}, or change the limit"


def within(name: str, kind: CostKind, word: str, value: float, limit: float) -> Gate:
    """The gate for a cost: `word` of `COSTS`."""
    return Gate(name, kind.title, value, limit, "bytes" if kind.written is units.size else word, kind.written)


def in_time(timing: Timing, limit: float) -> Gate:
    """The gate for the latency of a model. limit: seconds."""
    kind = COSTS["latency"]
    return Gate("max_latency", kind.title, timing.median, limit, "seconds", kind.written, interval=timing.interval)


def growth(name: str, before: Measure, after: Measure, share: float) -> Iterator[Gate]:
    """A gate for each cost that was measured in both models: the second may have more by `share`."""
    for word, kind in COSTS.items():
        if kind.terms and word in before.costs:
            yield within(name, kind, word, after.of(word), before.of(word) * (1 + share))


def slowdown(name: str, found: Ratio, share: float) -> Gate:
    """The gate for how long a model takes relative to another: longer by `share` at most."""
    interval = found.low - 1, found.high - 1
    return Gate(name, "slowdown", found.value - 1, share, "share", "{:+.1%}".format, interval=interval)
