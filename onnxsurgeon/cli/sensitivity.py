"""The command `sensitivity`: how much the outputs change when a single layer gets narrower."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from onnxsurgeon.cli.options import DataPath, Given, ModelPath, Spoken, read_model, with_options
from onnxsurgeon.evaluation.options import SensitivityOptions

EXAMPLES = (
    "onnxsurgeon sensitivity model.onnx --data calib.npz --html sensitivity.html",
    "onnxsurgeon sensitivity model.onnx --data images/ --preprocess imagenet --only '/layer4/*' --samples 64",
)


@with_options(SensitivityOptions, Spoken)
def sensitivity(model: ModelPath, data: DataPath, given: Given) -> None:
    """Narrow one layer at a time and show how much the outputs change, relative to their norm.

    Layers that an Add ties together get narrower together.
    """
    spoken = given.of(Spoken)
    with spoken.answering("sensitivity", model) as answer:
        options = answer.requested = given.of(SensitivityOptions)
        answer.save_to(spoken.report_to, model, Path(data))
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
        answer.tables = tables
        answer.give()
