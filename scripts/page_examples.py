"""The examples of the pages: every code block of README.md and docs/ is run, and its output is compared or renewed.

Blocks of a page run in order, in one folder, with what `onnxsurgeon demo` writes there:

- ```console: each line that begins with `$ ` is a command; what follows it is its output. A line `...` stands for
  any number of lines.
- ```sh: each line is a command; its output is not shown.
- ```python: runs in the page's namespace; a ```text block right behind it shows what it prints.
- a first line like `# recipe.yaml` makes a block the content of that file.

An HTML comment right above a block changes that: `<!-- not run: why -->`, `<!-- exit code 3 -->` or
`<!-- file: NAME -->`.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from onnxsurgeon.cli.demo import written

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = {
    "COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb", "PYTHONWARNINGS": "ignore", "PYTHONPATH": str(ROOT)
}  # fmt: skip
FENCE = re.compile(r"^```(\w*)$")
NOTE = re.compile(r"^<!-- (not run|exit code|file):? (.*) -->$")
FILE_NAME = re.compile(r"^# ([\w.-]+\.(?:py|ya?ml))$")
ELLIPSIS = "..."


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: the lines between its fences are `page[start:end]`, split into lines."""

    language: str
    lines: Sequence[str]
    start: int
    end: int
    notes: dict[str, str]

    @property
    def commands(self) -> list[str]:
        """The shell commands that it shows."""
        return [" ".join(lines) for lines, _ in self.parts()]

    def parts(self) -> Iterator[tuple[list[str], list[str]]]:
        """Each command, as its lines without `$ ` and `\\`, with the lines of the output that is shown."""
        if self.language not in ("console", "sh"):
            return
        prompt = "$ " if self.language == "console" else ""
        index = 0
        while index < len(self.lines):
            command = [self.lines[index].removeprefix(prompt)]
            while command[-1].endswith("\\"):
                index += 1
                command[-1:] = [command[-1][:-1].strip(), self.lines[index].strip()]
            index += 1
            output = []
            while index < len(self.lines) and prompt and not self.lines[index].startswith(prompt):
                output.append(self.lines[index])
                index += 1
            if any(command):
                yield command, output

    @property
    def file(self) -> str | None:
        """The file that it is the content of."""
        if "file" in self.notes:
            return self.notes["file"]
        named = FILE_NAME.match(self.lines[0]) if self.lines else None
        return None if named is None else named[1]


def blocks(text: str) -> list[Block]:
    """The fenced blocks of a page, in order."""
    lines, found, index = text.splitlines(), [], 0
    while index < len(lines):
        opened = FENCE.match(lines[index])
        if opened is None:
            index += 1
            continue
        notes, above = {}, index - 1
        while above >= 0 and (note := NOTE.match(lines[above])):
            notes[note[1]] = note[2]
            above -= 1
        end = lines.index("```", index + 1)
        found.append(Block(opened[1], lines[index + 1 : end], index + 1, end, notes))
        index = end + 1
    return found


@dataclass
class Session:
    """What the blocks of one page share: a folder to run in, and the names that its Python defined."""

    folder: Path
    names: dict[str, Any] = field(default_factory=dict)
    printed: list[str] | None = None  # by the Python block right above

    def renewed(self, text: str, page: str) -> str:
        """The page with the outputs that its examples have now. Raises RuntimeError where one fails."""
        lines = text.splitlines()
        written(self.folder, overwrite=False)
        out, done = [], 0
        with contextlib.chdir(self.folder):
            for block in blocks(text):
                out += [*lines[done : block.start], *self._run(block, page)]
                done = block.end
        return "\n".join([*out, *lines[done:]]) + "\n"

    def _run(self, block: Block, page: str) -> Sequence[str]:
        """The lines of a block, as they should be."""
        printed, self.printed = self.printed, None
        if "not run" in block.notes:
            return block.lines
        if block.file is not None:
            (self.folder / block.file).write_text("\n".join(block.lines) + "\n", encoding="utf-8")
            return block.lines
        if block.language in ("console", "sh"):
            return list(self._shell(block, page))
        if block.language == "python":
            self.printed = self._python(block, page)
            return block.lines
        if block.language == "text":
            return block.lines if printed is None else cut(printed, block.lines)
        raise RuntimeError(f"{page}, line {block.start}: no way to run a block of {block.language or 'no language'}")

    def _shell(self, block: Block, page: str) -> Iterator[str]:
        if block.language == "sh":
            yield from block.lines
        for command, shown in block.parts():
            code, output = run(" ".join(command))
            if code != int(block.notes.get("exit code", 0)):
                raise RuntimeError(f"{page}, line {block.start}: exit code {code} of {' '.join(command)}\n{output}")
            if block.language == "console":
                yield "$ " + " \\\n    ".join(command)
                yield from cut(output.splitlines(), shown)

    def _python(self, block: Block, page: str) -> list[str]:
        source = "\n" * block.start + "\n".join(block.lines)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(source, page, "exec"), self.names)
        return printed.getvalue().splitlines()


