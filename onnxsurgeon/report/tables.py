"""Reports as tables for a person. Every function takes a report and returns what rich prints."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TextIO

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from onnxsurgeon import units
from onnxsurgeon.report.html import percent
from onnxsurgeon.report.records import Report

ROWS = 20  # of a table without --verbose
CAUSES = 5  # of frozen parameters without --verbose
PIPED = 120  # columns where there is no terminal to ask
OUTCOMES = {1: "CRASHED", 2: "wrong usage", 3: "infeasible", 4: "refused", 5: "PROOF FAILED"}  # by exit code
NAMES = {"params": "parameters", "macs": "MACs", "size": "file", "nodes": "nodes"}


def console(stream: TextIO) -> Console:
    """A console on `stream`: no colour and a fixed width where it is no terminal, no markup (names have brackets)."""
    terminal = stream.isatty()
    return Console(
        file=stream,
        markup=False,
        emoji=False,
        highlight=False,
        force_terminal=None if terminal else False,
        width=None if terminal else _columns(),
    )


def _columns() -> int:
    import os

    text = os.environ.get("COLUMNS", "")
    return max(20, int(text)) if text.isdecimal() else PIPED


def plain(text: Any) -> Text:
    """`text` without anything that a terminal would obey."""
    return Text(
        "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text)), overflow="fold"
    )


def columns(*names: str, title: str = "") -> Table:
    """A table; a column whose name starts with > is aligned to the right."""
    table = Table(
        box=box.SIMPLE_HEAD,
        title=plain(title) if title else None,
        title_justify="left",
        show_edge=False,
        pad_edge=False,
    )
    table.title_style = "bold"
    for name in names:
        right = name.startswith(">")
        table.add_column(name.removeprefix(">"), justify="right" if right else "left", overflow="fold", no_wrap=right)
    return table


def _title(text: str) -> Text:
    title = plain(text)
    title.stylize("bold")
    return title


def filled(table: Table, rows: Iterable[Sequence[Any]], most: int | None, what: str) -> RenderableType:
    rows = list(rows)
    for row in rows if most is None else rows[:most]:
        table.add_row(*(cell if isinstance(cell, Text) else plain(cell) for cell in row))
    if most is None or len(rows) <= most:
        return table
    return Group(table, plain(f"... and {len(rows) - most:,} more {what} (see them with -v)"))


def sized(shape: Sequence[int | str | None] | None) -> str:
    return "-" if shape is None else "x".join("?" if n is None else str(n) for n in shape) or "scalar"


def said(word: str, text: str) -> RenderableType:
    line = Table.grid(padding=(0, 1))
    line.add_column(width=7, style="bold")
    line.add_column(overflow="fold")
    line.add_row(plain(word), plain(text))
    return line


def _percent(share: float) -> str:
    """Never rounded to nothing or all."""
    near = min(share, 1 - share)
    places = 0 if near <= 0 else 1 if near >= 0.005 else 2 if near >= 0.0001 else 4
    return f"{100 * share:.{places}f} %"


def pruned(report: Report, *, verbose: bool) -> list[RenderableType]:
    """The summary that a pruning ends with."""
    parts = counts(report)
    if report["changes"]:
        title = f"Weights that changed: {len(report['changes']):,}"
        widths = columns("node", "operator", "weight", ">before", ">after", title=title)
        rows = [
            (c["node"], c["operator"], c["weight"], sized(c["before"]), sized(c["after"])) for c in report["changes"]
        ]
        parts += [filled(widths, rows, None if verbose else ROWS, "weights"), ""]
    if verbose and report["compensation"]:
        fitted = columns("node", ">error before", ">after", title="Layers that were fitted anew")
        errors = [(c["node"], f"{c['before']:.4f}", f"{c['after']:.4f}") for c in report["compensation"]]
        parts += [filled(fitted, errors, None, "layers"), ""]
    told = [_scored(report["score"])] if report["score"] else []
    rotated = said("rotated", f"linear streams whose components were cut, not their channels: {report['rotated']}")
    told += [rotated] if report["rotated"] else []
    told += [_compensated(report["compensation"], report["joint"])] if report["compensation"] else []
    return [*parts, *told, _solver(report["solver"]), *_frozen(report, verbose=verbose), *_proof(report)]


def _scored(score: Report) -> RenderableType:
    tried = f", {len(score['trials'])} candidates tried" if score["trials"] else ""
    change = f"{score['before']:.4g} -> {score['after']:.4g} ({score['after'] - score['before']:+.4g})"
    name = score["metric"] + " against the original" * bool(score["against"])
    return said("score", f"{name} {change} on {score['samples']:,} samples{tried}")


def _compensated(layers: list[Report], joint: Report | None) -> RenderableType:
    before, after = (sum(layer[key] for layer in layers) / len(layers) for key in ("before", "after"))
    more = f"; joint: outputs held out {joint['before']:.3g} -> {joint['after']:.3g}" if joint else ""
    return said("refit", f"{len(layers)} layers fitted anew: mean relative error {before:.3g} -> {after:.3g}{more}")


def evaluated(report: Report) -> list[RenderableType]:
    """A score, in a row."""
    table = columns("model", "metric", ">score", ">samples", "output", "ran on")
    name = report["metric"] + (f" against {report['against']}" if report["against"] else "")
    row = (report["model"], name, f"{report['score']:.4f}", f"{report['samples']:,}", report["output_name"] or "all")
    return [filled(table, [(*row, report["provider"])], None, "")]


def counts(report: Report) -> list[RenderableType]:
    """What became of the model's counts."""
    before, after = report["before"], report["after"]
    table = columns("", ">before", ">after", ">change")
    for key, word in NAMES.items():
        form = units.size if key == "size" else units.count
        table.add_row(word, form(before[key]), form(after[key]), units.change(before[key], after[key]))
    return [_title(f"{report['model']} -> {report['output']}"), table, ""]


