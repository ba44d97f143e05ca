"""What `doctor` found, as a report and as tables for a person.

`fix` of a fault is a command.

    doctor       python packages cuda faults
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from typing import TYPE_CHECKING

from onnxsurgeon.install import Fault, packages
from onnxsurgeon.report.json_report import DONE, Report, head, picked

if TYPE_CHECKING:
    from rich.console import RenderableType


def diagnosed(found: Sequence[Fault], *, whole: bool) -> Report:
    """found: the faults of packages. whole: whether onnxruntime can be imported, so that it can be asked about CUDA."""
    cuda, faults = None, list(found)
    if whole:
        from onnxsurgeon.runtime.cuda import cuda as look

        seen = look()
        faults += [fault for fault in seen.faults() if fault not in faults] if not found else []
        driver = None if seen.driver is None else ".".join(map(str, seen.driver))
        cuda = {"driver": driver, **picked(seen, "built usable"), "missing": list(seen.missing), "said": seen.line()}
    return {
        **head("doctor"),
        "python": platform.python_version(),
        "packages": [picked(package, "name version wanted new_enough") for package in packages()],
        "cuda": cuda,
        "faults": [picked(fault, "what why fix") for fault in faults],
        **DONE,
    }


def tables(report: Report, *, verbose: bool) -> list[RenderableType]:
    """A row for each package, what there is for CUDA, and the faults, each with what mends it."""
    from onnxsurgeon.report.layout import plain, said, table

    rows = [
        (row["name"], row["version"] or "missing", row["wanted"], plain(*_state(row))) for row in report["packages"]
    ]
    parts = [table("package", "version", "needed", "", rows=[("python", report["python"], "", plain("")), *rows]), ""]
    parts += [said("CUDA", report["cuda"]["said"])] if report["cuda"] else []
    for fault in report["faults"][1:]:  # the first one is the error
        parts += [
            "",
            plain(f"also: {fault['what']}", "red"),
            *map(plain, fault["why"].splitlines()),
            plain(fault["fix"]),
        ]
    return parts if report["faults"] else [*parts, plain("PASSED", "bold green")]


def _state(row: Report) -> tuple[str, str]:
    return ("ok", "green") if row["new_enough"] else ("too old" if row["version"] else "", "bold red")
