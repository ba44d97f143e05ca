"""The page of an edit: what changed, step by step with proofs, and the graph before beside after."""

from __future__ import annotations

from collections.abc import Iterator

from onnxsurgeon import units
from onnxsurgeon.report.edit_tables import allowed, only_ran, outcomes, outputs
from onnxsurgeon.report.json_report import Report
from onnxsurgeon.report.layout import sized
from onnxsurgeon.report.pages.graph_page import beside_each_other
from onnxsurgeon.report.pages.markup import Child, Html, joined
from onnxsurgeon.report.pages.offers import WRITTEN, following, offer, page_of, timed
from onnxsurgeon.report.pages.pieces import chip, facts, table
from onnxsurgeon.report.pages.sections import MOODS, assumed, costs, error, foot, latency, stages
from onnxsurgeon.report.pages.template import Page, Section


def edited(report: Report) -> Page:
    rows = report["changes"]
    added, removed = (sum(1 for row in rows if not row[key]) for key in ("before", "after"))
    changed = len(rows) - added - removed
    before, after = report["before"], report["after"]
    lead = [
        f"Nodes: {changed:,} changed, {added:,} new, {removed:,} gone. "
        f"Parameters {units.change(before['params'], after['params'])}, "
        f"MACs {units.change(before['macs'], after['macs'])}."
    ]
    status = report["status"]
    sections = [
        *error(report),
        Section(
            "What happened",
            [
                costs(report),
                facts(_files(report)),
            ],
        ),
        Section("Was it worth it?", [facts(_worth(report)), _steps(report)]),
        following(_next(report)),
        Section("Nodes that changed", [_changes(report), _widths(report)]),
        *beside_each_other(report),
        *assumed(report),
        *stages(report),
    ]
    return Page(
        f"Edit of {report['model']}: {report['command']}", lead, sections, status, MOODS.get(status, ""), foot(report)
    )


def _files(report: Report) -> Iterator[tuple[str, Child]]:
    yield "original", report["model"]
    yield "written", report["output"] if report["status"] in WRITTEN else "nothing"
    for end in report["ends"]:
        yield f"{end['kind']} {end['name']}", f"{end['before'] or 'none'} → {end['after'] or 'gone'}"


def _worth(report: Report) -> Iterator[tuple[str, Child]]:
    proof = report["proof"]
    if proof is None:
        yield "proof", "none: nothing was proven"
    else:
        error = "" if proof["error"] is None else f"error {proof['error']:.2g} relative to the scale of each output; "
        yield "proof", joined(_verdict(report), f" {error}{allowed(proof)}")
    yield "outputs", outputs(report)[0]
    yield "latency", latency(report)


def _verdict(report: Report) -> Html:
    if not report["proof"]["passed"]:
        return chip("failed", "bad")
    return chip("partly proven", "warn") if only_ran(report) else chip("proven", "good")


def _steps(report: Report) -> Child:
    steps = enumerate(zip(report["steps"], outcomes(report), strict=True), 1)
    rows = ((number, step["what"], outcome) for number, (step, outcome) in steps)
    return table(
        ">step",
        "what",
        "outcome",
        rows=rows,
        caption="Steps, and what is proven of each",
        empty="No step changed the network.",
    )


def _next(report: Report) -> Iterator[Child]:
    model, output = report["model"], report["output"]
    if report["status"] == "dry run":
        yield "It was a dry run: without --dry-run the model is proven and written."
    if report["status"] not in WRITTEN:
        return
    yield timed(report, model, output)
    if (report["proof"] or {}).get("unchanged"):
        return
    if report["ends"]:
        yield "Its inputs or outputs are not those of the original: the two can't be compared, nor one teach the other."
        yield offer("What it takes and gives now:", "inspect", output, "--html", page_of(output, "inspect"))
        return
    name = ["--output-name", report["outputs"][0]] if len(report["outputs"]) > 1 else []
    yield offer(
        "How far the outputs moved on real samples:",
        "evaluate", output, "--data", "SAMPLES", "--metric", "cosine", "--against", model, *name,
    )  # fmt: skip
    yield offer(
        "Train it towards the original, without labels:",
        "train", output, "--data", "SAMPLES", "--teacher", model, "--loss", "distill", *name,
    )  # fmt: skip


def _changes(report: Report) -> Child:
    rows = (
        (
            row["node"],
            "gone" if not row["after"] else "new" if not row["before"] else "follows" if row["follows"] else "changed",
            *(_became(row, key) for key in ("operator", "width", "weight")),
        )
        for row in report["changes"]
    )
    return table(
        "node", "change", "operator", "width", "weight", rows=rows, caption="Nodes that changed", empty="None."
    )


def _became(row: Report, key: str) -> str:
    sides = [row[side][key] for side in ("before", "after") if row[side]]
    texts = ["" if side is None else sized(side) if isinstance(side, list) else str(side) for side in sides]
    return " → ".join(dict.fromkeys(texts))


def _widths(report: Report) -> Child:
    rows = (
        (row["request"], row["before"], row["wanted"], row["after"], "yes" if row["relaxed"] else "")
        for row in report["widths"]
    )
    return table("request", ">before", ">wanted", ">after", "relaxed", rows=rows, caption="Widths that were asked for")
