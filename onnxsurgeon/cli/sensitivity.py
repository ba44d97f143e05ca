"""The command `sensitivity`: how far the outputs move when one layer alone gets narrower."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from onnxsurgeon.cli.answer import Answer, answering
from onnxsurgeon.cli.options import (
    CRITERIA,
    AsJson,
    BatchSize,
    DataSpec,
    Free,
    ModelPath,
    OnDevice,
    Preprocess,
    Quiet,
    ReportTo,
    Samples,
    Seed,
    Shapes,
    Verbose,
    read_data,
    read_model,
    shapes,
)
from onnxsurgeon.report import json_report as report

EXAMPLES = (
    "onnxsurgeon sensitivity model.onnx --data calib.npz --plot sensitivity.html",
    "onnxsurgeon sensitivity model.onnx --data pictures/ --preprocess imagenet --layers '/layer4/*' --samples 64",
)


def sensitivity(
    model: ModelPath,
    data: DataSpec,
    layers: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="Nodes whose outputs get narrower. Repeatable.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Draw error against width for each layer.")
    ] = None,
    importance: Annotated[str, typer.Option(metavar="WORD", help=CRITERIA)] = "l2-norm",
    preprocess: Preprocess = None,
    samples: Samples = 32,
    batch: BatchSize = None,
    free: Annotated[Free, typer.Option(help="As in prune.")] = "auto",
    seed: Seed = 0,
    device: OnDevice = "auto",
    input_shape: Shapes = None,
    report_to: ReportTo = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Narrow one layer at a time and show how far the outputs move, relative to their norm.

    A layer is a space of neurons: what an Add ties together gets narrower together.
    """
    with answering(Answer("sensitivity", as_json, quiet, verbose, found={"model": str(model)})) as answer:
        if plot is not None:
            from onnxsurgeon.report.html import BEGIN, page

            report.check_report(plot, model, Path(data), option="--plot", begins=BEGIN)
        answer.save_to(report_to, model, Path(data), *([plot] if plot else []))
        stated = shapes(input_shape)
        from onnxsurgeon.cli.progress import Bar, Stages
        from onnxsurgeon.evaluation.sensitivity import sensitivity as run
        from onnxsurgeon.report.results import sensitive
        from onnxsurgeon.report.tables import sensitive as tables

        with Stages(verbose=verbose, quiet=quiet) as progress:
            progress("read", model.name)
            source = read_model(model, stated)
            progress("data", data)
            opened = read_data(
                data, source, stated, preprocess=preprocess, samples=samples, batch=batch, seed=seed
            )  # fmt: skip
        with Bar(quiet=quiet) as bar:
            found = run(
                source, opened, layers=layers or ["*"], importance=importance, free=free, input_shape=stated, seed=seed,
                device=device, progress=bar,
            )  # fmt: skip
        answer.found = sensitive(found, model, data, importance)
        if plot is not None:
            report.save_text(page(answer.found), plot)
        answer.tables = tables
        answer.give()
