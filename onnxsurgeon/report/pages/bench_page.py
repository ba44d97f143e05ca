"""The page of a bench: which model is faster and by how much, with the interval."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from onnxsurgeon import units
from onnxsurgeon.latency.options import BenchOptions
from onnxsurgeon.report.json_report import Report
from onnxsurgeon.report.latency_tables import relative
from onnxsurgeon.report.pages import charts
from onnxsurgeon.report.pages.markup import Child
from onnxsurgeon.report.pages.offers import carried, following, offer, page_of, several_cuts
from onnxsurgeon.report.pages.pieces import figure
from onnxsurgeon.report.pages.plain_page import plain
from onnxsurgeon.report.pages.template import Page, Section


def benched(report: Report) -> Page:
    """Of one model or several; the first is what the others are compared with."""
    models = report["models"]
    drawn = Section("Was it worth it?", [_drawn(models)] if len(models) > 1 else [])
    return plain(report, [following(_next(report))], first=[drawn], lead=list(_lead(models)))


def _lead(models: Sequence[Report]) -> Iterator[str]:
    first = models[0]
    if len(models) == 1:
        yield f"{first['model']} takes {units.seconds(first['median'])} a run."
    for row in models[1:]:
        ratio = row["relative"]
        word = "faster than" if ratio["high"] < 1 else "slower than" if ratio["low"] > 1 else "as fast as is known as"
        yield f"{row['model']} is {word} {first['model']}: time {relative(ratio)}, with 95 % confidence."


def _drawn(models: Sequence[Report]) -> Child:
    """The median of each model, and its interval."""
    factor, unit = units.scale(max(row["interval"][1] for row in models))
    rows = [
        {
            "model": row["model"], "median": factor * row["median"], "low": factor * row["interval"][0],
            "high": factor * row["interval"][1], "label": units.seconds(row["median"]),
            "interval": " to ".join(map(units.seconds, row["interval"])),
        }
        for row in models
    ]  # fmt: skip
    spec = charts.intervals(rows, of="model", value="median", title=f"median of a run, {unit}")
    return figure(spec, "Median time of a run; the thin line is its 95 % interval.")


def _next(report: Report) -> Iterator[Child]:
    models = [row["model"] for row in report["models"]]
    first, last = models[0], models[-1]
    if not any(row["nodes"] for row in report["models"]):
        words = *models, *carried(report, BenchOptions), "--layers", "--html", page_of(last, "layers")
        yield offer("Which nodes take the time:", "bench", *words)
    if len(models) > 1:
        why = "What else the two differ in, their graphs side by side:"
        yield offer(why, "compare", first, last, "--html", page_of(last, "compare"))
    else:
        yield several_cuts(report, first)
