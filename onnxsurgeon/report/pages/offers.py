"""Commands to go on with: those that can work with what is there, and with the options of the run that they take."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

from onnxsurgeon.evaluation.options import EvaluateOptions
from onnxsurgeon.options.record import Options, option_of
from onnxsurgeon.options.shared import InputShape
from onnxsurgeon.report.json_report import Report
from onnxsurgeon.report.pages.markup import Child, Html
from onnxsurgeon.report.pages.pieces import command
from onnxsurgeon.report.pages.template import Section

PIPE = "-"  # a model from stdin or to stdout, which is gone after the run
WRITTEN = ("passed", "written", "not proven", "skipped")  # outcomes of runs whose output is there
RATIOS = "0.2,0.35,0.5"  # to try, where nothing is known yet


def offer(why: str, *words: str) -> Html:
    """A command, and why one would run it; empty if one of its files was a pipe."""
    return Html("") if PIPE in words else command(" ".join(["onnxsurgeon", *map(shlex.quote, words)]), why)


def offered(why: str, line: str) -> Html:
    """A command that is a text already; empty if there is none, or it can't work."""
    return offer(why, *shlex.split(line)[1:]) if line else Html("")


def following(offers: Iterable[Child]) -> Section:
    """What to do next."""
    made = list(offers)
    shown = [part for part in made if part]
    return Section("What next?", shown or ["Name files instead of pipes to go on with the model."] * bool(made))


def page_of(model: str, word: str) -> str:
    """The name of a page about a model, so that no other model's page is replaced."""
    return f"{Path(model).name.removesuffix('.onnx')}.{word}.html"


def several_cuts(report: Report, model: str, *options: str) -> Html:
    """The command that prunes a model by several ratios."""
    return offer(
        "What three cuts of it would bring:", "prune", model, "--ratio", RATIOS, *options, *carried(report, InputShape),
        "--html", page_of(model, "runs"),
    )  # fmt: skip


def timed(report: Report, *models: str) -> Html:
    """The command that measures latencies."""
    return offer("Whether it is faster here, side by side:", "bench", *models, *carried(report, InputShape))


def judged(
    report: Report, output: str, metric: str, why: str = "The score on samples that took no part in it:"
) -> Html:
    """The command that scores a result on samples of its own."""
    options = carried(report, EvaluateOptions, "metric", "samples", "seed")
    return offer(why, "evaluate", output, "--data", "TEST_SAMPLES", "--metric", metric, *options)


def carried(report: Report, record: type[Options], *left: str) -> list[str]:
    """The options of a run that a command with those of `record` takes as well, as on the command line.

    left: options that are left out.
    """
    given = report.get("requested") or {}
    return [w for of in fields(record) if of.name in given and of.name not in left for w in _words(of, given[of.name])]


def _words(of: Field[Any], value: Any) -> Iterator[str]:
    about = option_of(of)
    on, _, off = about.names(of.name).partition("/")
    usual = None if of.default is None else about.read(of.default, of.name)
    if not about.in_shell or value in (None, [], {}, usual):
        return
    if isinstance(value, bool):
        yield on.split()[-1] if value or about.off else off
    elif isinstance(value, dict):
        for name, entry in value.items():
            pair = f"{name}={entry}" if isinstance(entry, str) else f"{name}:{','.join(map(str, entry))}"
            yield from (on.split()[-1], pair)
    else:
        for entry in value if isinstance(value, list) else [value]:
            yield from (on.split()[-1], f"{entry:.12g}" if isinstance(entry, float) else str(entry))
