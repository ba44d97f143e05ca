"""A training report as an HTML page: curves of loss and score over the epochs, and a table."""

from __future__ import annotations

from collections.abc import Sequence

from onnxsurgeon.report.html import BEGIN, BOTTOM, HEIGHT, LEFT, RIGHT, STYLE, TOP, WIDTH, escape
from onnxsurgeon.report.json_report import Report

LINES = 3  # of the grid
Points = Sequence[tuple[int, float]]  # (epoch, value)


def training_page(report: Report) -> str:
    """The page, without external resources."""
    epochs, title = report["epochs"], f"Training of {escape(report['model'])}"
    losses = [(epoch["number"], epoch["loss"]) for epoch in epochs]
    scores = [(epoch["number"], epoch["score"]) for epoch in epochs if epoch["score"] is not None]
    curves = [("loss", losses), (report["metric"], [(0, report["before"]), *scores])]
    cards = [_card(escape(name), points, report["kept"]) for name, points in curves if points]
    return "\n".join([
        BEGIN,
        f'<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style></head><body>',
        f"<h1>{title}</h1>", f"<p>{escape(report['verdict'])}</p>", "<section>", *cards, "</section>",
        f"<table><tr><th>epoch</th><th>loss</th><th>{escape(report['metric'])}</th><th>learning rate</th></tr>",
        *(_row(epoch, report["kept"]) for epoch in epochs), "</table>", "</body></html>", "",
    ])  # fmt: skip


def _card(name: str, points: Points, kept: int) -> str:
    return f"<article><h2>{name}</h2>{_curve(name, points, kept)}</article>"


def _curve(name: str, points: Points, kept: int) -> str:
    """A line over the epochs; the largest point is the epoch that was kept."""
    numbers, values = [at for at, _ in points], [value for _, value in points]
    low, high, last = min(values), max(values), max(numbers[-1], 1)
    spread = (high - low) or abs(high) or 1.0

    def x(at: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * at / last

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * (value - low) / spread

    levels = [low + spread * k / (LINES - 1) for k in range(LINES)]
    grid = [
        f'<line x1="{LEFT}" x2="{WIDTH}" y1="{y(v):.1f}" y2="{y(v):.1f}"/>'
        f'<text x="{LEFT - 5}" y="{y(v) + 3:.1f}" text-anchor="end">{v:.3g}</text>'
        for v in levels
    ]
    ticks = [
        f'<text x="{x(n):.1f}" y="{HEIGHT - 8}" text-anchor="middle">{n}</text>' for n in sorted({0, last // 2, last})
    ]
    marks = [
        f'<circle cx="{x(at):.1f}" cy="{y(value):.1f}" r="{5 if at == kept else 2.5}"><title>epoch {at}: {value:.4g}'
        "</title></circle>"
        for at, value in points
    ]
    line = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in points)
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
    return (
        f'<svg {size} role="img" aria-label="{name} by epoch">'
        f'{"".join(grid + ticks)}<polyline points="{line}"/>{"".join(marks)}</svg>'
    )


def _row(epoch: Report, kept: int) -> str:
    number, score = epoch["number"], epoch["score"]
    cells = (f"{epoch['loss']:.4g}", "-" if score is None else f"{score:.4g}", f"{epoch['rate']:.3g}")
    name = f"{number}, kept" if number == kept else str(number)
    return f"<tr><td>{name}</td>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
