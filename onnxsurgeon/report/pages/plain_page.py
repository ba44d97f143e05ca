"""The page of a report that has none of its own: what came of it, its facts, and its tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from onnxsurgeon.report.json_report import Report
from onnxsurgeon.report.pages.markup import Child
from onnxsurgeon.report.pages.pieces import facts, table
from onnxsurgeon.report.pages.sections import MOODS, error, foot
from onnxsurgeon.report.pages.template import Page, Section

KNOWN = ("schema", "command", "version", "status", "exit_code", "what", "why", "fix")  # said elsewhere


def plain(report: Report) -> Page:
    rest = {key: value for key, value in report.items() if key not in KNOWN}
    words = facts((key, _said(value)) for key, value in rest.items() if not _is_table(value))
    tables = [
        Section(key.replace("_", " ").capitalize(), [_table(key, value)])
        for key, value in rest.items()
        if _is_table(value)
    ]
    title = f"{report['command'] or 'onnxsurgeon'} {report.get('model') or report.get('original') or ''}".strip()
    lead = [report["what"]] if "what" in report else []
    sections = [*error(report), Section("Facts", [words] if rest else []), *tables]
    return Page(title, lead, sections, report["status"], MOODS.get(report["status"], ""), foot(report))


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def _table(name: str, rows: list[Report]) -> Child:
    heads = list(dict.fromkeys(key for row in rows for key in row))
    cells = ([_cell(row.get(head)) for head in heads] for row in rows)
    numbers = {head for head in heads if all(isinstance(row.get(head), int | float) for row in rows)}
    return table(*(f">{head}" if head in numbers else head for head in heads), rows=cells, caption=name)


def _cell(value: Any) -> Any:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else _said(value)


def _said(value: Any) -> str:
    return ", ".join(_words(value))


def _words(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, entry in value.items():
            yield f"{key}: {_said(entry)}"
    elif isinstance(value, list):
        for entry in value:
            yield _said(entry)
    elif value is not None:
        yield {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
