"""Reports of `check` as text: a table for a person, Markdown, annotations of GitHub, JUnit XML."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from xml.etree import ElementTree as xml

from rich.console import RenderableType

from onnxsurgeon.errors import printable
from onnxsurgeon.latency.gates import in_line
from onnxsurgeon.report.json_report import Report, to_json
from onnxsurgeon.report.latency_tables import conditions
from onnxsurgeon.report.layout import plain, table

SUITE = "onnxsurgeon check"
HEADINGS = "gate", "what", "measured", "allowed", "by", ""
DATA = {"%": "%25", "\r": "%0D", "\n": "%0A"}  # how a workflow command of GitHub writes these in its message
PROPERTY = {**DATA, ":": "%3A", ",": "%2C"}  # and in its properties
MARKDOWN = {mark: f"\\{mark}" for mark in "\\`*_{}[]<>()#+-.!|~$"}


def each(report: Report) -> list[Report]:
    """The reports of the models that one is about."""
    found: list[Report] = report.get("models") or [report]
    return found


def tables(report: Report, *, verbose: bool) -> list[RenderableType]:
    """A table for each model, and the outcome."""
    return [part for one in each(report) for part in (*_table(one), *[""] * ("models" in report))]


def _table(report: Report) -> list[RenderableType]:
    """A row for each gate, what latencies hold for, and the outcome."""
    if "gates" not in report:
        return [plain(_title(report), "bold"), *(plain(line, "red") for line in _error(report))]
    cells = (_cells(gate) for gate in report["gates"])
    heads = [f">{head}" if head in HEADINGS[2:5] else head for head in HEADINGS]
    shown = table(*heads, rows=[(*row[:5], plain(row[5], _style(row[5]))) for row in cells], title=_title(report))
    ran = [] if report["latency"] is None else conditions(report["latency"])
    failed = sum(not gate["passed"] for gate in report["gates"])
    outcome = f"FAILED  {failed} of {len(report['gates'])} conditions" if failed else "PASSED"
    return [shown, "", *ran, plain(f"{outcome}  {report['model']}", "bold red" if failed else "bold green")]


def markdown(report: Report) -> str:
    """A section with the table of each model, as the summary of a job shows it."""
    return "".join(map(_section, each(report)))


def _section(report: Report) -> str:
    lines = [f"### {_escaped(_title(report), MARKDOWN)}", ""]
    if "gates" in report:
        rows = [HEADINGS, ("---",) * len(HEADINGS), *(map(_in_markdown, _cells(gate)) for gate in report["gates"])]
        lines += [f"| {' | '.join(row)} |" for row in rows]
    else:
        lines += [_in_markdown(line) for line in _error(report)]
    return "\n".join(lines) + "\n\n"


def github(report: Report) -> str:
    """Workflow commands of GitHub: an error for each gate that does not hold, and a notice for a model if all do."""
    return "\n".join(map(_annotations, each(report)))


def _annotations(report: Report) -> str:
    file = _escaped(str(report.get("model", "")), PROPERTY)
    place = f"file={file},title=" if file else "title="
    lines = [f"::error {place}{_escaped(title, PROPERTY)}::{_escaped(text, DATA)}" for title, text in _problems(report)]
    if not lines:
        held = "\n".join(map(_line, report["gates"]))
        lines = [f"::notice {place}{SUITE} passed::{_escaped(held, DATA)}"]
    return "\n".join(lines)


def junit(report: Report) -> str:
    """JUnit XML: a suite for each model, a test case for each gate; an error if a model could not be checked."""
    suites = xml.Element("testsuites")
    counts = [_suite(suites, one) for one in each(report)]
    suites.attrib |= {"name": SUITE, **{key: str(sum(count[key] for count in counts)) for key in counts[0]}}
    xml.indent(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + xml.tostring(suites, encoding="unicode")


def _suite(suites: xml.Element, report: Report) -> dict[str, int]:
    """Adds the suite of one model; how many tests, failures and errors it has."""
    model, gates = printable(report.get("model", "")), report.get("gates", [])
    broken = 0 if gates else 1
    counts = {"tests": len(gates) + broken, "failures": sum(not gate["passed"] for gate in gates), "errors": broken}
    name = model or SUITE
    suite = xml.SubElement(suites, "testsuite", {"name": name, **{key: str(count) for key, count in counts.items()}})
    for gate in gates:
        case = _case(suite, model, f"{gate['gate']}: {gate['what']}")
        said = {} if gate["passed"] else {"message": printable(_line(gate)), "type": "GateError"}
        xml.SubElement(case, "system-out" if gate["passed"] else "failure", said).text = printable(_line(gate))
    if broken:
        what, *rest = map(printable, _error(report))
        error = xml.SubElement(_case(suite, model, "check"), "error", {"message": what, "type": "SurgeonError"})
        error.text = "\n".join(rest)
    return counts


def _case(suite: xml.Element, model: str, name: str) -> xml.Element:
    return xml.SubElement(suite, "testcase", {"classname": model, "name": printable(name)})


FORMATS: Mapping[str, Callable[[Report], str] | None] = {
    "table": None, "github": github, "junit": junit, "json": to_json
}  # fmt: skip


def _title(report: Report) -> str:
    against = report.get("against")
    return f"{SUITE}: {report.get('model', '')}" + (f" against {against}" if against else "")


def _cells(gate: Report) -> tuple[str, ...]:
    holds = "FAILED" if not gate["passed"] else "passed, within the noise" if gate["doubtful"] else "passed"
    return f"--{gate['gate']}", gate["what"], gate["measured"], gate["allowed"], gate["margin"], holds


def _style(outcome: str) -> str:
    return "bold red" if outcome == "FAILED" else "green" if outcome == "passed" else "yellow"


def _line(gate: Report) -> str:
    return in_line(gate["what"], gate["measured"], gate["allowed"], gate["margin"], upper=gate["upper"])


def _error(report: Report) -> list[str]:
    return [report[key] for key in ("what", "why", "fix") if report[key]]


def _problems(report: Report) -> Iterator[tuple[str, str]]:
    """(title, text) of each gate that does not hold, or of the error that left nothing to judge."""
    if "gates" not in report:
        yield SUITE, "\n".join(_error(report))
    for gate in report.get("gates", ()):
        if not gate["passed"]:
            yield f"{SUITE}: {gate['gate']}", _line(gate)


def _escaped(text: str, marks: Mapping[str, str]) -> str:
    return "".join(marks.get(mark, mark) for mark in "\n".join(map(printable, text.split("\n"))))


def _in_markdown(text: str) -> str:
    return _escaped(" ".join(text.split("\n")), MARKDOWN)
