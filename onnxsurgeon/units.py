"""Parses and prints counts, sizes and times in human units: 5M, 1.2G, 18MB, 18MiB, 8.1 ms."""

from __future__ import annotations

import math
import re

from onnxsurgeon.errors import UsageError

DECIMAL = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
TIMES = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
BINARY = {"KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}
_SHOWN = re.compile(r"([+-]?[0-9][0-9,]*(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?)\s*(us|ms|[KMGT](?=B?\b))?")
_AMOUNT = re.compile(r"([0-9]+\.?[0-9]*(?:[eE][+-]?[0-9]+)?|\.[0-9]+)\s*([KMGT]I?)?(B)?", re.IGNORECASE)


def parse(text: str, *, option: str, of_bytes: bool = False) -> float:
    """The number in `text`; a trailing B is allowed if it counts bytes. Raises UsageError if it is not a number."""
    found = _AMOUNT.fullmatch(text.strip())
    if found is None or (found[3] and not of_bytes):
        example = "18MB, 18MiB" if of_bytes else "5M, 1.2G"
        raise UsageError(
            f"{option} can't read {text!r} as a {'size' if of_bytes else 'count'}",
            why="it takes a number, optionally with K, M, G, T (of 1000) or Ki, Mi, Gi, Ti (of 1024)",
            fix=f"write it like {example} or 5000000",
        )
    value = float(found[1]) * {**DECIMAL, **BINARY}[(found[2] or "").upper()]
    if not math.isfinite(value):
        raise UsageError(f"{option} {text!r} is out of range", fix="write a smaller number")
    return value


def count(number: float) -> str:
    """`number` to three digits: 97.1 K, 4.09 G."""
    for letter in ("", "K", "M", "G"):
        if abs(number) < 999.5:
            return _digits(number, letter)
        number /= 1000
    return _digits(number, "T")


def size(number: float) -> str:
    """Bytes: 393 KB, 18.4 MB; decimal, as `parse` reads them."""
    text = count(number)
    return text + "B" if text[-1].isalpha() else text + " B"


def parse_seconds(text: str, *, option: str) -> float:
    """The seconds in `text`, which has a unit. Raises UsageError if it is not a time."""
    found = re.fullmatch(r"([0-9]+\.?[0-9]*|\.[0-9]+)\s*(us|ms|s)", text.strip())
    if found is None:
        raise UsageError(
            f"{option} can't read {text!r} as a time", fix="write it with its unit, like 8ms, 0.2s or 500us"
        )
    return float(found[1]) * TIMES[found[2]]


def seconds(number: float) -> str:
    """A time to three digits: 85.2 us, 8.14 ms, 1.20 s."""
    factor, unit = scale(number)
    return _digits(number * factor, unit)


def scale(number: float) -> tuple[float, str]:
    """What a time in seconds is multiplied by, and the unit that it then has: it needs at most three digits."""
    return next(((by, unit) for by, unit in ((1e6, "us"), (1e3, "ms")) if abs(number) * by < 999.5), (1.0, "s"))


def value(text: str) -> float | None:
    """The number that a text of this module begins with, in its unit, to sort by; None if there is none."""
    found = _SHOWN.match(text.replace("~", ""))
    if found is None:
        return None
    return float(found[1].replace(",", "")) * {**TIMES, **DECIMAL}[found[2] or ""]


def _digits(number: float, letter: str) -> str:
    if number == int(number) and not letter:
        return str(int(number))
    places = 0 if abs(number) >= 99.95 else 1 if abs(number) >= 9.995 else 2
    return f"{number:.{places}f} {letter}".rstrip()


def change(before: float, after: float) -> str:
    """The relative change from `before` to `after`, in percent."""
    if before == after:
        return "0 %"
    return f"{100 * (after / before - 1):+z.1f} %".replace("+0.0", "~0") if before else ""
