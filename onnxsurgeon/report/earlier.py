"""The file of --report before a run writes it: it never tells of an earlier run, however this one ends."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

OPTION = "--report"
BEGINS = re.compile(rb'\s*\{\s*"schema":\s*\d+,\s*"command":\s*"(\w*)"')


def value_of(words: Sequence[str], *names: str) -> str | None:
    """The last value that options of these names have on a command line, which need not parse; None without one."""
    words = list(words)
    words = words[: words.index("--")] if "--" in words else words
    found = None
    for place, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name in names and equals:
            found = value
        elif word in names and place + 1 < len(words):
            found = words[place + 1]
    return found


def forget(words: Sequence[str]) -> Path | None:
    """The file of --report on a command line if nothing else is meant by it and it is free: an earlier report is
    removed, other files stay."""
    given = value_of(words, OPTION)
    if not given or any(_same(word, given) for word in _others(words)):
        return None
    path = Path(given)
    with suppress(OSError):
        if path.is_file() and _replaceable(path):
            path.unlink()
        return None if path.exists() or path.is_symlink() else path
    return None


def _others(words: Sequence[str]) -> list[str]:
    """The words that are not the value of --report, as they are and behind =."""
    others = [word for before, word in zip(("", *words), words, strict=False) if before != OPTION]
    return [part for word in others if not word.startswith(f"{OPTION}=") for part in (word, word.partition("=")[2])]


def _same(word: str, given: str) -> bool:
    with suppress(OSError, ValueError):
        return bool(word) and Path(word).resolve() == Path(given).resolve()
    return False


def _replaceable(path: Path) -> bool:
    """Whether a file is a report, but not the record beside an output, by which prune knows what is done."""
    with path.open("rb") as file:
        found = BEGINS.match(file.read(200))
    return found is not None and not (found[1] == b"prune" and path.with_suffix("").is_file())
