"""The page of a validation: whether two models compute the same, and what differs where."""

from __future__ import annotations

from collections.abc import Iterator

from onnxsurgeon.options.shared import InputShape
from onnxsurgeon.report.json_report import Report
from onnxsurgeon.report.pages.markup import Child
from onnxsurgeon.report.pages.offers import carried, following, offer, page_of, timed
from onnxsurgeon.report.pages.plain_page import plain
from onnxsurgeon.report.pages.template import Page


def validated(report: Report) -> Page:
    what = "names, types and shapes of inputs and outputs" if report["shapes_only"] else "outputs, on the same inputs"
    return plain(report, [following(_next(report))], lead=[f"The two have the same {what}."])


def _next(report: Report) -> Iterator[Child]:
    original, edited = report["original"], report["edited"]
    if report["status"] == "passed":
        yield timed(report, original, edited)
        return
    yield offer("Which nodes differ:", "diff", original, edited, "--html", page_of(edited, "diff"))
    rows = report["outputs"]
    if not report["differences"] and all(row["before"] == row["after"] for row in rows):
        why = "If the values may differ, as after pruning: whether names, types and shapes are the same"
        yield offer(f"{why}:", "validate", original, edited, "--shapes-only", *carried(report, InputShape))
        name = ["--output-name", rows[0]["name"]] if len(rows) > 1 else []
        yield offer(
            "How far the outputs are apart on real samples:",
            "evaluate", edited, "--data", "SAMPLES", "--metric", "cosine", "--against", original, *name,
            *carried(report, InputShape),
        )  # fmt: skip
