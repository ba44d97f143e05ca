"""The command `check`: a gate for CI."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from onnxsurgeon.cli.options import Given, ModelPath, Spoken, read_model, with_options
from onnxsurgeon.errors import UsageError
from onnxsurgeon.evaluation.options import CheckOptions
from onnxsurgeon.options.parsing import path, resolved, word_of
from onnxsurgeon.options.record import HOLD, OUTPUT, REMOVE, Options, option
from onnxsurgeon.report.json_report import check_report

EXAMPLES = (
    "onnxsurgeon check model.onnx --max-params 5M --max-size 18MB --max-latency 10ms --min-top1 0.75 --data test.npz",
    "onnxsurgeon check new.onnx --against main.onnx --max-growth 2% --format github --summary summary.md",
)
Format = Literal["table", "github", "junit", "json"]


@dataclass(frozen=True, kw_only=True)
class Form(Options):
    """How the outcome is printed."""

    form: Format = option(
        "table", "What goes to stdout: a table, annotations of GitHub, JUnit XML, or the JSON report.", panel=OUTPUT,
        words=lambda: get_args(Format), read=word_of(get_args(Format)), declared="--format",
    )  # fmt: skip
    summary: Path | None = option(
        None, "Also append the table in Markdown to a file, like $GITHUB_STEP_SUMMARY.", panel=OUTPUT,
        metavar="FILE.md", read=path,
    )  # fmt: skip


@with_options(CheckOptions, Form, Spoken, panels={REMOVE: HOLD})
def check(model: ModelPath, given: Given) -> None:
    """Check a model against limits, and against another model: exit with 6 if a condition does not hold.

    Latency is that of this device. It fails only if its whole 95 % interval is beyond the limit, so that a busy machine
    alone fails no build. Scores compare with the labels of --data, or if it has none with the outputs of --against.
    """
    spoken = given.of(Spoken)
    with spoken.answering("check", model) as answer:
        form = given.of(Form)
        if spoken.as_json and form.form not in ("table", "json"):
            raise UsageError("--json and --format exclude each other", fix="give one of them")
        answer.form = answer.form or resolved("report.check_texts:FORMATS")[form.form]
        options = given.of(CheckOptions)
        data = None if options.data is None else str(options.data)
        files = [model, *(Path(str(file)) for file in (options.data, options.against) if file is not None)]
        if form.summary is not None:
            check_report(form.summary, *files, option="--summary", begins="")
            answer.appends = form.summary, resolved("report.check_texts:markdown")
            files.append(form.summary)
        answer.save_to(spoken.report_to, *files)
        from onnxsurgeon.cli.progress import Stages
        from onnxsurgeon.evaluation.check_model import check as run
        from onnxsurgeon.report.check_report import checked
        from onnxsurgeon.report.check_texts import tables

        with Stages(verbose=spoken.verbose, quiet=spoken.quiet) as progress:
            for file in (model, options.against):
                if file is not None:
                    progress("read", Path(file).name)
                    read_model(Path(file), options.shapes)
            progress("check", model.name)
            found = run(model, **options.given())
        answer.found, answer.tables = checked(found, data), tables
        found.require()
        answer.give()
