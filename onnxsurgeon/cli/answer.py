"""How a command speaks: what it found as JSON or tables, what went wrong in three parts, and an exit code."""

from __future__ import annotations

import errno
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from onnxsurgeon.errors import ProofError, SurgeonError, UsageError
from onnxsurgeon.report import records as report

INTERRUPTED = 130
OF_THE_MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EFBIG)


@dataclass
class Answer:
    """found: the report as far as it is known. tables: how a person sees it."""

    command: str
    json: bool = False
    quiet: bool = False
    verbose: bool = False
    file: Path | None = None
    found: report.Report = field(default_factory=dict)
    tables: Callable[[report.Report], Sequence[Any]] = lambda found: ()
    began: float = field(default_factory=time.perf_counter)
    interrupted: str = "nothing was written"  # what Ctrl-C leaves

    def give(self, **rest: Any) -> None:
        """The report, completed by `rest`: to its file, and to stdout as JSON or to a person as tables."""
        self.found |= rest
        if self.file is not None:
            report.save(self.found, self.file)
        if self.json:
            print(report.to_json(self.found))
        self.show()

    def fail(self, error: SurgeonError, code: int) -> None:
        """The error on stderr, and in the report where one was asked for."""
        self.found = {**report.head(self.command), **self.found, **report.failure(error, code)}
        if self.file is not None:
            with suppress(UsageError):  # the error itself matters more
                report.save(self.found, self.file)
        if self.json:
            print(report.to_json(self.found))
        if isinstance(error, ProofError):
            self.show()
        why = (f"  {line}" for line in error.why.splitlines())
        for line in (f"error: {error.what}", *why, *([f"fix: {error.fix}"] if error.fix else [])):
            print(_printable(line), file=sys.stderr)

    def show(self) -> None:
        """The tables, where a person looks."""
        parts = () if self.quiet or self.json else self.tables(self.found)
        if parts:
            from onnxsurgeon.report.tables import console

            screen = console(sys.stdout if sys.stdout.isatty() else sys.stderr)
            for part in parts:
                screen.print(part)


@contextmanager
def answering(answer: Answer) -> Iterator[Answer]:
    """Turns whatever goes wrong into words and an exit code (SystemExit)."""
    try:
        yield answer
    except KeyboardInterrupt:
        _interrupt(answer)
    except Exception as problem:
        if _was_interrupted(problem):
            _interrupt(answer)
        if answer.verbose:
            traceback.print_exc()
        error = explained(problem)
        answer.fail(error, error.exit_code)
        raise SystemExit(error.exit_code) from problem


def _interrupt(answer: Answer) -> NoReturn:
    answer.fail(SurgeonError("interrupted", why=answer.interrupted), INTERRUPTED)
    raise SystemExit(INTERRUPTED) from None


def _was_interrupted(problem: BaseException | None) -> bool:
    """Whether an interrupt is behind `problem`: a library that is being imported turns it into an error of its own."""
    while problem is not None:
        if isinstance(problem, KeyboardInterrupt):
            return True
        problem = problem.__cause__ or problem.__context__
    return False


def explained(problem: Exception) -> SurgeonError:
    """`problem` in three parts."""
    if isinstance(problem, SurgeonError):
        return problem
    if isinstance(problem, MemoryError):
        return SurgeonError("out of memory", why=str(problem), fix="free some memory, or use a machine with more")
    if isinstance(problem, OSError) and problem.errno in OF_THE_MACHINE:
        where = f": {problem.filename}" if problem.filename else ""
        return UsageError(
            f"{problem.strerror}{where}", fix="make room or choose another folder (TMPDIR for the proof's)"
        )
    return SurgeonError(
        "internal error",
        why=f"{type(problem).__name__}: {problem}",
        fix="run with -v for the traceback, and report it, with the model if you can",
    )


def _printable(line: str) -> str:
    """`line` without anything that a terminal would obey."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
