"""The command `sensitivity`: how much the outputs change when a single layer gets narrower."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from onnxsurgeon.cli.options import DataPath, Given, ModelPath, Spoken, read_model, with_options
from onnxsurgeon.evaluation.options import SensitivityOptions
from onnxsurgeon.options.parsing import path
from onnxsurgeon.options.record import OUTPUT, Options, option
from onnxsurgeon.report import json_report as report

EXAMPLES = (
    "onnxsurgeon sensitivity model.onnx --data calib.npz --plot sensitivity.html",
    "onnxsurgeon sensitivity model.onnx --data images/ --preprocess imagenet --only '/layer4/*' --samples 64",
)


@dataclass(frozen=True, kw_only=True)
class Plot(Options):
    plot: Path | None = option(
        None, "Plot error against width for each layer.", panel=OUTPUT, metavar="FILE.html", read=path
    )


@with_options(SensitivityOptions, Plot, Spoken)
def sensitivity(model: ModelPath, data: DataPath, given: Given) -> None:
    """Narrow one layer at a time and show how much the outputs change, relative to their norm.

    Layers that an Add ties together get narrower together.
    """
    spoken = given.of(Spoken)
    with spoken.answering("sensitivity", model) as answer:
        options, plot = given.of(SensitivityOptions), given.of(Plot).plot
        if plot is not None:
            from onnxsurgeon.report.html import BEGIN, page

            report.check_report(plot, model, Path(data), option="--plot", begins=BEGIN)
        answer.save_to(spoken.report_to, model, Path(data), *([plot] if plot else []))
        from onnxsurgeon.cli.progress import Bar, Stages
        from onnxsurgeon.evaluation.sensitivity import sensitivity as run
        from onnxsurgeon.report.results import sensitive
        from onnxsurgeon.report.tables import sensitive as tables
        from onnxsurgeon.runtime.carried_states import opened_with_states

        with Stages(verbose=spoken.verbose, quiet=spoken.quiet) as progress:
            progress("read", model.name)
            source = read_model(model, options.shapes)
            progress("data", data)
            samples = opened_with_states(data, source, options, options.device)
        with Bar(quiet=spoken.quiet) as bar:
            found = run(source, samples, **replace(options, progress=bar).given())
        answer.found = sensitive(found, model, data, options.importance)
        if plot is not None:
            report.save_text(page(answer.found), plot)
        answer.tables = tables
        answer.give()
