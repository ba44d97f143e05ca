"""How a command answers: its report as JSON or tables, errors in three parts, and an exit code."""

from __future__ import annotations

import errno
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, Protocol

from onnxsurgeon.cli import interrupts
from onnxsurgeon.cli.interrupts import INTERRUPTED
from onnxsurgeon.cli.log import LOG
from onnxsurgeon.cli.pipes import PIPES
from onnxsurgeon.errors import GateError, ProofError, SurgeonError, UsageError, printable
from onnxsurgeon.files import WRITTEN
from onnxsurgeon.install import blamed
from onnxsurgeon.options.record import Options, spelled
from onnxsurgeon.report import json_report as report

SHOWS = (
    "inspect",
    "validate",
    "evaluate",
    "sensitivity",
    "bench",
    "compare",
    "diff",
    "report",
    "check",
    "doctor",
    "demo",
)
OF_THE_MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EFBIG)


@dataclass
class Early:
    """What is known before a command begins. report: the file of --report, if a failure may be written there."""

    report: Path | None = None


EARLY = Early()  # of this process, which runs one command


class Tables(Protocol):
    """A function that turns a report into parts that rich prints."""

    def __call__(self, found: report.Report, /, *, verbose: bool) -> Sequence[Any]: ...


@dataclass
class Answer:
    """The answer of a command.

    found: the report so far. requested: the options, where `found` lacks them. page_wanted: where a page is asked for;
    page: where it may be written. tables: make its tables, which go to stdout if that is a terminal or the command
    is one of `SHOWS`, else to stderr. form: makes the text that goes to stdout in their place; that of JSON with
    `json`. appends: a file, and what makes the text that is added to it. complete: whether `found` is all that there is
    to show, even where the answer is an error.
    """

    command: str
    json: bool = False
    quiet: bool = False
    verbose: bool = False
    file: Path | None = None
    page_wanted: Path | None = None
    page: Path | None = None
    found: report.Report = field(default_factory=dict)
    requested: Options | None = None
    tables: Tables = lambda found, verbose: ()
    began: float = field(default_factory=time.perf_counter)
    form: Callable[[report.Report], str] | None = None
    appends: tuple[Path, Callable[[report.Report], str]] | None = None
    complete: bool = False
    interrupted: str = ""  # what an interrupt leaves, where the command knows more than the files that it wrote

    def __post_init__(self) -> None:
        if self.json:
            self.form = report.to_json

    def save_to(self, path: Path | None, *others: Path) -> None:
        """Also saves the report to `path`, and its page if one is wanted. Raises UsageError if one of these is one of
        `others`, or not a report."""
        EARLY.report, page = None, self.page_wanted
        if page is not None:
            report.check_report(page, *others, *([path] if path else []), option="--html", begins=report.PAGE)
        if path is not None:
            report.check_report(path, *others)
        self.file, self.page = path, page

    def give(self, **rest: Any) -> None:
        """Completes the report with `rest`, saves it if wanted, and prints it as JSON or tables."""
        self.found = PIPES.shown({**self.found, **self._asked(), **rest})
        self._save()
        self._say()
        self.show()

    def _asked(self) -> report.Report:
        return {} if self.requested is None or "requested" in self.found else {"requested": self.requested.report()}

    def _save(self) -> None:
        if self.file is not None:
            report.save(self.found, self.file)
        if self.page is not None:
            from onnxsurgeon.report.pages import page

            report.save_text(page(self.found), self.page)

    def fail(self, error: SurgeonError, code: int) -> None:
        """Prints the error to stderr, and adds it to the report."""
        self.file = self.file or EARLY.report
        error.what, error.why, error.fix = map(PIPES.shown, (error.what, error.why, error.fix))
        found = {**report.head(self.command), **self.found, **self._asked()}
        self.found = PIPES.shown({**found, **report.failure(error, code)})
        with suppress(UsageError):  # the error itself matters more
            self._save()
        with suppress(UsageError):
            self._say()
        if isinstance(error, ProofError | GateError) or self.complete:
            self.show()
        why = (f"  {line}" for line in error.why.splitlines())
        for line in (f"error: {error.what}", *why, *([f"fix: {error.fix}"] if error.fix else [])):
            print(printable(line), file=sys.stderr)
            LOG.say(line)

    def _say(self) -> None:
        """Prints the text that was asked for, and adds that of `appends` to its file."""
        if self.form is not None:
            print(self.form(self.found))
        if self.appends is not None:
            report.append(self.appends[1](self.found), self.appends[0])

    def show(self) -> None:
        """Prints the tables, and logs them in full."""
        if LOG.on:
            from onnxsurgeon.report.layout import as_text

            LOG.say(as_text(self.tables(self.found, verbose=True)))
        parts = () if self.quiet or self.form else self.tables(self.found, verbose=self.verbose)
        if parts:
            from onnxsurgeon.report.layout import console

            screen = console(sys.stdout if self.command in SHOWS or sys.stdout.isatty() else sys.stderr)
            for part in parts:
                screen.print(part)


@contextmanager
def answering(answer: Answer) -> Iterator[Answer]:
    """Turns any exception into an error message and an exit code (SystemExit)."""
    try:
        WRITTEN.clear()
        yield answer
        interrupts.ignore()
    except KeyboardInterrupt:
        _interrupt(answer)
    except Exception as problem:
        if _was_interrupted(problem) or (interrupts.raised() and not isinstance(problem, SurgeonError)):
            _interrupt(answer)
        interrupts.ignore()
        raise SystemExit(failed(answer, problem)) from problem


def failed(answer: Answer, problem: Exception) -> int:
    """Answers with what went wrong; the exit code."""
    if answer.verbose:
        print(*map(printable, traceback.format_exc().splitlines()), sep="\n", file=sys.stderr)
    LOG.say(traceback.format_exc())
    error = explained(problem)
    answer.fail(error, error.exit_code)
    return error.exit_code


def _interrupt(answer: Answer) -> NoReturn:
    interrupts.ignore()
    why = answer.interrupted or interrupts.left_behind()
    answer.fail(SurgeonError("interrupted", why=why), INTERRUPTED)
    raise SystemExit(INTERRUPTED) from None


def _was_interrupted(problem: BaseException | None) -> bool:
    """Whether an interrupt caused `problem`: an import that is interrupted may raise another error."""
    while problem is not None:
        if isinstance(problem, KeyboardInterrupt):
            return True
        problem = problem.__cause__ or problem.__context__
    return False


def _at_home() -> bool:
    """Whether the current folder still exists."""
    try:
        return bool(Path.cwd())
    except FileNotFoundError:
        return False


def explained(problem: Exception) -> SurgeonError:
    """`problem` as an error with what, why and fix."""
    if isinstance(problem, SurgeonError):
        problem.what, problem.why, problem.fix = map(spelled, (problem.what, problem.why, problem.fix))
        return problem
    if isinstance(problem, MemoryError):
        return SurgeonError("out of memory", why=str(problem), fix="free some memory, or use a machine with more")
    if isinstance(problem, OSError) and problem.errno in OF_THE_MACHINE:
        where = f": {problem.filename}" if problem.filename else ""
        return UsageError(
            f"{problem.strerror}{where}", fix="make room, or choose another folder (proofs write to TMPDIR)"
        )
    if isinstance(problem, FileNotFoundError) and not _at_home():
        return UsageError("the current folder is gone", why="it was removed or moved", fix="go to another one")
    if broken := blamed(problem):
        return broken
    return SurgeonError(
        "internal error",
        why=f"{type(problem).__name__}: {problem}",
        fix="run with -v for the traceback, and report it, if you can with the model",
    )
