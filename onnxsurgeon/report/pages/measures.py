"""How good several runs are, by one measure that all of them have: a score, or how far outputs moved."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from onnxsurgeon.report.json_report import Report

SAMPLES = {"data": "samples of the data", "synthetic": "synthetic samples", "random": "random inputs"}


@dataclass(frozen=True)
class Quality:
    """One measure of several runs. better: 1 where higher is better, else -1. before, after: of the original and the
    result, by the index of the run, in `unit`. kinds: what outputs were compared on; empty for a score."""

    title: str
    better: int
    written: Callable[[float], str]
    before: Mapping[int, float]
    after: Mapping[int, float]
    kinds: Sequence[str] = ()
    unit: str = ""

    @property
    def axis(self) -> str:
        return ", ".join(filter(None, (self.title, self.unit)))

    @property
    def silent(self) -> str:
        """Why it can't tell the runs apart, in words; empty if it can."""
        values = set(self.after.values())
        if self.title == ERROR and min(values, default=0.0) >= 1:
            return "all outputs are as far off as a constant would be (a relative error of 1 or more)"
        return f"{self.title} is the same for all" if len(values) < 2 else ""


ERROR, TOP_CLASS = "relative error of the outputs", "top class unchanged"


def measured(rows: Sequence[Report]) -> Quality | None:
    """The measure that most of the runs have; of equals, the one that says most. None if there is none."""
    found = list(_measures(rows))
    return max(found, key=lambda measure: len(measure.after), default=None)


def _measures(rows: Sequence[Report]) -> Iterator[Quality]:
    """From the one that says most to the one that says least."""
    scores = {n: row["score"] for n, row in enumerate(rows) if (row.get("score") or {}).get("after") is not None}
    for metric in dict.fromkeys(score["metric"] for score in scores.values()):
        own = {n: score for n, score in scores.items() if score["metric"] == metric}
        higher = next(iter(own.values()))["higher_is_better"]
        before, after = ({n: score[side] for n, score in own.items()} for side in ("before", "after"))
        title = metric if higher else f"{metric}, lower is better"
        yield Quality(title, 1 if higher else -1, "{:.4g}".format, before, after)
    moved = {n: found for n, row in enumerate(rows) if (found := (row.get("verdict") or {}).get("moved"))}
    for title, better, key, written, factor, unit in (
        (TOP_CLASS, 1, "agreement", "{:.3g} %".format, 100.0, "%"),
        (ERROR, -1, "error", "{:.2g}".format, 1.0, ""),
    ):
        own = {n: [out[key] for out in found["outputs"]] for n, found in moved.items() if found["outputs"]}
        after = {n: min(values) if better > 0 else max(values) for n, values in own.items() if None not in values}
        if after:
            kinds = list(dict.fromkeys(SAMPLES[moved[n]["kind"]] for n in after))
            best = dict.fromkeys(after, max(better, 0) * factor)
            yield Quality(title, better, written, best, {n: factor * v for n, v in after.items()}, kinds, unit)
