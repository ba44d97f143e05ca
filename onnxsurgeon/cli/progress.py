"""Progress on stderr, if that is a terminal or --verbose asks for it."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Column
from rich.text import Text

from onnxsurgeon.cli.log import LOG
from onnxsurgeon.options.shared import Counted
from onnxsurgeon.report.json_report import Report
from onnxsurgeon.report.layout import console, plain
from onnxsurgeon.report.tables import outcome


class Done(ProgressColumn):
    """How much of a stage is done, for how long it has run, and how long the rest may take."""

    def render(self, task: Task) -> Text:
        elapsed, part = task.elapsed or 0.0, task.completed / task.total if task.total else 0.0
        count = f"{task.completed:.0f} of {task.total:.0f}, " if task.total else ""
        left = f", about {elapsed * (1 - part) / part:.0f} s left" if part else ""
        return Text(f"{count}{elapsed:.0f} s{left}")


class Stages:
    """Progress on stderr: a status line on a terminal, one line per stage with `verbose`, else nothing."""

    def __init__(self, *, verbose: bool, quiet: bool) -> None:
        self.console = console(sys.stderr)
        self.lines = verbose and not quiet
        live = self.console.is_terminal and not quiet and not self.lines
        spinner = "line" if self.console.options.ascii_only else "dots"
        text = TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis"))
        self.status = Progress(
            SpinnerColumn(spinner), Done(), text, console=self.console, transient=True, disable=not live,
            refresh_per_second=8,
        )  # fmt: skip
        self.stage, self.task = "", self.status.add_task("", total=None)

    def __call__(self, stage: str, detail: str) -> None:
        text = plain(f"{stage:6s} {detail}".rstrip())
        if not isinstance(detail, Counted) or detail.done in (0, detail.total):
            LOG.say(text.plain)
            if self.lines:
                self.console.print(text)
        if self.lines:
            return
        if stage != self.stage:
            self.stage = stage
            self.status.reset(self.task, total=None)
        said = plain(f"{stage} {detail.text if isinstance(detail, Counted) else detail}".rstrip()).plain
        done, total = (detail.done, detail.total) if isinstance(detail, Counted) else (0, None)
        self.status.update(self.task, description=said, completed=done, total=total)

    def __enter__(self) -> Stages:
        self.status.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.status.stop()


def _bar(screen: Console, *, live: bool) -> Progress:
    """A progress bar with the count, the elapsed time and a text."""
    names = TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis"))
    return Progress(
        MofNCompleteColumn(), BarColumn(bar_width=24), TimeElapsedColumn(), names, console=screen, transient=True,
        disable=not (live and screen.is_terminal),
    )  # fmt: skip


class Bar:
    """Progress over samples or other steps: a bar on stderr, if that is a terminal."""

    def __init__(self, *, quiet: bool) -> None:
        self.bar = _bar(console(sys.stderr), live=not quiet)
        self.task = self.bar.add_task("", total=None)

    def __call__(self, done: int, total: int, text: str = "") -> None:
        self.bar.update(self.task, completed=done, total=total, description=plain(text).plain)

    def __enter__(self) -> Bar:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()


class Count:
    """Progress over several models on stderr: a bar on a terminal, a line per model with `verbose`, else nothing."""

    def __init__(self, total: int, done: int, *, verbose: bool, quiet: bool) -> None:
        self.console = console(sys.stderr)
        self.lines = verbose and not quiet
        self.bar = _bar(self.console, live=not quiet and not self.lines)
        self.task = self.bar.add_task("", total=total, completed=done)
        self.running: list[str] = []

    def begin(self, name: str) -> None:
        """A model begins. Any thread may call this."""
        self.running.append(name)
        self._say(0)

    def end(self, name: str, report: Report, said: str) -> None:
        """A model is done. said: the stderr of its process."""
        self.running.remove(name)
        self._say(1)
        for line in (f"{outcome(report):12s} {name}", *(f"  {line}" for line in said.splitlines())):
            LOG.say(line)
            if self.lines:
                self.console.print(plain(line))

    def _say(self, more: int) -> None:
        names = ", ".join(name.replace("\\", "/").rpartition("/")[2] for name in self.running)
        self.bar.update(self.task, advance=more, description=plain(names).plain)

    def __enter__(self) -> Count:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()