def run(command: str) -> tuple[int, str]:
    """The exit code of a command and what it says on both streams."""
    words = shlex.shlex(command, posix=True, punctuation_chars=True)
    words.whitespace_split = True
    args = list(words)
    if args[0] == "onnxsurgeon" and not any(set(word) <= set("|<>&;()") for word in args):
        from typer.testing import CliRunner

        from onnxsurgeon.cli import app

        result = CliRunner().invoke(app, args[1:], env=ENVIRONMENT)
        return result.exit_code, clean(result.output)
    shim = f'onnxsurgeon() {{ {shlex.quote(sys.executable)} -m onnxsurgeon "$@"; }}; {command}'
    shell = {**ENVIRONMENT, "PATH": "/usr/bin:/bin"}
    done = subprocess.run(["bash", "-c", shim], stdout=-1, stderr=subprocess.STDOUT, text=True, env=shell, check=False)
    return done.returncode, clean(done.stdout)


def clean(output: str) -> str:
    """Output without blanks at the ends of lines."""
    return "\n".join(line.rstrip() for line in output.strip("\n").splitlines())


def cut(output: Sequence[str], shown: Sequence[str]) -> list[str]:
    """An output, cut where the page has `...`: as many lines before and behind as are shown."""
    blank = [""] if shown and not shown[-1] else []  # between this output and the next command
    shown = shown[: len(shown) - len(blank)]
    if ELLIPSIS not in shown:
        return [*output, *blank]
    before = shown.index(ELLIPSIS)
    behind = len(shown) - before - 1
    return [*output[:before], ELLIPSIS, *output[len(output) - behind :], *blank]


# --- comparing ---

NUMBER = re.compile(r"(?<![\w.])[+-]?\d+(?:\.\d+)?(?:e[+-]\d+)?")
OF_THE_MACHINE = (
    (re.compile(r"\d+(\.\d+)? s\b"), "TIME"),
    (re.compile(r"\bon (CPU|CUDA)\b"), "on DEVICE"),
    (
        re.compile(r"(?<=proof) +error \S+ against the reference, \S+ of the tolerance"),
        " error X against the reference, X of the tolerance",
    ),
    (re.compile(r"\d(\.\d+)?e-\d\d\b"), "TINY"),
    (re.compile(r"[─-]{3,}"), "RULE"),
    (re.compile(r"/\S*/(?=fixtures/)"), ""),
)
CLOSE = 0.03


def same(shown: str, now: str) -> bool:
    """Whether two pages differ by no more than machines do: times, devices, blanks, 3 % of a number."""
    shown, now = _plain(shown), _plain(now)
    if NUMBER.sub("#", shown) != NUMBER.sub("#", now):
        return False
    pairs = zip(NUMBER.findall(shown), NUMBER.findall(now), strict=True)
    return all(abs(float(a) - float(b)) <= CLOSE * max(abs(float(a)), abs(float(b))) for a, b in pairs)


def _plain(text: str) -> str:
    text = " ".join(re.sub(r"(?m)^latency .*$", "latency", text).split())
    for pattern, word in OF_THE_MACHINE:
        text = pattern.sub(word, text)
    return text
