"""The page of a compression: the score along the way to a smaller model."""

from __future__ import annotations

from collections.abc import Iterator

from onnxsurgeon.dependency.costs import COSTS
from onnxsurgeon.pruning.compression_options import CompressOptions
from onnxsurgeon.report.json_report import Report
from onnxsurgeon.report.pages import charts
from onnxsurgeon.report.pages.markup import Child
from onnxsurgeon.report.pages.offers import carried, following, judged, offer, timed
from onnxsurgeon.report.pages.pieces import Cell, beside, facts, figure, table
from onnxsurgeon.report.pages.sections import MOODS, assumed, error, foot, stages
from onnxsurgeon.report.pages.template import Page, Section


def compressed(report: Report) -> Page:
    best = next((step for step in report["steps"] if step["number"] == report["best"]), None)
    metric, status = report["metric"], report["status"]
    rows: list[tuple[str, Child]] = [
        (f"{metric} before", f"{report['before']:.4g} on {report['judged_on']}"),
        (
            "best",
            "none is good enough"
            if best is None
            else f"step {best['number']}: {best['ratio']:.1%} gone, {metric} {best['score']:.4g}, "
            f"{abs(best['drop']):.3g} {'worse' if best['drop'] > 0 else 'better'}",
        ),
        ("written", report["output"] if best else ""),
        ("stopped early", report["stopped"]),
    ]
    return Page(
        f"Compression of {report['model']}",
        [report["verdict"]],
        [
            *error(report),
            Section("What happened", [facts(rows)]),
            Section("Was it worth it?", [_drawn(report), _steps(report)] if report["steps"] else []),
            following(_next(report, best)),
            *assumed({**report, "samples": report["data"]}),
            *stages(report),
        ],
        status,
        MOODS.get(status, ""),
        foot(report),
    )


def _drawn(report: Report) -> Child:
    """The score over what is left, by cost."""
    words = list(report["steps"][0]["left"])
    figures = []
    for word in words:
        start = {"left": 100.0, "score": report["before"], "step": "original", "best": report["best"] is None}
        rows = [start] + [
            {
                "left": 100 * step["left"][word],
                "score": step["score"],
                "step": f"step {step['number']}",
                "best": step["number"] == report["best"],
            }
            for step in report["steps"]
        ]
        title = f"{COSTS[word].title} left, %"
        spec = charts.lines(
            rows,
            over="left",
            value="score",
            titles=(title, report["metric"]),
            mark="best",
            tips=("step", "left", "score"),
        )
        figures.append(figure(spec, f"{report['metric']} by {COSTS[word].title}; the ring is what was written."))
    return beside(*figures)


def _steps(report: Report) -> Child:
    words = list(report["steps"][0]["costs"])
    rows = (
        (
            step["number"],
            "written" if step["number"] == report["best"] else "" if step["passed"] else "too much",
            Cell(f"{step['ratio']:.1%}", step["ratio"]),
            *(Cell(COSTS[word].written(step["costs"][word]), step["costs"][word]) for word in words),
            step["score"],
            step["drop"],
            step["epochs"],
            step["seconds"],
            step["stopped"],
        )
        for step in report["steps"]
    )
    heads = (
        ">step",
        "outcome",
        ">gone",
        *(f">{COSTS[word].title}" for word in words),
        f">{report['metric']}",
        ">worse by",
        ">epochs",
        ">seconds",
        "stopped",
    )
    return table(*heads, rows=rows, caption="Steps")


def _next(report: Report, best: Report | None) -> Iterator[Child]:
    model, output, given = report["model"], report["output"], report.get("requested") or {}
    if best is None:
        yield offer(
            "No step was good enough: smaller steps, longer training (--fine-tune) or a larger --max-drop help:",
            "compress", model, "--data", report["data"], "--ratio", "0.1", "--steps", "8",
            *carried(report, CompressOptions, "data", "ratio", "steps", "folder"),
        )  # fmt: skip
        return
    yield judged(report, output, report["metric"])
    yield timed(report, model, output)
    if given.get("folder"):
        words = carried(report, CompressOptions, "data", "resume")
        yield offer("Go on from the last step:", "compress", model, "--data", report["data"], *words, "--resume")