def outcome(report: Report) -> str:
    """What became of a model, in a word."""
    return str(OUTCOMES.get(report["exit_code"], report["status"]))


def reason(report: Report) -> str:
    """Why a model failed, in a line."""
    what = report["what"].removeprefix(report["model"]).strip(" :")
    return "; ".join([what, *report["why"].splitlines()[:1]])


def several(report: Report) -> list[RenderableType]:
    """A row for each of several models."""
    table = columns("model", "status", ">params", ">MACs", ">file", ">error", ">seconds")
    styles = {"passed": "green", "not proven": "yellow", "dry run": "yellow", "skipped": "dim"}
    for row in report["models"]:
        known, proof = row["exit_code"] == 0, row.get("proof")
        cut = [units.change(row["before"][m], row["after"][m]) if known else "" for m in ("params", "macs", "size")]
        error = f"{proof['error']:.1e}" if known and proof and proof["error"] is not None else ""
        status = Text(outcome(row), style=styles.get(row["status"], "red"))
        table.add_row(plain(row["model"]), status, *map(plain, (*cut, error, f"{row['seconds']['total']:.1f}")))
    return [table]


def _solver(solver: Report) -> RenderableType:
    gap = solver["gap"]
    proven = f"proven gap {100 * gap:.3f} %" if gap is not None and gap < float("inf") else "no proven gap"
    return said(
        "solver",
        f"{solver['status']}: importance {solver['objective']:.6g}, {proven}, {solver['seconds']:.2f} s "
        f"({solver['spaces']:,} spaces of {solver['units']:,} units)",
    )


def _frozen(report: Report, *, verbose: bool) -> list[RenderableType]:
    rows, total = report["frozen"], (report.get("before") or report)["params"]
    held = sum(row["params"] for row in rows)
    share = f" ({_percent(held / total)})" if total else ""
    line = said("frozen", f"{held:,} of {total:,} parameters{share} can't be cut")
    if not rows:
        return [line]
    table = columns(">params", "operator", "reason", "first node")
    cells = (
        (f"{r['params']:,}", r["operator"], r["reason"] + " (a table along positions)" * r["table"], r["node"])
        for r in rows
    )
    return [line, Padding(filled(table, cells, None if verbose else CAUSES, "causes"), (0, 0, 0, 8))]


def _proof(report: Report) -> list[RenderableType]:
    proof = report["proof"]
    if proof is None:
        return []
    sizes = "two sizes of the dynamic dims" if proof["samples"] == 2 else f"{proof['samples']} set of inputs"
    text = (
        f"error {proof['error']:.2g} against the reference, {proof['margin']:.2g} of what is allowed "
        f"(atol {proof['atol']:g}, rtol {proof['rtol']:g}); the reference moved {proof['moved']:.2g} from the original"
        + (", tiny tensors made visible" if proof["perturbed"] else "")
        + (": so little that the proof shows little" if proof["weak"] else "")
        + f"; {sizes}, ran on {proof['provider']}"
    )
    return [said("proof", text)]


def verdict(report: Report) -> RenderableType:
    """The last line."""
    words = {
        "passed": ("PASSED  ", "bold green", "output"),
        "failed": ("FAILED  ", "bold red", "model"),
        "not proven": ("WRITTEN, not proven  ", "bold yellow", "output"),
        "dry run": ("DRY RUN, nothing written", "bold yellow", ""),
    }
    word, style, key = words[report["status"]]
    name = report.get("edited" if "edited" in report else key, "")
    return Text(word, style=style).append_text(plain(name))


