"""Readers of option values: words, numbers, units, lists, files.

A reader takes a Python value, or text from the shell or a recipe, and the option's name for errors. It raises
UsageError for a wrong value.
"""

from __future__ import annotations

import importlib
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from onnxsurgeon import units
from onnxsurgeon.errors import UsageError
from onnxsurgeon.files import BROKEN, arrays_of, irregular
from onnxsurgeon.options.record import Reader

# values of options: the words of other tools
CHOICES = {"cuda": "gpu nvidia", "cpu": "host", "macs": "flops", "heads": "head", "top1": "accuracy acc"}


def near(word: object, known: Iterable[str]) -> str:
    """The suggestion for a wrong word, as the fix of an error: the nearest of `known`, by meaning, then by spelling."""
    names, text = list(known), str(word)
    meant = [name for name in names if text.lower() in (name.lower(), *CHOICES.get(name, "").split())]
    begun = [name for name in names if len(text) > 1 and name.startswith(text)]
    found = meant or begun or get_close_matches(text, names, 3) or get_close_matches(text, names, 1, 0.5)
    return f"did you mean {' or '.join(found)}?" if found else ""


MOST = 1_000_000  # positions in a list


class Placed:
    """A value of a recipe. where: its place there. folder: base of its relative paths."""

    where: str = ""
    folder: Path = Path()


class Text(str, Placed): ...


class Entries(list[Any], Placed): ...


class Table(dict[str, Any], Placed): ...


def placed(value: str | list[Any] | dict[str, Any], where: str, folder: Path) -> Any:
    """The value, with its place in the recipe."""
    found = Text(value) if isinstance(value, str) else Entries(value) if isinstance(value, list) else Table(value)
    found.where, found.folder = where, folder
    return found


def place(value: object) -> str:
    """The beginning of an error about a value."""
    return value.where if isinstance(value, Placed) else ""


def wrong(value: object, name: str, wanted: str, fix: str = "") -> UsageError:
    """The error for a value that an option can't take."""
    fix = fix or f"change {name}, or leave it out"
    return UsageError(f"{place(value)}{name} {value!r} is not valid", why=f"wanted: {wanted}", fix=fix)


def unknown(word: object, known: Iterable[str], name: str) -> UsageError:
    """The error for a word that an option does not know: it names all that it does, and the nearest."""
    known = list(known)
    fix = near(word, known) or "choose one of these"
    return UsageError(f"{place(word)}{name} {word!r} is not known", why=f"known: {', '.join(known)}", fix=fix)


Record = TypeVar("Record")
OWN = "MODULE:FUNCTION"  # the key of the record for a function of the user's


def is_own(word: str) -> bool:
    """Whether a word names a function of the user's, as `module:function`."""
    return ":" in word


def record_of(word: str, records: Mapping[str, Record], name: str) -> Record:
    """The record of a word, that at `OWN` for a function. Raises UsageError for an unknown word."""
    key = OWN if is_own(word) else word
    if key not in records:
        raise unknown(word, records, name)
    return records[key]


def word_in(records: Mapping[str, object]) -> Reader:
    """One of the words of `records`, or a function of the user's."""

    def read(value: Any, name: str) -> str:
        record_of(value, records, name)
        return str(value)

    return read


def word_of(known: Iterable[str] | Callable[[], Iterable[str]]) -> Reader:
    """One of some words, or of those that a function gives when they are needed."""

    def read(value: Any, name: str) -> str:
        words = list(known() if callable(known) else known)
        if value not in words:
            raise unknown(value, words, name)
        return str(value)

    return read


def number(wanted: str, good: Callable[[float], bool], *, kind: type = float) -> Reader:
    """A number; wanted: in words, which numbers are `good`."""

    def read(value: Any, name: str) -> Any:
        try:
            found = kind(value)
            fits = not isinstance(value, bool) and found == float(value) and good(found)
        except (TypeError, ValueError, OverflowError):
            fits = False
        if not fits:
            raise wrong(value, name, wanted)
        return found

    return read


def at_least(least: int) -> Reader:
    """A whole number."""
    return number(f"a whole number, {least} or more", lambda n: n >= least, kind=int)


positive_or_zero = number("0 or more", lambda x: 0 <= x < math.inf)


def share(wanted: str, good: Callable[[float], bool]) -> Reader:
    """A share of 1, which may be written in percent: 0.3 or "30%"."""
    plain = number(f'{wanted}, like 0.3 or "30%"', good)

    def read(value: Any, name: str) -> Any:
        if isinstance(value, str) and value.strip().endswith("%"):
            with suppress(ValueError):
                value = float(value.strip()[:-1]) / 100
        try:
            return plain(value, name)
        except UsageError as error:
            raise UsageError(error.what, why=error.why, fix=_meant_percent(value, good) or error.fix) from None

    return read


def _meant_percent(value: Any, good: Callable[[float], bool]) -> str:
    """The fix for a share that was written like 30 and meant 30%."""
    try:
        share = float(value) / 100
    except (TypeError, ValueError, OverflowError):
        return ""
    return f'did you mean {share:g}, or "{100 * share:g}%"?' if share > 0.01 and good(share) else ""


def amount(*, of_bytes: bool = False, least: float = 0.0) -> Reader:
    """A count or a size above `least`: a number, or text like 5M or 18MB."""
    plain = number(f"more than {least:g}" + " bytes" * of_bytes, lambda x: least < x < math.inf)

    def read(value: Any, name: str) -> Any:
        return plain(units.parse(value, option=name, of_bytes=of_bytes) if isinstance(value, str) else value, name)

    return read


