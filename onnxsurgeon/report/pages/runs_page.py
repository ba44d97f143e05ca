"""The page of several runs: ratios of one model, or many models: what each gave up for what it saved."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from onnxsurgeon import units
from onnxsurgeon.dependency.costs import COSTS
from onnxsurgeon.pruning.options import PruneOptions
from onnxsurgeon.report.json_report import Report
from onnxsurgeon.report.pages import charts
from onnxsurgeon.report.pages.markup import Child, joined, tag
from onnxsurgeon.report.pages.measures import ERROR, Quality, measured
from onnxsurgeon.report.pages.offers import WRITTEN, carried, following, judged, offer, page_of, timed
from onnxsurgeon.report.pages.pieces import Cell, beside, chip, figure, table
from onnxsurgeon.report.pages.sections import MOODS, assumed, foot, lines
from onnxsurgeon.report.pages.template import Page, Section

LABELLED = 16  # runs whose points have a label
OFFERED = 6  # runs for which a command is shown
DRAWN = 24  # runs whose costs are drawn


def runs(report: Report) -> Page:
    rows = report["models"]
    done = [row for row in rows if row["exit_code"] == 0 and "after" in row]
    models = list(dict.fromkeys(row["model"] for row in rows))
    subject = models[0] if len(models) == 1 else f"{len(models):,} models"
    failed = len(rows) - len(done)
    lead = f"{len(done):,} of {len(rows):,} runs are done" + (f", {failed:,} failed." if failed else ".")
    status, ratios, measure = report["status"], len(models) < len(rows), measured(done)
    sections = [
        Section("What failed", [_failed([row for row in rows if row["exit_code"]])] if failed else []),
        Section("Was it worth it?", _drawn(done, measure, ratios=ratios), _note(measure, ratios=ratios)),
        Section("Runs", [_table(rows, done, measure)]),
        following(_next(done, measure)),
        *(assumed({**done[0], "states": {}}) if done and len(models) == 1 else []),
    ]
    said = [lead, lines("\n".join(_each(done, measure)))] if len(models) == 1 else [lead]
    return Page(f"Pruning of {subject}", said, sections, status, MOODS.get(status, "good"), foot(report))


def on_front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Which points (cost, quality) no other one beats: it costs no more, is no worse, and differs."""
    return [not any(c <= cost and q >= value and (c, q) != (cost, value) for c, q in points) for cost, value in points]


def name(row: Report) -> str:
    ratio = _ratio(row)
    return Path(row["model"]).name + (f", ratio {ratio}" if ratio is not None else "")


def _ratio(row: Report) -> float | str | None:
    """The ratio that was asked for, if one was."""
    found: float | str | None = (row.get("requested") or {}).get("ratio")
    return found


def _note(measure: Quality | None, *, ratios: bool) -> str:
    """What the charts show, and what the measure is worth."""
    if measure is None:
        return "How good the models are is unknown: no outputs were compared."
    on = f"Measured on {' and '.join(measure.kinds)}, without labels: a sign, no measure of the accuracy."
    worth = [on] if measure.kinds else []
    if measure.silent:
        told = f"How good the runs are can't be told apart: {measure.silent}. What they cost can:"
        return " ".join([*worth, told])
    front = "A dashed line joins the runs that no other one of the model beats: smaller and at least as good."
    return " ".join(["A point for each run.", *[front] * ratios, *worth])


def _drawn(done: Sequence[Report], measure: Quality | None, *, ratios: bool) -> list[Child]:
    """A chart of the measure against each cost that all runs know; what the runs cost, if the measure says nothing."""
    if measure is None or measure.silent:
        return [_costs(done)] if done else []
    known = [done[n] for n in measure.after]
    figures = []
    for word, kind in COSTS.items():
        if all(_left(row, word) is not None for row in known):
            rows = [*_points(done, measure, word, ratios=ratios), *(_originals(done, measure) if ratios else [])]
            titles = (f"{kind.title} left, % of the original", measure.axis)
            tips = ("run", "value", "left", "said")
            spec = charts.front(rows, across="left", up="quality", titles=titles, label="label", tips=tips, of="model")
            figures.append(figure(spec, f"{measure.title[:1].upper()}{measure.title[1:]} against {kind.title}."))
    return [beside(*figures)]


