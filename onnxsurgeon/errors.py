"""The exceptions of this package, each with the exit code of the command line.

SurgeonError          1  a fault of onnxsurgeon itself
├── UsageError        2  the request is wrong (unknown node, existing output, bad unit)
│   └── InstallError  2  a package that this one needs is missing, too old or broken
├── InfeasibleError   3  no selection satisfies the request
├── ModelError        4  the model can't be read, or uses an unsupported feature
├── ProofError        5  the edited model does not compute what it should; nothing was written
└── GateError         6  a model does not hold the conditions that it was checked for
"""

from __future__ import annotations

import re
from typing import Any

LONGEST_WORD, LONGEST_LINE = 400, 10_000  # characters of what is printed


def printable(line: str) -> str:
    """`line` as it can be printed, whoever named what is in it: control characters are escaped, and words and lines
    that are too long lose their middle."""
    line = bounded(line, LONGEST_WORD)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def bounded(line: str, word: int) -> str:
    """`line`, with words and lines that are too long without their middle. word: the most characters of one."""
    if len(line) > word:
        line = re.sub(rf"\S{{{word + 1},}}", lambda found: _short(found[0], word), line)
    return _short(line, LONGEST_LINE)


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most // 2]}...{text[-(most // 2) :]}"


class SurgeonError(Exception):
    """An error in three parts: what failed, why (the values seen), and what the user can do."""

    exit_code = 1

    def __init__(self, what: str, *, why: str = "", fix: str = "") -> None:
        parts = "\n".join(part for part in (what, why, fix) if part)
        super().__init__("\n".join(map(printable, parts.splitlines())))
        self.what, self.why, self.fix = what, why, fix


class UsageError(SurgeonError):
    """The request itself is wrong."""

    exit_code = 2


class InstallError(UsageError):
    """The request can't be met by the packages that are installed: one is missing, too old or broken."""


class InfeasibleError(SurgeonError):
    """The request is well formed, but no selection satisfies it."""

    exit_code = 3


class ModelError(SurgeonError):
    """The model can't be read, or uses a feature that is not supported."""

    exit_code = 4


class ProofError(SurgeonError):
    """The edited model differs from its reference; nothing was written.

    proof: the result of the comparison, if there was one: the `Proof` of a cut, or the `Proofs` of edits.
    """

    exit_code = 5
    proof: Any = None


class GateError(SurgeonError):
    """A model does not hold the conditions that it was checked for: it is larger, or slower."""

    exit_code = 6
