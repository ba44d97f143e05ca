"""Which function makes the tables of a report, by its command."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from onnxsurgeon.options.parsing import resolved
from onnxsurgeon.report.json_report import Report

TABLES = {  # by command; those that are not here edit
    "prune": "report.tables:pruned",
    "inspect": "report.tables:inspected",
    "validate": "report.validation_tables:validated",
    "evaluate": "report.tables:evaluated",
    "sensitivity": "report.tables:sensitive",
    "train": "report.training_tables:trained",
    "compress": "report.training_tables:compressed",
    "bench": "report.latency_tables:benched",
    "profile": "report.latency_tables:profiled",
    "compare": "report.latency_tables:compared",
    "check": "report.check_texts:tables",
    "search": "report.searches:searching",
    "diff": "report.diff_report:tables",
    "doctor": "report.install_report:tables",
    "demo": "report.demo_report:tables",
}


def tables_of(found: Report) -> Callable[..., Sequence[Any]]:
    """What makes the parts that rich prints, of a report and `verbose`."""
    if "models" in found and found["command"] == "prune":
        place = "report.tables:several"
    elif found["status"] == "error" and "models" not in found:
        return lambda found, verbose: ()
    else:
        place = TABLES.get(found["command"], "report.edit_tables:edited")
    tables: Callable[..., Sequence[Any]] = resolved(place)
    return partial(tables, pattern=None) if found["command"] == "inspect" else tables
