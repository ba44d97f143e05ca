"""The page of a training: curves of loss and score over the epochs, and what no gradient reached."""

from __future__ import annotations

from onnxsurgeon.report.json_report import Report
from onnxsurgeon.report.pages.pieces import command, facts, table
from onnxsurgeon.report.pages.sections import MOODS, assumed, epochs, error, foot, shell, stages
from onnxsurgeon.report.pages.template import Page, Section


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
    following = [
        command(
            shell("evaluate", report["output"], "--data", "TEST_SAMPLES", "--metric", metric),
            "The score on samples that took no part in the training:",
        ),
        command(
            shell(
                "prune", report["output"], "--ratio", "0.2,0.35,0.5", "--data", report["data"], "--html", "runs.html"
            ),
            "Now smaller, in several steps:",
        ),
    ]
    return Page(
        f"Training of {report['model']}",
        [report["verdict"]],
        [
            *error(report),
            Section("What happened", [facts(rows)]),
            Section("Epochs", epochs(report, metric, report["before"], report["kept"]) if report["epochs"] else []),
            Section("What next?", following),
            Section("What was not trained", [lost] if report["lost"] else []),
            *assumed({**report, "samples": report["data"]}),
            *stages(report),
        ],
        status,
        MOODS.get(status, ""),
        foot(report),
    )


def _short(score: float | None) -> str:
    return "unknown" if score is None else f"{score:.4g}"