def _points(done: Sequence[Report], measure: Quality, word: str, *, ratios: bool) -> Iterator[Report]:
    """A row for each run; `front` says whether no other run of its model beats it."""
    points = {n: (_left(done[n], word) or 0.0, measure.better * value) for n, value in measure.after.items()}
    for n, point in points.items():
        row = done[n]
        rivals = [other for m, other in points.items() if done[m]["model"] == row["model"]]
        yield {
            "left": point[0],
            "quality": measure.after[n],
            "said": measure.written(measure.after[n]),
            "front": on_front(rivals)[rivals.index(point)],
            "model": row["model"],
            "run": name(row),
            "value": COSTS[word].written(_after(row, word) or 0.0),
            "label": _label(row, ratios=ratios) if len(points) <= LABELLED else "",
        }


def _originals(done: Sequence[Report], measure: Quality) -> list[Report]:
    """The original of each model, for comparison: 100 % of each cost."""
    found = {done[n]["model"]: value for n, value in measure.before.items()}
    return [
        {
            "left": 100.0, "quality": value, "said": measure.written(value), "front": False, "model": model,
            "run": f"{Path(model).name}, the original", "value": "all", "label": "original",
        }
        for model, value in found.items()
    ]  # fmt: skip


def _label(row: Report, *, ratios: bool) -> str:
    return f"{_ratio(row)}" if ratios else Path(row["model"]).stem


def _costs(done: Sequence[Report]) -> Child:
    """What is left of each cost, by run."""
    words = [word for word in COSTS if any(_left(row, word) is not None for row in done)]
    rows = [
        {"run": name(row), "left": left, "cost": COSTS[word].title, "value": f"{left:.3g} %"}
        for row in done[:DRAWN]
        for word in words
        if (left := _left(row, word)) is not None
    ]
    spec = charts.dots(rows, of="run", value="left", kind="cost", title="what is left, in % of the original")
    more = f"; {len(done) - DRAWN} more are in the table" if len(done) > DRAWN else ""
    return figure(spec, f"What is left of each cost, by run{more}.")


def _after(row: Report, word: str) -> float | None:
    if word == "latency" and row.get("latency"):
        return float(row["latency"]["models"][1]["median"])
    cost: float | None = row["after"].get(word)
    return cost


def _left(row: Report, word: str) -> float | None:
    if word == "latency" and row.get("latency"):
        return 100 * float(row["latency"]["models"][1]["relative"]["value"])
    before, after = row["before"].get(word), row["after"].get(word)
    return float(100 * after / before) if before and after is not None else None


def _table(rows: Sequence[Report], done: Sequence[Report], measure: Quality | None) -> Child:
    """A row for each run: what tells it from the others first, then how good it is, then what it costs."""
    words = [word for word in COSTS if any(_left(row, word) is not None for row in done)]
    models, ratios = {row["model"] for row in rows}, {_ratio(row) for row in rows}
    known = {id(row): n for n, row in enumerate(done)}
    quality = {} if measure is None else measure.after
    cells = []
    for row in rows:
        n = known.get(id(row), -1)
        good = Cell(measure.written(quality[n]), quality[n]) if measure and n in quality else ""
        cells.append(
            (
                *([row["model"]] if len(models) > 1 else []),
                *([_ratio(row)] if len(models) == 1 or len(ratios) > 1 else []),
                Cell(chip(row["status"], MOODS.get(row["status"], "")), row["status"]),
                good,
                *(_cost(row, word) if n >= 0 else "" for word in words),
                (row.get("seconds") or {}).get("total"),
                row.get("output", "") if row["status"] in WRITTEN else "",
            )
        )
    heads = (
        *(["model"] if len(models) > 1 else []),
        *([">ratio"] if len(models) == 1 or len(ratios) > 1 else []),
        "status",
        f">{measure.title if measure else 'quality'}",
        *(f">{COSTS[word].title}" for word in words),
        ">seconds",
        "written to",
    )
    return table(*heads, rows=cells, caption="Runs; costs are after the cut, with the change")


