"""The page of several runs: ratios of one model, or many models: what each gave up for what it saved."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from onnxsurgeon import units
from onnxsurgeon.dependency.costs import COSTS
from onnxsurgeon.report.json_report import Report
from onnxsurgeon.report.pages import charts
from onnxsurgeon.report.pages.markup import Child, joined, tag
from onnxsurgeon.report.pages.pieces import Cell, beside, chip, command, facts, figure, table
from onnxsurgeon.report.pages.plain_page import plain
from onnxsurgeon.report.pages.sections import MOODS, assumed, error, foot, shell
from onnxsurgeon.report.pages.template import Page, Section


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
    status = report["status"]
    sections = [
        *error(report),
        Section("What each run gave and took", _drawn(done, ratios=len(models) < len(rows)), _note(done)),
        Section("Runs", [_table(rows)]),
        Section("What next?", list(_next(done))),
        Section("What failed", [_failed([row for row in rows if row["exit_code"]])] if failed else []),
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
        by_class = all(output["agreement"] is not None for output in moved["outputs"])
        return ("same top class, %" if by_class else "outputs kept, %"), 100 * (1 - moved["share"])
    return None


def on_front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Which points (cost, quality) no other one beats: it costs no more, is no worse, and differs."""
    return [not any(c <= cost and q >= value and (c, q) != (cost, value) for c, q in points) for cost, value in points]


def name(row: Report) -> str:
    ratio = (row.get("requested") or {}).get("ratio")
    return f"{Path(row['model']).name}, ratio {ratio}" if ratio is not None else Path(row["output"]).name


def _note(done: Sequence[Report]) -> str:
    known = {found[0] for row in done if (found := quality(row))}
    if not known:
        return ""
    labels = any(row.get("score") for row in done)
    worth = (
        ""
        if labels
        else " Without labels, the share of samples whose answer stays stands for the accuracy: a sign, no measure."
    )
    return f"The dashed line joins the runs that no other one beats: smaller and at least as good.{worth}"


def _drawn(done: Sequence[Report], *, ratios: bool) -> list[Child]:
    known = [(row, found) for row in done if (found := quality(row))]
    title = max((found[0] for _, found in known), key=[found[0] for _, found in known].count, default="")
    known = [(row, found) for row, found in known if found[0] == title]
    if len(known) < 2:
        return []
    figures = []
    for word, kind in COSTS.items():
        costs = [_left(row, word) for row, _ in known]
        if any(cost is None for cost in costs):
            continue
        points = [(cost or 0.0, found[1]) for cost, (_, found) in zip(costs, known, strict=True)]
        rows = [
            {
                "left": cost,
                "quality": value,
                "front": best,
                "run": name(row),
                "value": kind.written(_after(row, word) or 0.0),
                "label": _label(row, ratios=ratios),
            }
            for (row, _), (cost, value), best in zip(known, points, on_front(points), strict=True)
        ]
        rows += _original(known, title) if ratios else []
        spec = charts.front(
            rows,
            across="left",
            up="quality",
            titles=(f"{kind.title} left, % of the original", title),
            label="label",
            tips=("run", "value", "left", "quality"),
        )
        figures.append(figure(spec, f"{title} against {kind.title}, a point for each run."))
    return [beside(*figures)]


def _original(known: Sequence[tuple[Report, tuple[str, float]]], title: str) -> list[Report]:
    """The original, for comparison: 100 % of each cost."""
    first = known[0][0]
    score = first.get("score")
    value = score["before"] * (1 if score["higher_is_better"] else -1) if score else 100.0
    name = f"{Path(first['model']).name}, the original"
    return [{"left": 100.0, "quality": value, "front": False, "run": name, "value": "all", "label": "original"}]


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
    return joined(
        facts(
            [(f"{row['model']} (exit code {row['exit_code']})", f"{row.get('what', '')} {row.get('why', '')}".strip())]
        )
        for row in rows
    )
