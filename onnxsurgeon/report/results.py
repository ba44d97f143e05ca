"""What prune, inspect, validate, evaluate and sensitivity found, as reports. The keys are those of the JSON.

Everywhere: `units` counts the channels that are cut as one, `free` those of them that can go, `params` and `macs` are
counts, `size` is in bytes, a shape is a list with null for a dynamic dim.

    prune        model output before after ratio requested changes interface states assumed notes compensation samples
                 rotated distillation fine_tuning solver graph curves frozen free score cost_of_run proof verdict
                 latency seconds; `ratio` is the share that is gone, of each cost
    inspect      model params macs size memory nodes ir_version opsets producer inputs outputs states operators unknown
                 free weights frozen layers graph requested
    validate     original edited differences outputs atol rtol provider samples shapes_only requested
    evaluate     model data metric higher_is_better score samples output_name against provider requested
    sensitivity  model data importance shares samples provider layers ranked_by sensitive next requested
    train        model data output requested metric higher_is_better before after judged_on epochs kept stopped trained
                 lost batch learning_rate provider difference verdict seconds
    compress     model data output requested metric before judged_on steps best stopped verdict seconds
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxsurgeon.errors import ProofError
from onnxsurgeon.options.record import spelled
from onnxsurgeon.report.graphs import curves, graph
from onnxsurgeon.report.json_report import DONE, Report, head, picked
from onnxsurgeon.report.ranking import ranking

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnxsurgeon.dependency.frozen import Frozen
    from onnxsurgeon.evaluation.score import Score
    from onnxsurgeon.evaluation.sensitivity import Sensitivity
    from onnxsurgeon.inspection import Axed, InspectedNode, Inspection
    from onnxsurgeon.neurons.relations import Reason
    from onnxsurgeon.options.record import Options
    from onnxsurgeon.proof.comparison import Tolerance
    from onnxsurgeon.proof.of_a_cut import Proof
    from onnxsurgeon.proof.of_two_files import Validation
    from onnxsurgeon.pruning.compress import Compressed
    from onnxsurgeon.pruning.result import Result, Scored
    from onnxsurgeon.pruning.verdict import Verdict
    from onnxsurgeon.training.trained import Trained

TRACED = 200  # steps of a solver


def free_share(rows: Iterable[Frozen], params: int) -> float:
    """The share of `params` parameters, tables along positions apart, that some selection drops."""
    rows = list(rows)
    neurons = params - sum(row.params for row in rows if row.table)
    return 1.0 - sum(row.params for row in rows if not row.table) / neurons if neurons else 0.0


def pruned(
    result: Result, *, output: Path, requested: Mapping[str, Any], frozen: Iterable[Frozen], score: Report | None = None
) -> Report:
    """The report of a pruning; its proof, status and seconds are still to come."""
    from onnxsurgeon.compensation.layerwise import TOGETHER

    solution, before, after = result.solution, result.before, result.after
    rows = list(frozen)
    return {
        **head("prune"),
        "model": str(result.source.path),
        "output": str(output),
        "before": before.counts(),
        "after": after.counts(),
        "ratio": {m: 1 - after.of(m) / before.of(m) if before.of(m) else 0.0 for m in before.costs},
        "requested": dict(requested),
        "changes": [
            {"node": node, "operator": operator, "weight": weight, "before": list(old), "after": list(new)}
            for node, operator, weight, old, new in result.changes()
        ],
        "interface": [
            {**picked(row, "name kind"), "before": list(row.before), "after": list(row.after)}
            for row in result.interface
        ],
        "states": dict(result.labels.states),
        "assumed": {name: list(shape) for name, shape in result.labels.assumed().items()},
        "compensation": [picked(row, "node before after") for row in result.fitted if row.node != TOGETHER],
        "samples": result.fitted_to,
        "rotated": result.rotated,
        "notes": [spelled(note) for note in result.notes],
        "fine_tuning": None if result.tuned is None else tuning(result.tuned),
        "distillation": next((picked(row, "before after") for row in result.fitted if row.node == TOGETHER), None),
        "solver": {
            **picked(solution, "status objective bound gap seconds"),
            "trace": [picked(step, "seconds objective bound gap") for step in _some(solution.trace)],
            "spaces": len(result.spaces.problem.sizes),
            "units": len(result.spaces.roots),
        },
        "frozen": [_frozen(row) for row in rows],
        "graph": graph(result.labels, keep=result.keep, spaces=result.spaces, pinned=result.spaces.frozen),
        "curves": curves(result.spaces, result.counts),
        "free": free_share(rows, before.params),
        "score": score,
        "cost_of_run": {
            "passes": sum(result.passes.values()),
            "seconds": sum(result.seconds.values()),
            "stages": {
                name: {"passes": result.passes.get(name, 0.0), "seconds": seconds}
                for name, seconds in result.seconds.items()
            },
        },
        "proof": None,
        "latency": None,
    }


def scored(score: Scored) -> Report:
    """How good a model is before and after."""
    return {
        **_score(score.after),
        "before": score.before.value,
        "after": score.after.value,
        "drop": score.before.loss(score.after),
        "trials": [picked(trial, "ratio drop") for trial in score.trials],
    }


def judged(found: Verdict) -> Report:
    """What is known about a pruned model."""
    moved = found.moved
    return {
        **{name: spelled(getattr(found, name)) for name in ("cut", "outputs", "accuracy", "next", "brief")},
        **picked(found, "measured alarming"),
        "moved": moved
        and {
            "share": moved.share,
            **picked(moved, "samples kind"),
            "outputs": [picked(row, "name error agreement") for row in moved.outputs],
        },
    }


def _some(trace: Sequence[Any]) -> list[Any]:
    """A trace of any length at a limited number of places, the first and last ones included."""
    step = max(1, -(-len(trace) // TRACED))
    return [*trace[:-1:step], *trace[-1:]]


def evaluated(found: Score, model: Path, data: str) -> Report:
    return {
        **head("evaluate"), "model": str(model), "data": data, **_score(found), "score": found.value, **DONE
    }  # fmt: skip


def tuning(found: Trained) -> Report:
    """What a training did, without its options."""
    return {
        "loss": found.options.loss, "learning_rate": found.rate,
        **picked(found, "metric before after judged_on kept stopped batch"),
        "epochs": [picked(epoch, "number loss score rate seconds samples") for epoch in found.epochs],
    }  # fmt: skip


def trained(found: Trained, data: str, output: Path) -> Report:
    """The report of a training; how far the written file differs, status and seconds are still to come."""
    return {
        **head("train"), "model": str(found.source.path), "data": data, "output": str(output),
        "requested": _asked(found.options, "val", "teacher"), "higher_is_better": found.higher,
        "learning_rate": found.rate,
        **picked(found, "metric before after judged_on kept stopped batch provider verdict"),
        "epochs": [picked(epoch, "number loss score rate seconds samples") for epoch in found.epochs],
        "trained": list(found.names),
        "lost": [{"weight": name, "node": node} for name, node in found.lost.items() if name not in found.names],
    }  # fmt: skip


def _asked(options: Options, *files: str) -> Report:
    """The options, and those that name a file where they may also be an object."""
    found = {name: getattr(options, name) for name in files}
    named = {k: getattr(v, "spec", v) for k, v in found.items()}
    return {**options.report(), **{k: str(v) for k, v in named.items() if isinstance(v, str | os.PathLike)}}


def compressed(found: Compressed, data: str, output: Path) -> Report:
    """The report of a compression; status and seconds are still to come. best: the number of the step that is written,
    or null."""
    return {
        **head("compress"), "model": str(found.source.path), "data": data, "output": str(output),
        "requested": _asked(found.options, "val"), "metric": found.options.judged_by, "before": found.state.before,
        "judged_on": found.judged_on, "steps": [asdict(step) for step in found.steps],
        "best": None if found.best is None else found.best.number, **picked(found, "stopped verdict"),
    }  # fmt: skip


def sensitive(found: Sensitivity, model: Path, data: str, importance: str) -> Report:
    layers = [
        {
            "nodes": list(layer.nodes),
            **picked(layer, "operator units"),
            "points": [picked(point, "share units error") for point in layer.points],
        }
        for layer in found.layers
    ]
    return {
        **head("sensitivity"),
        "model": str(model),
        "data": data,
        "importance": importance,
        "shares": list(found.shares),
        **picked(found, "samples provider"),
        "layers": layers,
        **ranking(layers, found.shares, str(model), data),
        **DONE,
    }


def _score(found: Score) -> Report:
    return {
        **picked(found, "metric samples provider"),
        "higher_is_better": found.higher,
        "output_name": found.output or None,
        "against": found.against or None,
    }


def proof(found: Proof, allowed: Tolerance) -> Report:
    return {
        **picked(found, "passed error margin moved perturbed weak layers rounding samples steps notes provider worst"),
        **picked(allowed, "atol rtol"),
    }


def inspected(found: Inspection, patterns: Sequence[str]) -> Report:
    model, whole = found.model, found.whole
    held = sum(row.params for row in found.frozen)
    ends = model.ir.graph
    return {
        **head("inspect"),
        "model": str(model.path),
        "ir_version": model.ir.ir_version,
        "opsets": {domain or "ai.onnx": version for domain, version in model.ir.opset_imports.items()},
        "producer": " ".join(filter(None, (model.ir.producer_name, model.ir.producer_version))),
        "inputs": [_value(v) for v in ends.inputs if not v.is_initializer()],
        "outputs": [_value(v) for v in ends.outputs],
        "states": dict(found.labels.states),
        **whole.counts(),
        "operators": found.operators,
        "unknown": dict(found.labels.unknown),
        "free": {
            "params": whole.params - held,
            "share": free_share(found.frozen, whole.params),
            **picked(found, "spaces units"),
            "largest_ratio": dict(found.most),
        },
        "weights": [
            {
                "weight": row.tensor.name,
                **picked(row, "node operator params"),
                "frozen": row.held,
                "axes": _axes(row.tensor),
            }
            for row in found.weights()
        ],
        "frozen": [_frozen(row) for row in found.frozen],
        "layers": [_node(row) for row in found.nodes(patterns)],
        "graph": graph(found.labels),
        **DONE,
    }


def validated(found: Validation, original: Path, edited: Path) -> Report:
    return {
        **head("validate"),
        "original": str(original),
        "edited": str(edited),
        "differences": list(found.differences),
        "outputs": [
            {
                **picked(row, "name error margin note"),
                "before": None if row.before is None else list(row.before),
                "after": None if row.after is None else list(row.after),
            }
            for row in found.outputs
        ],
        **picked(found.allowed, "atol rtol"),
        **picked(found, "provider samples shapes_only"),
        "status": "passed" if found.passed else "failed",
        "exit_code": 0 if found.passed else ProofError.exit_code,
    }


def _reason(reason: Reason | None) -> Report:
    if reason is None:
        why = "no axis can be cut: these are scalars, or weights that no rule reads"
        return {"reason": why, "operator": "", "node": ""}
    return {"reason": reason.text, "operator": reason.operator, "node": reason.node}


def _frozen(row: Frozen) -> Report:
    return {**_reason(row.reason), **picked(row, "params weights table")}


def _value(value: ir.Value) -> Report:
    shape = None if value.shape is None else [n if isinstance(n, int) else n.value for n in value.shape]
    return {"name": value.name, "type": str(value.dtype or value.type), "shape": shape}


def _axes(tensor: Axed) -> list[Report]:
    return [
        {**picked(width, "size units free"), "why": None if width.reason is None else _reason(width.reason)}
        for width in tensor.widths
    ]


def _node(row: InspectedNode) -> Report:
    return {
        "node": row.name,
        "operator": row.operator,
        "rule": row.known,
        "outputs": [{"name": tensor.name, "axes": _axes(tensor)} for tensor in row.outputs],
        "weights": [{"name": tensor.name, "axes": _axes(tensor)} for tensor in row.weights],
    }
