"""Reports of edits: costs, changed nodes, requested widths, steps and proofs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from onnxsurgeon.dependency.labels import Labels
from onnxsurgeon.edit.step import Step
from onnxsurgeon.proof.of_edits import Proofs, Proven
from onnxsurgeon.report.graphs import graph
from onnxsurgeon.report.json_report import Report, head, picked
from onnxsurgeon.surgery.differences import NodeLook, ends, node_differences
from onnxsurgeon.surgery.network import Network
from onnxsurgeon.surgery.widths import Resized


def edited(
    command: str, old: Network, new: Network, resized: Sequence[Resized], *, output: Path, requested: Mapping[str, Any]
) -> Report:
    """The report of the edits from `old` to `new`, still without proofs, status and seconds."""
    return {
        **head(command),
        "model": str(old.path),
        "output": str(output),
        "before": old.measure().counts(),
        "after": new.measure().counts(),
        "requested": dict(requested),
        "widths": [row for found in resized for row in _widths(found)],
        "changes": list(nodes(old.labels, new.labels)),
        "graphs": {"before": graph(old.labels), "after": graph(new.labels)},
        "ends": [picked(end, "name kind before after") for end in ends(old.ir, new.ir)],
        "outputs": [value.name for value in new.ir.graph.outputs],
        "steps": [_step(step) for step in new.steps],
        "proof": None,
        "latency": None,
    }


def proven(report: Report, found: Proofs, *, passed: bool) -> Report:
    """The report with the proofs of its steps. After a failure, the first step without a proof is the failed one."""
    steps = [_with_proof(row, proof) for row, proof in zip(report["steps"], found.steps, strict=False)]
    proof = {
        "passed": passed,
        **picked(found, "error unchanged samples provider"),
        **picked(found.allowed, "atol rtol"),
    }
    return {**report, "steps": [*steps, *report["steps"][len(steps) :]], "proof": proof}


def _widths(found: Resized) -> Iterator[Report]:
    for ask, after in zip(found.asks, found.after, strict=True):
        yield {
            "request": ask.text,
            "before": len(ask.axis),
            "wanted": ask.size,
            "after": after,
            "relaxed": ask.exact and ask.size is not None and after != ask.size,
        }


def _step(step: Step) -> Report:
    kind = "part" if step.part else "widths" if step.selection is not None else "structure"
    return {"what": step.what, "kind": kind, "error": None, "change": None, "unchanged": None}


def _with_proof(row: Report, proof: Proven) -> Report:
    compared = row["kind"] == "widths" or proof.unchanged
    return {
        **row,
        "error": proof.error if compared else None,
        "change": proof.change,
        "unchanged": proof.unchanged,
    }


def nodes(before: Labels, after: Labels) -> Iterator[Report]:
    """A row for each node that was added, removed or looks different: before and after.

    follows: it is as wide as its input, and nothing else changed.
    """
    for row in node_differences(before, after):
        was, now = _look(row.before), _look(row.after)
        if was is not None and now is not None:
            now["width"] = now["width"] or (1 if was["width"] else None)  # an axis of size 1 has no neurons
        if was != now:
            rest = was is not None and now is not None and {**was, "width": 0} == {**now, "width": 0}
            yield {"node": row.node, "before": was, "after": now, "follows": rest and row.follower}


def _look(look: NodeLook | None) -> Report | None:
    if look is None:
        return None
    return {**picked(look, "operator width"), "weight": None if look.weight is None else list(look.weight)}
