"""Reports as pages: one self-contained HTML file, made from the JSON report alone.

A page is a function of a report in a module of its own, and a line in `PAGES`. `template` has the one look of all,
`pieces` what pages are made of, `charts` the specifications that Vega-Lite draws, `sections` what several pages share.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from onnxsurgeon.report.json_report import Report, to_json
from onnxsurgeon.report.pages.bench_page import benched
from onnxsurgeon.report.pages.check_page import checked
from onnxsurgeon.report.pages.compress_page import compressed
from onnxsurgeon.report.pages.diff_page import different
from onnxsurgeon.report.pages.edit_page import edited
from onnxsurgeon.report.pages.graph_page import compared, inspected
from onnxsurgeon.report.pages.plain_page import plain
from onnxsurgeon.report.pages.prune_page import pruned
from onnxsurgeon.report.pages.runs_page import runs
from onnxsurgeon.report.pages.search_page import searched
from onnxsurgeon.report.pages.sensitivity_page import sensitive
from onnxsurgeon.report.pages.template import Page
from onnxsurgeon.report.pages.train_page import trained
from onnxsurgeon.report.pages.validate_page import validated


def several(report: Report) -> Page:
    """Of several models, or ratios of one."""
    return (checked if report["command"] == "check" else runs)(report)


# by a key that only such a report has; the first that fits makes the page
PAGES: dict[str, Callable[[Report], Page]] = {
    "spread": benched,
    "gates": checked,
    "models": several,
    "differences": validated,
    "solver": pruned,
    "widths": edited,
    "shares": sensitive,
    "lost": trained,
    "generations": searched,
    "steps": compressed,
    "operators": inspected,
    "graphs": compared,
    "ends": different,
}


def page(report: Report) -> str:
    """The page of a report. What the report leaves out, as one of a failed run does, the page leaves out as well."""
    found: Report = json.loads(to_json(report))
    make = next((make for key, make in PAGES.items() if key in found), plain)
    return make(found).html()
