"""The page of a check: which conditions hold, by how much, and what to do about those that don't."""

from __future__ import annotations

from collections.abc import Iterator

from onnxsurgeon.latency.options import BenchOptions
from onnxsurgeon.options.shared import OfData
from onnxsurgeon.report.check_texts import each
from onnxsurgeon.report.json_report import Report
from onnxsurgeon.report.pages.markup import Child
from onnxsurgeon.report.pages.offers import carried, following, offer, page_of
from onnxsurgeon.report.pages.plain_page import plain
from onnxsurgeon.report.pages.template import Page

BUDGETS = ("max-params", "max-macs", "max-size")  # gates that are budgets of prune as well


def checked(report: Report) -> Page:
    """Of one model or several."""
    gates = [gate for one in each(report) for gate in one.get("gates", ())]
    lead = [f"{'The condition holds' if len(gates) == 1 else f'All {len(gates):,} conditions hold'}."]
    return plain(report, [following(part for one in each(report) for part in _next({**report, **one}))], lead=lead)


def _next(report: Report) -> Iterator[Child]:
    if "gates" not in report:  # it could not be checked: the error says what to do
        return
    model, against = report["model"], report["against"]
    failed = [gate for gate in report["gates"] if not gate["passed"]]
    limits = [f"--{gate['gate']}={gate['limit']:.0f}" for gate in failed if gate["gate"] in BUDGETS]
    data, of_data = report["data"] or "SAMPLES", carried(report, OfData)
    if limits:
        yield offer("Cut it down to the limits:", "prune", model, *limits, "--data", data, *of_data)
    if any(gate["unit"] == "seconds" for gate in failed):
        words = *carried(report, BenchOptions), "--layers", "--html", page_of(model, "layers")
        yield offer("Which nodes take the time:", "bench", model, *words)
    if any(gate["gate"].startswith(("min-", "max-drop")) for gate in failed):
        yield offer("Train it for a better score:", "train", model, "--data", "TRAINING_SAMPLES", *of_data)
    if against:
        why = "What the two differ in, their graphs side by side:"
        yield offer(why, "compare", against, model, "--html", page_of(model, "compare"))
    elif not failed:
        yield offer("What is in it, and what of it can be cut:", "inspect", model, "--html", page_of(model, "inspect"))