def duration(value: Any, name: str) -> Any:
    """A time above 0: seconds as a number, or text with a unit like 8ms."""
    found = units.parse_seconds(value, option=name) if isinstance(value, str) else value
    return number("more than 0 seconds, like 8ms", lambda x: 0 < x < math.inf)(found, name)


def text(value: Any, name: str) -> str:
    if not isinstance(value, str) or not value:
        raise wrong(value, name, "a name", f"write it like {name}: conv3")
    return str(value)


def entries(value: Any) -> list[Any]:
    """Several values; one alone is a list of one."""
    return list(value) if isinstance(value, Iterable) and not isinstance(value, str | Mapping) else [value]


def texts(value: Any, name: str) -> tuple[str, ...]:
    return tuple(text(entry, name) for entry in entries(value))


def flag(value: Any, name: str) -> bool:
    known = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
    if str(value).lower() not in known:
        raise wrong(value, name, "true or false")
    return known[str(value).lower()]


def positions(value: Any, name: str) -> list[int]:
    """Numbers and ranges: 0,217,482 or 0-99."""
    found: list[int] = []
    for entry in entries(value):
        for part in (part.strip() for part in str(entry).split(",")):
            first, _, last = part.partition("-")
            if not re.fullmatch(r"\d{1,9}(-\d{1,9})?", part) or int(last or first) < int(first):
                at = placed(part, place(entry), Path())
                raise wrong(at, name, "positions from 0, and ranges of them", "write it like 0,217,482 or 0-99")
            several = range(int(first), int(last or first) + 1)
            if len(found) + len(several) > MOST:
                raise wrong(placed(part, place(entry), Path()), name, f"at most {MOST:,} positions")
            found += several
    return found


def by_node(read_one: Reader, example: str) -> Reader:
    """A mapping of nodes to what `read_one` makes of a value; of texts NAME:VALUE it gets all of a node."""

    def read(value: Any, name: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if isinstance(value, Mapping):
            found.update(value)
        for entry in () if found else entries(value):
            node, colon, rest = str(entry).rpartition(":")
            if not (node and colon and rest):
                raise wrong(entry, name, "NAME:VALUE, or a mapping", f"write it like {example}")
            found.setdefault(node, []).append(rest)
        return {node: read_one(given, f"{name} of {node}") for node, given in found.items()}

    return read


def file(value: Any, name: str, *, prefix: str = "") -> str:
    """The path of a file that is there, behind `prefix`; in a recipe it starts at the recipe's folder."""
    found = (value.folder if isinstance(value, Placed) else Path()) / text(value, name).removeprefix(prefix)
    if not found.is_file():
        why = irregular(found)
        raise UsageError(
            f"{place(value)}{name}: {found} {'is no file' if why else 'not found'}", why=why, fix="check the path"
        )
    return str(found)


def path(value: Any, name: str) -> Path:
    if not isinstance(value, str | os.PathLike):
        raise wrong(value, name, "a path", f"change {name}")
    return Path(value)


def data_or_path(value: Any, name: str) -> Any:
    """A path or `module:function` as a text, or opened samples as they are."""
    if not isinstance(value, str | os.PathLike) and not hasattr(value, "batches"):
        fix = "write arrays to an .npz file, or give a function that yields them"
        raise wrong(value, name, "a path, module:function or opened data", fix)
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def inputs(value: Any, name: str) -> Any:
    """Arrays by the names of inputs: those in an .npz file, or a mapping as it is."""
    if isinstance(value, Mapping):
        return value
    if not isinstance(value, str | os.PathLike) or not os.fspath(value).endswith(".npz"):
        raise wrong(value, name, "an .npz file with an array for each input", "write one with numpy.savez")
    try:
        return arrays_of(value)
    except BROKEN as problem:
        raise UsageError(f"{name} {value} can't be read", why=str(problem), fix="write it with numpy.savez") from None


def shapes(value: Any, name: str) -> dict[str, tuple[int, ...]]:
    """Shapes by the name of an input: {"input": (1, 3, 224, 224)}, or texts like input:1,3,224,224."""
    texts_of = () if isinstance(value, Mapping) else texts(value, name)
    given = value.items() if isinstance(value, Mapping) else [text.rpartition(":")[::2] for text in texts_of]
    found = {}
    for key, dims in given:
        parts = dims.split(",") if isinstance(dims, str) else dims if isinstance(dims, Iterable) else [dims, ""]
        if not key or not all(re.fullmatch(r"\s*\d{1,12}\s*", str(n)) for n in parts):
            given_text = f"{key}:{dims}".lstrip(":")
            raise wrong(given_text, name, "a name and a shape, name:dim,dim,...", "write it like input:1,3,224,224")
        found[str(key)] = tuple(int(n) for n in parts)
    return found


def pairs(value: Any, name: str) -> dict[str, str]:
    """Outputs by the input that they become in the next run: {"h0": "hn"}, or texts like h0=hn."""
    given = value.items() if isinstance(value, Mapping) else [text.partition("=")[::2] for text in texts(value, name)]
    found = {str(begin): str(end) for begin, end in given}
    if not all(begin and end for begin, end in found.items()):
        raise wrong(value, name, "an input and an output, INPUT=OUTPUT", "write it like h0=hn")
    return found


def resolved(place: str) -> Any:
    """What stands at `module:name`, imported now."""
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(f"onnxsurgeon.{module}"), name)
