"""What `check` found, as a report. The keys are those of the JSON.

Values are exact, and in the unit that stands beside them; `measured`, `allowed` and `margin` say the same in words.

    check        model against data costs gates latency scores requested
"""

from __future__ import annotations

from onnxsurgeon.errors import GateError
from onnxsurgeon.evaluation.check_model import Checked
from onnxsurgeon.latency.gates import Gate
from onnxsurgeon.options.record import spelled
from onnxsurgeon.report.json_report import Report, head, picked
from onnxsurgeon.report.latency import latencies


def checked(found: Checked, data: str | None) -> Report:
    """data: where the samples came from, if there were any."""
    return {
        **head("check"),
        "model": found.model,
        "against": found.against or None,
        "data": data,
        "costs": found.measure.counts(),
        "gates": [_gate(gate) for gate in found.gates],
        "latency": None if found.bench is None else latencies(found.bench),
        "scores": [
            {**picked(score, "metric value samples provider"), "output_name": score.output or None,
             "higher_is_better": score.higher, "compared_with": score.against or "labels"}
            for score in found.scores
        ],
        "status": "passed" if found.passed else "failed",
        "exit_code": 0 if found.passed else GateError.exit_code,
    }  # fmt: skip


def _gate(gate: Gate) -> Report:
    return {
        "gate": spelled(f"`{gate.name}`").removeprefix("--"),
        **picked(gate, "what value limit unit upper passed missed_by doubtful"),
        "interval": None if gate.interval is None else list(gate.interval),
        "measured": gate.measured,
        "allowed": gate.allowed,
        "margin": gate.margin,
    }
