"""Charts as Vega-Lite specifications: plain data, which the page's scripts draw.

Colours are variables of the page's style, so that charts follow the light and dark scheme, and print.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Spec = dict[str, Any]
Rows = Sequence[Mapping[str, Any]]
FAINT, LINE, INK = "var(--faint)", "var(--line)", "var(--ink)"
MARK, SECOND, BASE = "var(--mark)", "var(--second)", "var(--base)"
FADED: Spec = {"condition": {"param": "pointed", "value": 1}, "value": 0.15}  # unless it is pointed at
LETTER, ROW = 0.026, 0.07  # of a label: width of a letter and height, as shares of a small chart
KINDS = (MARK, SECOND, "var(--good)", "var(--bad)", "var(--warn)")  # colours of kinds
FONT = "system-ui, sans-serif"
TEXT = {"labelFont": FONT, "titleFont": FONT, "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal"}
CONFIG: Spec = {
    "background": None,
    "font": FONT,
    "view": {"stroke": None},
    "axis": {
        **TEXT,
        "labelColor": FAINT,
        "titleColor": FAINT,
        "domainColor": LINE,
        "tickColor": LINE,
        "gridColor": LINE,
        "labelLimit": 220,
    },
    "axisQuantitative": {"tickCount": 6},
    "legend": {**TEXT, "labelColor": INK, "titleColor": FAINT, "orient": "top", "symbolStrokeWidth": 2},
    "title": {"color": INK, "font": FONT},
    "text": {"color": INK, "font": FONT},
    "bar": {"color": MARK},
    "line": {"color": MARK},
    "point": {"color": MARK, "filled": True, "size": 50, "opacity": 1},
    "rule": {"color": FAINT},
}
SPARK: Spec = {  # a curve in a table: `values` are put in by the page
    "width": 96,
    "height": 28,
    "padding": 2,
    "data": {"name": "points", "values": []},
    "layer": [
        {"mark": {"type": "area", "opacity": 0.18, "color": MARK, "line": {"color": MARK, "strokeWidth": 1.5}}},
        {
            "transform": [{"filter": "datum.kept"}],
            "mark": {"type": "rule", "color": SECOND, "size": 2},
            "encoding": {"y": None},
        },
        {"transform": [{"filter": "datum.kept"}], "mark": {"type": "point", "color": SECOND, "size": 28}},
    ],
    "encoding": {
        "x": {"field": "x", "type": "quantitative", "axis": None, "scale": {"domain": [0, 1], "nice": False}},
        "y": {"field": "y", "type": "quantitative", "axis": None, "scale": {"nice": False}},
    },
}
THEME: Spec = {"config": CONFIG, "spark": SPARK}


def chart(rows: Rows, *layers: Spec, height: int = 220, **more: Any) -> Spec:
    """A chart as wide as its place."""
    place = {"width": "container", "height": height, "autosize": {"type": "fit-x", "contains": "padding"}}
    return {**place, "data": {"values": list(rows)}, "layer": list(layers), **more}


def x(field: str, title: str = "", **more: Any) -> Spec:
    """A position of numbers; it serves for y as well."""
    return {"field": field, "type": "quantitative", "title": title or None, **more}


def names(field: str, title: str = "", **more: Any) -> Spec:
    """A position of words, in the order of the rows."""
    return {"field": field, "type": "nominal", "title": title or None, "sort": None, **more}


def told(*fields: str) -> list[Spec]:
    """What a mark says under the pointer; each field is called as it is in the rows."""
    return [{"field": field, "type": "nominal"} for field in fields]


def colours(field: str, domain: Sequence[str], colours: Sequence[str]) -> Spec:
    scale = {"domain": list(domain), "range": list(colours)}
    return {"field": field, "type": "nominal", "scale": scale, "title": None}


def bars(rows: Rows, *, value: str, of: str, title: str, label: str, domain: tuple[float, float]) -> Spec:
    """A bar for each row, with a text at its end. of: the field that names it."""
    place = {"y": names(of, axis={"ticks": False, "domain": False})}
    scale = {"domain": list(domain), "nice": False, "clamp": True}
    return chart(
        rows,
        {
            "mark": {"type": "bar", "color": BASE, "height": {"band": 0.62}},
            "encoding": {**place, "x": {"datum": min(100.0, domain[1])}, "x2": {"datum": domain[0]}},
        },
        {
            "mark": {"type": "bar", "height": {"band": 0.62}},
            "encoding": {**place, "x": x(value, title, scale=scale), "tooltip": told(of, label)},
        },
        {
            "mark": {"type": "text", "align": "left", "dx": 5},
            "encoding": {**place, "x": x(value, title, scale=scale), "text": {"field": label}},
        },
        height=34 * len(rows),
    )


def intervals(rows: Rows, *, of: str, value: str, title: str) -> Spec:
    """A bar for each row, with a text at its end and a line from `low` to `high`."""
    place = {"y": names(of, axis={"ticks": False, "domain": False})}
    bar = {**place, "x": x(value, title), "tooltip": told(of, "label", "interval")}
    return chart(
        rows,
        {"mark": {"type": "bar", "height": {"band": 0.62}}, "encoding": bar},
        {
            "mark": {"type": "rule", "size": 3, "color": INK},
            "encoding": {**place, "x": x("low", title), "x2": {"field": "high"}},
        },
        {
            "mark": {"type": "text", "align": "left", "dx": 5},
            "encoding": {**place, "x": x("high", title), "text": {"field": "label"}},
        },
        height=34 * len(rows),
    )


def dots(rows: Rows, *, of: str, value: str, kind: str, title: str) -> Spec:
    """A line of dots for each name in `of`, coloured by `kind`."""
    kinds = list(dict.fromkeys(str(row[kind]) for row in rows))
    place: Spec = {
        "y": names(of, axis={"ticks": False, "domain": False, "grid": True}),
        "x": x(value, title, scale={"zero": False, "padding": 12}),
        "color": {**colours(kind, kinds, KINDS[: len(kinds)]), "type": "nominal"},
        "shape": {"field": kind, "type": "nominal", "title": None, "scale": {"domain": kinds}},
    }
    layer = {"mark": {"type": "point", "size": 80}, "encoding": {**place, "tooltip": told(of, kind, "value")}}
    return chart(rows, layer, height=24 * len({row[of] for row in rows}) + 20)


def lines(
    rows: Rows,
    *,
    over: str,
    value: str,
    titles: tuple[str, str],
    tips: Sequence[str] = (),
    mark: str = "",
    log: bool = False,
    zero: bool = False,
    step: bool = False,
    colour: Spec | None = None,
    whole: bool = False,
    start: bool = False,
    of: str = "",
) -> Spec:
    """Values over a number, as a line with points. titles: of x and y. mark: a field that is true at the points to
    stress. whole: whether x only has whole numbers. log: whether y is logarithmic. start: whether x begins at 0.
    of: the field that tells several lines apart; the field `name` is written at their points."""
    scale: Spec = {"type": "log"} if log else {"zero": zero}
    ticks: Spec = {"axis": {"tickMinStep": 1, "format": "d", "grid": False}} if whole else {"axis": {"grid": False}}
    place: Spec = {"x": x(over, titles[0], scale={"zero": start}, **ticks), "y": x(value, titles[1], scale=scale)}
    place |= {} if colour is None else {"color": colour}
    place |= {"detail": {"field": of}, "opacity": FADED} if of else {}
    line: Spec = {"type": "line", **({"interpolate": "step-after"} if step else {})}
    layers: list[Spec] = [
        {"mark": line, "encoding": place},
        {"mark": {"type": "point", "size": 36}, "encoding": {**place, "tooltip": told(*(tips or (over, value)))}},
    ]
    if of:
        layers += _told_apart(place, line, of)
    if mark:
        stressed: Spec = {"type": "point", "size": 190, "filled": False, "strokeWidth": 2, "color": SECOND}
        layers.append({"transform": [{"filter": f"datum.{mark}"}], "mark": stressed, "encoding": place})
    return chart(rows, *layers)


def _told_apart(place: Spec, line: Spec, of: str) -> list[Spec]:
    """Names, and wide lines that nobody sees but that are easy to point at: the others fade."""
    pointed = {"type": "point", "fields": [of], "on": "pointerover", "clear": "pointerout"}
    wide = {"mark": {**line, "strokeWidth": 14, "opacity": 0}, "params": [{"name": "pointed", "select": pointed}]}
    name = {"type": "text", "align": "right", "dy": -8, "limit": 180}
    still = {key: value for key, value in place.items() if key != "opacity"}
    return [
        {"mark": name, "encoding": {**place, "color": {"value": INK}, "text": {"field": "name"}}},
        {**wide, "encoding": {**still, "tooltip": told(of)}},
    ]


def spaced(rows: Rows, *, across: str, up: str, label: str) -> list[dict[str, Any]]:
    """The rows, without labels that would lie on one of a row before."""
    spans = [(max(values) - min(values)) or 1.0 for values in ([row[key] for row in rows] for key in (across, up))]
    placed: list[tuple[float, float, int]] = []
    found = []
    for row in rows:
        a, b, width = row[across] / spans[0], row[up] / spans[1], len(str(row[label]))
        free = all(abs(a - c) > LETTER * (width + w) / 2 or abs(b - d) > ROW for c, d, w in placed)
        if free and width:
            placed.append((a, b, width))
        found.append({**row, label: row[label] if free else ""})
    return found


def front(
    rows: Rows, *, across: str, up: str, titles: tuple[str, str], label: str, tips: Sequence[str], of: str = ""
) -> Spec:
    """A scatter of runs; those where the field `front` is true are on the Pareto front, which a line joins.
    of: the field that says which runs have a front of their own."""
    place = {
        "x": x(across, titles[0], scale={"zero": False, "padding": 24}, axis={"grid": False, "tickCount": 6}),
        "y": x(up, titles[1], scale={"zero": False, "padding": 18}),
    }
    on = {"filter": "datum.front"}
    parts = {"detail": {"field": of}} if of else {}
    return chart(
        spaced(sorted(rows, key=lambda row: not row["front"]), across=across, up=up, label=label),
        {
            "transform": [on],
            "mark": {"type": "line", "interpolate": "linear", "strokeDash": [4, 3]},
            "encoding": {**place, **parts, "order": x(across)},
        },
        {
            "transform": [{"filter": "!datum.front"}],
            "mark": {"type": "point", "color": FAINT, "filled": False},
            "encoding": {**place, "tooltip": told(*tips)},
        },
        {"transform": [on], "mark": {"type": "point", "size": 90}, "encoding": {**place, "tooltip": told(*tips)}},
        {"mark": {"type": "text", "dy": -12, "limit": 160}, "encoding": {**place, "text": {"field": label}}},
        height=260,
    )
