"""The command `validate`: whether two models compute the same."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from onnxsurgeon.cli.options import Given, Spoken, read_model, with_options
from onnxsurgeon.options.shared import ValidateOptions

EXAMPLES = (
    "onnxsurgeon validate model.onnx optimised.onnx --rtol 1e-4",
    "onnxsurgeon validate model.onnx model.pruned.onnx --shapes-only",
)


@with_options(ValidateOptions, Spoken)
def validate(
    original: Annotated[
        Path, typer.Argument(metavar="ORIGINAL", help="The .onnx file to compare with.", show_default=False)
    ],
    edited: Annotated[Path, typer.Argument(metavar="EDITED", help="The .onnx file to check.", show_default=False)],
    given: Given,
) -> None:
    """Run two models on the same random inputs and compare names, types, shapes and values.

    For files that should compute the same function, such as an optimised or converted copy. A pruned model computes
    another function (prune proves it against its own reference): use --shapes-only for it.
    """
    spoken = given.of(Spoken)
    with spoken.answering("validate") as answer:
        options = answer.requested = given.of(ValidateOptions)
        answer.save_to(spoken.report_to, original, edited)
        from onnxsurgeon.cli.progress import Stages
        from onnxsurgeon.proof.of_two_files import require_same
        from onnxsurgeon.proof.of_two_files import validate as run
        from onnxsurgeon.report.results import validated
        from onnxsurgeon.report.validation_tables import validated as tables

        with Stages(verbose=spoken.verbose, quiet=spoken.quiet) as progress:
            progress("read", original.name)
            read_model(original, options.shapes)
            progress("run", edited.name)
            found = run(original, edited, **options.given())
        answer.found = validated(found, original, edited)
        answer.tables = tables
        require_same(found)
        answer.give()
