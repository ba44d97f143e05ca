"""The JSON report: one object for each command. The tables are made from it.

Numbers are exact (bytes, parameters, multiply-accumulates per sample); infinite numbers are null. Schema 2 has, for
every command:

    schema, command, version   2, the command's name, the version of onnxsurgeon
    status                     passed, not proven, unchanged, dry run, done, failed (a proof or a comparison), error
    exit_code                  the exit code of the process
    what, why, fix             the three parts of the error, if there is one
    seconds                    seconds of each stage, and `total` (prune and edits)

`results` adds the keys of prune, inspect, validate, evaluate and sensitivity, `edits` those of the commands that edit.
With several models, `prune` gives `models`, the list of their reports. `schema` changes with the keys.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnxsurgeon
from onnxsurgeon.errors import GateError, ProofError, SurgeonError, UsageError, bounded
from onnxsurgeon.files import draft_of, require_place, sweep

SCHEMA = 2
PAGE = "<!doctype html>"  # the start of a report's page
LONGEST_NAME = 1000  # characters of a name, or of any word
Report = dict[str, Any]
DONE: Report = {"status": "done", "exit_code": 0}


def head(command: str) -> Report:
    return {"schema": SCHEMA, "command": command, "version": onnxsurgeon.__version__}


def picked(record: object, names: str) -> Report:
    """The named attributes of a record."""
    return {name: getattr(record, name) for name in names.split()}


def failure(error: SurgeonError, exit_code: int) -> Report:
    """The keys that an error adds to a report."""
    status = "failed" if isinstance(error, ProofError | GateError) else "error"
    return {"status": status, "exit_code": exit_code, "what": error.what, "why": error.why, "fix": error.fix}


def to_json(report: Report) -> str:
    """One JSON object. Numbers that JSON can't express (infinity) become null; names beyond `LONGEST_NAME` characters
    lose their middle."""
    return json.dumps(_plain(report), indent=2, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {bounded(str(key), LONGEST_NAME): _plain(entry) for key, entry in value.items()}
    if isinstance(value, str):
        return bounded(value, LONGEST_NAME)
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if hasattr(value, "item"):  # a numpy scalar
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def check_report(path: Path, *others: Path, option: str = "--report", begins: str = "{") -> None:
    """Raises UsageError if `save` can't write to `path`, or would replace another kind of file.

    begins: the start of files that the same option wrote, which may be replaced.
    """
    if any(path.absolute() == other.absolute() or (path.exists() and _same(path, other)) for other in others):
        why = "the command uses this file for something else"
        raise UsageError(f"{option} can't be {path}", why=why, fix="choose another name")
    if path.exists() and not (path.is_file() and _start(path, len(begins)) in (b"", begins.encode())):
        why = f"it was not written by {option}"
        raise UsageError(f"{path} exists", why=why, fix="choose another name")
    require_place(path)


def _start(path: Path, length: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(length)
    except OSError as problem:
        why = f"it can't be read: {problem.strerror}"
        raise UsageError(f"can't write {path}", why=why, fix="choose another name") from problem


def _same(a: Path, b: Path) -> bool:
    return b.exists() and a.samefile(b)


def save(report: Report, path: Path) -> None:
    """Writes the report."""
    save_text(to_json(report) + "\n", path)


def save_text(text: str, path: Path) -> None:
    """Writes a file; an existing one is replaced atomically."""
    draft = draft_of(path)
    try:
        sweep(path.parent)
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    except OSError as problem:
        why = problem.strerror or str(problem)
        raise UsageError(f"can't write {path}", why=why, fix="make room or choose another folder") from problem
    finally:
        draft.unlink(missing_ok=True)


def append(text: str, path: Path) -> None:
    """Adds `text` to the end of a file. Raises UsageError if it can't be written."""
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as problem:
        why = problem.strerror or str(problem)
        raise UsageError(f"can't write {path}", why=why, fix="choose a file in a writable folder") from problem
