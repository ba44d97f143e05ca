"""The commands as a group that tells every error in the same way, and knows every exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TextIO

import typer
from typer.core import TyperGroup

from onnxsurgeon.cli.answer import INTERRUPTED, Answer
from onnxsurgeon.errors import UsageError


class SafeStream:
    """A standard stream whose reader may leave early: what it does not read is lost, and the work goes on."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        return int(self._despite(self.stream.write, text))

    def flush(self) -> None:
        self._despite(self.stream.flush)

    def _despite(self, do: Callable[..., Any], *args: str) -> Any:
        try:
            return do(*args)
        except BrokenPipeError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.stream.fileno())
            os.close(nowhere)
            return do(*args)


class Group(TyperGroup):
    """The commands, with every error told in the same way."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> NoReturn:
        args = list(sys.argv[1:] if args is None else args) or ["--help"]
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")  # names in a model are more than this terminal may know
        try:
            code = super().main(args, prog_name or "onnxsurgeon", standalone_mode=False)
        except typer.TyperException as problem:  # options that don't parse
            code = UsageError.exit_code
            Answer("", json="--json" in args).fail(_unparsed(problem), code)
        except (KeyboardInterrupt, typer.Abort):
            code = INTERRUPTED
        sys.exit(code if isinstance(code, int) else 0)


def _unparsed(problem: typer.TyperException) -> UsageError:
    path = getattr(getattr(problem, "ctx", None), "command_path", "onnxsurgeon")
    what, _, why = problem.format_message().replace("Value error, ", "").partition(". ")
    return UsageError(what, why=why, fix=f"see {path} --help")
