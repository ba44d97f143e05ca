"""The command `inspect`: what is in a model, and what can be cut."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from onnxsurgeon.cli.options import Given, ModelPath, Spoken, read_model, with_options
from onnxsurgeon.options.record import SHOW, Options, option
from onnxsurgeon.options.shared import InspectOptions

EXAMPLES = ("onnxsurgeon inspect model.onnx", "onnxsurgeon inspect model.onnx --why '/layer4/*/conv2' --json")


@dataclass(frozen=True, kw_only=True)
class Why(Options):
    why: str | None = option(
        None, "Show these nodes axis by axis: free, or why not. A name or a glob.", panel=SHOW, metavar="NAME"
    )


@with_options(Why, InspectOptions, Spoken)
def inspect(model: ModelPath, given: Given) -> None:
    """Show what is in a model, what can be cut, and why the rest can't."""
    spoken = given.of(Spoken)
    with spoken.answering("inspect", model) as answer:
        options, why = given.of(InspectOptions), given.of(Why).why
        answer.requested = options
        answer.save_to(spoken.report_to, model)
        from onnxsurgeon.cli.progress import Stages
        from onnxsurgeon.inspection import inspect as run
        from onnxsurgeon.report.results import inspected
        from onnxsurgeon.report.tables import inspected as tables

        with Stages(verbose=spoken.verbose, quiet=spoken.quiet) as progress:
            progress("read", model.name)
            source = read_model(model, options.shapes)
            progress("label", model.name)
            found = run(source, **options.given())
            answer.found = inspected(found, ["*"] if why is None else [why])
        answer.tables = partial(tables, pattern=why)
        answer.give()
