"""The command `report`: a report of an earlier run once more, as tables, as JSON or as a page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from onnxsurgeon.cli.options import Given, Spoken, with_options
from onnxsurgeon.errors import UsageError
from onnxsurgeon.report import json_report

EXAMPLES = (
    "onnxsurgeon report pruned/model.onnx.json --html model.html",
    "onnxsurgeon report runs/*.json --html runs.html",
)
Files = Annotated[
    list[Path], typer.Argument(metavar="FILE.json", help="Reports, as --report writes them.", show_default=False)
]


@with_options(Spoken)
def report(files: Files, given: Given) -> None:
    """Show a report of an earlier run again: as tables, or with --html as a page.

    Several reports of prune are shown together: a row for each, cost against accuracy, what failed. With --output-dir
    and several ratios, prune leaves such a report beside each output.
    """
    spoken = given.of(Spoken)
    with spoken.answering("report") as answer:
        answer.save_to(spoken.report_to, *files)
        from onnxsurgeon.report.tables_of import tables_of

        found = [_read(file) for file in files]
        answer.found = found[0] if len(found) == 1 else _together(found, files)
        answer.tables = tables_of(answer.found)
        try:
            answer.give()
        except (KeyError, TypeError, AttributeError, IndexError, ValueError) as problem:
            why = f"{type(problem).__name__}: {problem}"
            raise UsageError("the report is not whole", why=why, fix="run the command again") from problem


def _read(path: Path) -> json_report.Report:
    fix = "give files that --report wrote"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{path} not found", fix="check the path") from None
    except (OSError, ValueError, RecursionError) as problem:
        raise UsageError(f"{path} is not a report", why=str(problem), fix=fix) from None
    if not isinstance(found, dict) or not {"schema", "command", "status", "exit_code"} <= found.keys():
        raise UsageError(f"{path} is not a report", why="it lacks the keys of one", fix=fix)
    if found["schema"] != json_report.SCHEMA:
        why = f"its schema is {found['schema']}, that of this version is {json_report.SCHEMA}"
        raise UsageError(f"{path} is of another version", why=why, fix="run the command again")
    return found


def _together(found: Sequence[json_report.Report], files: Sequence[Path]) -> json_report.Report:
    """One report of several runs, as prune gives it for several models."""
    for file, one in zip(files, found, strict=True):
        if one["command"] != "prune":
            why = f"{file} is one of {one['command'] or 'no command'}"
            raise UsageError("only reports of prune are shown together", why=why, fix="give one report at a time")
    rows = [row for one in found for row in one.get("models", [one])]
    return {**json_report.head("prune"), "models": rows, "seconds": {}, "status": "done", "exit_code": 0}
