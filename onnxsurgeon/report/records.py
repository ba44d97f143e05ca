"""What a command found as one plain object: the JSON report, and what tables are made of. The README documents it."""

from __future__ import annotations

import json
import math
import os
import secrets
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnxsurgeon
from onnxsurgeon.errors import ProofError, SurgeonError, UsageError

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnxsurgeon.dependency.frozen import Frozen
    from onnxsurgeon.dependency.measure import Measure
    from onnxsurgeon.evaluation.score import Score
    from onnxsurgeon.evaluation.sensitivity import Sensitivity
    from onnxsurgeon.inspection import Axed, InspectedNode, Inspection
    from onnxsurgeon.neurons.relations import Reason
    from onnxsurgeon.proof.comparison import Tolerance
    from onnxsurgeon.proof.of_a_cut import Proof
    from onnxsurgeon.proof.of_two_files import Validation
    from onnxsurgeon.pruning.prune import Result
    from onnxsurgeon.pruning.ratio_search import Trial

SCHEMA = 1
Report = dict[str, Any]
METRICS = ("params", "macs", "size")


def free_share(rows: Iterable[Frozen], params: int) -> float:
    """The share of `params` parameters, tables along positions apart, that some selection drops."""
    rows = list(rows)
    neurons = params - sum(row.params for row in rows if row.table)
    return 1.0 - sum(row.params for row in rows if not row.table) / neurons if neurons else 0.0


def head(command: str) -> Report:
    return {"schema": SCHEMA, "command": command, "version": onnxsurgeon.__version__}


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
        "before": _measure(before),
        "after": _measure(after),
        "ratio": {m: 1 - after.of(m) / before.of(m) if before.of(m) else 0.0 for m in METRICS},
        "requested": dict(requested),
        "changes": [
            {"node": node, "operator": operator, "weight": weight, "before": list(old), "after": list(new)}
            for node, operator, weight, old, new in result.changes()
        ],
        "compensation": [
            {"node": row.node, "before": row.before, "after": row.after}
            for row in result.fitted
            if row.node != TOGETHER
        ],
        "rotated": result.rotated,
        "joint": next(
            ({"before": row.before, "after": row.after} for row in result.fitted if row.node == TOGETHER), None
        ),
        "solver": {
            "status": solution.status,
            "objective": solution.objective,
            "bound": solution.bound,
            "gap": solution.gap,
            "seconds": solution.seconds,
            "spaces": len(result.spaces.problem.sizes),
            "units": len(result.spaces.roots),
        },
        "frozen": [_frozen(row) for row in rows],
        "free": free_share(rows, before.params),
        "score": score,
        "proof": None,
    }


def scored(before: Score, after: Score, trials: Iterable[Trial] = ()) -> Report:
    """How good a model is before and after; trials: what was tried on the way to it."""
    return {
        **_score(after),
        "before": before.value,
        "after": after.value,
        "drop": before.loss(after),
        "trials": [{"ratio": trial.ratio, "drop": trial.drop} for trial in trials],
    }


def evaluated(found: Score, model: Path, data: str) -> Report:
    return {
        **head("evaluate"),
        "model": str(model),
        "data": data,
        **_score(found),
        "score": found.value,
        "status": "done",
        "exit_code": 0,
    }


def sensitive(found: Sensitivity, model: Path, data: str, importance: str) -> Report:
    return {
        **head("sensitivity"),
        "model": str(model),
        "data": data,
        "importance": importance,
        "shares": list(found.shares),
        "samples": found.samples,
        "provider": found.provider,
        "layers": [
            {
                "nodes": list(layer.nodes),
                "operator": layer.operator,
                "units": layer.units,
                "points": [{"share": p.share, "units": p.units, "error": p.error} for p in layer.points],
            }
            for layer in found.layers
        ],
        "status": "done",
        "exit_code": 0,
    }


def _score(found: Score) -> Report:
    return {
        "metric": found.metric,
        "higher_is_better": found.higher,
        "output_name": found.output or None,
        "against": found.against or None,
        "samples": found.samples,
        "provider": found.provider,
    }


def proof(found: Proof, allowed: Tolerance) -> Report:
    return {
        "passed": found.passed,
        "error": found.error,
        "margin": found.margin,
        "atol": allowed.atol,
        "rtol": allowed.rtol,
        "moved": found.moved,
        "perturbed": found.perturbed,
        "weak": found.weak,
        "samples": found.samples,
        "provider": found.provider,
        "worst": found.worst,
    }


def failure(error: SurgeonError, exit_code: int) -> Report:
    """What an error adds to a report."""
    status = "failed" if isinstance(error, ProofError) else "error"
    return {"status": status, "exit_code": exit_code, "what": error.what, "why": error.why, "fix": error.fix}


