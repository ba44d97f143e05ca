"""The command `evaluate`: the score of a model on data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from onnxsurgeon.cli.options import DataPath, Given, ModelPath, Spoken, read_model, with_options
from onnxsurgeon.evaluation.options import EvaluateOptions

EXAMPLES = (
    "onnxsurgeon evaluate model.onnx --data test.npz --metric top1",
    "onnxsurgeon evaluate small.onnx --data images/ --preprocess imagenet --metric cosine --against model.onnx",
)


@with_options(EvaluateOptions, Spoken)
def evaluate(model: ModelPath, data: DataPath, given: Given) -> None:
    """Score a model on data, against labels or the outputs of another model.

    Your own metric MODULE:FUNCTION gets an iterator over batches, each a pair (outputs by name, labels), and returns
    one number.
    """
    spoken = given.of(Spoken)
    with spoken.answering("evaluate", model) as answer:
        options = answer.requested = given.of(EvaluateOptions)
        answer.save_to(spoken.report_to, model, Path(data), *([options.against] if options.against else []))
        from onnxsurgeon.cli.progress import Bar, Stages
        from onnxsurgeon.evaluation.score import evaluate as run
        from onnxsurgeon.report.results import evaluated
        from onnxsurgeon.report.tables import evaluated as tables
        from onnxsurgeon.runtime.carried_states import opened_with_states

        with Stages(verbose=spoken.verbose, quiet=spoken.quiet) as progress:
            progress("read", model.name)
            source = read_model(model, options.shapes)
            if options.against is not None:
                read_model(options.against, {})
            progress("data", data)
            samples = opened_with_states(data, source, options, options.device)
        with Bar(quiet=spoken.quiet) as bar:
            found = run(model, samples, **replace(options, progress=bar).given())
        answer.found = evaluated(found, model, data)
        answer.tables = tables
        answer.give()
