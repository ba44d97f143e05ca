"""The command `evaluate`: how well a model does on data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from onnxsurgeon.cli.answer import Answer, answering
from onnxsurgeon.cli.options import (
    METRICS,
    AsJson,
    BatchSize,
    DataSpec,
    ModelPath,
    OnDevice,
    OutputName,
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

EXAMPLES = (
    "onnxsurgeon evaluate model.onnx --data test.npz --metric top1",
    "onnxsurgeon evaluate small.onnx --data pictures/ --preprocess imagenet --metric cosine --against model.onnx",
)


def evaluate(
    model: ModelPath,
    data: DataSpec,
    metric: Annotated[str, typer.Option(metavar="WORD", help=f"{METRICS}.")] = "top1",
    against: Annotated[
        Path | None,
        typer.Option(metavar="MODEL", help="Compare with the outputs of this .onnx file instead of with labels."),
    ] = None,
    output_name: OutputName = None,
    preprocess: Preprocess = None,
    samples: Samples = None,
    batch: BatchSize = None,
    seed: Seed = 0,
    device: OnDevice = "auto",
    input_shape: Shapes = None,
    report_to: ReportTo = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Score a model on data, by a metric of labels or of another model's outputs.

    A function of your own, MODULE:FUNCTION, gets the batches as an iterator of (outputs by name, labels) and returns
    one number.
    """
    with answering(Answer("evaluate", as_json, quiet, verbose, found={"model": str(model)})) as answer:
        answer.save_to(report_to, model, Path(data), *([against] if against else []))
        stated = shapes(input_shape)
        from onnxsurgeon.cli.progress import Bar, Stages
        from onnxsurgeon.evaluation.score import evaluate as run
        from onnxsurgeon.report.results import evaluated
        from onnxsurgeon.report.tables import evaluated as tables

        with Stages(verbose=verbose, quiet=quiet) as progress:
            progress("read", model.name)
            source = read_model(model, stated)
            if against is not None:
                read_model(against, {})
            progress("data", data)
            opened = read_data(
                data, source, stated, preprocess=preprocess, samples=samples, batch=batch, seed=seed
            )  # fmt: skip
        with Bar(quiet=quiet) as bar:
            found = run(
                model, opened, metric=metric, against=against, output=output_name, device=device, progress=bar
            )  # fmt: skip
        answer.found = evaluated(found, model, data)
        answer.tables = tables
        answer.give()
