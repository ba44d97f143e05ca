"""What operations are told: each reader turns what a person wrote, on the shell or in a recipe, into a value."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from onnxsurgeon.errors import UsageError


@dataclass(frozen=True)
class Told:
    """A text, a list or a mapping, as it was written. where: its place in a recipe; folder: where its paths start."""

    value: str | list[Told] | dict[str, Told]
    where: str = ""
    folder: Path = Path()

    def __str__(self) -> str:
        if isinstance(self.value, str):
            return self.value
        if isinstance(self.value, list):
            return f"[{', '.join(map(str, self.value))}]"
        return f"{{{', '.join(f'{key}: {entry}' for key, entry in self.value.items())}}}"


Reader = Callable[[Told, str], Any]  # (what was written, the name of the field)


def told(value: Any) -> Told:
    """What the shell's own parser made of it."""
    if isinstance(value, Mapping):
        return Told({str(key): told(entry) for key, entry in value.items()})
    if isinstance(value, (list, tuple)):
        return Told([told(entry) for entry in value])
    return Told(str(value).lower() if isinstance(value, bool) else str(value))


def wrong(given: Told, field: str, wanted: str, fix: str = "") -> UsageError:
    return UsageError(
        f"{given.where}{field} {str(given)!r} makes no sense",
        why=f"wanted: {wanted}",
        fix=fix or "see onnxsurgeon edit --help",
    )


def near(name: str, names: Iterable[str]) -> str:
    """Words for the fix of an error about `name`."""
    names = list(names)
    same = [known for known in names if known.lower() == name.lower()]
    found = same or get_close_matches(name, names, n=3)
    return f"did you mean {' or '.join(found)}?" if found else ""


def text(given: Told, field: str) -> str:
    if not isinstance(given.value, str) or not given.value:
        raise wrong(given, field, "a name", f"write it like {field}: conv3")
    return given.value


def texts(given: Told, field: str) -> list[str]:
    entries = given.value if isinstance(given.value, list) else [given]
    return [text(entry, field) for entry in entries]


def flag(given: Told, field: str) -> bool:
    known = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
    if str(given).lower() not in known:
        raise wrong(given, field, "true or false", f"write {field}: true, or leave it out")
    return known[str(given).lower()]


def number(least: int) -> Reader:
    def read(given: Told, field: str) -> int:
        if not re.fullmatch(r"\+?\d+", str(given)) or int(str(given)) < least:
            raise wrong(given, field, f"a whole number, {least} or more", f"write it like {field}: {least}")
        return int(str(given))

    return read


def word(names: Sequence[str] | Callable[[], Sequence[str]]) -> Reader:
    """One of `names`, or of those that a function names when they are needed."""

    def read(given: Told, field: str) -> str:
        known = names() if callable(names) else names
        if given.value not in known:
            fix = near(str(given), known) or "choose one of these"
            raise wrong(given, field, " or ".join([", ".join(known[:-1]), known[-1]]), fix)
        return str(given)

    return read


def kernel(given: Told, field: str) -> int | tuple[int, ...]:
    """3, 3x3 or [3, 3]."""
    parts = [str(part) for part in given.value] if isinstance(given.value, list) else str(given).split("x")
    if not all(re.fullmatch(r"[1-9]\d{0,3}", part) for part in parts) or not parts:
        raise wrong(given, field, "the size of a kernel", "write it like 3, 3x3 or 1x5")
    sizes = tuple(int(part) for part in parts)
    return sizes[0] if len(sizes) == 1 else sizes


def positions(given: Told, field: str) -> list[int]:
    """Numbers and ranges, as a list or with commas: 0,217,482 or 0-99."""
    entries = given.value if isinstance(given.value, list) else [given]
    found: list[int] = []
    for part in (part.strip() for entry in entries for part in str(entry).split(",")):
        first, _, last = part.partition("-")
        if not re.fullmatch(r"\d{1,9}(-\d{1,9})?", part) or int(last or first) < int(first):
            raise wrong(
                Told(part, given.where),
                field,
                "positions from 0, and ranges of them",
                "write it like 0,217,482 or 0-99",
            )
        found += range(int(first), int(last or first) + 1)
    return found


def by_node(read: Reader) -> Reader:
    def each(given: Told, field: str) -> dict[str, Any]:
        if not isinstance(given.value, dict) or not given.value:
            raise wrong(given, field, "nodes and something for each", f"write it like {field}: {{conv3: ...}}")
        return {name: read(entry, f"{field} of {name}") for name, entry in given.value.items()}

    return each


def bound(given: Told, field: str) -> int | dict[str, int]:
    """A number, or one for each of some nodes."""
    read = number(0)
    found: int | dict[str, int] = by_node(read)(given, field) if isinstance(given.value, dict) else read(given, field)
    return found


def widths(given: Told, field: str) -> list[str]:
    """Requests as on the shell, or a mapping of names to what follows them."""
    from onnxsurgeon.surgery.width_requests import parse

    found: list[tuple[str, Told]] = []
    if isinstance(given.value, dict):
        for name, entry in given.value.items():
            amounts = ",".join(map(str, entry.value)) if isinstance(entry.value, list) else str(entry)
            near_enough = amounts.startswith("~") and "," not in amounts
            found.append((f"{name}{amounts}" if near_enough else f"{name}={amounts}", entry))
    else:
        found = [(entry, given) for entry in texts(given, field)]
    for request, entry in found:
        try:
            parse(request)
        except UsageError as error:
            raise UsageError(f"{entry.where}{error.what}", why=error.why, fix=error.fix) from None
    return [request for request, _ in found]


def importance(given: Told, field: str) -> str:
    from typing import get_args

    from onnxsurgeon.importance.from_weights import Criterion

    if str(given).startswith("file:"):
        return f"file:{file(Told(str(given).removeprefix('file:'), given.where, given.folder), field)}"
    return str(word([*get_args(Criterion), "file:SCORES.npz"])(given, field))


def file(given: Told, field: str) -> str:
    path = given.folder / text(given, field)
    if not path.is_file():
        raise UsageError(f"{given.where}{field} {path} not found", fix="check the path")
    return str(path)
