"""The page of a report that has none of its own: what the terminal says of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from onnxsurgeon.report.json_report import Report
from onnxsurgeon.report.pages.markup import Child
from onnxsurgeon.report.pages.sections import MOODS, error, foot
from onnxsurgeon.report.pages.template import Page, Section
from onnxsurgeon.report.pages.terminal import shown
from onnxsurgeon.report.tables_of import tables_of

NAMES = {"validate": "Validation", "evaluate": "Score", "bench": "Latency", "doctor": "Installation"}


def plain(
    report: Report, following: Sequence[Section] = (), *, first: Sequence[Section] = (), lead: Sequence[Child] = ()
) -> Page:
    """first, following: sections that a kind of report adds. lead: the answer, where there is no error."""
    command = report["command"] or "onnxsurgeon"
    title = " of ".join(filter(None, (NAMES.get(command, command.capitalize()), " and ".join(_models(report)))))
    said = [report["what"]] if "what" in report else lead
    happened = Section("What happened", shown(tables_of(report)(report, verbose=True)))
    sections = [*error(report), *first, happened, *following]
    return Page(title, said, sections, report["status"], MOODS.get(report["status"], ""), foot(report))


def _models(report: Report) -> Iterator[str]:
    for key in ("model", "original", "edited"):
        if isinstance(report.get(key), str):
            yield report[key]
    if len(report.get("models", ())) > 3:
        yield f"{len(report['models']):,} models"
    else:
        yield from (row["model"] for row in report.get("models", ()) if "model" in row)
