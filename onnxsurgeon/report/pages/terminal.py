"""What the terminal shows of a report, as parts of a page: the same words, numbers and order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

from rich.text import Text

from onnxsurgeon import units
from onnxsurgeon.report.layout import Columns, Said, Titled
from onnxsurgeon.report.pages.markup import Child, joined, tag
from onnxsurgeon.report.pages.pieces import Cell, chip, facts, table

MOODS = {"red": "bad", "green": "good", "yellow": "warn"}  # by a word of the style


def shown(parts: Iterable[Any]) -> list[Child]:
    """Tables, facts and lines."""
    found: list[Child] = []
    for kind, group in groupby(parts, type):
        if kind is Said:
            found.append(facts(_facts(group)))
        elif kind is Titled:
            found += [part for one in group for part in (_table(one.table, one.title), *shown(one.more))]
        elif kind is Text:
            found += [tag("p", line.plain, class_=mood(line.style) or None) for line in group]
    return found


def mood(style: Any) -> str:
    return next((found for word, found in MOODS.items() if word in str(style)), "")


def _facts(group: Iterable[Said]) -> Iterator[tuple[str, Child]]:
    """Words and texts; a text without a word goes on with the one before."""
    rows: list[tuple[str, list[Child]]] = []
    for line in group:
        if line.word or not rows:
            rows.append((line.word, []))
        rows[-1][1].append(tag("div", line.text, class_=mood(line.style) or None))
    return ((word, joined(*lines)) for word, lines in rows)


def _table(found: Columns, title: str) -> Child:
    """A table whose columns of numbers sort by them."""
    columns = zip(found.headings, zip(*found.rows, strict=True), strict=True) if found.rows else ()
    heads = [_heading(heading, column) for heading, column in columns]
    rows = [[_cell(cell, head) for cell, head in zip(row, heads, strict=True)] for row in found.rows]
    return table(*heads, rows=rows, caption=title)


def _heading(heading: str, cells: Sequence[Text]) -> str:
    """The heading as pages have it: with a > only where all cells are numbers, and never empty."""
    numbers = all(units.value(cell.plain) is not None for cell in cells if cell.plain)
    word = heading.lstrip("~>") or ("outcome" if any(mood(cell.style) for cell in cells) else "note")
    return ">" * (heading.startswith(">") and numbers) + word


def _cell(cell: Text, head: str) -> Child | Cell:
    if found := mood(cell.style):
        return Cell(chip(cell.plain, found), cell.plain)
    number = units.value(cell.plain) if head.startswith(">") else None
    return cell.plain if number is None else Cell(cell.plain, number)
