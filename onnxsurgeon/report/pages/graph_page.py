"""Pages that show a graph: what is in a model and what of it can be cut, or two models side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from onnxsurgeon import units
from onnxsurgeon.dependency.costs import COSTS
from onnxsurgeon.options.shared import InputShape
from onnxsurgeon.report.json_report import Report
from onnxsurgeon.report.layout import sized
from onnxsurgeon.report.pages import charts
from onnxsurgeon.report.pages.markup import Child
from onnxsurgeon.report.pages.offers import carried, following, offer, page_of, several_cuts, timed
from onnxsurgeon.report.pages.pieces import facts, figure, network, table
from onnxsurgeon.report.pages.sections import MOODS, assumed, costs, error, foot, frozen, held, latency
from onnxsurgeon.report.pages.template import Page, Section


def inspected(report: Report) -> Page:
    free, most = report["free"], report["free"]["largest_ratio"]
    lead = (
        f"{units.count(report['params'])} parameters, {units.count(report['macs'])} MACs per sample, "
        f"{units.size(report['size'])}; {free['share']:.1%} of the parameters can be cut."
    )
    operators = ", ".join(f"{name} {n}" for name, n in report["operators"].items())
    opsets = ", ".join(f"{domain} {version}" for domain, version in report["opsets"].items())
    unknown = ", ".join(f"{name} ({n})" for name, n in report["unknown"].items())
    rows: list[tuple[str, Child]] = [
        ("format", f"opset {opsets}; IR version {report['ir_version']}; producer {report['producer'] or 'unnamed'}"),
        ("nodes", f"{report['nodes']:,}: {operators}"),
        ("free", f"{free['units']:,} units in {free['spaces']:,} spaces"),
        ("largest ratios", ", ".join(f"{COSTS[word].title} {share:.1%}" for word, share in most.items())),
        ("no rule", unknown and f"{unknown}: these operators freeze the tensors that they read and write"),
    ]
    ends = (
        (kind, value["name"], value["type"], sized(value["shape"]))
        for kind in ("input", "output")
        for value in report[f"{kind}s"]
    )
    model = str(report["model"])
    offers = [
        several_cuts(report, model),
        offer(
            "Which layers the outputs depend on most:",
            "sensitivity", model, "--data", "SAMPLES", *carried(report, InputShape),
            "--html", page_of(model, "sensitivity"),
        ),
    ]  # fmt: skip
    shown = table("kind", "name", "type", "shape", rows=ends, caption="Inputs and outputs")
    sections = [
        *error(report),
        Section("What is in it", [facts(rows), shown]),
        following(offers),
        *_graph(report),
        *_layers(report),
        *frozen(report),
        *assumed(report),
    ]
    return Page(model, [lead], sections, foot=foot(report))


def _graph(report: Report) -> list[Section]:
    caption = "Channels of each node's output; colours say what of it can be cut."
    return [Section("Graph", [network([("", report["graph"])], caption)])] if report.get("graph") else []


def _layers(report: Report) -> list[Section]:
    """The width of each layer, and what of it is free."""
    rows = [row for row in report.get("graph") or () if row["layer"] and row["width"]]
    if not rows:
        return []
    drawn = [
        {"number": n, "layer": row["node"], "channels": count, "part": part}
        for n, row in enumerate(rows, 1)
        for part, count in (("can be cut", row["free"]), ("frozen", row["width"] - row["free"]))
        if count
    ]
    axis = {"labels": len(rows) <= 40, "ticks": False, "labelAngle": 0, "labelOverlap": True}
    bars = {
        "mark": "bar",
        "encoding": {
            "x": charts.names("number", "layer, in the graph's order", axis=axis),
            "y": charts.x("channels", "channels"),
            "color": charts.colours("part", ("can be cut", "frozen"), (charts.MARK, charts.FAINT)),
            "tooltip": charts.told("number", "layer", "part", "channels"),
        },
    }
    cells = (
        (n, row["node"], row["operator"], row["width"], row["free"], row["params"], held(row["why"]))
        for n, row in enumerate(rows, 1)
    )
    heads = (">#", "layer", "operator", ">width", ">free", ">params", "frozen because")
    shown = table(*heads, rows=cells, caption="Layers, in the graph's order")
    return [Section("Layers", [figure(charts.chart(drawn, bars), "Channels of each layer."), shown])]


def compared(report: Report) -> Page:
    before, after, status = report["before"], report["after"], report["status"]
    said = ", ".join(
        f"{kind.title} {units.change(before[word], after[word])}" for word, kind in COSTS.items() if word in before
    )
    failed: Sequence[Child] = [facts([("fails", line)]) for line in report["failed"]]
    rows = (
        (row["weight"], row["node"], row["operator"], *(sized(row[key]) for key in ("before", "after")))
        for row in report["weights"]
    )
    shown = table(
        "weight",
        "node",
        "operator",
        ">before",
        ">after",
        rows=rows,
        caption="Weights that differ",
        empty="All weights have the same shapes.",
    )
    sections = [
        *error(report),
        Section("How they differ", [costs(report), *failed, facts([("latency", latency(report))])]),
        following(_next(report)),
        *beside_each_other(report),
        Section("Weights", [shown]),
    ]
    title = f"{before['model']} and {after['model']}"
    return Page(
        title, [f"{said}."], sections, status if status == "failed" else "", MOODS.get(status, ""), foot(report)
    )


def _next(report: Report) -> Iterator[Child]:
    before, after = report["before"]["model"], report["after"]["model"]
    if report["latency"] is None:
        yield timed(report, before, after)
    yield offer("What differs, node by node:", "diff", before, after, "--html", page_of(after, "diff"))
    gate = "check", after, "--against", before, "--max-growth", "0", "--max-slowdown", "5%"
    yield offer("A gate for builds, where models may not get larger or slower:", *gate)


def beside_each_other(report: Report) -> list[Section]:
    """The graphs before and after; nodes that differ are marked."""
    if not report.get("graphs"):
        return []
    both = report["graphs"]["before"], report["graphs"]["after"]
    known = [{row["node"]: row for row in rows} for rows in both]
    drawn = [
        [{**row, "state": _state(row, other, lonely)} for row in rows]
        for rows, other, lonely in ((both[0], known[1], "gone"), (both[1], known[0], "new"))
    ]
    caption = (
        "Nodes that are wider or narrower than in the other graph have a thick border; so have those that only one has."
    )
    return [Section("Graph", [network([("before", drawn[0]), ("after", drawn[1])], caption)])]


def _state(row: Report, other: dict[str, Report], lonely: str) -> str:
    if row["node"] not in other:
        return lonely
    twin = other[row["node"]]
    same = (row["operator"], row["width"], row["params"]) == (twin["operator"], twin["width"], twin["params"])
    return "" if same else "cut"
