"""Models from stdin and to stdout, which `-` means, and addresses, which are refused.

A command works on files: what stdin holds becomes one before it starts, and what it wrote goes to stdout at its end.
Reports and messages say `-` again.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from onnxsurgeon.errors import ModelError, UsageError
from onnxsurgeon.files import drafts, require_no_address

DASH = "-"
MODELS = ("model", "models", "before", "after", "original", "edited", "other", "against", "teacher")  # parameters
# that may be paths, as texts
PLACES = (*MODELS, "output", "output_dir", "data", "val", "report_to", "page_to", "summary")


@dataclass
class Pipes:
    """What `-` stands for in the command that runs. names: the paths of files by what they are called."""

    names: dict[str, str] = field(default_factory=dict)
    output: Path | None = None

    def shown(self, found: Any) -> Any:
        """A report, or a text, in which files of pipes have the name that they were given."""
        if not self.names:
            return found
        if isinstance(found, Mapping):
            return {key: self.shown(value) for key, value in found.items()}
        if isinstance(found, list | tuple):
            return [self.shown(value) for value in found]
        if isinstance(found, str):
            for path, name in self.names.items():
                found = found.replace(path, name)
        return found


PIPES = Pipes()  # of this process, which runs one command


@contextmanager
def piped(values: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The values of a command's parameters, with files in place of `-`. What it wrote goes to stdout at the end.

    Raises UsageError where a pipe can't be used like that, or a path is an address.
    """
    for name, given in values.items():
        for value in _several(given):
            if name in PLACES or isinstance(value, Path):
                require_no_address(value)
    dashes = [name for name in MODELS for value in _several(values.get(name)) if str(value) == DASH]
    writes = "output" in values and (str(values["output"]) == DASH or (values["output"] is None and bool(dashes)))
    if not dashes and not writes:
        yield values
        return
    _require_one(dashes, values)
    try:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(drafts()))
            made = dict(values)
            if dashes:
                path = _received(folder / "stdin.onnx")
                PIPES.names[str(path)] = DASH
                made[dashes[0]] = _replaced(values[dashes[0]], path)
            if writes:
                _require_free(values)
                PIPES.output = made["output"] = folder / "stdout.onnx"
                PIPES.names[str(PIPES.output)] = DASH
            try:
                yield made
            finally:
                if PIPES.output is not None and PIPES.output.exists():
                    _sent(PIPES.output)
    finally:
        PIPES.names, PIPES.output = {}, None


def _several(value: Any) -> list[Any]:
    return [] if value is None else list(value) if isinstance(value, list | tuple) else [value]


def _replaced(value: Any, path: Path) -> Any:
    if isinstance(value, list | tuple):
        return [path if str(entry) == DASH else entry for entry in value]
    return str(path) if isinstance(value, str) else path


def _require_one(dashes: list[str], values: Mapping[str, Any]) -> None:
    if len(dashes) > 1:
        raise UsageError("only one model can come from stdin", why="- is given twice", fix="name a file for the other")
    if values.get("output_dir") is not None or "," in str(values.get("ratio") or ""):
        raise UsageError("- stands for one model", why="several are written", fix="name files")


def _require_free(values: Mapping[str, Any]) -> None:
    """Raises UsageError if stdout is taken by something else, or a model can't go there."""
    if sys.stdout.isatty():
        raise UsageError("a model can't go to the terminal", fix="redirect stdout to a file, or name one with -o")
    for name, words in (("as_json", "--json"), ("external", "--save-as-external-data")):
        if values.get(name):
            raise UsageError(f"{words} does not go with a model to stdout", fix="name a file with -o; --report is fine")


def _received(path: Path) -> Path:
    """The file with what stdin holds."""
    if sys.stdin.isatty():
        raise UsageError(
            "there is nothing on stdin", why="it is the terminal", fix="pipe a model into it, or name a file"
        )
    with path.open("wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
        if not file.tell():
            raise ModelError("stdin was empty", why="what was piped in wrote nothing", fix="see why it failed")
    return path


def _sent(path: Path) -> None:
    """Writes a file to stdout."""
    if path.with_name(f"{path.name}.data").exists():
        raise UsageError("the model is too large for stdout", why="its weights are in a file beside it", fix="use -o")
    with path.open("rb") as file:
        sys.stdout.flush()
        shutil.copyfileobj(file, sys.stdout.buffer)
        sys.stdout.buffer.flush()
