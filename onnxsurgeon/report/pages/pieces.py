"""Parts of pages: charts, tables that sort and filter, facts, and commands to copy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from onnxsurgeon.report.json_report import Report
from onnxsurgeon.report.pages.charts import Spec
from onnxsurgeon.report.pages.markup import Child, Html, data, joined, tag

WIDEST = 20  # characters of a name that stay on a line
FILTERED = 8  # rows from which a table has a field to filter


@dataclass(frozen=True)
class Cell:
    """A cell that shows something else than it is sorted by."""

    shown: Child
    key: float | str


def table(*columns: str, rows: Iterable[Sequence[Any]], caption: str, empty: str = "") -> Html:
    """A table that sorts by a click on a heading. columns: a > in front aligns numbers to the right; a - in front
    takes the column out of the sorting. A column without content is left out. empty: said instead of a table without
    rows."""
    body = [list(row) for row in rows]
    if not body:
        return tag("p", empty) if empty else Html("")
    used = [number for number in range(len(columns)) if any(row[number] not in ("", None, []) for row in body)]
    columns, body = tuple(columns[number] for number in used), [[row[number] for number in used] for row in body]
    heads = [_head(name, [row[number] for row in body]) for number, name in enumerate(columns)]
    lines = [tag("tr", *(_cell(value, name) for value, name in zip(row, columns, strict=True))) for row in body]
    count = f"{len(body):,} rows" if len(body) >= FILTERED else ""
    title = tag("caption", ": ".join(filter(None, (caption, count)))) if caption or count else None
    shown = tag("table", title, tag("thead", tag("tr", *heads)), tag("tbody", *lines), class_="sortable")
    field = (
        tag(
            "p",
            tag("label", "Filter ", tag("input", type="search", placeholder="part of a row")),
            tag("output", "", aria_live="polite"),
            class_="filter",
        )
        if len(body) >= FILTERED
        else None
    )
    label = f"table: {caption or columns[0].lstrip('>-')}"
    return tag("div", field, tag("div", shown, class_="scroll", tabindex="0", role="region", aria_label=label))


def _head(name: str, cells: Sequence[Any]) -> Html:
    """A heading; a column of words is wide enough that only long ones break."""
    number, fixed = name.startswith(">"), name.startswith("-")
    longest = max((len(cell) for cell in cells if type(cell) is str), default=0)
    return tag(
        "th",
        name.lstrip(">-"),
        scope="col",
        class_="number" if number else None,
        data_sort_method="none" if fixed else "number" if number else None,
        style=None if number or not longest else f"min-width:{0.9 * min(longest, WIDEST) + 1:.3g}ch",
    )


def _cell(value: Any, column: str) -> Html:
    key, shown = (value.key, value.shown) if isinstance(value, Cell) else (None, value)
    if isinstance(shown, int | float) and not isinstance(shown, bool):
        key, shown = shown, f"{shown:,}" if isinstance(shown, int) else f"{shown:.4g}"
    return tag(
        "td",
        "" if shown is None else shown,
        class_="number" if column.startswith(">") else None,
        data_sort=None if key is None else f"{key:.10g}" if isinstance(key, int | float) else key,
    )


def figure(spec: Spec, caption: str, label: str = "") -> Html:
    """A chart with its caption. label: what it shows, to who can't see it, if the caption does not say that."""
    place = tag("div", class_="plot", role="img", aria_label=label or caption)
    return tag("figure", tag("figcaption", caption), place, data(spec), class_="chart")


def spark(points: Sequence[tuple[float, float]], kept: int, label: str) -> Html:
    """A small curve for a table. points: with x from 0 to 1. kept: the index of the point to stress."""
    values = [{"x": round(a, 4), "y": round(b, 6), "kept": number == kept} for number, (a, b) in enumerate(points)]
    return tag("span", data(values), tag("span", class_="plot", role="img", aria_label=label), class_="chart")


def facts(rows: Iterable[tuple[str, Child]]) -> Html:
    """Words and what is said of them; those of which nothing is said are left out."""
    return tag("dl", *(joined(tag("dt", word), tag("dd", said)) for word, said in rows if said not in ("", None)))


def command(line: str, why: Child = "") -> Html:
    """A command, and why one would run it."""
    button = tag("button", "Copy", type="button", class_="copy")
    return tag(
        "div", tag("p", why) if why else None, tag("pre", tag("code", line), tabindex="0"), button, class_="command"
    )


def beside(*parts: Child) -> Html:
    """Parts beside each other where there is room."""
    return tag("div", *(tag("div", part) for part in parts if part), class_="beside")


def chip(word: str, mood: str = "") -> Html:
    return tag("span", word, class_=f"chip {mood}")


def network(graphs: Sequence[tuple[str, Sequence[Report]]], caption: str) -> Html:
    """Graphs beside each other, to zoom and move together. graphs: (title, rows of `report.graphs`)."""
    drawn = [{"title": title, "nodes": [_node(row) for row in rows]} for title, rows in graphs]
    return tag("figure", tag("figcaption", caption), data(drawn), class_="graph")


def _node(row: Report) -> Report:
    after = row.get("after") or {}
    why = row["why"] and f"{row['why']['reason']} ({row['why']['operator']} {row['why']['node']})".replace(" ( )", "")
    return {
        "name": row["node"],
        "op": row["operator"],
        "reads": row["reads"],
        "width": row["width"],
        "free": row["free"],
        "why": why or "",
        "shape": row["shape"],
        "params": row["params"],
        "layer": row["layer"],
        "after": after.get("width"),
        "state": row.get("state", ""),
    }
