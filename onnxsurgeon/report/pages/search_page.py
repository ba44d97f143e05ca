"""The page of a search: fitness over generations, accuracy against cost, and where the best comes from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from onnxsurgeon.dependency.costs import COSTS
from onnxsurgeon.report.json_report import Report
from onnxsurgeon.report.pages import charts
from onnxsurgeon.report.pages.markup import Child
from onnxsurgeon.report.pages.offers import following, offer, page_of
from onnxsurgeon.report.pages.pieces import Cell, beside, facts, figure, table
from onnxsurgeon.report.pages.sections import MOODS, assumed, error, foot, stages
from onnxsurgeon.report.pages.template import Page, Section


def searched(report: Report) -> Page:
    best, metric, status = report["best"], report["metric"], report["status"]
    rows: list[tuple[str, Child]] = [
        ("best", "none is good enough" if best is None else _said(best, metric)),
        (
            "on --val",
            "" if report["score"] is None else f"{metric} {report['score']:.4g}, on samples that it never saw",
        ),
        ("candidates", f"{len(report['candidates']):,} in {len(report['generations']):,} generations"),
        ("began with", report["model"] or "networks that were drawn"),
        ("written", report["output"] if best else "nothing"),
        ("stopped early", report["stopped"]),
    ]
    sections = [
        *error(report),
        Section("What happened", [facts(rows)]),
        Section("Progress", _progress(report)),
        Section("Was it worth it?", _worth(report), _note(report)),
        Section("Where the best comes from", [_lineage(report["lineage"], metric)] if report["lineage"] else []),
        following(_next(report)),
        *assumed({**report, "samples": report["data"]}, [("trained with", report["loss"])]),
        *stages(report),
    ]
    title = f"Search for {report['data']}"
    return Page(title, [report["verdict"]], sections, status, MOODS.get(status, ""), foot(report))


def _said(candidate: Report, metric: str) -> str:
    measured = candidate["measured"]
    costs = ", ".join(_costs(measured["costs"]))
    return f"candidate {candidate['id']}: {metric} {_number(measured['score'])} on held-out samples; {costs}"


def _costs(costs: Report) -> list[str]:
    return [f"{COSTS[word].title} {COSTS[word].written(value)}" for word, value in costs.items() if word in COSTS]


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"


def _progress(report: Report) -> list[Child]:
    """The best and the median of each generation: score, and each cost."""
    history = report["generations"]
    if not history:
        return []
    words = [word for word in COSTS if f"best_{word}" in history[-1]]
    titles = {"score": report["metric"], **{word: COSTS[word].title for word in words}}
    drawn = [
        figure(_over_generations(history, word, title), f"{title[:1].upper()}{title[1:]} by generation.")
        for word, title in titles.items()
    ]
    cells = (
        (row["generation"], row["best"], row["best_score"], row["median_score"],
         *(_cell(word, row.get(f"best_{word}")) for word in words), row["failed"], row["seconds"])
        for row in history
    )  # fmt: skip
    heads = (">generation", "best", f">best {report['metric']}", f">median {report['metric']}",
             *(f">{COSTS[word].title}" for word in words), ">failed", ">seconds")  # fmt: skip
    return [beside(*drawn), table(*heads, rows=cells, caption="Generations; costs are those of the best")]


def _over_generations(history: Sequence[Report], word: str, title: str) -> charts.Spec:
    lines = {"best": f"best_{word}", "median": f"median_{word}"}
    rows = [
        {"generation": row["generation"], "value": row[key], "line": line}
        for row in history
        for line, key in lines.items()
        if row.get(key) is not None
    ]
    colour = charts.colours("line", tuple(lines), (charts.MARK, charts.FAINT))
    return charts.lines(
        rows, over="generation", value="value", titles=("generation", title), colour=colour, whole=True,
        tips=("line", "generation", "value"),
    )  # fmt: skip


def _cell(word: str, value: float | None) -> Child | Cell:
    return "" if value is None else Cell(COSTS[word].written(value), value)


def _note(report: Report) -> str:
    if len(report["front"]) > 1:
        return "A point for each candidate. The dashed line joins those that none beats in all that was asked for."
    return "A point for each candidate; the large one is the best. --cost looks for the best trade-offs instead."


def _worth(report: Report) -> list[Child]:
    """Score against cost, and the front."""
    front = {row["id"] for row in report["front"]}
    rows = [row for row in report["candidates"] if row["score"] is not None]
    words = [word for word in COSTS if rows and all(word in row["costs"] for row in rows)]
    drawn = [
        figure(_scatter(rows, word, front, report["metric"]), f"{report['metric']} against {COSTS[word].title}.")
        for word in words
    ]
    cells = (
        (row["id"], row["born"], row["measured"]["score"],
         *(_cell(word, row["measured"]["costs"].get(word)) for word in words),
         row["optimiser"], row["lr"], row["batch"])
        for row in report["front"]
    )  # fmt: skip
    heads = ("candidate", ">born in", f">{report['metric']}", *(f">{COSTS[word].title}" for word in words), "optimiser",
             ">learning rate", ">batch")  # fmt: skip
    return [beside(*drawn), table(*heads, rows=cells, caption="Candidates that none beats")] if drawn else []


def _scatter(rows: Sequence[Report], word: str, front: set[str], metric: str) -> charts.Spec:
    named = {(row["costs"][word], row["score"]): row["id"] for row in rows if row["id"] in front}
    drawn = [
        {"cost": row["costs"][word], "score": row["score"], "front": row["id"] in front, "candidate": row["id"],
         "born": row["born"], "label": row["id"] if row["id"] in named.values() else "",
         "value": COSTS[word].written(row["costs"][word])}
        for row in rows
    ]  # fmt: skip
    return charts.front(
        drawn, across="cost", up="score", titles=(COSTS[word].title, metric), label="label",
        tips=("candidate", "born", "score", "value"),
    )  # fmt: skip


def _lineage(rows: Sequence[Report], metric: str) -> Child:
    cells = (
        (number, row["id"], row["born"], ", ".join(row["parents"]) or "drawn", _changes(row["notes"]), row["optimiser"],
         row["lr"], row["measured"]["score"] if row["measured"] else None,
         "; ".join(_costs(row["measured"]["costs"])) if row["measured"] else "")
        for number, row in enumerate(rows, 1)
    )  # fmt: skip
    heads = (
        ">#",
        "candidate",
        ">born in",
        "parents",
        "what changed",
        "optimiser",
        ">learning rate",
        f">{metric}",
        "costs",
    )
    return table(*heads, rows=cells, caption="The best candidate and its ancestors, the oldest first")


def _changes(notes: Sequence[Report]) -> str:
    done = [f"{note['kind']} {note['where']}".strip() for note in notes if note["done"]]
    return "; ".join(done)


def _next(report: Report) -> Iterator[Child]:
    given, output = report["requested"], report["output"]
    if report["best"] is not None:
        yield offer("Train the best for longer:", "train", output, "--data", report["data"], "--epochs", "10")
        yield offer("Look at it, graph included:", "inspect", output, "--html", page_of(output, "inspect"))
    if given.get("dir"):
        more = str(2 * len(report["generations"]) or 10)
        yield offer("Go on searching:", "search", "--resume", str(given["dir"]), "--generations", more)
