"""What `diff` found, as a report and as tables for a person.

`before` and `after` of a node are null where it is not there.

    diff         before after same opsets ends nodes counts
"""

from __future__ import annotations

from math import prod
from typing import Any

from rich.console import RenderableType

from onnxsurgeon.report.json_report import DONE, Report, head, picked
from onnxsurgeon.report.layout import plain, said, sized, table
from onnxsurgeon.report.tables import ROWS
from onnxsurgeon.surgery.differences import Differences, NodeLook

COLUMNS = ("operator", "width", "weight")  # of the table; other changes are in its last column


def different(found: Differences) -> Report:
    before, after = found.models
    rows = [
        {"node": row.node, "before": _look(row.before), "after": _look(row.after), "changed": list(row.changed),
         "follows": row.follows}
        for row in found.nodes
    ]  # fmt: skip
    return {
        **head("diff"),
        "before": before,
        "after": after,
        "same": found.same,
        "opsets": {domain: list(pair) for domain, pair in found.opsets.items()},
        "ends": [picked(end, "name kind before after") for end in found.ends],
        "nodes": rows,
        "counts": {
            "added": sum(row["before"] is None for row in rows),
            "removed": sum(row["after"] is None for row in rows),
            "changed": sum(row["before"] is not None and row["after"] is not None for row in rows),
        },
        **DONE,
    }


def _look(look: NodeLook | None) -> Report | None:
    if look is None:
        return None
    shapes = {"weights": [list(shape) for shape in look.weights], "inputs": list(look.inputs)}
    return {**picked(look, "operator width"), **shapes, "attributes": dict(look.attributes)}


def tables(report: Report, *, verbose: bool) -> list[RenderableType]:
    """What differs outside of the nodes, and a row for each node that does."""
    title = f"{report['before']} -> {report['after']}"
    if report["same"]:
        return [plain(title, "bold"), plain("the same graph, with the same weights", "green")]
    lines = [said("opset", f"{domain}: {_became(*pair)}") for domain, pair in report["opsets"].items()]
    lines += [said(end["kind"], f"{end['name']}: {_became(end['before'], end['after'])}") for end in report["ends"]]
    rows = report["nodes"] if verbose else [row for row in report["nodes"] if not row["follows"]]
    left = len(report["nodes"]) - len(rows)
    following = [plain(f"... and {left:,} that only follow{'s' * (left == 1)} (see them with -v)")] if left else []
    counts = ", ".join(f"{count} {word}" for word, count in report["counts"].items())
    cells = (tuple(_cells(row)) for row in rows)
    shown = table("node", "", *COLUMNS, "further", rows=cells, title=f"Nodes: {counts}", what="nodes",
                  most=None if verbose else ROWS)  # fmt: skip
    return [plain(title, "bold"), *lines, "", *([shown] if rows else []), *following]


def _cells(row: Report) -> list[str]:
    was, now = row["before"], row["after"]
    if was is None or now is None:
        side = was or now
        word = "added" if was is None else "removed"
        inputs = "reads " + ", ".join(side["inputs"]) if side["inputs"] else ""
        return [row["node"], word, side["operator"], _text(side["width"]), _weight(side), inputs]
    further = [_further(word, was, now) for word in row["changed"] if word not in ("operator", "width")]
    if "weights" in row["changed"] and _weight(was) != _weight(now):
        further = [text for text in further if not text.startswith("weights ")]
    shown = [_became(was["operator"], now["operator"]), _became(was["width"], now["width"])]
    return [row["node"], "changed", *shown, _became(_weight(was), _weight(now)), "; ".join(further)]


def _further(word: str, was: Report, now: Report) -> str:
    if word == "values":
        return "other numbers in its weights"
    if word in ("inputs", "weights"):
        sides = [", ".join(map(_text, side[word])) or "none" for side in (was, now)]
        return f"{'reads' if word == 'inputs' else word} {_became(*sides)}"
    return f"{word} {_became(was['attributes'].get(word), now['attributes'].get(word))}"


def _weight(look: Report) -> str:
    """The shape of its largest matrix."""
    matrices = [shape for shape in look["weights"] if len(shape) > 1]
    return sized(max(matrices, key=prod)) if matrices else ""


def _became(was: Any, now: Any) -> str:
    return _text(now) if was == now else f"{_text(was) or 'none'} -> {_text(now) or 'none'}"


def _text(value: Any) -> str:
    return "" if value is None else sized(value) if isinstance(value, list) else str(value)
