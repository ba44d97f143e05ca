"""The page of a pruning: what happened, whether it was worth it, what to do next."""

from __future__ import annotations

from collections.abc import Iterator

from onnxsurgeon import units
from onnxsurgeon.dependency.costs import COSTS
from onnxsurgeon.evaluation.options import SensitivityOptions
from onnxsurgeon.options.shared import NONE, SYNTHETIC
from onnxsurgeon.pruning.options import PruneOptions
from onnxsurgeon.report.json_report import Report
from onnxsurgeon.report.layout import sized
from onnxsurgeon.report.pages import charts
from onnxsurgeon.report.pages.layer_table import layers
from onnxsurgeon.report.pages.markup import Child, joined, tag
from onnxsurgeon.report.pages.offers import WRITTEN, carried, following, judged, offer, offered, page_of, timed
from onnxsurgeon.report.pages.pieces import Cell, beside, chip, facts, figure, network, table
from onnxsurgeon.report.pages.sections import (
    MOODS,
    assumed,
    costs,
    epochs,
    error,
    foot,
    frozen,
    latency,
    stages,
)
from onnxsurgeon.report.pages.template import Page, Section


def pruned(report: Report) -> Page:
    sections = [
        *error(report),
        Section("What happened", [costs(report), facts(_files(report))]),
        Section("Was it worth it?", [facts(_worth(report)), *_moved(report)]),
        following(_next(report)),
        *layers(report),
        *_trials(report),
        *_training(report),
        *_graph(report),
        *frozen(report),
        *_solver(report),
        *_refitted(report),
        *assumed(report, _interface(report)),
        *stages(report),
    ]
    title, status = f"Pruning of {report['model']}", report["status"]
    return Page(title, list(_lead(report)), sections, status, MOODS.get(status, ""), foot(report))


def _lead(report: Report) -> Iterator[Child]:
    before, after, verdict = report["before"], report["after"], report.get("verdict")
    said = ", ".join(f"{kind.title} {units.change(before[w], after[w])}" for w, kind in COSTS.items() if w in before)
    yield (
        f"{said[:1].upper()}{said[1:]}."
        if report["status"] != "unchanged"
        else "Nothing was cut: the model is within its budgets."
    )
    if verdict:
        yield joined("Accuracy: ", verdict["accuracy"], ".")


def _files(report: Report) -> Iterator[tuple[str, Child]]:
    yield "original", report["model"]
    yield "written", report["output"] if report["status"] in WRITTEN else "nothing"


def _worth(report: Report) -> Iterator[tuple[str, Child]]:
    verdict, proof, score = report.get("verdict"), report.get("proof"), report.get("score")
    if verdict:
        word, _, cut = verdict["cut"].partition(": ")  # like "proven: it computes what ..."
        moods = {True: "good", False: "bad", None: ""}
        yield "cut", joined(chip(word, moods[proof and proof["passed"]]), " ", cut)
        known = ("measured", "good") if verdict["measured"] else ("unknown", "warn" if verdict["alarming"] else "")
        yield "accuracy", joined(chip(*known), " ", verdict["accuracy"].removeprefix("unknown: "))
        yield "outputs", joined(chip("moved much", "warn") if verdict["alarming"] else "", " ", verdict["outputs"])
    if score:
        way = "higher is better" if score["higher_is_better"] else "lower is better"
        yield score["metric"], f"{score['before']:.4g} → {score['after']:.4g} on {score['samples']:,} samples; {way}"
    yield "latency", latency(report)
    if proof:
        yield (
            "proof",
            (
                f"error {proof['error']:.2g} against the reference, {proof['margin']:.2g} of the tolerance, on "
                f"{proof['samples']} sets of inputs ({proof['provider']})"
            ),
        )


def _moved(report: Report) -> list[Child]:
    """The outputs one by one, if there are several."""
    moved = (report.get("verdict") or {}).get("moved")
    if not moved or len(moved["outputs"]) < 2:
        return []
    rows = (
        (
            row["name"],
            row["error"],
            None if row["agreement"] is None else Cell(f"{row['agreement']:.1%}", row["agreement"]),
        )
        for row in moved["outputs"]
    )
    caption = f"How far each output moved, on {moved['samples']:,} samples ({moved['kind']})"
    return [table("output", ">relative error", ">same top class", rows=rows, caption=caption)]


def _next(report: Report) -> Iterator[Child]:
    model, output, given = report["model"], report["output"], report.get("requested") or {}
    data = given.get("data") if given.get("data") not in (None, SYNTHETIC, NONE) else None
    samples = "--data", str(data or "SAMPLES")
    yield offered("The accuracy is unknown; this tells more:", (report.get("verdict") or {}).get("next", ""))
    if report["status"] in WRITTEN and report.get("score"):
        yield judged(report, output, report["score"]["metric"])
    if report["status"] in WRITTEN and not report.get("latency"):
        yield timed(report, model, output)
    yield offer(
        "Which layers the outputs depend on most, to leave them out with --exclude:",
        "sensitivity", model, *samples, *carried(report, SensitivityOptions, "importance"),
        "--html", page_of(model, "sensitivity"),
    )  # fmt: skip
    ratio = given.get("ratio")
    if ratio:
        share = float(str(ratio).rstrip("%")) / (100 if str(ratio).endswith("%") else 1)
        others = ",".join(f"{r:.3g}" for r in (share / 2, share, (1 + share) / 2 if share > 0.5 else share * 1.5))
        yield offer(
            "Smaller and larger cuts beside this one, and what each of them costs:",
            "prune", model, "--ratio", others, *samples, *carried(report, PruneOptions, "ratio", "data"),
            "--html", page_of(model, "runs"),
        )  # fmt: skip


