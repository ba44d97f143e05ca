"""A sensitivity report as an HTML page: a chart of error against width for each layer, and a table."""

from __future__ import annotations

import html
from math import ceil, floor, log10

from onnxsurgeon.errors import printable
from onnxsurgeon.report.json_report import Report

BEGIN = "<!doctype html>"
WIDTH, HEIGHT, LEFT, RIGHT, BOTTOM, TOP = 250, 150, 46, 14, 22, 8  # size and margins of a chart, in pixels
DECADES = 4  # of relative error, at most
STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1f2328; --faint: #6e7781; --line: #d8dee4; --mark: #0969da; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #0d1117; --ink: #e6edf3; --faint: #8d96a0; --line: #30363d; --mark: #58a6ff; }
}
body { background: var(--paper); color: var(--ink); font: 14px/1.4 system-ui, sans-serif; margin: 2rem; }
h1 { font-size: 1.3rem; margin: 0; } h2 { font-size: .85rem; margin: 0; overflow-wrap: anywhere; }
p { color: var(--faint); margin: .2rem 0 1rem; max-width: 60rem; }
section { display: grid; grid-template-columns: repeat(auto-fill, 250px); gap: 1.2rem; }
article p { font-size: .75rem; margin: 0; }
svg text { fill: var(--faint); font-size: 10px; } svg line { stroke: var(--line); }
polyline { fill: none; stroke: var(--mark); stroke-width: 2; } circle { fill: var(--mark); }
table { border-collapse: collapse; margin-top: 2rem; font-size: .8rem; }
td, th { border-bottom: 1px solid var(--line); padding: .2rem .7rem; text-align: right; overflow-wrap: anywhere; }
td:first-child, th:first-child { text-align: left; }
"""


def page(report: Report) -> str:
    """The page, without external resources."""
    layers, shares = report["layers"], report["shares"]
    low, high = _decades([point["error"] for layer in layers for point in layer["points"]])
    title = f"Sensitivity of {escape(report['model'])}"
    heads = "".join(f"<th>{share:.0%}</th>" for share in shares)
    return "\n".join([
        BEGIN,
        f'<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style></head><body>',
        f"<h1>{title}</h1>",
        f"<p>How much the outputs change, relative to their norm, when a single layer gets narrower; "
        f"{report['samples']:,} samples, the least important channels ({escape(report['importance'])}) are cut first. "
        "All charts have the same error scale; smaller errors are drawn on the bottom line.</p>",
        "<section>", *(_card(layer, low, high) for layer in layers), "</section>",
        f"<table><tr><th>layer</th><th>width</th>{heads}</tr>", *(_row(layer, shares) for layer in layers), "</table>",
        "</body></html>", "",
    ])  # fmt: skip


def percent(error: float) -> str:
    """A relative error in percent."""
    return f"{100 * error:.2g} %" if error < 0.095 else f"{100 * error:.0f} %"


def escape(text: str) -> str:
    """`text` as text of the page."""
    return html.escape(printable(text))


def _decades(errors: list[float]) -> tuple[int, int]:
    """The powers of ten that enclose the errors."""
    finite = [error for error in errors if 0 < error < float("inf")] or [1.0]
    high = min(ceil(log10(max(finite))), 2)
    return max(min(floor(log10(min(finite))), high - 1), high - DECADES), high


def _card(layer: Report, low: int, high: int) -> str:
    first, *others = (escape(name) for name in layer["nodes"])
    tied = f", tied to {len(others)} more" if others else ""
    return (
        f'<article><h2>{first}</h2><p title="{", ".join(others)}">{escape(layer["operator"])}{tied}, '
        f"{layer['units']} units</p>{_chart(layer, low, high)}</article>"
    )


def _chart(layer: Report, low: int, high: int) -> str:
    def x(units: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * units / int(layer["units"])

    def y(error: float) -> float:
        share = (log10(min(max(error, 10**low), 10**high)) - low) / (high - low)
        return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * share

    grid = [
        f'<line x1="{LEFT}" x2="{WIDTH}" y1="{y(10**k):.1f}" y2="{y(10**k):.1f}"/>'
        f'<text x="{LEFT - 5}" y="{y(10**k) + 3:.1f}" text-anchor="end">{percent(10.0**k)}</text>'
        for k in range(low, high + 1)
    ]
    ticks = [
        f'<text x="{x(n):.1f}" y="{HEIGHT - 8}" text-anchor="middle">{n}</text>'
        for n in (0, layer["units"] // 2, layer["units"])
    ]
    marks = [
        f'<circle cx="{x(p["units"]):.1f}" cy="{y(p["error"]):.1f}" r="3.5"><title>{p["units"]} of {layer["units"]}: '
        f"{percent(p['error'])}</title></circle>"
        for p in layer["points"]
    ]
    line = " ".join(f"{x(p['units']):.1f},{y(p['error']):.1f}" for p in layer["points"])
    label = f"error against width of {escape(layer['nodes'][0])}"
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="{label}">'
        f'{"".join(grid + ticks)}<polyline points="{line}"/>{"".join(marks)}</svg>'
    )


def _row(layer: Report, shares: list[float]) -> str:
    known = {point["share"]: point["error"] for point in layer["points"]}
    cells = "".join(f"<td>{percent(known[s]) if s in known else '-'}</td>" for s in shares)
    return f"<tr><td>{escape(layer['nodes'][0])}</td><td>{layer['units']}</td>{cells}</tr>"
