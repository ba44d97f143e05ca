"""The command line: options in, exit code out. Nothing heavy is imported before it is needed."""

from __future__ import annotations

import atexit
import gc
import signal
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

import onnxsurgeon
from onnxsurgeon.cli import surgery
from onnxsurgeon.cli.answer import Answer, answering
from onnxsurgeon.cli.evaluate import EPILOG as EVALUATE
from onnxsurgeon.cli.evaluate import evaluate
from onnxsurgeon.cli.group import Group, SafeStream
from onnxsurgeon.cli.options import (
    EXIT_CODES,
    AsJson,
    Atol,
    Free,
    ModelPath,
    OnDevice,
    Quiet,
    ReportTo,
    Rtol,
    Seed,
    Shapes,
    Verbose,
    examples,
    read_model,
    shapes,
)
from onnxsurgeon.cli.prune import EPILOG as PRUNE
from onnxsurgeon.cli.prune import prune
from onnxsurgeon.cli.sensitivity import EPILOG as SENSITIVITY
from onnxsurgeon.cli.sensitivity import sensitivity
from onnxsurgeon.report import records as report

app = typer.Typer(cls=Group, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


def main() -> NoReturn:
    """The console script."""
    sys.stdout, sys.stderr = SafeStream(sys.stdout), SafeStream(sys.stderr)
    gc.disable()  # a short process: the collector would walk all that was imported, again and again
    atexit.register(gc.freeze)  # and once more at its end
    for name in ("SIGTERM", "SIGHUP"):  # clean up as for Ctrl-C
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    app()
    raise AssertionError("the group exits")


def _version(wanted: bool) -> None:
    if wanted:
        print(f"onnxsurgeon {onnxsurgeon.__version__}")
        raise typer.Exit


@app.callback(
    epilog=EXIT_CODES + "\n" + examples("onnxsurgeon prune model.onnx --ratio 0.2", "onnxsurgeon inspect model.onnx"),
)
def top(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Edits trained networks as .onnx files: cuts them structurally, and proves the result before it is written."""


app.command(short_help="Cut a model to a budget and prove the result.", epilog=PRUNE)(prune)


@app.command(
    epilog=examples("onnxsurgeon inspect model.onnx", "onnxsurgeon inspect model.onnx --why '/layer4/*/conv2' --json"),
)
def inspect(
    model: ModelPath,
    why: Annotated[
        str | None, typer.Option(metavar="NAME", help="Axis by axis: free, or what froze it. A node's name or a glob.")
    ] = None,
    free: Annotated[Free, typer.Option(help="As in prune.")] = "auto",
    input_shape: Shapes = None,
    report_to: ReportTo = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Show what is in a model, what can be cut, what can't and why."""
    with answering(Answer("inspect", as_json, quiet, verbose, found={"model": str(model)})) as answer:
        if report_to is not None:
            report.check_report(report_to, model)
            answer.file = report_to
        stated = shapes(input_shape)
        from onnxsurgeon.cli.progress import Stages
        from onnxsurgeon.inspection import inspect as run
        from onnxsurgeon.report.tables import inspected

        with Stages(verbose=verbose, quiet=quiet) as progress:
            progress("read", model.name)
            source = read_model(model, stated)
            progress("label", model.name)
            found = run(source, free=free, input_shape=stated)
            answer.found = report.inspected(found, ["*"] if why is None else [why])
        answer.tables = lambda found: inspected(found, verbose=verbose, pattern=why)
        answer.give()


@app.command(
    short_help="Run two models and compare them.",
    epilog=EXIT_CODES
    + "\n"
    + examples(
        "onnxsurgeon validate model.onnx optimised.onnx --rtol 1e-4",
        "onnxsurgeon validate model.onnx model.pruned.onnx --shapes-only",
    ),
)
def validate(
    original: Annotated[
        Path, typer.Argument(metavar="ORIGINAL", help="The .onnx file to compare with.", show_default=False)
    ],
    edited: Annotated[Path, typer.Argument(metavar="EDITED", help="The .onnx file to check.", show_default=False)],
    shapes_only: Annotated[
        bool, typer.Option("--shapes-only", help="Compare names, types and shapes alone, as for a pruned model.")
    ] = False,
    device: OnDevice = "auto",
    input_shape: Shapes = None,
    atol: Atol = None,
    rtol: Rtol = None,
    seed: Seed = 0,
    report_to: ReportTo = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Run two models on the same random inputs and compare names, types, shapes and values.

    For files that should compute the same: saved again, optimised, converted. A pruned model does not compute what
    its original does (prune proves it against a reference of its own): use --shapes-only there.
    """
    with answering(Answer("validate", as_json, quiet, verbose)) as answer:
        if report_to is not None:
            report.check_report(report_to, original, edited)
            answer.file = report_to
        stated = shapes(input_shape)
        from onnxsurgeon.cli.progress import Stages
        from onnxsurgeon.proof.of_two_files import require_same
        from onnxsurgeon.proof.of_two_files import validate as run
        from onnxsurgeon.report.tables import validated, verdict

        with Stages(verbose=verbose, quiet=quiet) as progress:
            progress("read", original.name)
            read_model(original, stated)
            progress("run", edited.name)
            found = run(
                original,
                edited,
                device=device,
                atol=atol,
                rtol=rtol,
                seed=seed,
                input_shape=stated,
                shapes_only=shapes_only,
            )
        answer.found = report.validated(found, original, edited)
        answer.tables = lambda found: [*validated(found), verdict(found)]
        require_same(found)
        answer.give()


app.command(short_help="Score a model on data.", epilog=EVALUATE)(evaluate)
app.command(short_help="Show which layers can be narrowed.", epilog=SENSITIVITY)(sensitivity)
surgery.register(app)
