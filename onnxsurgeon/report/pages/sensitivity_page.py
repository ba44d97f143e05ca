"""The page of a sensitivity: the layers that the outputs depend on most, and a command that leaves them alone."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from math import inf, log10

from onnxsurgeon.options.shared import OfData
from onnxsurgeon.report.json_report import Report
from onnxsurgeon.report.pages import charts
from onnxsurgeon.report.pages.markup import Child
from onnxsurgeon.report.pages.offers import carried, following, offer
from onnxsurgeon.report.pages.pieces import Cell, facts, figure, table
from onnxsurgeon.report.pages.sections import MOODS, error, foot, stages
from onnxsurgeon.report.pages.template import Page, Section
from onnxsurgeon.report.ranking import error_at, percent, ranked

MOST = 24  # layers that are drawn


def sensitive(report: Report) -> Page:
    share = report["ranked_by"]
    layers = ranked(report["layers"], share)
    names = [layer["nodes"][0] for layer in layers]
    said = (
        f"{report['samples']:,} samples ran through models in which one layer alone is narrower. "
        f"Cut to {share:.0%} of its "
        f"width, {names[0]} changes the outputs most: {_said(error_at(layers[0], share))} of their norm."
    )
    options = carried(report, OfData, "samples", "seed", "batch")
    rows = [
        ("data", report["data"]),
        ("importance", f"{report['importance']}: the least important channels are cut first"),
        ("ran on", report["provider"]),
    ]
    return Page(
        f"Sensitivity of {report['model']}",
        [said],
        [
            *error(report),
            Section("Which layers matter most", [_ranked(layers, share), _table(report, layers)], _note(share)),
            following([offer(_why(report), *shlex.split(report["next"])[1:], *options)]),
            Section("Error by width", [_curves(report, layers)]),
            Section("What was assumed", [facts(rows)]),
            *stages(report),
        ],
        report["status"],
        MOODS.get(report["status"], ""),
        foot(report),
    )


def _note(share: float) -> str:
    width = f"{share:.0%} of its width"
    return f"Ranked by the change of the outputs, relative to their norm, where the layer alone is cut to {width}."


def _why(report: Report) -> str:
    count = len(report["sensitive"])
    if not count:
        return "No layer stands out by a factor of three, so that none has to be left out:"
    return f"Prune the model without the {'layer' if count == 1 else f'{count} layers'} that stand out:"


def _said(error: float) -> str:
    return "beyond all measure" if error == inf else percent(error)


def _ranked(layers: Sequence[Report], share: float) -> Child:
    shown = [(layer["nodes"][0], error_at(layer, share)) for layer in layers][:MOST]
    rows = [{"layer": name, "error": 100 * min(error, 10.0), "label": _said(error)} for name, error in shown]
    place = {"y": charts.names("layer", axis={"ticks": False, "domain": False})}
    spec = charts.chart(
        rows,
        {
            "mark": "bar",
            "encoding": {
                **place,
                "x": charts.x("error", "change of the outputs, %"),
                "tooltip": charts.told("layer", "label"),
            },
        },
        {
            "mark": {"type": "text", "align": "left", "dx": 4},
            "encoding": {**place, "x": charts.x("error"), "text": {"field": "label"}},
        },
        height=22 * len(rows),
    )
    more = f"; {len(layers) - len(rows)} more are in the table" if len(layers) > len(rows) else ""
    return figure(spec, f"Change of the outputs by layer, the most sensitive first{more}.")


def _table(report: Report, layers: Sequence[Report]) -> Child:
    shares = report["shares"]
    stands_out = set(report["sensitive"])
    rows = (
        (
            rank,
            layer["nodes"][0],
            "yes" if layer["nodes"][0] in stands_out else "",
            *(_point(layer, share) for share in shares),
            layer["operator"],
            layer["units"],
            ", ".join(layer["nodes"][1:]),
        )
        for rank, layer in enumerate(layers, 1)
    )
    heads = (">#", "layer", "stands out", *(f">at {share:.0%}" for share in shares), "operator", ">width", "tied to")
    return table(*heads, rows=rows, caption="Change of the outputs by the width that one layer has left")


def _point(layer: Report, share: float) -> Child | Cell:
    known = {point["share"]: point["error"] for point in layer["points"]}
    if share not in known:
        return ""
    error = known[share]
    return Cell("∞", 1e300) if error is None else Cell(percent(error), error)


def _curves(report: Report, layers: Sequence[Report]) -> Child:
    """The error over the width, for all layers in one chart; those that stand out have a colour."""
    special = set(report["sensitive"])
    rows = [
        {
            "layer": layer["nodes"][0],
            "left": 100 * point["units"] / layer["units"],
            "error": max(point["error"], 1e-6) * 100,
            "change": percent(point["error"]),
            "kind": "stands out" if layer["nodes"][0] in special else "others",
            "height": log10(max(point["error"], 1e-6)),
            "name": layer["nodes"][0] if point is max(layer["points"], key=lambda point: point["units"]) else "",
        }
        for layer in layers
        for point in layer["points"]
        if point["error"] is not None
    ]
    kinds = (("stands out", charts.SECOND), ("others", charts.MARK))
    colour = charts.colours("kind", *zip(*kinds, strict=True)) if special else None
    spec = charts.lines(
        charts.spaced(rows, across="left", up="height", label="name"),
        over="left",
        value="error",
        titles=("width that is left, %", "change of the outputs, %"),
        colour=colour,
        log=True,
        tips=("layer", "left", "change"),
        of="layer",
    )
    said = (
        "A line for each layer: how the outputs change as it alone gets narrower (logarithmic). Point at one to see it."
    )
    return figure(spec, said)
