"""The forms of values: each turns text from the shell, a recipe or Python into a value."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnxsurgeon.errors import UsageError
from onnxsurgeon.importance.criteria import FILE
from onnxsurgeon.importance.criteria import words as criteria
from onnxsurgeon.options.parsing import near


@dataclass(frozen=True)
class Written:
    """A text, a list or a mapping, as it was written. where: its place in a recipe. folder: base of relative paths."""

    value: str | list[Written] | dict[str, Written]
    where: str = ""
    folder: Path = Path()

    def __str__(self) -> str:
        if isinstance(self.value, str):
            return self.value
        if isinstance(self.value, list):
            return f"[{', '.join(map(str, self.value))}]"
        return f"{{{', '.join(f'{key}: {entry}' for key, entry in self.value.items())}}}"


def written(value: Any) -> Written:
    """A Python value as a person would write it."""
    if isinstance(value, Mapping):
        return Written({str(key): written(entry) for key, entry in value.items()})
    if not isinstance(value, str) and isinstance(value, Iterable):
        return Written([written(entry) for entry in value])
    return Written(str(value).lower() if isinstance(value, bool) else str(value))


@dataclass(frozen=True)
class Form:
    """How a value is written.

    read: returns the value, from what was written and the name that errors use. metavar: its placeholder in help.
    gather: combines the texts of a repeatable option; None if the option is not repeatable.
    """

    read: Callable[[Written, str], Any]
    metavar: str
    gather: Callable[[Sequence[str], str], Any] | None = None


def wrong(given: Written, name: str, wanted: str, fix: str) -> UsageError:
    return UsageError(f"{given.where}{name} {str(given)!r} is not valid", why=f"wanted: {wanted}", fix=fix)


def _text(given: Written, name: str) -> str:
    if not isinstance(given.value, str) or not given.value:
        raise wrong(given, name, "a name", f"write it like {name}: conv3")
    return given.value


def _texts(given: Written, name: str) -> list[str]:
    return [_text(entry, name) for entry in (given.value if isinstance(given.value, list) else [given])]


def _flag(given: Written, name: str) -> bool:
    known = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
    if str(given).lower() not in known:
        raise wrong(given, name, "true or false", f"write {name}: true, or leave it out")
    return known[str(given).lower()]


def number(least: int) -> Form:
    """A whole number, `least` or more."""

    def read(given: Written, name: str) -> int:
        if not re.fullmatch(r"\+?\d+", str(given)) or int(str(given)) < least:
            raise wrong(given, name, f"a whole number, {least} or more", f"write it like {name}: {max(least, 8)}")
        return int(str(given))

    return Form(read, "N")


def word(names: Sequence[str] | Callable[[], Sequence[str]], metavar: str = "") -> Form:
    """One of `names`, or of those that a function returns."""

    def read(given: Written, name: str) -> str:
        known = names() if callable(names) else names
        if given.value not in known:
            fix = near(str(given), known) or "choose one of these"
            raise wrong(given, name, " or ".join([", ".join(known[:-1]), known[-1]]), fix)
        return str(given)

    return Form(read, metavar or ("WORD" if callable(names) else "|".join(names)))


def _kernel(given: Written, name: str) -> int | tuple[int, ...]:
    parts = [str(part) for part in given.value] if isinstance(given.value, list) else str(given).split("x")
    if not all(re.fullmatch(r"[1-9]\d{0,3}", part) for part in parts) or not parts:
        raise wrong(given, name, "a kernel size", "write it like 3, 3x3 or 1x5")
    sizes = tuple(int(part) for part in parts)
    return sizes[0] if len(sizes) == 1 else sizes


def _positions(given: Written, name: str) -> list[int]:
    entries = given.value if isinstance(given.value, list) else [given]
    found: list[int] = []
    for part in (part.strip() for entry in entries for part in str(entry).split(",")):
        first, _, last = part.partition("-")
        if not re.fullmatch(r"\d{1,9}(-\d{1,9})?", part) or int(last or first) < int(first):
            entry = Written(part, given.where)
            raise wrong(entry, name, "positions from 0, or ranges", "write it like 0,217,482 or 0-99")
        found += range(int(first), int(last or first) + 1)
    return found


def by_node(form: Form, metavar: str) -> Form:
    """A mapping of nodes to values of `form`; on the shell NAME:VALUE, repeatable."""

    def read(given: Written, name: str) -> dict[str, Any]:
        if not isinstance(given.value, dict) or not given.value:
            raise wrong(given, name, "a value for each node", f"write it like {name}: {{conv3: ...}}")
        return {node: form.read(entry, f"{name} of {node}") for node, entry in given.value.items()}

    def gather(texts: Sequence[str], name: str) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for text in texts:
            node, colon, rest = text.rpartition(":")
            if not (node and colon and rest):
                raise wrong(Written(text), name, metavar, f"write it like {name} fc:0,217,482")
            found.setdefault(node, []).append(rest)
        return found

    return Form(read, metavar, gather)


def _bound() -> Form:
    one = number(0)
    each = by_node(one, "NAME:N")

    def read(given: Written, name: str) -> Any:
        return (each if isinstance(given.value, dict) else one).read(given, name)

    def gather(texts: Sequence[str], name: str) -> Any:
        if len(texts) == 1 and ":" not in texts[0]:
            return texts[0]
        assert each.gather is not None
        return {node: numbers[-1] for node, numbers in each.gather(texts, name).items()}

    return Form(read, "N|NAME:N", gather)


def _widths(given: Written, name: str) -> list[str]:
    from onnxsurgeon.surgery.width_requests import parse

    found: list[tuple[str, Written]] = []
    for entry in given.value if isinstance(given.value, list) else [given]:
        if isinstance(entry.value, dict):
            found += [(_request(node, amount), amount) for node, amount in entry.value.items()]
        else:
            found.append((_text(entry, name), entry))
    for request, entry in found:
        try:
            parse(request)
        except UsageError as error:
            raise UsageError(f"{entry.where}{error.what}", why=error.why, fix=error.fix) from None
    return [request for request, _ in found]


def _request(node: str, amount: Written) -> str:
    text = ",".join(map(str, amount.value)) if isinstance(amount.value, list) else str(amount)
    return f"{node}{text}" if text.startswith("~") and "," not in text else f"{node}={text}"


def _importance(given: Written, name: str) -> str:
    if str(given).startswith(FILE):
        return f"{FILE}{_file(Written(str(given).removeprefix(FILE), given.where, given.folder), name)}"
    return str(word(criteria(data=False)).read(given, name))


def _file(given: Written, name: str) -> str:
    path = given.folder / _text(given, name)
    if not path.is_file():
        raise UsageError(f"{given.where}{name} {path} not found", fix="check the path")
    return str(path)


text = Form(_text, "NAME")
texts = Form(_texts, "NAME", lambda texts, name: list(texts))
flag = Form(_flag, "")
kernel = Form(_kernel, "N|NxM")  # 3, 3x3 or [3, 3]
positions = by_node(Form(_positions, "LIST"), "NAME:LIST")  # numbers and ranges: 0,217,482 or 0-99
bound = _bound()  # a number, or one for each of some nodes
widths = Form(_widths, "NAME=WIDTH", lambda texts, name: list(texts))  # as on the shell, or {name: what follows it}
importance = Form(_importance, "WORD")
file = Form(_file, "FILE")
