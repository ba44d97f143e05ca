"""The layout of reports: tables that never break names, labelled lines, and text without markup."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.table import Table
from rich.text import Text

from onnxsurgeon.errors import printable

ENDLESS = 100_000  # columns without a terminal: nothing is wrapped
PROSE = 20  # narrowest column of a text that may wrap


def console(stream: TextIO) -> Console:
    """A console on `stream`, without markup; if that is not a terminal, also without colours and line breaks."""
    terminal = stream.isatty()
    return Console(
        file=stream,
        markup=False,
        emoji=False,
        highlight=False,
        force_terminal=None if terminal else False,
        width=None if terminal else ENDLESS,
    )


def as_text(parts: Iterable[RenderableType]) -> str:
    """`parts` as text, as a pipe gets them."""
    stream = io.StringIO()
    for part in parts:
        console(stream).print(part)
    return stream.getvalue()


def plain(text: Any, style: str = "") -> Text:
    """`text` as it can be printed."""
    return Text(printable(str(text)), style=style, overflow="fold")


def sized(shape: Sequence[int | str | None] | None) -> str:
    """A shape: 64x3x3x3, ?x10, scalar; - for none."""
    return "-" if shape is None else "x".join("?" if n is None else str(n) for n in shape) or "scalar"


@dataclass(frozen=True)
class Said:
    """A word in bold, and a text beside it in `style`."""

    word: str
    text: str
    width: int = 7
    style: str = ""

    def __rich__(self) -> RenderableType:
        line = Table.grid(padding=(0, 1))
        line.add_column(width=self.width, style="bold")
        line.add_column(overflow="fold")
        line.add_row(plain(self.word), plain(self.text, self.style))
        return line


def said(word: str, text: str, *, width: int = 7, style: str = "") -> RenderableType:
    return Said(word, text, width, style)


def table(
    *columns: str, rows: Iterable[Sequence[Any]], title: str = "", most: int | None = None, what: str = "rows"
) -> RenderableType:
    """A table of the first `most` rows, and a line with the number of further ones. what: the word for rows.

    columns: headings. A > in front aligns numbers to the right; a ~ in front lets text wrap; all other columns hold
    names, which never break.
    """
    cells = [[cell if isinstance(cell, Text) else plain(cell) for cell in row] for row in rows]
    left = 0 if most is None else len(cells) - most
    shown = Columns(columns, cells if left <= 0 else cells[:most])
    more = [plain(f"... and {left:,} more {what} (see them with -v)")] if left > 0 else []
    return Titled(title, shown, more)


@dataclass(frozen=True)
class Titled:
    """A table, its title above, and what is said below it."""

    title: str
    table: Columns
    more: Sequence[Text]

    def __rich__(self) -> RenderableType:
        return Group(*[plain(self.title, "bold")] * bool(self.title), self.table, *self.more)


@dataclass(frozen=True)
class Columns:
    """Rows of cells below headings: as a table if the screen is wide enough, else below each other."""

    headings: Sequence[str]
    rows: Sequence[Sequence[Text]]

    def __rich_console__(self, screen: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        widths = [max(map(cell_len, column)) for column in self._columns()]
        if not screen.is_terminal:
            yield from self._lines(widths)
        elif self._narrowest() <= options.max_width:
            yield self._table()
        else:
            yield from self._stacked(screen, options.max_width)

    def _columns(self) -> Iterator[list[str]]:
        for number, heading in enumerate(self.headings):
            yield [heading.lstrip("~>"), *(row[number].plain for row in self.rows)]

    def _narrowest(self) -> int:
        """The width below which a name would break, or a text would get too narrow."""
        least = 3 * (len(self.headings) - 1)  # space between columns
        for heading, column in zip(self.headings, self._columns(), strict=True):
            width = max(map(cell_len, column))
            if heading.startswith("~"):
                words = [cell_len(word) for cell in column for word in cell.split()]
                width = min(width, max([PROSE, *words]))
            least += width
        return least

    def _table(self) -> Table:
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
        for heading in self.headings:
            right, wraps = heading.startswith(">"), heading.startswith("~")
            table.add_column(heading.lstrip("~>"), justify="right" if right else "left", no_wrap=not wraps)
        for row in self.rows:
            table.add_row(*row)
        return table

    def _lines(self, widths: Sequence[int]) -> Iterator[Text]:
        """One line per row, for other programs: at least two spaces between cells, and no empty cell."""
        for row in zip(*self._columns(), strict=True):
            line = ""
            for cell, heading, width in zip(row, self.headings, widths, strict=True):
                text = cell or "-" * bool(heading)
                space = " " * (width - cell_len(text))
                line += "  " + (space + text if heading.startswith(">") else text + space)
            yield Text(line[2:].rstrip(), no_wrap=True)

    def _stacked(self, screen: Console, width: int) -> Iterator[Text]:
        """The first cell of each row, and below it the others with their headings."""
        for row in self.rows:
            if row[0].plain:
                word = f"{self.headings[0][1:]} " if self.headings[0].startswith(">") else ""  # a number needs its word
                yield Text(word + row[0].plain, style="bold", overflow="fold")
            lines = [""]
            for heading, cell in zip(self.headings[1:], row[1:], strict=True):
                pair = f"{heading.lstrip('~>')} {cell.plain}".strip() if cell.plain else ""
                if lines[-1] and cell_len(lines[-1]) + cell_len(pair) + 4 > width:
                    lines.append("")
                lines[-1] += "  " * bool(lines[-1] and pair) + pair
            for line in filter(None, lines):
                for part in Text(line, overflow="fold").wrap(screen, max(1, width - 2)):
                    yield Text("  ").append_text(part)
