"""The page of several runs: ratios of one model, or many models: what each gave up for what it saved."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from onnxsurgeon import units
from onnxsurgeon.dependency.costs import COSTS
from onnxsurgeon.report.json_report import Report
from onnxsurgeon.report.pages import charts
from onnxsurgeon.report.pages.markup import Child, tag
from onnxsurgeon.report.pages.pieces import Cell, beside, chip, command, figure, table
from onnxsurgeon.report.pages.plain_page import plain
from onnxsurgeon.report.pages.sections import MOODS, assumed, foot, shell
from onnxsurgeon.report.pages.template import Page, Section

LABELLED = 16  # runs whose points have a label
Run = tuple[Report, tuple[str, float]]  # with its quality


def runs(report: Report) -> Page:
    """Of `prune`, several runs; of `bench`, several models."""
    if report["command"] != "prune":
        return plain(report)
    rows = report["models"]
    done = [row for row in rows if row["exit_code"] == 0 and "after" in row]
    models = list(dict.fromkeys(row["model"] for row in rows))
    subject = models[0] if len(models) == 1 else f"{len(models):,} models"
    failed = len(rows) - len(done)
    lead = f"{len(done):,} of {len(rows):,} runs are done" + (f", {failed:,} failed." if failed else ".")
    status, ratios = report["status"], len(models) < len(rows)
    sections = [
        Section("What failed", [_failed([row for row in rows if row["exit_code"]])] if failed else []),
        Section("What each run gave and took", _drawn(done, ratios=ratios), _note(done, ratios=ratios)),
        Section("Runs", [_table(rows)]),
        Section("What next?", list(_next(done))),
        *(assumed({**done[0], "states": {}}) if done and len(models) == 1 else []),
    ]
    return Page(
        f"Pruning of {subject}", [lead, *_best(done)], sections, status, MOODS.get(status, "good"), foot(report)
    )


def quality(row: Report) -> tuple[str, float] | None:
    """How good a run's model is, in words and as a number that is better when higher; None if it is unknown."""
    score, moved = row.get("score"), (row.get("verdict") or {}).get("moved")
    if score and score["after"] is not None:
        better = 1 if score["higher_is_better"] else -1
        return score["metric"] if better > 0 else f"-{score['metric']}", better * score["after"]
    if moved and moved["share"] is not None:
        return "outputs that stay, %", 100 * max(0.0, 1 - moved["share"])
    return None


