"""The layers of a pruned model: widths before and after, importance curves, why some are frozen."""

from __future__ import annotations

from collections.abc import Sequence

from onnxsurgeon.report.json_report import Report
from onnxsurgeon.report.pages import charts
from onnxsurgeon.report.pages.markup import Html
from onnxsurgeon.report.pages.pieces import Cell, figure, spark, table
from onnxsurgeon.report.pages.sections import held
from onnxsurgeon.report.pages.template import Section


def layers(report: Report) -> list[Section]:
    """Each layer's width before and after, with its importance curve."""
    rows = [row for row in report.get("graph") or () if row["layer"] and row["width"]]
    if not rows:
        return []
    drawn = [
        {
            "number": n,
            "layer": row["node"],
            "width": row["width"],
            "after": row["after"]["width"],
            "frozen": held(row["why"]),
        }
        for n, row in enumerate(rows, 1)
    ]
    place = {
        "x": charts.names(
            "number",
            "layer, in the graph's order",
            axis={"labels": len(rows) <= 40, "ticks": False, "labelAngle": 0, "labelOverlap": True},
        ),
        "tooltip": charts.told("number", "layer", "width", "after", "frozen"),
    }
    chart = charts.chart(
        drawn,
        {"mark": {"type": "bar", "color": charts.BASE}, "encoding": {**place, "y": charts.x("width", "channels")}},
        {"mark": {"type": "bar", "color": charts.MARK}, "encoding": {**place, "y": charts.x("after", "channels")}},
    )
    cells = (_layer(n, row, report["curves"]) for n, row in enumerate(rows, 1))
    shown = table(
        ">#",
        "layer",
        "operator",
        ">channels",
        ">kept",
        ">parameters",
        ">importance kept",
        "-importance curve",
        "frozen because",
        rows=cells,
        caption="Layers, in the graph's order",
    )
    note = (
        "The curve shows how much of a layer's importance its best channels hold, from none (left) to all (right); the "
        "mark is where it was cut. A curve that bends early has channels to spare. Layers that an Add ties together "
        "share a curve."
    )
    return [Section("Layers", [figure(chart, "Channels of each layer: before (pale) and after."), shown], note)]


def _layer(number: int, row: Report, curves: Sequence[Report]) -> Sequence[object]:
    before, after, share = row["width"], row["after"]["width"], _importance(row, curves)
    return (
        number,
        row["node"],
        row["operator"],
        _became(before, after),
        Cell(f"{after / before:.0%}", after / before),
        _became(row["params"], row["after"]["params"]),
        Cell("" if share is None else f"{share:.1%}", 1.0 if share is None else share),
        [_curve(curves[space], row["node"]) for space in row["spaces"][:1]],
        held(row["why"]),
    )


def _became(before: int, after: int) -> Cell:
    return Cell(f"{before:,}" if before == after else f"{before:,} → {after:,}", before)


def _importance(row: Report, curves: Sequence[Report]) -> float | None:
    """The share of a layer's importance that stays; None where it has none to lose, or curves have no share."""
    own = [curves[space] for space in row["spaces"]]
    whole = sum(curve["importance"][-1] for curve in own)
    left = sum(curve["importance"][curve["at"].index(curve["kept"])] for curve in own)
    return left / whole if own and whole > 0 <= left else None


def _curve(curve: Report, node: str) -> Html:
    low, high = min(curve["importance"]), max(curve["importance"])
    spread = (high - low) or 1.0
    points = [
        (at / (curve["units"] or 1), (value - low) / spread)
        for at, value in zip(curve["at"], curve["importance"], strict=True)
    ]
    label = f"importance curve of {node}: {curve['kept']} of {curve['units']} units are kept"
    return spark(points, curve["at"].index(curve["kept"]), label)