def _trials(report: Report) -> list[Section]:
    score = report.get("score") or {}
    trials = [trial for trial in score.get("trials") or () if trial["drop"] is not None]
    if not trials:
        return []
    rows = sorted(trials, key=lambda trial: float(trial["ratio"]))
    limit = report["requested"].get("max_drop")
    drawn = charts.lines(
        rows, over="ratio", value="drop", titles=("share that is cut", f"drop of {score['metric']}"), zero=True
    )
    if limit is not None:
        rule = {
            "mark": {"type": "rule", "strokeDash": [5, 4], "color": charts.SECOND},
            "encoding": {"y": {"datum": float(limit)}},
        }
        drawn["layer"].append(rule)
    note = f"Candidates of the search for the smallest model whose {score['metric']} falls by at most {limit} (dashed)."
    shown = table(
        ">ratio", ">drop", rows=[(t["ratio"], t["drop"]) for t in trials], caption="Candidates, as they were tried"
    )
    return [Section("Candidates", [beside(figure(drawn, "Drop of the score by the share that is cut."), shown)], note)]


def _training(report: Report) -> list[Section]:
    found = report.get("fine_tuning")
    if not found:
        return []
    said = f"{found['metric']} {found['before']:.4g} → {found['after']:.4g} on {found['judged_on']}. {found['stopped']}"
    return [Section("Training after the cut", epochs(found, found["metric"], found["before"], found["kept"]), said)]


def _graph(report: Report) -> list[Section]:
    rows = report.get("graph")
    if not rows:
        return []
    drawn = [{**row, "state": "cut" if row["width"] != row["after"]["width"] else ""} for row in rows]
    caption = "Channels of each node's output: before → after. Nodes that were cut have a thick border."
    return [Section("Graph", [network([("", drawn)], caption)])]


def _solver(report: Report) -> list[Section]:
    solver = report["solver"]
    gap = solver["gap"]
    rows: list[tuple[str, Child]] = [
        (
            "result",
            f"{solver['status']}: importance {solver['objective']:.6g}; none has more than {solver['bound']:.6g}"
            if solver["bound"] is not None
            else solver["status"],
        ),
        ("gap", "none proven" if gap is None else f"{100 * gap:.3f} %"),
        ("problem", f"{solver['spaces']:,} spaces of {solver['units']:,} units, {solver['seconds']:.2f} s"),
    ]
    steps = [step for step in solver["trace"] if step["bound"] is not None and step["objective"] is not None]
    drawn = [
        {"seconds": step["seconds"], "value": step[key], "line": word, "gap": f"{100 * (step['gap'] or 0):.3g} %"}
        for step in steps
        for key, word in (("bound", "upper bound"), ("objective", "best selection"))
    ]
    note = (
        "Which channels stay is an optimisation problem. The solver keeps the most important selection within the "
        "budgets; "
        "the bound says what no selection can exceed, so the gap says how far from the best this one can be at most."
    )
    if len(steps) < 2:
        return [Section("How the widths were chosen", [facts(rows)], note)]
    colour = charts.colours("line", ("upper bound", "best selection"), (charts.SECOND, charts.MARK))
    spec = charts.lines(
        drawn,
        over="seconds",
        value="value",
        titles=("seconds", "importance"),
        colour=colour,
        step=True,
        start=True,
        tips=("line", "value", "gap", "seconds"),
    )
    return [
        Section(
            "How the widths were chosen",
            [beside(figure(spec, "Bound and best selection over time."), facts(rows))],
            note,
        )
    ]


def _refitted(report: Report) -> list[Section]:
    rows, distilled = report.get("compensation") or (), report.get("distillation")
    if not rows and not distilled:
        return []
    cells = ((row["node"], row["before"], row["after"]) for row in rows)
    shown = table("layer", ">error before", ">error after", rows=cells, caption="Layers that were refitted")
    said = (
        f"Distillation: {distilled['before']:.3g} → {distilled['after']:.3g} on samples held out." if distilled else ""
    )
    note = (
        "Relative squared error of each layer's output after the cut, before and after its weights were fitted again."
    )
    return [Section("What was refitted", [tag("p", said) if said else None, shown], note)]


def _interface(report: Report) -> Iterator[tuple[str, Child]]:
    for row in report.get("interface") or ():
        yield f"{row['kind']} {row['name']}", f"{sized(row['before'])} → {sized(row['after'])}: a state that shrinks"
    if report.get("rotated"):
        yield "rotated", f"{report['rotated']} linear streams: components were cut instead of channels"