def inspected(found: Inspection, patterns: Sequence[str]) -> Report:
    model, whole = found.model, found.whole
    held = sum(row.params for row in found.frozen)
    graph = model.ir.graph
    return {
        **head("inspect"),
        "model": str(model.path),
        "ir_version": model.ir.ir_version,
        "opsets": {domain or "ai.onnx": version for domain, version in model.ir.opset_imports.items()},
        "producer": " ".join(filter(None, (model.ir.producer_name, model.ir.producer_version))),
        "inputs": [_value(v) for v in graph.inputs if not v.is_initializer()],
        "outputs": [_value(v) for v in graph.outputs],
        **_measure(whole),
        "operators": found.operators,
        "unknown": dict(found.labels.unknown),
        "free": {
            "params": whole.params - held,
            "share": free_share(found.frozen, whole.params),
            "spaces": found.spaces,
            "units": found.units,
            "largest_ratio": dict(found.most),
        },
        "weights": [
            {
                "weight": row.tensor.name,
                "node": row.node,
                "operator": row.operator,
                "params": row.params,
                "frozen": row.held,
                "axes": _axes(row.tensor),
            }
            for row in found.weights()
        ],
        "frozen": [_frozen(row) for row in found.frozen],
        "layers": [_node(row) for row in found.nodes(patterns)],
        "status": "done",
        "exit_code": 0,
    }


def validated(found: Validation, original: Path, edited: Path) -> Report:
    return {
        **head("validate"),
        "original": str(original),
        "edited": str(edited),
        "differences": list(found.differences),
        "outputs": [
            {
                "name": row.name,
                "before": None if row.before is None else list(row.before),
                "after": None if row.after is None else list(row.after),
                "error": row.error,
                "margin": row.margin,
                "note": row.note,
            }
            for row in found.outputs
        ],
        "atol": found.allowed.atol,
        "rtol": found.allowed.rtol,
        "provider": found.provider,
        "samples": found.samples,
        "shapes_only": found.shapes_only,
        "status": "passed" if found.passed else "failed",
        "exit_code": 0 if found.passed else ProofError.exit_code,
    }


def _measure(found: Measure) -> Report:
    macs = int(found.macs) if found.macs == int(found.macs) else found.macs
    return {"params": found.params, "macs": macs, "size": found.size, "nodes": found.nodes}


def _reason(reason: Reason | None) -> Report:
    if reason is None:
        return {
            "reason": "no axis that can be cut: scalars, and weights that no rule reads",
            "operator": "",
            "node": "",
        }
    return {"reason": reason.text, "operator": reason.operator, "node": reason.node}


def _frozen(row: Frozen) -> Report:
    return {**_reason(row.reason), "params": row.params, "weights": row.weights, "table": row.table}


def _value(value: ir.Value) -> Report:
    shape = None if value.shape is None else [n if isinstance(n, int) else str(n) for n in value.shape]
    return {"name": value.name, "type": str(value.dtype or value.type), "shape": shape}


def _axes(tensor: Axed) -> list[Report]:
    return [
        {
            "size": width.size,
            "units": width.units,
            "free": width.free,
            "why": None if width.reason is None else _reason(width.reason),
        }
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


def to_json(report: Report) -> str:
    """One JSON object; numbers that JSON has no word for (infinity) become null."""
    return json.dumps(_plain(report), indent=2, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if hasattr(value, "item"):  # a numpy scalar
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def check_report(path: Path, *others: Path, option: str = "--report", begins: str = "{") -> None:
    """Raises UsageError where `save` could not write to `path`, or would destroy something else.

    begins: how a file starts that was written for the same option, and may be replaced.
    """
    if any(path.absolute() == other.absolute() or (path.exists() and _same(path, other)) for other in others):
        raise UsageError(f"{option} {path} is another file of this command", fix="choose another name")
    if path.exists() and not (path.is_file() and _start(path, len(begins)) in (b"", begins.encode())):
        raise UsageError(f"{path} exists", why=f"{option} did not write it", fix="choose another name")
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK | os.X_OK):
        raise UsageError(f"can't write {path}", why=f"there is no writable folder {path.parent}", fix="create it first")


def _start(path: Path, length: int) -> bytes:
    with path.open("rb") as file:
        return file.read(length)


def _same(a: Path, b: Path) -> bool:
    return b.exists() and a.samefile(b)


def save(report: Report, path: Path) -> None:
    """Writes the report."""
    save_text(to_json(report) + "\n", path)


def save_text(text: str, path: Path) -> None:
    """Writes a file; one of that name is replaced at once or not at all."""
    draft = path.with_name(f".onnxsurgeon-{secrets.token_hex(8)}.tmp")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    except OSError as problem:
        why = problem.strerror or str(problem)
        raise UsageError(f"can't write {path}", why=why, fix="make room or choose another folder") from problem
    finally:
        draft.unlink(missing_ok=True)
