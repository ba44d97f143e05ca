"""Names that nothing has yet."""

from __future__ import annotations

import re

NUMBERS = re.compile(r"(_\d+)+$")  # that make names unique


def free_name(wanted: str, taken: set[str | None]) -> str:
    """`wanted`, or `wanted_N` with the smallest number N that is not taken."""
    name, number = wanted, 1
    while name in taken:
        name, number = f"{wanted}_{number}", number + 1
    return name


def reserved(wanted: str, taken: set[str | None]) -> str:
    """A free name, which is taken from now on."""
    name = free_name(wanted, taken)
    taken.add(name)
    return name


def prefixed(prefix: str, name: str | None) -> str:
    """`name` behind a prefix; where that is empty, without the numbers at its end, so that they don't grow."""
    return f"{prefix}{name}" if prefix else NUMBERS.sub("", name or "")
