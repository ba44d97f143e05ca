"""What bench and compare found, as reports. The keys are those of the JSON.

Times are in seconds.

    bench        models conditions spread busy requested
    profile      model output seconds error kernels tables conditions
    compare      before after latency weights graphs failed requested
"""

from __future__ import annotations

from pathlib import Path

from onnxsurgeon.errors import GateError
from onnxsurgeon.latency.bench import Bench
from onnxsurgeon.latency.compare import SideBySide
from onnxsurgeon.latency.profile import Profile
from onnxsurgeon.latency.timing import BUSY
from onnxsurgeon.report.graphs import graph
from onnxsurgeon.report.json_report import DONE, Report, head, picked


def latencies(found: Bench) -> Report:
    """The latency of each model, and what it holds for."""
    return {
        "models": [
            {
                "model": row.model,
                **picked(row.timing, "median p95"),
                "interval": list(row.timing.interval),
                "runs": len(row.timing.seconds),
                "per_sample": row.timing.median / found.conditions.batch,
                "relative": {**picked(relative, "value low high")},
                "size": row.size,
                "inputs": {name: list(shape) for name, shape in row.shapes.items()},
                "nodes": [picked(node, "name operator seconds") for node in row.nodes],
            }
            for row, relative in zip(found.models, found.ratios, strict=True)
        ],
        "conditions": picked(found.conditions, "provider threads batch onnxruntime"),
        "spread": found.busy,
        "busy": found.busy > BUSY,
    }


def benched(found: Bench) -> Report:
    return {**head("bench"), **latencies(found), **DONE}


def profiled(found: Profile, model: Path, output: Path) -> Report:
    return {
        **head("profile"),
        "model": str(model),
        "output": str(output),
        **picked(found, "seconds error"),
        "kernels": len(found.kernels),
        "tables": len(found.tables),
        "conditions": picked(found.conditions, "provider threads batch onnxruntime"),
        **DONE,
    }


def compared(found: SideBySide) -> Report:
    before, after = found.models
    passed = not found.failed
    return {
        **head("compare"),
        "before": {"model": before, **found.before.counts()},
        "after": {"model": after, **found.after.counts()},
        "latency": None if found.bench is None else latencies(found.bench),
        "weights": [
            {
                **picked(row, "weight node operator"),
                "before": None if row.before is None else list(row.before),
                "after": None if row.after is None else list(row.after),
            }
            for row in found.weights
        ],
        "graphs": {key: graph(labels) for key, labels in zip(("before", "after"), found.labels, strict=True)},
        "failed": list(found.failed),
        "status": "done" if passed else "failed",
        "exit_code": 0 if passed else GateError.exit_code,
    }
