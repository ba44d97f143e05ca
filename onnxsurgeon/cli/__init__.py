"""The command line: options in, exit code out. Nothing heavy is imported before it is needed."""

from __future__ import annotations

import atexit
import gc
import os
import signal
import time
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

import onnxsurgeon
from onnxsurgeon import amounts, report
from onnxsurgeon.cli.answer import Answer, answering
from onnxsurgeon.cli.group import Group
from onnxsurgeon.cli.options import (
    EXIT_CODES,
    AsJson,
    Atol,
    Free,
    Jobs,
    Metric,
    ModelPath,
    Models,
    OnDevice,
    OutputDir,
    Quiet,
    ReportTo,
    Resume,
    Rtol,
    Seed,
    Shapes,
    Verbose,
    examples,
    read_model,
    shapes,
)
from onnxsurgeon.cli.tasks import arguments, tasks
from onnxsurgeon.errors import ProofError, UsageError

app = typer.Typer(cls=Group, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


def main() -> NoReturn:
    """The console script."""
    gc.disable()  # a short process: the collector would walk all that was imported, again and again
    atexit.register(gc.freeze)  # and once more at its end
    for name in ("SIGTERM", "SIGHUP"):  # clean up as for Ctrl-C
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    app()
    raise AssertionError("the group exits")


def _version(wanted: bool) -> None:
    if wanted:
        print(f"onnxsurgeon {onnxsurgeon.__version__}")
        raise typer.Exit


@app.callback(
    epilog=EXIT_CODES + "\n" + examples("onnxsurgeon prune model.onnx --ratio 0.2", "onnxsurgeon inspect model.onnx"),
)
def top(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Edits trained networks as .onnx files: cuts them structurally, and proves the result before it is written."""


@app.command(
    short_help="Cut a model to a budget and prove the result.",
    epilog=EXIT_CODES
    + "\n"
    + examples(
        "onnxsurgeon prune model.onnx --ratio 0.5 --metric macs --round-to 8 -o small.onnx",
        "onnxsurgeon prune 'zoo/**/*.onnx' --ratio 0.2 --exclude '/head/*' --output-dir pruned/ --jobs 4 --resume",
    ),
)
def prune(
    context: typer.Context,
    models: Models,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Where to write. [default: MODEL.pruned.onnx]")
    ] = None,
    output_dir: OutputDir = None,
    jobs: Jobs = None,
    resume: Resume = False,
    ratio: Annotated[
        float | None, typer.Option(metavar="R", help="The metric falls by this share at least, and hardly more.")
    ] = None,
    metric: Annotated[Metric, typer.Option(help="What --ratio is about.")] = "params",
    max_params: Annotated[str | None, typer.Option(metavar="N", help="At most so many parameters, like 5M.")] = None,
    max_macs: Annotated[
        str | None, typer.Option(metavar="N", help="At most so many MACs per sample, like 1.2G.")
    ] = None,
    max_size: Annotated[
        str | None, typer.Option(metavar="N", help="A file of at most so many bytes, like 18MB or 18MiB.")
    ] = None,
    utility: Annotated[
        str,
        typer.Option(
            metavar="WORD",
            help="What neurons are worth: l1, l2, l2-norm, bn-scale, random, uniform, or file:scores.npz.",
        ),
    ] = "l2-norm",
    round_to: Annotated[int, typer.Option(metavar="N", min=1, help="Widths become multiples of N.")] = 1,
    min_keep: Annotated[
        float, typer.Option(metavar="SHARE", min=0, max=1, help="Share of each axis that must stay.")
    ] = 0.0,
    exclude: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="Vertices whose outputs keep their width. Repeatable.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="Vertices that alone may lose outputs. Repeatable.")
    ] = None,
    free: Annotated[Free, typer.Option(help="Whether attention loses whole heads or parts of each.")] = "auto",
    seed: Seed = 0,
    time_limit: Annotated[float, typer.Option(metavar="SECONDS", min=0, help="For the solver.")] = 10.0,
    gap: Annotated[float, typer.Option(metavar="SHARE", min=0, help="A proven gap that is good enough.")] = 1e-3,
    device: OnDevice = "auto",
    no_proof: Annotated[bool, typer.Option("--no-proof", help="Write without proving.")] = False,
    input_shape: Shapes = None,
    atol: Atol = None,
    rtol: Rtol = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Do everything but write and prove.")] = False,
    report_to: ReportTo = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing output.")] = False,
    save_as_external_data: Annotated[
        bool, typer.Option("--save-as-external-data", help="Write the weights to FILE.data beside the model.")
    ] = False,
) -> None:
    """Cut a model to a budget, keeping what is most useful, and prove the result.

    With --output-dir, do so for each of several models. Globs may be quoted. One that fails stops no other; the exit
    code is the worst, in the order 1, 5, 4, 3, 2.
    """
    with answering(Answer("prune", as_json, quiet, verbose)) as answer:
        found = tasks(models, output, output_dir)
        if output_dir is None:
            answer.found = {"model": str(found[0].model)}
            if jobs is not None or resume:
                raise UsageError("--jobs and --resume go with --output-dir", fix="give a folder for the outputs")
        if report_to is not None:
            report.check_report(report_to, *(path for task in found for path in task.files))
            answer.file = report_to
        requested = {
            "ratio": ratio,
            "metric": metric,
            **{
                f"max_{name}": None
                if text is None
                else amounts.parse(text, option=f"--max-{name}", of_bytes=name == "size")
                for name, text in (("params", max_params), ("macs", max_macs), ("size", max_size))
            },
            "utility": utility,
            "round_to": round_to,
            "min_keep": min_keep,
            "exclude": exclude or [],
            "only": only or [],
            "free": free,
            "input_shape": shapes(input_shape),
            "seed": seed,
            "time_limit": time_limit,
            "gap": gap,
        }
        external = save_as_external_data or None
        options = {
            "external": external,
            "proof": not no_proof,
            "device": device,
            "atol": atol,
            "rtol": rtol,
            "seed": seed,
        }
        if output_dir is None:
            _prune(
                answer, found[0].model, found[0].target, requested, options,
                dry_run=dry_run, overwrite=overwrite,
            )  # fmt: skip
        else:
            from onnxsurgeon.cli import batch

            batch.prune_all(
                answer, found, arguments(context), {**requested, **options},
                at_once=jobs or max(1, (os.cpu_count() or 1) // 2), resume=resume, writes=not dry_run,
            )  # fmt: skip


def _prune(
    answer: Answer, path: Path, target: Path, requested: dict[str, Any], options: dict[str, Any], *,
    dry_run: bool, overwrite: bool,
) -> None:  # fmt: skip
    from onnxsurgeon.cli.progress import Stages
    from onnxsurgeon.inspection import frozen
    from onnxsurgeon.prune import prune as run
    from onnxsurgeon.tables import pruned, verdict
    from onnxsurgeon.session import Session
    from onnxsurgeon.validate import tolerance
    from onnxsurgeon.write import check_target

    answer.tables = lambda found: [*pruned(found, verbose=answer.verbose), verdict(found)]
    if not dry_run:
        if target.is_file() and not overwrite:
            raise UsageError(f"{target} exists", fix="choose another name with -o, or give --overwrite")
        check_target(target, overwrite=overwrite)
    seconds: dict[str, float] = {}
    with Stages(verbose=answer.verbose, quiet=answer.quiet) as progress:
        progress("read", path.name)
        source = read_model(path, requested["input_shape"])
        if not dry_run and (options["external"] or source.data):
            check_target(f"{target}.data", overwrite=overwrite)
        if options["device"] == "cuda" and options["proof"] and not dry_run:
            Session(path, "cuda")  # refused now, not after the work
        seconds["read"] = time.perf_counter() - answer.began
        result = run(source, **requested, progress=progress)
        answer.found = report.pruned(
            result, output=target, requested={**requested, **options}, frozen=frozen(result.labels)
        )
        proof = None
        began = time.perf_counter()
        try:
            if not dry_run:
                proof = result.save(target, overwrite=overwrite, **options, progress=progress)
        except ProofError as error:
            proof = error.proof
            raise
        finally:
            seconds = {**seconds, **result.seconds, "write and prove": time.perf_counter() - began}
            seconds["total"] = time.perf_counter() - answer.began
            answer.found["seconds"] = seconds
            if proof is not None:
                answer.found["proof"] = report.proof(proof, tolerance(result.labels, options["atol"], options["rtol"]))
    status = "dry run" if dry_run else "passed" if proof is not None else "not proven"
    answer.give(status=status, exit_code=0)


@app.command(
    epilog=examples("onnxsurgeon inspect model.onnx", "onnxsurgeon inspect model.onnx --why '/layer4/*/conv2' --json"),
)
def inspect(
    model: ModelPath,
    why: Annotated[
        str | None, typer.Option(metavar="NAME", help="Axis by axis: free, or what froze it. A vertex' name or a glob.")
    ] = None,
    free: Annotated[Free, typer.Option(help="As in prune.")] = "auto",
    input_shape: Shapes = None,
    report_to: ReportTo = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Show what is in a model, what can be cut, what can't and why."""
    with answering(Answer("inspect", as_json, quiet, verbose, found={"model": str(model)})) as answer:
        if report_to is not None:
            report.check_report(report_to, model)
            answer.file = report_to
        stated = shapes(input_shape)
        from onnxsurgeon.cli.progress import Stages
        from onnxsurgeon.inspection import inspect as run
        from onnxsurgeon.tables import inspected

        with Stages(verbose=verbose, quiet=quiet) as progress:
            progress("read", model.name)
            source = read_model(model, stated)
            progress("label", model.name)
            found = run(source, free=free, input_shape=stated)
            answer.found = report.inspected(found, ["*"] if why is None else [why])
        answer.tables = lambda found: inspected(found, verbose=verbose, pattern=why)
        answer.give()


@app.command(
    short_help="Run two models and compare them.",
    epilog=EXIT_CODES
    + "\n"
    + examples(
        "onnxsurgeon validate model.onnx optimised.onnx --rtol 1e-4",
        "onnxsurgeon validate model.onnx model.pruned.onnx --shapes-only",
    ),
)
def validate(
    original: Annotated[
        Path, typer.Argument(metavar="ORIGINAL", help="The .onnx file to compare with.", show_default=False)
    ],
    edited: Annotated[Path, typer.Argument(metavar="EDITED", help="The .onnx file to check.", show_default=False)],
    shapes_only: Annotated[
        bool, typer.Option("--shapes-only", help="Compare names, types and shapes alone, as for a pruned model.")
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
        if report_to is not None:
            report.check_report(report_to, original, edited)
            answer.file = report_to
        stated = shapes(input_shape)
        from onnxsurgeon.cli.progress import Stages
        from onnxsurgeon.comparison import require_same
        from onnxsurgeon.comparison import validate as run
        from onnxsurgeon.tables import validated, verdict

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
        answer.found = report.validated(found, original, edited)
        answer.tables = lambda found: [*validated(found), verdict(found)]
        require_same(found)
        answer.give()
