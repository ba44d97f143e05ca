"""The page of a training: curves of loss and score over the epochs, and what no gradient reached."""

from __future__ import annotations

from collections.abc import Iterator

from onnxsurgeon.options.shared import OfData
from onnxsurgeon.report.json_report import Report
from onnxsurgeon.report.pages.markup import Child
from onnxsurgeon.report.pages.offers import carried, following, judged, offer, several_cuts
from onnxsurgeon.report.pages.pieces import facts, table
from onnxsurgeon.report.pages.sections import MOODS, assumed, epochs, error, foot, stages
from onnxsurgeon.report.pages.template import Page, Section
from onnxsurgeon.training.options import TrainOptions


def trained(report: Report) -> Page:
    metric, status = report["metric"], report["status"]
    way = "higher is better" if report["higher_is_better"] else "lower is better"
    rows = [
        (metric, f"{_short(report['before'])} → {_short(report['after'])} on {report['judged_on']}; {way}"),
        ("kept", f"epoch {report['kept']}" if report["kept"] else "the weights of the start"),
        ("stopped early", report["stopped"]),
        ("written", report["output"]),
        ("ran on", f"{report['provider']}, batches of {report['batch']}"),
        ("trained", f"{len(report['trained']):,} weights"),
    ]
    lost = table(
        "weight",
        "its gradient ends at",
        rows=((row["weight"], row["node"]) for row in report["lost"]),
        caption="Weights that no gradient reached",
    )
    return Page(
        f"Training of {report['model']}",
        [report["verdict"]],
        [
            *error(report),
            Section("What happened", [facts(rows)]),
            Section("Was it worth it?", _curves(report), report["verdict"]),
            following(_next(report)),
            Section("What was not trained", [lost] if report["lost"] else []),
            *assumed({**report, "samples": report["data"]}),
            *stages(report),
        ],
        status,
        MOODS.get(status, ""),
        foot(report),
    )


def _curves(report: Report) -> list[Child]:
    return epochs(report, report["metric"], report["before"], report["kept"]) if report["epochs"] else []


def _next(report: Report) -> Iterator[Child]:
    output, metric = report["output"], report["metric"]
    if report["status"] not in ("written", "interrupted") or not report["trained"]:
        return
    if report["epochs"] and report["kept"] == report["epochs"][-1]["number"]:
        options = carried(report, TrainOptions, "checkpoint", "resume", "collect")
        why = "The last epoch was the best; further ones may bring more:"
        yield offer(why, "train", output, "--data", report["data"], *options)
    if (report.get("requested") or {}).get("teacher") is None:
        yield judged(report, output, metric, "The score on samples that took no part in the training:")
    yield several_cuts(report, output, "--data", report["data"], "--metric", metric, *carried(report, OfData))


def _short(score: float | None) -> str:
    return "unknown" if score is None else f"{score:.4g}"
