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
    lines, proof = [], report["proof"]
    if not report["steps"]:
        return [said("steps", "none: there is nothing to do")]
    done = sum(row["change"] is not None or row["unchanged"] is not None for row in report["steps"])
    for number, row in enumerate(report["steps"]):
        end = ""
        if proof is not None:
            end = ": " + (_outcome(row) if number < done else "FAILED" if number == done else "not reached")
        lines.append(said("" if number else "steps", row["what"] + end))
    return lines


def _known(report: Report) -> list[RenderableType]:
    """What is known about the outputs, once they are proven."""
    steps = report["steps"]
    if report["status"] != "written" or not steps:
        return []
    if all(row["unchanged"] for row in steps) and any(row["kind"] == "part" for row in steps):
        return [said("outputs", "what these values are in the original", style="green")]
    if all(row["unchanged"] for row in steps):
        return [said("outputs", "those of the original: the function is unchanged", style="green")]
    ran = sum(row["error"] is None and not row["unchanged"] for row in steps)
    only = f"; {ran} of {len(steps)} steps only ran, since they have nothing to be compared with" if ran else ""
    return [said("outputs", f"changed, as requested{only}; accuracy unknown", style="yellow" * bool(ran))]


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
    if proof is None:
        return []
    allowed = f"allowed: atol {proof['atol']:g}, rtol {proof['rtol']:g}"
    return [said("proof", f"relative to the scale of each output; {allowed}; {compared(proof)}")]
