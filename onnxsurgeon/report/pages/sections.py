"""Sections that several pages share: what a model costs before and after, what is frozen, how it was made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from onnxsurgeon import units
from onnxsurgeon.dependency.costs import COSTS
from onnxsurgeon.report.json_report import Report
from onnxsurgeon.report.layout import sized
from onnxsurgeon.report.pages import charts
from onnxsurgeon.report.pages.markup import Child, Html, joined, tag
from onnxsurgeon.report.pages.pieces import Cell, beside, chip, facts, figure, table
from onnxsurgeon.report.pages.template import Section
from onnxsurgeon.training.learning_rate import written

MOODS = {
    "passed": "good",
    "failed": "bad",
    "error": "bad",
    "not proven": "warn",
    "unchanged": "warn",
}
MEASURES = {
    "latency": "not measured; the command bench measures it",
    "score": "not measured; --data with labels and --metric measure it",
}


def foot(report: Report) -> str:
    seconds = (report.get("seconds") or {}).get("total") if isinstance(report.get("seconds"), dict) else None
    took = f" in {seconds:,.1f} s" if seconds else ""
    return f"onnxsurgeon {report['version']}, command {report['command']}, exit code {report['exit_code']}{took}."


def error(report: Report) -> list[Section]:
    """What failed, why, and what to do; nothing if it did not."""
    if "what" not in report:
        return []
    rows = [("What failed", report["what"]), ("Why", lines(report["why"])), ("What to do", report["fix"])]
    return [Section("What went wrong", [facts(rows)])]


def lines(text: str) -> Html:
    """A text whose lines stay lines."""
    return joined(tag("div", line) for line in text.splitlines())


def costs(report: Report) -> Html:
    """Costs before and after: a chart of what is left, and a table of the numbers."""
    rows = list(_compared(report))
    left = {name: 100 * after / before for name, before, after, _ in rows if before}
    if report.get("latency"):  # runs took turns: their ratio is known better than the medians
        left[COSTS["latency"].title] = 100 * report["latency"]["models"][1]["relative"]["value"]
    drawn = [{"cost": name, "left": share, "change": f"{share:.3g} %"} for name, share in left.items()]
    most = max([100.0, *left.values()])
    chart = charts.bars(
        drawn,
        value="left",
        of="cost",
        label="change",
        title="what is left, in % of the original",
        domain=(0.0, 1.12 * min(most, 250.0)),
    )
    cells: list[Sequence[object]] = [
        (
            name,
            Cell(written(a), a),
            Cell(written(b), b),
            Cell(units.change(100.0, left.get(name, 100.0)), left.get(name, 100.0)),
        )
        for name, a, b, written in rows
    ]
    known = {row[0] for row in rows}
    absent = {name: MEASURES[key] for name, key in _absent(report) if name not in known}
    more = [tag("p", f"{name}: {why}.", class_="note") for name, why in absent.items()]
    caption = "Before and after"
    return beside(
        figure(chart, "What is left of the original, in percent; the pale bar is the original."),
        joined(table("cost", ">before", ">after", ">change", rows=cells, caption=caption), more),
    )


def _compared(report: Report) -> Iterator[tuple[str, float, float, Callable[[float], str]]]:
    """(name, before, after, how it is written) of each cost that was measured, then latency and score."""
    before, after = report["before"], report["after"]
    timed = report.get("latency")
    for word, kind in COSTS.items():
        if word in before and not (kind.timed and timed):
            yield kind.title, before[word], after[word], kind.written
    if timed:
        first, second = (row["median"] for row in timed["models"][:2])
        yield COSTS["latency"].title, first, second, units.seconds
    score = report.get("score")
    if isinstance(score, dict) and score["before"] is not None and score["after"] is not None:
        yield score["metric"], score["before"], score["after"], "{:.4g}".format


def _absent(report: Report) -> Iterator[tuple[str, str]]:
    """What a report of costs may lack: its title, and the key of what measures it."""
    yield COSTS["latency"].title, "latency"
    if "score" in report and report["score"] is None:
        yield "accuracy", "score"


def latency(report: Report) -> Child:
    """The measured latency in words."""
    found = report.get("latency")
    if not found:
        return ""
    a, b = found["models"][:2]
    low, high = (units.change(1.0, b["relative"][key]) for key in ("low", "high"))
    on = found["conditions"]
    text = (
        f"{units.seconds(a['median'])} → {units.seconds(b['median'])} ({units.change(1.0, b['relative']['value'])}; "
        f"95 % interval {low} to {high}), batch {on['batch']}, on {on['provider']} with {on['threads']} threads, "
        f"onnxruntime {on['onnxruntime']}"
    )
    return joined(text, " ", chip("the machine was busy: measure again", "warn") if found["busy"] else "")


def held(why: Report | None) -> str:
    """Why an axis can't be cut, in words."""
    if not why:
        return ""
    place = f"{why['operator']} {why['node']}".strip()
    return f"{why['reason']} ({place})" if place else str(why["reason"])