def inspected(report: Report, *, verbose: bool, pattern: str | None) -> list[RenderableType]:
    """What is in a model; with a pattern only the nodes that match it, axis by axis."""
    if pattern is not None:
        return [part for layer in report["layers"] for part in (_axes(layer), "")]
    parts: list[RenderableType] = [_facts(report), "", _interface(report), ""]
    table = columns("weight", "operator", "node", "shape", "free", ">params", ">frozen", title="Largest weights")
    rows = (
        (w["weight"], w["operator"], w["node"], sized([a["size"] for a in w["axes"]]), _free_axes(w["axes"]),
         units.count(w["params"]), units.count(w["frozen"]) if w["frozen"] else "-")
        for w in report["weights"]
    )  # fmt: skip
    parts += [filled(table, rows, None if verbose else ROWS // 2, "weights"), ""]
    parts += [_free(report), *_frozen(report, verbose=verbose)]
    if report["unknown"]:
        names = ", ".join(f"{name} ({n})" for name, n in sorted(report["unknown"].items()))
        parts.append(said("no rule", f"nothing that these operators touch is cut: {names}"))
    return [*parts, "", _layers(report)] if verbose else parts


def _facts(report: Report) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    opsets = ", ".join(f"{domain} {version}" for domain, version in report["opsets"].items())
    operators = ", ".join(f"{name} {n}" for name, n in report["operators"].items())
    for word, text in (
        ("model", report["model"]),
        ("format", f"opset {opsets}; IR version {report['ir_version']}; producer {report['producer'] or 'unnamed'}"),
        ("parameters", f"{units.count(report['params'])} ({report['params']:,})"),
        ("MACs", f"{units.count(report['macs'])} per sample"),
        ("file", units.size(report["size"])),
        ("nodes", f"{report['nodes']:,}: {operators}"),
    ):
        table.add_row(word, plain(text))
    return table


def _interface(report: Report) -> RenderableType:
    table = columns("", "name", "type", "shape")
    for kind in ("inputs", "outputs"):
        for value in report[kind]:
            table.add_row(kind.removesuffix("s"), plain(value["name"]), value["type"], plain(sized(value["shape"])))
    return table


def _free(report: Report) -> RenderableType:
    free = report["free"]
    most = ", ".join(f"{NAMES[m]} {_percent(share)}" for m, share in free["largest_ratio"].items())
    units = f"{free['units']:,} units in {free['spaces']:,} spaces"
    return said("free", f"{_percent(free['share'])} of the parameters: {units}; the largest ratios are {most}")


def _free_axes(axes: Sequence[Report]) -> str:
    return ", ".join(str(n) for n, axis in enumerate(axes) if axis["free"]) or "none"


def _layers(report: Report) -> RenderableType:
    table = columns("node", "operator", "output", "shape", "units", title="Nodes")
    for layer in report["layers"]:
        for output in layer["outputs"] or [{"name": "-", "axes": []}]:
            units = "x".join(
                str(a["units"]) + ("" if a["free"] else "!") if a["units"] else "-" for a in output["axes"]
            )
            shape = sized([a["size"] for a in output["axes"]])
            table.add_row(*map(plain, (layer["node"], layer["operator"], output["name"], shape, units)))
    return Group(
        table, plain("units: -: an axis that carries no neurons (batch, space, size 1); !: none of them is free")
    )


def _axes(layer: Report) -> RenderableType:
    said = "" if layer["rule"] else ", an operator without a rule"
    table = columns(
        "tensor", ">axis", ">size", ">units", ">free", "why", title=f"{layer['node']} ({layer['operator']}{said})"
    )
    for kind in ("outputs", "weights"):
        for tensor in layer[kind]:
            for number, axis in enumerate(tensor["axes"]):
                name = f"{kind.removesuffix('s')} {tensor['name']}" if number == 0 else ""
                size = "?" if axis["size"] is None else axis["size"]
                cells = (name, number, size, axis["units"] or "-", axis["free"] if axis["units"] else "-", _cause(axis))
                table.add_row(*map(plain, cells))
    return table


def _cause(axis: Report) -> str:
    why = axis["why"]
    if why is None:
        return "free" if axis["units"] else "no neurons: batch, space or size 1"
    part = "" if axis["free"] == 0 else "in part: "
    return f"{part}{why['reason']}" + (f" ({why['operator']} {why['node']})" if why["node"] else "")


def sensitive(report: Report) -> list[RenderableType]:
    """A row for each layer, a column for each share of its width."""
    shares = report["shares"]
    title = f"Error of the outputs by the width of one layer, {report['samples']:,} samples on {report['provider']}"
    table = columns("layer", "operator", ">width", *(f">{share:.0%}" for share in shares), title=title)
    for layer in report["layers"]:
        errors = {point["share"]: percent(point["error"]) for point in layer["points"]}
        more = f" and {len(layer['nodes']) - 1} more" if layer["nodes"][1:] else ""
        cells = (layer["nodes"][0] + more, layer["operator"], layer["units"], *(errors.get(s, "-") for s in shares))
        table.add_row(*map(plain, cells))
    return [table]


def validated(report: Report) -> list[RenderableType]:
    """Two models side by side."""
    parts: list[RenderableType] = [_title(f"{report['original']} and {report['edited']}")]
    parts += [said("differs", line) for line in report["differences"]]
    table = columns("output", ">original", ">edited", ">error", ">of tolerance", "")
    for row in report["outputs"]:
        values = ("", "") if report["shapes_only"] else (f"{row['error']:.2g}", f"{row['margin']:.2g}")
        table.add_row(*map(plain, (row["name"], sized(row["before"]), sized(row["after"]), *values, row["note"])))
    if report["outputs"]:
        sets = f"{report['samples']} set{'s' if report['samples'] > 1 else ''} of inputs on {report['provider']}"
        parts += [table, said("ran", f"{sets}; atol {report['atol']:g}, rtol {report['rtol']:g}")]
    return parts