def on_front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Which points (cost, quality) no other one beats: it costs no more, is no worse, and differs."""
    return [not any(c <= cost and q >= value and (c, q) != (cost, value) for c, q in points) for cost, value in points]


def name(row: Report) -> str:
    ratio = (row.get("requested") or {}).get("ratio")
    return f"{Path(row['model']).name}, ratio {ratio}" if ratio is not None else Path(row["output"]).name


def _note(done: Sequence[Report], *, ratios: bool) -> str:
    """What the charts show."""
    if not any(map(quality, done)):
        return ""
    front = (
        "A dashed line joins the runs that no other one of the model beats: smaller and at least as good."
        if ratios
        else ""
    )
    worth = "The outputs say little about the accuracy, where no labels were used: a sign, no measure."
    return " ".join(["A point for each run.", front, "" if all(row.get("score") for row in done) else worth])


def _drawn(done: Sequence[Report], *, ratios: bool) -> list[Child]:
    """A chart for each cost that all runs know."""
    known = [(row, found) for row in done if (found := quality(row))]
    measures = [title for _, (title, _) in known]
    title = max(measures, key=measures.count, default="")
    known = [(row, found) for row, found in known if found[0] == title]
    if len(known) < 2:
        return []
    figures = []
    for word, kind in COSTS.items():
        if all(_left(row, word) is not None for row, _ in known):
            rows = [*_points(known, word, ratios=ratios), *(_originals(known) if ratios else [])]
            titles = (f"{kind.title} left, % of the original", title)
            tips = ("run", "value", "left", "quality")
            spec = charts.front(rows, across="left", up="quality", titles=titles, label="label", tips=tips, of="model")
            figures.append(figure(spec, f"{title} against {kind.title}."))
    return [beside(*figures)]


def _points(known: Sequence[Run], word: str, *, ratios: bool) -> Iterator[Report]:
    """A row for each run; `front` says whether no other run of its model beats it."""
    points = [(_left(row, word) or 0.0, found[1]) for row, found in known]
    models = [row["model"] for row, _ in known]
    for (row, _), point, model in zip(known, points, models, strict=True):
        rivals = [other for other, of in zip(points, models, strict=True) if of == model]
        yield {
            "left": point[0],
            "quality": point[1],
            "front": on_front(rivals)[rivals.index(point)],
            "model": model,
            "run": name(row),
            "value": COSTS[word].written(_after(row, word) or 0.0),
            "label": _label(row, ratios=ratios) if len(known) <= LABELLED else "",
        }


def _originals(known: Sequence[Run]) -> list[Report]:
    """The original of each model, for comparison: 100 % of each cost."""
    found = []
    for row, _ in {row["model"]: (row, quality) for row, quality in known}.values():
        score = row.get("score")
        value = score["before"] * (1 if score["higher_is_better"] else -1) if score else 100.0
        name = f"{Path(row['model']).name}, the original"
        place = {"left": 100.0, "quality": value, "front": False, "model": row["model"], "run": name}
        found.append({**place, "value": "all", "label": "original"})
    return found


def _label(row: Report, *, ratios: bool) -> str:
    ratio = (row.get("requested") or {}).get("ratio")
    return f"{ratio}" if ratios else Path(row["model"]).stem


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


def _table(rows: Sequence[Report]) -> Child:
    words = [word for word in COSTS if any(word in (row.get("before") or ()) for row in rows)]
    cells = []
    for row in rows:
        known, found = row["exit_code"] == 0 and "after" in row, quality(row) if row["exit_code"] == 0 else None
        status = row["status"]
        cells.append(
            (
                row["model"],
                (row.get("requested") or {}).get("ratio"),
                Cell(chip(status, MOODS.get(status, "")), status),
                *(_cost(row, word) if known else "" for word in words),
                Cell(f"{found[1]:.4g}", found[1]) if found else "",
                (row.get("verdict") or {}).get("brief", ""),
                _faster(row),
                (row.get("seconds") or {}).get("total"),
                row.get("output", ""),
            )
        )
    title = next((found[0] for row in rows if row["exit_code"] == 0 and (found := quality(row))), "quality")
    heads = (
        "model",
        ">ratio",
        "status",
        *(f">{COSTS[word].title}" for word in words),
        f">{title}",
        "verdict",
        ">latency",
        ">seconds",
        "written to",
    )
    return table(*heads, rows=cells, caption="Runs; costs are after the cut, with the change")


def _faster(row: Report) -> Child | Cell:
    found = row.get("latency")
    if not found:
        return ""
    ratio = found["models"][1]["relative"]["value"]
    return Cell(units.change(1.0, ratio), ratio)


def _cost(row: Report, word: str) -> Child | Cell:
    before, after = row["before"].get(word), row["after"].get(word)
    if before is None or after is None:
        return ""
    return Cell(f"{COSTS[word].written(after)} ({units.change(before, after)})", after)


def _best(done: Sequence[Report]) -> Iterator[Child]:
    known = [(row, found) for row in done if (found := quality(row))]
    if len({row["model"] for row in done}) != 1 or len(known) < 2:
        return
    rows = sorted(known, key=lambda pair: float(_left(pair[0], "params") or 0.0), reverse=True)
    yield (
        ". ".join(
            f"Ratio {(row.get('requested') or {}).get('ratio')}: "
            f"{units.change(row['before']['params'], row['after']['params'])} "
            f"parameters, {found[0]} {found[1]:.4g}"
            for row, found in rows
        )
        + "."
    )


def _next(done: Sequence[Report]) -> Iterator[Child]:
    if not done:
        return
    yield tag(
        "p", "Choose the run whose loss you can accept; each output is proven on its own. What one run did in full:"
    )
    record = f"{done[0]['output']}.json"
    yield command(shell("report", record, "--html", "run.html"))
    models = list(dict.fromkeys(row["model"] for row in done))
    if len(models) == 1:
        yield command(shell("bench", models[0], *(row["output"] for row in done)), "How fast they are, side by side:")
        if not any(row.get("score") for row in done):
            yield command(shell("evaluate", done[0]["output"], "--data", "LABELLED_SAMPLES"), "The accuracy of one:")


def _failed(rows: Sequence[Report]) -> Child:
    cells = (
        (row["model"], row["exit_code"], row.get("what", ""), row.get("why", ""), row.get("fix", "")) for row in rows
    )
    return table("model", ">exit code", "what", "why", "what to do", rows=cells, caption="Runs that failed")
