"""The command `inspect`: what is in a model, and what of it can be cut."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from onnxsurgeon.cli.answer import Answer, answering
from onnxsurgeon.cli.options import (
    AsJson,
    Free,
    ModelPath,
    Quiet,
    ReportTo,
    Shapes,
    Verbose,
    read_model,
    shapes,
)
from onnxsurgeon.cli.panels import SHOW, STAY

EXAMPLES = ("onnxsurgeon inspect model.onnx", "onnxsurgeon inspect model.onnx --why '/layer4/*/conv2' --json")


def inspect(
    model: ModelPath,
    why: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="These nodes axis by axis: free, or what froze it. A name or a glob.",
            rich_help_panel=SHOW,
        ),
    ] = None,
    free: Annotated[Free, typer.Option(help="As in prune.", rich_help_panel=STAY)] = "auto",
    input_shape: Shapes = None,
    report_to: ReportTo = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Show what is in a model, what can be cut, what can't and why."""
    with answering(Answer("inspect", as_json, quiet, verbose, found={"model": str(model)})) as answer:
        answer.save_to(report_to, model)
        stated = shapes(input_shape)
        from onnxsurgeon.cli.progress import Stages
        from onnxsurgeon.inspection import inspect as run
        from onnxsurgeon.report.results import inspected
        from onnxsurgeon.report.tables import inspected as tables

        with Stages(verbose=verbose, quiet=quiet) as progress:
            progress("read", model.name)
            source = read_model(model, stated)
            progress("label", model.name)
            found = run(source, free=free, input_shape=stated)
            answer.found = inspected(found, ["*"] if why is None else [why])
        answer.tables = partial(tables, pattern=why)
        answer.give()
