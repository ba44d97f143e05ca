"""Reports of validate as tables for a person."""

from __future__ import annotations

import math

from rich.console import RenderableType

from onnxsurgeon.report.json_report import Report
from onnxsurgeon.report.layout import plain, said, sized, table


def validated(report: Report, *, verbose: bool) -> list[RenderableType]:
    """Two models side by side, and the verdict."""
    only = report["shapes_only"]
    rows = [
        (row["name"], sized(row["before"]), sized(row["after"]),
         *(() if only else (_short(row["error"]), _short(row["margin"]))), row["note"])
        for row in report["outputs"]
    ]  # fmt: skip
    parts: list[RenderableType] = [plain(f"{report['original']} and {report['edited']}", "bold")]
    parts += [said("differs", line) for line in report["differences"]]
    if rows:
        sets = f"{report['samples']} set{'s' if report['samples'] > 1 else ''} of inputs on {report['provider']}"
        ran = sets if only else f"{sets}; atol {report['atol']:g}, rtol {report['rtol']:g}"
        values = () if only else (">error", ">of tolerance")
        parts += [table("output", ">original", ">edited", *values, "", rows=rows), said("ran", ran)]
    word, style = ("PASSED", "bold green") if report["status"] == "passed" else ("FAILED", "bold red")
    what = ": only names, types and shapes were compared" * only
    return [*parts, plain(word, style).append_text(plain(f"  {report['edited']}{what}"))]


def _short(number: float | None) -> str:
    """Two digits; a report has no number where one is not finite."""
    if number is None or not math.isfinite(number):
        return "not finite"
    return f"{number:.2g}" if number < 99.5 else f"{number:,.0f}"
