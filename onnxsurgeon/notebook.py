"""How objects show themselves: one line at a prompt, a table in a notebook."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from itertools import islice

from onnxsurgeon.errors import printable

ROWS = 200  # of a table in a notebook

Table = Iterable[Sequence[object]]  # rows, the first of them the heads


class Shown:
    """What has a line and a table."""

    def line(self) -> str:
        """What `repr` says of it, in brackets behind the name of its class."""
        raise NotImplementedError

    def table(self) -> Table:
        """The rows of its table, heads first."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return printable(f"<{type(self).__name__} {self.line()}>")

    def _repr_html_(self) -> str:
        """For notebooks: the line as the caption of the table."""
        return "".join(_html(f"{type(self).__name__} {self.line()}", self.table()))


def _html(caption: str, rows: Table) -> Iterator[str]:
    rows = iter(rows)
    yield f"<table><caption>{escape(printable(caption))}</caption>"
    yield f"<thead>{_row('th', next(rows, ()))}</thead><tbody>"
    yield from (_row("td", row) for row in islice(rows, ROWS))
    yield "</tbody></table>" if next(rows, None) is None else f"{_row('td', ['... and more'])}</tbody></table>"


def _row(tag: str, cells: Sequence[object]) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(printable(str(cell)))}</{tag}>' for cell in cells)}</tr>"
