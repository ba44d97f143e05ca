"""The command `validate`: whether two models compute the same."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from onnxsurgeon.cli.answer import Answer, answering
from onnxsurgeon.cli.options import (
    AsJson,
    Atol,
    OnDevice,
    Quiet,
    ReportTo,
    Rtol,
    Seed,
    Shapes,
    Verbose,
    read_model,
    shapes,
)
from onnxsurgeon.cli.panels import PROOF

EXAMPLES = (
    "onnxsurgeon validate model.onnx optimised.onnx --rtol 1e-4",
    "onnxsurgeon validate model.onnx model.pruned.onnx --shapes-only",
)


def validate(
    original: Annotated[
        Path, typer.Argument(metavar="ORIGINAL", help="The .onnx file to compare with.", show_default=False)
    ],
    edited: Annotated[Path, typer.Argument(metavar="EDITED", help="The .onnx file to check.", show_default=False)],
    shapes_only: Annotated[
        bool,
        typer.Option(
            "--shapes-only", help="Compare names, types and shapes alone, as for a pruned model.", rich_help_panel=PROOF
        ),
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
        answer.save_to(report_to, original, edited)
        stated = shapes(input_shape)
        from onnxsurgeon.cli.progress import Stages
        from onnxsurgeon.proof.of_two_files import require_same
        from onnxsurgeon.proof.of_two_files import validate as run
        from onnxsurgeon.report.results import validated
        from onnxsurgeon.report.tables import validated as tables

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
        answer.found = validated(found, original, edited)
        answer.tables = tables
        require_same(found)
        answer.give()
