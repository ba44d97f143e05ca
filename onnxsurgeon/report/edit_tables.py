"""Reports of edits as tables for a person: counts, the nodes that changed, a line for each step and its proof."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import RenderableType

from onnxsurgeon.report.json_report import Report
from onnxsurgeon.report.layout import plain, said, sized, table
from onnxsurgeon.report.tables import ROWS, compared, counts, last, latency

NAMED = 8  # names of added or removed nodes without --verbose


def edited(report: Report, *, verbose: bool) -> list[RenderableType]:
    """The summary at the end of an edit."""
    parts = [*counts(report), *_changes(report["changes"], verbose=verbose)]
    for word, key in (("added", "after"), ("removed", "before")):
        names = [
            f"{row['node']} ({row[key]['operator']})"
            for row in report["changes"]
            if not (row["before"] and row["after"]) and row[key]
        ]
        if names:
            more = [] if verbose or len(names) <= NAMED else [f"and {len(names) - NAMED} more (see them with -v)"]
            parts.append(said(word, ", ".join([*(names if verbose else names[:NAMED]), *more])))
    parts += [said("relaxed" if row["relaxed"] else "nearest", text) for row in report["widths"] if (text := _off(row))]
    return [*parts, *_steps(report), *_proof(report), *latency(report), *_known(report), last(report)]


def _changes(rows: Sequence[Report], *, verbose: bool) -> list[RenderableType]:
    rows = [row for row in rows if row["before"] and row["after"]]
    if not rows:
        return []
    shown = rows if verbose else [row for row in rows if not row["follows"]]
    cells = [(row["node"], *(_became(row, key) for key in ("operator", "width", "weight"))) for row in shown]
    left = len(rows) - len(shown)
    following = [plain(f"... and {left:,} that only follow{'s' * (left == 1)} (see them with -v)")] if left else []
    title, most = f"Nodes that changed: {len(rows):,}", None if verbose else ROWS
    changed = table("node", "operator", "width", "weight", rows=cells, title=title, most=most, what="nodes")
    return [changed, *following, ""]


def _became(row: Report, key: str) -> str:
    was, now = (_text(row[side][key]) for side in ("before", "after"))
    return now if was == now else f"{was} -> {now}"


def _text(value: Any) -> str:
    return "" if value is None else sized(value) if isinstance(value, list) else str(value)


def _off(row: Report) -> str:
    """A text about a width that differs from the request; empty if it does not."""
    if row["wanted"] is None or row["after"] == row["wanted"]:
        return ""
    change = f"{row['before']} -> {row['after']}" if row["after"] != row["before"] else f"stays {row['before']}"
    return f"{row['request']}: {change}; {row['wanted']} is impossible"


def _steps(report: Report) -> list[RenderableType]:
    if not report["steps"]:
        return [said("steps", "none: there is nothing to do")]
    lines = (
        ": ".join(filter(None, (row["what"], text)))
        for row, text in zip(report["steps"], outcomes(report), strict=True)
    )
    return [said("" if number else "steps", line) for number, line in enumerate(lines)]


def outcomes(report: Report) -> list[str]:
    """What is proven of each step, in words; empty where nothing was to be proven."""
    steps = report["steps"]
    if report["proof"] is None:
        return [""] * len(steps)
    done = [_outcome(row) for row in steps if row["change"] is not None or row["unchanged"] is not None]
    return [*done, "FAILED", *["not reached"] * len(steps)][: len(steps)]


def only_ran(report: Report) -> str:
    """How many steps had nothing to be compared with, in words; empty if all were proven."""
    steps = report["steps"]
    ran = sum(row["error"] is None and not row["unchanged"] for row in steps)
    return f"{ran} of {len(steps)} steps only ran, since they have nothing to be compared with" if ran else ""


def outputs(report: Report) -> tuple[str, str]:
    """What is known about the outputs once they are proven, and its style; empty before."""
    steps = report["steps"]
    if report["status"] != "written" or not steps:
        return "", ""
    if all(row["unchanged"] for row in steps):
        part = any(row["kind"] == "part" for row in steps)
        same = "what these values are in the original" if part else "those of the original: the function is unchanged"
        return same, "green"
    ran = only_ran(report)
    text = "; ".join(filter(None, ("changed, as requested", ran, "accuracy unknown")))
    return text, "yellow" * bool(ran)


def _known(report: Report) -> list[RenderableType]:
    text, style = outputs(report)
    return [said("outputs", text, style=style)] if text else []


def _outcome(row: Report) -> str:
    error, change = row["error"], row["change"]
    if row["kind"] == "part" and row["unchanged"]:
        return f"it computes what it does inside the original, proven {_to(error or 0.0)}"
    if row["unchanged"]:
        return f"function unchanged, proven {_to(max(error or 0.0, change or 0.0))}"
    moved = "the outputs have other shapes" if change is None else f"the outputs change by {change:.2g}, as requested"
    return f"proven {_to(error)}; {moved}" if error is not None else f"runs; {moved}"


def _to(error: float) -> str:
    return f"to {error:.1e}" if error else "exactly"


def _proof(report: Report) -> list[RenderableType]:
    proof = report["proof"]
    return [] if proof is None else [said("proof", f"relative to the scale of each output; {allowed(proof)}")]


def allowed(proof: Report) -> str:
    """What a proof allowed, and what it ran on, in words."""
    return f"allowed: atol {proof['atol']:g}, rtol {proof['rtol']:g}; {compared(proof)}"
