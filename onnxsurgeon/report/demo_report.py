"""What `demo` wrote, as a report and as tables for a person.

`next` has commands to type, in that folder.

    demo         output files next
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from rich.console import RenderableType

from onnxsurgeon.report.json_report import DONE, Report, head
from onnxsurgeon.report.layout import plain, said


def shown(folder: Path, files: Sequence[Path], following: Sequence[str]) -> Report:
    listed = [path.relative_to(folder).as_posix() for path in files]
    return {**head("demo"), "output": str(folder), "files": listed, "next": list(following), **DONE}


def tables(report: Report, *, verbose: bool) -> list[RenderableType]:
    models = sum(name.endswith(".onnx") for name in report["files"])
    lines = [said("written", f"{models} networks and {len(report['files']) - models} data files in {report['output']}")]
    lines += [plain(f"  {name}") for name in report["files"] if verbose]
    return [*lines, plain(""), plain("type next:", "bold"), plain(f"  cd {shlex.quote(report['output'])}"),
            *(plain(f"  {line}") for line in report["next"])]  # fmt: skip
