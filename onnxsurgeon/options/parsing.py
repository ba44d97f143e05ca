"""What the values of options mean: words, numbers, units, lists. A reader raises UsageError for what it can't take."""

from __future__ import annotations

import importlib
import math
import os
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from onnxsurgeon import units
from onnxsurgeon.errors import UsageError
from onnxsurgeon.options.record import Reader

# values of options by what others call them
CHOICES = {"cuda": "gpu nvidia", "cpu": "host", "macs": "flops", "heads": "head", "top1": "accuracy acc"}


def near(word: object, known: Iterable[str]) -> str:
    """Words for the fix of an error: those of `known` that `word` may mean, by meaning, then by spelling."""
    names, text = list(known), str(word)
    meant = [name for name in names if text.lower() in (name.lower(), *CHOICES.get(name, "").split())]
    begun = [name for name in names if len(text) > 1 and name.startswith(text)]
    found = meant or begun or get_close_matches(text, names, 3) or get_close_matches(text, names, 1, 0.5)
    return f"did you mean {' or '.join(found)}?" if found else ""


def unknown(word: object, known: Iterable[str], name: str) -> UsageError:
    """The error for a word that an option does not know: it names all that it does, and the nearest."""
    known = list(known)
    fix = near(word, known) or "choose one of these"
    return UsageError(f"`{name}` {word!r} is not known", why=f"known: {', '.join(known)}", fix=fix)


def word_of(known: Callable[[], Iterable[str]]) -> Reader:
    """One of some words."""

    def read(value: Any, name: str) -> Any:
        if value not in tuple(known()):
            raise unknown(value, known(), name)
        return value

    return read


def number(wanted: str, good: Callable[[float], bool], *, kind: type = float) -> Reader:
    """A number; wanted: in words, which numbers are `good`."""

    def read(value: Any, name: str) -> Any:
        try:
            found = kind(value)
            fits = found == float(value) and good(found)
        except (TypeError, ValueError, OverflowError):
            fits = False
        if not fits:
            raise UsageError(f"`{name}` is {value!r}", why=f"wanted: {wanted}", fix=f"change `{name}`, or leave it out")
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
        text = value.strip() if isinstance(value, str) else ""
        if text.endswith("%"):
            try:
                value = float(text[:-1]) / 100
            except ValueError:
                value = text
        return plain(value, name)

    return read


def amount(*, of_bytes: bool = False, least: float = 0.0) -> Reader:
    """A count or a size above `least`: a number, or text like 5M or 18MB."""
    plain = number(f"more than {least:g}" + " bytes" * of_bytes, lambda x: least < x < math.inf)

    def read(value: Any, name: str) -> Any:
        return plain(
            units.parse(value, option=f"`{name}`", of_bytes=of_bytes) if isinstance(value, str) else value, name
        )

    return read


def texts(value: Any, name: str) -> tuple[str, ...]:
    """Several texts; one alone is a list of one."""
    found = (value,) if isinstance(value, str) or not isinstance(value, Iterable) else tuple(value)
    if not all(isinstance(text, str) for text in found):
        raise UsageError(f"`{name}` is {value!r}", why="wanted: a text, or a list of texts", fix=f"change `{name}`")
    return found


def path(value: Any, name: str) -> Path:
    return Path(os.fspath(value))


def data_or_path(value: Any, name: str) -> Any:
    """A path or `module:function` as a text, or opened samples as they are."""
    if not isinstance(value, str | os.PathLike) and not hasattr(value, "batches"):
        raise UsageError(
            f"`{name}` is {value!r}", why="wanted: a path, module:function or opened data",
            fix="write arrays to an .npz file, or give a function that yields them",
        )  # fmt: skip
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def shapes(value: Any, name: str) -> dict[str, tuple[int, ...]]:
    """Shapes by the name of an input: {"input": (1, 3, 224, 224)}, or texts like input:1,3,224,224."""
    if isinstance(value, Mapping):
        return {str(key): tuple(int(n) for n in shape) for key, shape in value.items()}
    found = {}
    for text in texts(value, name):
        key, colon, dims = text.rpartition(":")
        if not (key and colon and all(n.strip().isdecimal() for n in dims.split(","))):
            raise UsageError(
                f"`{name}` {text!r} is not a name and a shape", why="wanted: name:dim,dim,...",
                fix="write it like input:1,3,224,224",
            )  # fmt: skip
        found[key] = tuple(int(n) for n in dims.split(","))
    return found


def resolved(place: str) -> Callable[..., Any]:
    """The function at `module:name`, imported now."""
    module, _, name = place.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(f"onnxsurgeon.{module}"), name)
    return found
