"""Standard streams that survive whatever reads them, or does not."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import IO, Any


class SafeStream:
    """A standard stream that can't stop the work: what can't be written is lost, as behind `| head`.

    problem: why it was lost, where that is not what the reader wanted, as on a full disk; an empty text if all is well.
    """

    def __init__(self, stream: IO[Any] | None) -> None:
        self.stream: IO[Any] = stream or Path(os.devnull).open("w")  # noqa: SIM115 - none where it is closed, as by >&-
        self.lost = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    @cached_property
    def buffer(self) -> SafeStream:
        return SafeStream(self.stream.buffer)  # type: ignore[attr-defined]  # of text

    @property
    def problem(self) -> str:
        written: SafeStream | None = vars(self).get("buffer")  # a stream of text alone has none
        return self.lost or (written.lost if written else "")

    def write(self, text: str | bytes) -> int:
        return int(self._despite(self.stream.write, text))

    def flush(self) -> None:
        self._despite(self.stream.flush)

    def _despite(self, do: Callable[..., Any], *args: str | bytes) -> Any:
        try:
            return do(*args)
        except OSError as problem:
            if not isinstance(problem, BrokenPipeError):
                self.lost = problem.strerror or str(problem)
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.stream.fileno())
            os.close(nowhere)
            return do(*args)
