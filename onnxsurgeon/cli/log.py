"""The log file of a command: what --verbose shows, and tracebacks, each line with its time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TextIO

from onnxsurgeon.errors import UsageError, printable
from onnxsurgeon.report.json_report import check_report

HEAD = "# onnxsurgeon"  # first line of a log; other files are never written to


@dataclass
class Log:
    """Writes to `file`, or nowhere if that is None."""

    file: TextIO | None = None

    @property
    def on(self) -> bool:
        return self.file is not None

    def say(self, text: str) -> None:
        """Adds the lines of `text`."""
        if self.file is not None:
            now = datetime.now().isoformat(" ", "milliseconds")
            self.file.writelines(f"{now}  {printable(line.rstrip())}\n" for line in text.rstrip().splitlines())
            self.file.flush()

    @contextmanager
    def to(self, path: Path | None, title: str) -> Iterator[None]:
        """Appends what is logged in the block to the file at `path`. Raises UsageError if that is not a log."""
        if path is None:
            yield
            return
        check_report(path, option="--log-file", begins=HEAD)
        try:
            self.file = path.open("a", encoding="utf-8", errors="backslashreplace")
        except OSError as problem:
            raise UsageError(f"can't write {path}", why=str(problem.strerror), fix="choose another name") from problem
        try:
            self.file.write(f"{HEAD} {title}\n")
            yield
        finally:
            self.file.close()
            self.file = None


LOG = Log()  # of this process, which runs one command
