"""Reports of prune, inspect, evaluate and sensitivity as tables for a person: what rich prints."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType

from onnxsurgeon import units
from onnxsurgeon.dependency.costs import COSTS
from onnxsurgeon.options.record import spelled
from onnxsurgeon.report.json_report import Report
from onnxsurgeon.report.layout import plain, said, sized, table
from onnxsurgeon.report.ranking import percent
from onnxsurgeon.report.training_tables import tuned

ROWS = 20  # rows of a table without --verbose
CAUSES = 5  # rows about frozen parameters without --verbose
OUTCOMES = {1: "CRASHED", 2: "not run", 3: "infeasible", 4: "refused", 5: "PROOF FAILED"}  # by exit code
NAMES = {**{word: kind.title for word, kind in COSTS.items()}, "nodes": "nodes"}


def pruned(report: Report, *, verbose: bool) -> list[RenderableType]:
    """The summary at the end of a pruning."""
    parts = counts(report)
    if report["changes"]:
        cells = ("node", "operator", "weight")
        rows = ((*(c[key] for key in cells), sized(c["before"]), sized(c["after"])) for c in report["changes"])
        title, most = f"Weights that changed: {len(report['changes']):,}", None if verbose else ROWS
        changed = table(*cells, ">before", ">after", rows=rows, title=title, most=most, what="weights")
        parts += [changed, ""]
    if report["interface"]:
        ends = ((r["kind"], r["name"], sized(r["before"]), sized(r["after"])) for r in report["interface"])
        title = "Inputs and outputs whose shapes changed: states, which the caller carries from run to run"
        parts += [table("", "name", ">before", ">after", rows=ends, title=title), ""]
    if verbose and report["compensation"]:
        errors = ((c["node"], f"{c['before']:.4f}", f"{c['after']:.4f}") for c in report["compensation"])
        parts += [table("node", ">error before", ">after", rows=errors, title="Layers that were refitted"), ""]
    lines = [_scored(report["score"])] if report["score"] else []
    rotated = said("rotated", f"{report['rotated']} linear streams: components were cut instead of channels")
    lines += [said("note", note) for note in report["notes"]]
    lines += [rotated] if report["rotated"] else []
    if verbose and (cost := report["cost_of_run"])["passes"]:
        lines.append(said("effort", f"{cost['passes']:.1f} passes over the samples, {cost['seconds']:.1f} s"))
    lines += [_compensated(report["compensation"], report["distillation"])] if report["compensation"] else []
    lines += [tuned(report["fine_tuning"])] if report["fine_tuning"] else []
    assumed = ", ".join(f"{name} {sized(shape)}" for name, shape in report["assumed"].items())
    lines += [said("assumed", f"{assumed}; MACs are at these sizes, --input-shape states others")] if assumed else []
    return [
        *parts,
        *lines,
        said("samples", report["samples"]),
        _solver(report["solver"]),
        *_frozen(report, verbose=verbose),
        *_proof(report),
        *latency(report),
        *_known(report["verdict"]),
        last(report),
    ]


def latency(report: Report) -> list[RenderableType]:
    """The measured latency before and after, if it was measured."""
    found = report.get("latency")
    if found is None:
        return []
    before, after = (units.seconds(row["median"]) for row in found["models"])
    ratio, on = found["models"][1]["relative"], found["conditions"]
    low, high = (units.change(1.0, ratio[key]) for key in ("low", "high"))
    samples = f"{on['batch']} sample{'s' * (on['batch'] != 1)} a run"
    text = f"{before} -> {after} ({units.change(1.0, ratio['value'])}; 95 % interval {low} to {high}), {samples}"
    busy = "; the machine is busy" * found["busy"]
    return [said("latency", f"{text} on {on['provider']} with {on['threads']} threads{busy}")]


def _known(verdict: Report) -> list[RenderableType]:
    """What is known about the result: an unknown accuracy is yellow where outputs moved much."""
    style = "yellow" if verdict["alarming"] else "green" if verdict["measured"] else ""
    rows = [("cut", ""), ("outputs", ""), ("accuracy", style), ("next", style)]
    return [said(word, verdict[word], width=8, style=style) for word, style in rows if verdict[word]]


def _scored(score: Report) -> RenderableType:
    tried = f", {len(score['trials'])} candidates tried" if score["trials"] else ""
    change = f"{score['before']:.4g} -> {score['after']:.4g} ({score['after'] - score['before']:+.4g})"
    name = score["metric"] + " against the original" * bool(score["against"])
    return said("score", f"{name} {change} on {score['samples']:,} samples{tried}")


def _compensated(layers: list[Report], distilled: Report | None) -> RenderableType:
    before, after = (sum(layer[key] for layer in layers) / len(layers) for key in ("before", "after"))
    more = f"; distillation: {distilled['before']:.3g} -> {distilled['after']:.3g} held out" if distilled else ""
    return said("refit", f"{len(layers)} layers refitted: mean relative error {before:.3g} -> {after:.3g}{more}")


def evaluated(report: Report, *, verbose: bool) -> list[RenderableType]:
    """A table with one row: the score."""
    name = report["metric"] + (f" against {report['against']}" if report["against"] else "")
    row = (
        report["model"],
        name,
        _score(report["score"]),
        f"{report['samples']:,}",
        report["output_name"] or "all",
    )
    return [table("model", "metric", ">score", ">samples", "output", "ran on", rows=[(*row, report["provider"])])]


def cost_rows(before: Report, after: Report) -> list[tuple[str, str, str, str]]:
    """A row for each count of two models: its name, both values, and the change."""
    return [
        (word, form(before[key]), form(after[key]), units.change(before[key], after[key]))
        for key, word in NAMES.items()
        if key in before
        for form in [COSTS[key].written if key in COSTS else units.count]
    ]


def counts(report: Report) -> list[RenderableType]:
    """The costs and the number of nodes, before and after."""
    rows = cost_rows(report["before"], report["after"])
    title = f"{report['model']} -> {report['output']}"
    return [table("", ">before", ">after", ">change", rows=rows, title=title), ""]


def outcome(report: Report) -> str:
    """The outcome for a model, in a few words."""
    return str(OUTCOMES.get(report["exit_code"], report["status"]))


def reason(report: Report) -> str:
    """Why a model failed, in a line."""
    what = report["what"].removeprefix(report["model"]).strip(" :")
    return "; ".join([what, *report["why"].splitlines()[:1]])


def several(report: Report, *, verbose: bool) -> list[RenderableType]:
    """A row for each of several models, or ratios of one."""
    models = [row["model"] for row in report["models"]]
    styles = {"passed": "green", "written": "", "skipped": "dim"}  # other outcomes without an error are yellow
    given = [row["requested"] for row in report["models"] if "requested" in row]
    measured = [m for m in COSTS if COSTS[m].terms or any(g["cost"] == m or g[f"max_{m}"] is not None for g in given)]
    rows = []
    for row in report["models"]:
        known, proof = row["exit_code"] == 0, row.get("proof")
        cut = [
            units.change(row["before"][m], row["after"][m]) if known and m in row["before"] else "" for m in measured
        ]
        error = f"{proof['error']:.1e}" if known and proof and proof["error"] is not None else ""
        status = plain(outcome(row), styles.get(row["status"], "yellow" if known else "red"))
        verdict = row.get("verdict") or {"brief": "", "alarming": False}
        moved = plain(verdict["brief"], "yellow" * verdict["alarming"])
        ratio = f" at {row['requested']['ratio']}" if models.count(row["model"]) > 1 and "requested" in row else ""
        rows.append((row["model"] + ratio, status, *cut, error, moved, f"{row['seconds']['total']:.1f}"))
    costs = (f">{COSTS[m].title}" for m in measured)
    return [table("model", "status", *costs, ">proof", "verdict", ">seconds", rows=rows)]


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
    cells = (
        (f"{r['params']:,}", r["operator"], r["reason"] + " (a table along positions)" * r["table"], r["node"])
        for r in rows
    )
    most = None if verbose else CAUSES
    return [line, table(">params", "operator", "~reason", "first node", rows=cells, most=most, what="causes")]


def _proof(report: Report) -> list[RenderableType]:
    proof = report["proof"]
    if proof is None:
        return []
    text = (
        f"error {proof['error']:.2g} against the reference, {proof['margin']:.2g} of the tolerance "
        f"(atol {proof['atol']:g}, rtol {proof['rtol']:g}); reference and original differ by {proof['moved']:.2g}"
        + (", tiny tensors enlarged" if proof["perturbed"] else "")
        + (": too little for a strong proof" if proof["weak"] else "")
        + (
            f"; rounding alone moves the outputs by {proof['rounding']:.2g}, so that each value inside was compared,"
            " computed from equal inputs"
            if proof["rounding"]
            else ""
        )
        + f"; {compared(proof)}"
    )
    return [said("proof", text), *(said("", note) for note in proof["notes"])]


def compared(proof: Report) -> str:
    """The runs of a proof."""
    count = proof["samples"]
    sizes = f"{count} sets of inputs" if count > 1 else "1 set of inputs"
    steps = proof.get("steps", 1)
    carried = f", up to {steps} runs in a row with states carried on" if steps > 1 else ""
    return f"{sizes}{carried}, ran on {proof['provider']}"


def last(report: Report) -> RenderableType:
    """The last line: what became of the file."""
    words = {
        "passed": ("PASSED  ", "bold green", "output"),
        "written": ("WRITTEN  ", "bold", "output"),
        "failed": ("FAILED  ", "bold red", "model"),
        "not proven": ("WRITTEN, not proven  ", "bold yellow", "output"),
        "dry run": ("DRY RUN, nothing written", "bold yellow", ""),
        "unchanged": ("UNCHANGED, nothing written: it is within its budgets  ", "bold yellow", "model"),
    }
    word, style, key = words[report["status"]]
    requested = report.get("requested") or {}
    limits = ((name, requested.get(name)) for name in ("max_drop", "max_moved"))
    if report["status"] == "passed":
        word = "PASSED " + "".join(f"{spelled(f'`{k}`')} {v:g} " for k, v in limits if v is not None) + " "
    return plain(word, style).append_text(plain(report.get(key, "")))


def inspected(report: Report, *, verbose: bool, pattern: str | None) -> list[RenderableType]:
    """What is in a model; with a pattern, only the matching nodes, axis by axis."""
    if pattern is not None:
        return [part for layer in report["layers"] for part in (_axes(layer), "")]
    rows = (
        (w["weight"], w["operator"], w["node"], sized([a["size"] for a in w["axes"]]), _free_axes(w["axes"]),
         units.count(w["params"]), units.count(w["frozen"]) if w["frozen"] else "-")
        for w in report["weights"]
    )  # fmt: skip
    weights = table(
        "weight", "operator", "node", "shape", "free axes", ">params", ">frozen", rows=rows, title="Largest weights",
        most=None if verbose else ROWS // 2, what="weights",
    )  # fmt: skip
    parts = [*_facts(report), "", _interface(report), "", weights, ""]
    parts += [_free(report), *_frozen(report, verbose=verbose)]
    if report["unknown"]:
        names = ", ".join(f"{name} ({n})" for name, n in sorted(report["unknown"].items()))
        parts.append(said("no rule", f"these operators freeze the tensors that they read and write: {names}"))
    return [*parts, "", *_layers(report)] if verbose else parts


def _facts(report: Report) -> list[RenderableType]:
    opsets = ", ".join(f"{domain} {version}" for domain, version in report["opsets"].items())
    operators = ", ".join(f"{name} {n}" for name, n in report["operators"].items())
    facts = {
        "model": report["model"],
        "format": f"opset {opsets}; IR version {report['ir_version']}; producer {report['producer'] or 'unnamed'}",
        "parameters": f"{units.count(report['params'])} ({report['params']:,})",
        "MACs": f"{units.count(report['macs'])} per sample",
        "file": units.size(report["size"]),
        "memory": f"{units.size(report['memory'])} of activations per sample, when they are most",
        "nodes": f"{report['nodes']:,}: {operators}",
    }
    return [said(word, text, width=10) for word, text in facts.items()]


def _interface(report: Report) -> RenderableType:
    rows = [
        (kind, value["name"], value["type"], sized(value["shape"]))
        for kind in ("input", "output")
        for value in report[f"{kind}s"]
    ]
    return table("", "name", "type", "shape", rows=rows)


def _free(report: Report) -> RenderableType:
    free = report["free"]
    most = ", ".join(f"{NAMES[m]} {_percent(share)}" for m, share in free["largest_ratio"].items())
    units = f"{free['units']:,} units in {free['spaces']:,} spaces"
    return said("free", f"{_percent(free['share'])} of the parameters: {units}; the largest ratios are {most}")


def _percent(share: float) -> str:
    """In percent, with enough digits that it is not rounded to 0 or 100."""
    near = min(share, 1 - share)
    places = 0 if near <= 0 else 1 if near >= 0.005 else 2 if near >= 0.0001 else 4
    return f"{100 * share:.{places}f} %"


def _free_axes(axes: Sequence[Report]) -> str:
    return ", ".join(str(n) for n, axis in enumerate(axes) if axis["free"]) or "none"


def _layers(report: Report) -> list[RenderableType]:
    rows = []
    for layer in report["layers"]:
        for output in layer["outputs"] or [{"name": "-", "axes": []}]:
            units = "x".join(
                str(a["units"]) + ("" if a["free"] else "!") if a["units"] else "-" for a in output["axes"]
            )
            shape = sized([a["size"] for a in output["axes"]])
            rows.append((layer["node"], layer["operator"], output["name"], shape, units))
    note = "units: - for an axis without channels (batch, spatial, size 1); ! if none of them is free"
    return [table("node", "operator", "output", "shape", "units", rows=rows, title="Nodes"), plain(note)]


def _axes(layer: Report) -> RenderableType:
    rows = [
        (f"{kind} {tensor['name']}", number, "?" if axis["size"] is None else axis["size"],
         axis["units"] or "-", axis["free"] if axis["units"] else "-", _cause(axis))
        for kind in ("output", "weight")
        for tensor in layer[f"{kind}s"]
        for number, axis in enumerate(tensor["axes"])
    ]  # fmt: skip
    title = f"{layer['node']} ({layer['operator']}{'' if layer['rule'] else ', an operator without a rule'})"
    return table("tensor", ">axis", ">size", ">units", ">free", "~why", rows=rows, title=title)


def _cause(axis: Report) -> str:
    why = axis["why"]
    if why is None:
        return "free" if axis["units"] else "no channels: batch, spatial or size 1"
    part = "" if axis["free"] == 0 else "partly: "
    return f"{part}{why['reason']}" + (f" ({why['operator']} {why['node']})" if why["node"] else "")


def sensitive(report: Report, *, verbose: bool) -> list[RenderableType]:
    """A row for each layer, a column for each share of its width."""
    shares, rows = report["shares"], []
    for layer in report["layers"]:
        errors = {point["share"]: percent(point["error"]) for point in layer["points"]}
        more = f" and {len(layer['nodes']) - 1} more" if layer["nodes"][1:] else ""
        rows.append(
            (layer["nodes"][0] + more, layer["operator"], layer["units"], *(errors.get(s, "-") for s in shares))
        )
    title = f"Error of the outputs by the width of one layer, {report['samples']:,} samples on {report['provider']}"
    return [table("layer", "operator", ">width", *(f">{share:.0%}" for share in shares), rows=rows, title=title)]


def _score(score: float | None) -> str:
    return "not finite" if score is None else f"{score:.4f}"