def _cost(row: Report, word: str) -> Child | Cell:
    after, left = _after(row, word), _left(row, word)
    if after is None or left is None:
        return ""
    change = tag("span", units.change(100.0, left), class_="change")
    return Cell(joined(COSTS[word].written(after), " ", change), after)


def _each(done: Sequence[Report], measure: Quality | None) -> Iterator[str]:
    """What each run brought, in a line."""
    if measure is not None and measure.silent:
        measure = None
    known = {n: row for n, row in enumerate(done) if measure is None or n in measure.after}
    for n, row in sorted(known.items(), key=lambda pair: _left(pair[1], "params") or 0.0, reverse=True)[:OFFERED]:
        good = f", {measure.title} {measure.written(measure.after[n])}" if measure else ""
        yield f"Ratio {_ratio(row)}: {units.change(row['before']['params'], row['after']['params'])} parameters{good}."


def _next(done: Sequence[Report], measure: Quality | None) -> Iterator[Child]:
    written = [row for row in done if row["status"] in WRITTEN]
    if not written:
        return
    first, one = written[0], len({row["model"] for row in written}) == 1
    unknown = measure is None or bool(measure.kinds)
    if unknown and one:
        yield offer("The accuracy is unknown; labelled samples tell more:", *_again(written, measure))
    elif unknown:
        yield offer(
            "The accuracy is unknown. How far the outputs of one moved on samples of its own; likewise for the others:",
            "evaluate", first["output"], "--data", "SAMPLES", "--metric", "cosine", "--against", first["model"],
        )  # fmt: skip
    proven = "" if any(row["status"] == "not proven" for row in written) else "; each output is proven on its own"
    yield f"Choose the run whose loss you can accept{proven}. What one run did in full:"
    for row in written[:OFFERED]:
        output = row["output"]
        yield offer("", "report", f"{output}.json", "--html", page_of(output, "prune"))
    if len(written) > OFFERED:
        yield f"Likewise for the other {len(written) - OFFERED:,}: the report of each is beside its output."
    if not one:
        return
    yield timed(first, first["model"], *(row["output"] for row in written))
    for row in [row for row in written if row.get("score")][:1]:
        why = "The score of one on samples that took no part in it:"
        yield judged(row, row["output"], row["score"]["metric"], why)


def _again(written: Sequence[Report], measure: Quality | None) -> Iterator[str]:
    """The command of the runs of one model, with labelled samples."""
    first = written[0]
    asked = [_ratio(row) for row in written]
    ratios = list(dict.fromkeys(str(ratio) for ratio in asked if ratio is not None))
    yield from ("prune", first["model"], *(["--ratio", ",".join(ratios)] if ratios else []))
    metric = "cosine" if measure is None or measure.title == ERROR else "top1"
    yield from ("--data", "SAMPLES" if metric == "cosine" else "LABELLED_SAMPLES", "--metric", metric)
    yield from carried(first, PruneOptions, "ratio", "data", "metric")
    base = first["output"].removesuffix(".onnx").removesuffix(f"-{asked[0]}")
    yield from ("-o", f"{base}.onnx", "--overwrite", "--html", page_of(first["model"], "runs"))


def _failed(rows: Sequence[Report]) -> Child:
    cells = (
        (name(row), row["exit_code"], row.get("what", ""), lines(row.get("why", "")), row.get("fix", ""))
        for row in rows
    )
    return table("run", ">exit code", "what", "why", "what to do", rows=cells, caption="Runs that failed")