def frozen(report: Report) -> list[Section]:
    rows, total = report.get("frozen"), (report.get("before") or report).get("params", 0)
    if rows is None:
        return []
    amount = sum(row["params"] for row in rows)
    share = f" ({100 * amount / total:.3g} %)" if total else ""
    cells = (
        (
            row["params"],
            row["weights"],
            row["operator"],
            row["reason"] + " (a table along positions)" * row["table"],
            row["node"],
        )
        for row in rows
    )
    shown = table(
        ">params",
        ">weights",
        "operator",
        "reason",
        "first node",
        rows=cells,
        caption="Why parameters are frozen",
        empty="Nothing is frozen.",
    )
    return [Section("What can't be cut", [shown], f"{amount:,} of {total:,} parameters{share} can't be cut, and why.")]


def epochs(found: Report, metric: str, before: float | None, kept: int) -> list[Child]:
    """The curves and the table of a training."""
    rows = [
        {"epoch": e["number"], "loss": e["loss"], "score": e["score"], "kept": e["number"] == kept}
        for e in found["epochs"]
    ]
    scores = [{"epoch": 0, "score": before, "kept": kept == 0}] if before is not None else []
    scores += [row for row in rows if row["score"] is not None]
    drawn = [
        figure(
            charts.lines(values, over="epoch", value=value, titles=("epoch", name), mark="kept", whole=True),
            f"{name[:1].upper()}{name[1:]} by epoch; the ring is the epoch whose weights were kept.",
        )
        for values, value, name in ((rows, "loss", "loss"), (scores, "score", metric))
        if values
    ]
    cells = (
        (
            e["number"],
            "kept" if e["number"] == kept else "",
            e["loss"],
            e["score"],
            written(e["rate"], found["learning_rate"]),
            e["samples"] / e["seconds"] if e["seconds"] else None,
        )
        for e in found["epochs"]
    )
    heads = (">epoch", "weights", ">loss", f">{metric}", ">learning rate", ">samples/s")
    return [beside(*drawn), table(*heads, rows=cells, caption="Epochs")]


def assumed(report: Report, extra: Iterable[tuple[str, Child]] = ()) -> list[Section]:
    """What the result holds for: shapes, samples, options."""
    shapes = ", ".join(f"{name} {sized(shape)}" for name, shape in (report.get("assumed") or {}).items())
    states = ", ".join(f"{a} ← {b}" for a, b in (report.get("states") or {}).items())
    notes: list[tuple[str, Child]] = [
        (
            "shapes",
            f"{shapes}: assumed for inputs whose sizes are open; MACs are at these (--input-shape states others)"
            if shapes
            else "those in the file: no size had to be assumed"
            if "assumed" in report
            else "",
        ),
        ("samples", report.get("samples") if isinstance(report.get("samples"), str) else ""),
        ("states", states and f"{states}: inputs that take an output of the run before"),
        *extra,
        *(("note", note) for note in report.get("notes") or ()),
    ]
    given = report.get("requested") or {}
    options = ((name.replace("_", "-"), _option(value)) for name, value in given.items() if value not in (None, [], {}))
    shown = table("option", "value", rows=options, caption="Options, as they were understood") if given else ""
    asked = tag("details", tag("summary", "All options of the run"), shown) if given else None
    return [Section("What was assumed", [facts(notes), asked])] if any(said for _, said in notes) or given else []


def _option(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(_option, value))
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_option(entry)}" for key, entry in value.items())
    return str(value)


def stages(report: Report) -> list[Section]:
    """Where the time went."""
    seconds = {
        name: spent for name, spent in (report.get("seconds") or {}).items() if name != "total" and spent >= 5e-4
    }
    if len(seconds) < 2:
        return []
    rows = [{"stage": name, "seconds": spent, "label": units.seconds(spent)} for name, spent in seconds.items()]
    spec = charts.chart(
        rows,
        {
            "mark": "bar",
            "encoding": {
                "x": charts.x("seconds", "seconds"),
                "y": charts.names("stage"),
                "tooltip": charts.told("stage", "label"),
            },
        },
        {
            "mark": {"type": "text", "align": "left", "dx": 4},
            "encoding": {"x": charts.x("seconds"), "y": charts.names("stage"), "text": {"field": "label"}},
        },
        height=24 * len(rows),
    )
    return [Section("Time", [figure(spec, "Seconds of each stage of the run.")])]
