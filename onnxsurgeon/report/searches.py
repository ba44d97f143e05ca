"""The report of `search`, and its tables.

Keys beside those of `json_report`, by command:

    search       model data output requested metric loss generations best front candidates lineage score stopped
                 verdict seconds
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType

from onnxsurgeon.dependency.costs import COSTS
from onnxsurgeon.report.json_report import Report, head, picked
from onnxsurgeon.report.layout import plain, table
from onnxsurgeon.search.population import CANDIDATES, described

if TYPE_CHECKING:
    from pathlib import Path

    from onnxsurgeon.evaluation.score import Score
    from onnxsurgeon.search.fitting import Found
    from onnxsurgeon.search.population import Population

SHOWN = 8  # generations in a table
DRAWN, LAST = 2000, 200  # candidates of a report at most, or about; of these, the last ones


def searched(found: Found, score: Score | None, output: Path) -> Report:
    """The report of a search; status and seconds are still to come. score: of the best on `val`."""
    lessons = found.beginning.lessons
    learning, front, seen = dict(lessons.learning), found.front, _seen(found.population)
    return {
        **head("search"), "model": found.options.request()["model"], "data": lessons.data, "output": str(output),
        "requested": found.options.request(),
        "metric": learning["metric"], "loss": learning["loss"],
        "generations": [dict(row) for row in found.population.history],
        "best": described(found.best) if front else None, "front": [described(c) for c in front],
        "candidates": _some(list(seen.values())),
        "lineage": _lineage(described(found.best), seen) if front else [],
        "score": None if score is None else score.value, **picked(found, "stopped verdict"),
    }  # fmt: skip


def _seen(population: Population) -> dict[str, Report]:
    """Every candidate there was, by its id, as it was last measured."""
    path = population.folder / CANDIDATES
    lines = path.read_bytes()[: population.logs.get(CANDIDATES, 0)].splitlines() if path.exists() else []
    return {row["id"]: row for row in map(json.loads, lines)}


def _some(rows: Sequence[Report]) -> list[Report]:
    """The candidates in short; of very many, the last ones and some of the others."""
    step = -(-len(rows) // DRAWN) or 1
    kept = [*rows[:-LAST:step], *rows[-LAST:]]
    return [
        {**{key: row[key] for key in ("id", "born", "generation")}, "score": (row["measured"] or {}).get("score"),
         "costs": (row["measured"] or {}).get("costs") or {}}
        for row in kept
    ]  # fmt: skip


def _lineage(best: Report, seen: Mapping[str, Report]) -> list[Report]:
    """The best candidate and its ancestors, the oldest first: the first parent of each."""
    found = [best]
    while found[-1]["parents"] and found[-1]["parents"][0] in seen:
        found.append(seen[found[-1]["parents"][0]])
    return [{key: row[key] for key in best} for row in reversed(found)]


def search_rows(history: Sequence[Mapping[str, Any]], *, last: int | None = SHOWN) -> RenderableType:
    """A row for each generation, or for the last ones."""
    words = [word for word in COSTS if history and f"best_{word}" in history[-1]]
    rows = []
    for row in history[-(last or len(history)) :]:
        costs = (_cost(word, row.get(f"best_{word}")) for word in words)
        scores = (_number(row[name]) for name in ("best_score", "median_score"))
        rows.append((str(row["generation"]), *scores, *costs, str(row["failed"] or ""), f"{row['seconds']:,.1f} s"))
    titles = [f">{COSTS[word].title}" for word in words]
    return table(">generation", ">best", ">median", *titles, ">failed", ">time", rows=rows)


def _cost(word: str, value: float | None) -> str:
    return "" if value is None else COSTS[word].written(value)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def searching(report: Report, *, verbose: bool) -> list[RenderableType]:
    """The last generations, the front where there is one, and the verdict."""
    found: list[RenderableType] = []
    if report["generations"]:
        found.append(search_rows(report["generations"], last=None if verbose else SHOWN))
    if len(report["front"]) > 1:
        found.append(_front(report["front"]))
    scored = "" if report["score"] is None else f"; {report['metric']} {report['score']:.4g} on --val"
    return [*found, plain(f"{report['output']}: {report['verdict']}{scored}")]


def _front(front: Sequence[Report]) -> RenderableType:
    words = [word for word in COSTS if word in front[0]["measured"]["costs"]]
    rows = [
        (c["id"], _number(c["measured"]["score"]), *(_cost(word, c["measured"]["costs"].get(word)) for word in words))
        for c in front
    ]
    return table("candidate", ">score", *(f">{COSTS[word].title}" for word in words), rows=rows)
