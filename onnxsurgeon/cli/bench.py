"""The commands `bench`, `profile`, `compare` and `diff`: how fast models run, and how two of them differ."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from onnxsurgeon.cli.options import Given, ModelPath, Spoken, read_model, with_options
from onnxsurgeon.latency.options import BenchOptions, CompareOptions, ProfileOptions
from onnxsurgeon.options.record import OUTPUT
from onnxsurgeon.report.json_report import check_report, save_text

EXAMPLES = ("onnxsurgeon bench model.onnx small.onnx", "onnxsurgeon bench model.onnx --threads 1 --layers --json")
PROFILE_EXAMPLES = (
    "onnxsurgeon profile model.onnx --threads 4 -o device.json",
    "onnxsurgeon profile model.onnx --input-shape input:1,3,320,320 -o device.json",
)
COMPARE_EXAMPLES = (
    "onnxsurgeon compare model.onnx small.onnx",
    "onnxsurgeon compare main.onnx new.onnx --fail-if-larger --fail-if-slower 5%",
)
DIFF_EXAMPLES = ("onnxsurgeon diff model.onnx edited.onnx", "onnxsurgeon diff main.onnx new.onnx --json")
Models = Annotated[list[Path], typer.Argument(metavar="MODEL", help="The .onnx files.", show_default=False)]

Before = Annotated[Path, typer.Argument(metavar="BEFORE", help="The first .onnx file.", show_default=False)]
After = Annotated[Path, typer.Argument(metavar="AFTER", help="The second .onnx file.", show_default=False)]


@with_options(BenchOptions, Spoken)
def bench(models: Models, given: Given) -> None:
    """Measure how fast models run in onnxruntime, side by side.

    Models take turns on random inputs, with all optimisations of onnxruntime on. The median of the runs counts.
    """
    spoken = given.of(Spoken)
    with spoken.answering("bench") as answer:
        options = answer.requested = given.of(BenchOptions)
        answer.save_to(spoken.report_to, *models)
        from onnxsurgeon.cli.progress import Stages
        from onnxsurgeon.latency.bench import bench as run
        from onnxsurgeon.report.latency import benched
        from onnxsurgeon.report.latency_tables import benched as tables

        with Stages(verbose=spoken.verbose, quiet=spoken.quiet) as progress:
            for model in models:
                progress("read", model.name)
                read_model(model, options.shapes)
            progress("run", f"{len(models)} models, {options.time_limit:g} s")
            found = run(models, **options.given())
        answer.found, answer.tables = benched(found), tables
        answer.give()


@with_options(ProfileOptions, Spoken)
def profile(
    model: ModelPath,
    given: Given,
    output: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="FILE.json", help="Where the profile goes.", show_default=False,
                     rich_help_panel=OUTPUT),
    ],
) -> None:  # fmt: skip
    """Measure how the latency of a model follows the widths of its layers on this device.

    prune --profile FILE.json uses it elsewhere: measure on the device that will run the model, prune on another.
    """
    spoken = given.of(Spoken)
    with spoken.answering("profile", model) as answer:
        options = given.of(ProfileOptions)
        check_report(output, model, option="--output")
        answer.save_to(spoken.report_to, model, output)
        from onnxsurgeon.cli.progress import Stages
        from onnxsurgeon.latency.measure_profile import profile as run
        from onnxsurgeon.report.latency import profiled
        from onnxsurgeon.report.latency_tables import profiled as tables

        with Stages(verbose=spoken.verbose, quiet=spoken.quiet) as progress:
            progress("read", model.name)
            source = read_model(model, options.shapes)
            found = run(source, **replace(options, progress=progress).given())
        save_text(found.text(), output)
        answer.found, answer.tables = profiled(found, model, output), tables
        answer.give()


@with_options(CompareOptions, Spoken)
def compare(before: Before, after: After, given: Given) -> None:
    """Compare two models: parameters, MACs, size, latency, and the weights whose shapes differ.

    With --fail-if-larger or --fail-if-slower it is a gate for CI: exit code 6 if the second model is worse.
    """
    spoken = given.of(Spoken)
    with spoken.answering("compare") as answer:
        options = answer.requested = given.of(CompareOptions)
        answer.save_to(spoken.report_to, before, after)
        from onnxsurgeon.cli.progress import Stages
        from onnxsurgeon.latency.compare import compare as run
        from onnxsurgeon.latency.compare import require_passed
        from onnxsurgeon.report.latency import compared
        from onnxsurgeon.report.latency_tables import compared as tables

        with Stages(verbose=spoken.verbose, quiet=spoken.quiet) as progress:
            for model in (before, after):
                progress("read", model.name)
                read_model(model, options.shapes)
            progress("compare", after.name)
            found = run(before, after, **options.given())
        answer.found, answer.tables = compared(found), tables
        require_passed(found)
        answer.give()


@with_options(Spoken)
def diff(before: Before, after: After, given: Given) -> None:
    """Show how two graphs differ: nodes that came, went or changed, their widths, weights, inputs and attributes.

    Nodes are told by their names. compare says what the difference costs.
    """
    spoken = given.of(Spoken)
    with spoken.answering("diff") as answer:
        answer.save_to(spoken.report_to, before, after)
        from onnxsurgeon.cli.progress import Stages
        from onnxsurgeon.report.diff_report import different, tables
        from onnxsurgeon.surgery.differences import diff as run

        with Stages(verbose=spoken.verbose, quiet=spoken.quiet) as progress:
            progress("compare", after.name)
            found = run(before, after)
        answer.found, answer.tables = different(found), tables
        answer.give()
