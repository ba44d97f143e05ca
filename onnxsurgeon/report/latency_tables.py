"""Reports of bench and compare as tables for a person."""

from __future__ import annotations

from rich.console import RenderableType

from onnxsurgeon import units
from onnxsurgeon.report.json_report import Report
from onnxsurgeon.report.layout import plain, said, sized, table
from onnxsurgeon.report.tables import ROWS, cost_rows


def benched(report: Report, *, verbose: bool) -> list[RenderableType]:
    """A row for each model, and the times of its nodes if they were measured."""
    rows = [
        (row["model"], *map(units.seconds, (row["median"], row["p95"], row["per_sample"])), units.size(row["size"]),
         relative(row["relative"]) if number else "")
        for number, row in enumerate(report["models"])
    ]  # fmt: skip
    parts = [table("model", ">median", ">p95", ">per sample", ">file", ">time relative to the first", rows=rows), ""]
    for row in report["models"]:
        if row["nodes"]:
            total = sum(node["seconds"] for node in row["nodes"])
            cells = (
                (node["name"], node["operator"], units.seconds(node["seconds"]), f"{node['seconds'] / total:.1%}")
                for node in row["nodes"]
            )
            most = None if verbose else ROWS
            title = f"Nodes of {row['model']} as onnxruntime runs them"
            parts += [
                table("node", "operator", ">time", ">share", rows=cells, title=title, most=most, what="nodes"),
                "",
            ]
    return [*parts, *conditions(report)]


def profiled(report: Report, *, verbose: bool) -> list[RenderableType]:
    """What was measured, and how well it predicts."""
    text = f"{units.seconds(report['seconds'])}; {report['kernels']} kernels in {report['tables']} tables; "
    return [
        said("profile", f"{text}it misses latencies that it was not made of by {report['error']:.1%} (median)"),
        said("written", report["output"]),
    ]


def conditions(report: Report) -> list[RenderableType]:
    """What latencies were measured on, and a warning if the machine was busy."""
    on, inputs = report["conditions"], report["models"][0]["inputs"]
    shapes = ", ".join(f"{name} {sized(shape)}" for name, shape in inputs.items())
    ran = said(
        "ran on",
        f"{on['provider']}, {on['threads']} threads, {shapes}, onnxruntime {on['onnxruntime']}, all optimisations",
    )
    if not report["busy"]:
        return [ran]
    return [ran, plain(f"the machine is busy: latencies are known to ±{report['spread']:.0%} only", "yellow")]


def compared(report: Report, *, verbose: bool) -> list[RenderableType]:
    """Two models side by side, the weights that differ, and the conditions that don't hold."""
    before, after, latency = report["before"], report["after"], report["latency"]
    rows = cost_rows(before, after)
    if latency is not None:
        a, b = (units.seconds(row["median"]) for row in latency["models"])
        rows.append(("latency", a, b, relative(latency["models"][1]["relative"])))
    parts = [table("", f">{before['model']}", f">{after['model']}", ">change", rows=rows), ""]
    if report["weights"]:
        cells = (
            (row["weight"], row["operator"], row["node"], sized(row["before"]), sized(row["after"]))
            for row in report["weights"]
        )
        title, most = f"Weights that differ: {len(report['weights']):,}", None if verbose else ROWS
        parts += [
            table(
                "weight", "operator", "node", ">before", ">after", rows=cells, title=title, most=most, what="weights"
            ),
            "",
        ]
    parts += [] if latency is None else conditions(latency)
    return [*parts, *(plain(f"FAILED  {line}", "bold red") for line in report["failed"])]


def relative(ratio: Report) -> str:
    """The change of the latency, and its interval."""
    low, high = (units.change(1.0, ratio[key]) for key in ("low", "high"))
    return f"{units.change(1.0, ratio['value'])} ({low} to {high})"
