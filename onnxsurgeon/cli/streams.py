"""Standard streams that survive a closed pipe."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TextIO


class SafeStream:
    """A standard stream that ignores a closed pipe (as behind `| head`): further output is lost, the work continues."""

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
