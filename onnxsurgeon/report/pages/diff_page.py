"""The page of a difference: nodes that came, went or changed between two graphs."""

from __future__ import annotations

from onnxsurgeon.report.json_report import Report
from onnxsurgeon.report.layout import sized
from onnxsurgeon.report.pages.markup import Child
from onnxsurgeon.report.pages.offers import following, offer, page_of
from onnxsurgeon.report.pages.pieces import facts, table
from onnxsurgeon.report.pages.sections import foot
from onnxsurgeon.report.pages.template import Page, Section


def different(report: Report) -> Page:
    counts = ", ".join(f"{count:,} {word}" for word, count in report["counts"].items())
    lead = "The same graph, with the same weights." if report["same"] else f"Nodes: {counts}."
    opsets = [(f"opset {domain}", _became(*pair)) for domain, pair in report["opsets"].items()]
    ends = [(f"{end['kind']} {end['name']}", _became(end["before"], end["after"])) for end in report["ends"]]
    rows = (
        (row["node"], _kind(row), *(_sides(row, key) for key in ("operator", "width", "weights")), _rest(row))
        for row in report["nodes"]
    )
    heads = ("node", "change", "operator", "width", "weights", "further")
    shown = table(*heads, rows=rows, caption="Nodes that differ", empty="No node differs.")
    both = report["before"], report["after"]
    costs = offer(
        "What it costs, and the graphs side by side:", "compare", *both, "--html", page_of(both[1], "compare")
    )
    sections = [
        Section("What differs", [facts([*opsets, *ends]), shown]),
        following([] if report["same"] else [costs]),
    ]
    return Page(f"{both[0]} and {both[1]}", [lead], sections, foot=foot(report))


def _kind(row: Report) -> str:
    if not row["before"] or not row["after"]:
        return "added" if row["after"] else "removed"
    return "follows" if row["follows"] else "changed"


def _sides(row: Report, key: str) -> str:
    sides = [row[side][key] for side in ("before", "after") if row[side]]
    return " → ".join(dict.fromkeys(_text(side) for side in sides))


def _rest(row: Report) -> Child:
    """What else changed, in words."""
    if not row["before"] or not row["after"]:
        return ""
    words = []
    for word in row["changed"]:
        if word == "values":
            words.append("other numbers in its weights")
        elif word == "inputs":
            words.append(f"reads {_sides(row, word)}")
        elif word not in ("operator", "width", "weights"):
            words.append(f"{word} {_became(*(row[side]['attributes'].get(word) for side in ('before', 'after')))}")
    return "; ".join(words)


def _became(before: object, after: object) -> str:
    return f"{_text(before) or 'none'} → {_text(after) or 'none'}"


def _text(value: object) -> str:
    if isinstance(value, list) and value and all(isinstance(entry, str) for entry in value):
        return ", ".join(value)
    if isinstance(value, list) and value and all(isinstance(entry, list) for entry in value):
        return ", ".join(map(sized, value))
    return "" if value is None else sized(value) if isinstance(value, list) and value else str(value or "")
