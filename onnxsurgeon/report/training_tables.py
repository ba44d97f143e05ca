"""Tables of trainings."""

from __future__ import annotations

from rich.console import RenderableType

from onnxsurgeon.dependency.costs import COSTS
from onnxsurgeon.report.json_report import Report
from onnxsurgeon.report.layout import plain, said, table
from onnxsurgeon.training.learning_rate import written

SHOWN = 3  # weights that no gradient reaches


def tuned(tuning: Report) -> RenderableType:
    """What a training after a cut did, in a line."""
    scores = f"{tuning['metric']} {tuning['before']:.4g} -> {tuning['after']:.4g}"
    stopped = f"; {tuning['stopped']}" if tuning["stopped"] else ""
    return said(
        "tuned", f"{len(tuning['epochs'])} epochs, {tuning['loss']}: {scores} on {tuning['judged_on']}{stopped}"
    )


def trained(report: Report, *, verbose: bool) -> list[RenderableType]:
    """The epochs, what no gradient reached, and the verdict."""
    metric = report["metric"]
    rows = []
    for epoch in report["epochs"]:
        score = "" if epoch["score"] is None else f"{epoch['score']:.4g}"
        speed = f"{epoch['samples'] / epoch['seconds']:,.0f}" if epoch["seconds"] else ""
        rate = written(epoch["rate"], report["learning_rate"])
        mark = "kept" if epoch["number"] == report["kept"] else ""
        rows.append((str(epoch["number"]), f"{epoch['loss']:.4g}", score, rate, speed, mark))
    found: list[RenderableType] = []
    if verbose or len(rows) > 1:
        found.append(table(">epoch", ">loss", f">{metric}", ">learning rate", ">samples/s", "", rows=rows))
    lost = report["lost"]
    some = lost if verbose else lost[:SHOWN]
    found += [plain(f"not trained: {row['weight']}, whose gradient ends at {row['node']}") for row in some]
    if len(lost) > SHOWN and not verbose:
        found.append(plain(f"and {len(lost) - SHOWN} more; -v names them"))
    return [*found, plain(f"{report['output']}: {report['verdict']}")]


def compressed(report: Report, *, verbose: bool) -> list[RenderableType]:
    """The steps, and the verdict."""
    rows = []
    for step in report["steps"]:
        costs = (COSTS[word].written(cost) for word, cost in step["costs"].items())
        note = "kept" if step["number"] == report["best"] else "" if step["passed"] else "too much"
        numbers = (f"{step['score']:.4g}", f"{step['drop']:.4g}", f"{step['seconds']:,.1f} s", note)
        rows.append((str(step["number"]), f"{step['ratio']:.1%}", *costs, *numbers))
    titles = [f">{COSTS[word].title}" for word in (report["steps"][0]["costs"] if rows else ())]
    head = (">step", ">gone", *titles, f">{report['metric']}", ">worse by", ">time", "")
    found: list[RenderableType] = [table(*head, rows=rows)] if rows else []
    return [*found, plain(f"{report['output']}: {report['verdict']}")]
