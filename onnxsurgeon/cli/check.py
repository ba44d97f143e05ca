"""The command `check`: a gate for CI."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

import typer

from onnxsurgeon.cli.options import Given, Spoken, read_model, with_options
from onnxsurgeon.cli.tasks import matches
from onnxsurgeon.errors import GateError, SurgeonError, UsageError
from onnxsurgeon.evaluation.options import CheckOptions
from onnxsurgeon.options.parsing import path, resolved, word_of
from onnxsurgeon.options.record import HOLD, OUTPUT, REMOVE, Options, option
from onnxsurgeon.report.json_report import Report, check_report, failure, head

if TYPE_CHECKING:
    from onnxsurgeon.cli.progress import Stages

EXAMPLES = (
    "onnxsurgeon check model.onnx --max-params 5M --max-size 18MB --max-latency 10ms --min-top1 0.75 --data test.npz",
    "onnxsurgeon check new.onnx --against main.onnx --max-growth 2% --format github --summary summary.md",
)
Format = Literal["table", "github", "junit", "json"]
Models = Annotated[
    list[Path], typer.Argument(metavar="MODEL", help="An .onnx file, or several, or globs.", show_default=False)
]
WORST = (1, 4, 2, 6)  # exit codes, the worst first


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
def check(models: Models, given: Given) -> None:
    """Check a model against limits, and against another model: exit with 6 if a condition does not hold.

    Latency is that of this device. It fails only if its whole 95 % interval is beyond the limit, so that a busy machine
    alone fails no build. Scores compare with the labels of --data, or if none fit with the outputs of --against.
    Several models are checked one after another; the exit code is the worst of all, in the order 4, 2, 6.
    """
    spoken = given.of(Spoken)
    with spoken.answering("check", models[0] if len(models) == 1 else None) as answer:
        form = given.of(Form)
        if spoken.as_json and form.form not in ("table", "json"):
            raise UsageError("--json and --format exclude each other", fix="give one of them")
        answer.form = answer.form or resolved("report.check_texts:FORMATS")[form.form]
        models, options = [file for model in models for file in matches(model)], given.of(CheckOptions)
        answer.requested = options
        files = [*models, *(Path(str(file)) for file in (options.data, options.against) if file is not None)]
        if form.summary is not None:
            check_report(form.summary, *files, option="--summary", begins="")
            answer.appends = form.summary, resolved("report.check_texts:markdown")
            files.append(form.summary)
        answer.save_to(spoken.report_to, *files)
        from onnxsurgeon.cli.progress import Stages
        from onnxsurgeon.report.check_texts import tables

        answer.tables, answer.complete = tables, len(models) > 1
        with Stages(verbose=spoken.verbose, quiet=spoken.quiet) as progress:
            if len(models) == 1:
                answer.found, error = _checked(models[0], options, progress)
            else:
                answer.found, error = _several(models, options, progress)
        if error is not None:
            raise error
        answer.give()


def _checked(model: Path, options: CheckOptions, progress: Stages) -> tuple[Report, SurgeonError | None]:
    """The report of a model, and the error if a condition does not hold. Raises SurgeonError if it can't be checked."""
    from onnxsurgeon.evaluation.check_model import check as run
    from onnxsurgeon.report.check_report import checked

    for file in (model, options.against):
        if file is not None:
            progress("read", Path(file).name)
            read_model(Path(file), options.shapes)
    progress("check", model.name)
    found = run(model, **options.given())
    report = checked(found, None if options.data is None else str(options.data))
    try:
        found.require()
    except GateError as error:
        return report, error
    return report, None


def _several(models: Sequence[Path], options: CheckOptions, progress: Stages) -> tuple[Report, SurgeonError | None]:
    """The reports of several models as one, and the worst of their errors; one that fails stops no other."""
    began, rows, errors = time.perf_counter(), list[Report](), list[tuple[str, SurgeonError]]()
    for model in models:
        try:
            row, error = _checked(model, options, progress)
        except SurgeonError as problem:
            row, error = {**head("check"), "model": str(model), **failure(problem, problem.exit_code)}, problem
        rows.append(row)
        errors += [] if error is None else [(str(model), error)]
    found = {**head("check"), "models": rows, "seconds": {"total": time.perf_counter() - began}}
    if errors:
        return found, _together(errors, len(models))
    return {**found, "status": "passed", "exit_code": 0}, None


def _together(errors: Sequence[tuple[str, SurgeonError]], count: int) -> SurgeonError:
    """The errors of some of `count` models as one, of the kind of the worst. What mends it is said for each model where
    that differs."""
    worst = min((error for _, error in errors), key=lambda error: WORST.index(error.exit_code))
    why = "\n".join(error.what if model in error.what else f"{model}: {error.what}" for model, error in errors)
    mends = {fix: [model for model, error in errors if error.fix == fix] for fix in (error.fix for _, error in errors)}
    each = "; ".join(f"{', '.join(models)}: {fix}" for fix, models in mends.items())
    return type(worst)(f"{len(errors)} of {count} models fail", why=why, fix=worst.fix if len(mends) == 1 else each)
