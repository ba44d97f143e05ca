"""The command `prune`: one model in this process, or several, each in one of its own."""

from __future__ import annotations

import os
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onnxsurgeon import units
from onnxsurgeon.cli.answer import Answer, answering
from onnxsurgeon.cli.options import (
    CRITERIA,
    METRICS,
    AsJson,
    Atol,
    BatchSize,
    Compensate,
    Device,
    Free,
    Jobs,
    Memory,
    Metric,
    Mirror,
    Models,
    OnDevice,
    OutputDir,
    OutputName,
    Preprocess,
    Quiet,
    ReportTo,
    Resume,
    Rotate,
    Rtol,
    Samples,
    Seed,
    Shapes,
    SomeData,
    Stats,
    Verbose,
    read_data,
    read_model,
    shapes,
)
from onnxsurgeon.cli.tasks import arguments, tasks
from onnxsurgeon.errors import ProofError, UsageError
from onnxsurgeon.report import json_report as report

if TYPE_CHECKING:
    from onnxsurgeon.model.model import Model
    from onnxsurgeon.pruning.budgets import Progress
    from onnxsurgeon.pruning.prune import Result

EXAMPLES = (
    "onnxsurgeon prune model.onnx --max-drop 0.01 --data test.npz --score top1 --metric macs -o small.onnx",
    "onnxsurgeon prune 'zoo/**/*.onnx' --ratio 0.2 --exclude '/head/*' --output-dir pruned/ --jobs 4 --resume",
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
    metric: Annotated[
        Metric, typer.Option(help="The budget that --ratio is about, and --max-drop makes small. See --score.")
    ] = "params",
    max_params: Annotated[str | None, typer.Option(metavar="N", help="At most so many parameters, like 5M.")] = None,
    max_macs: Annotated[
        str | None, typer.Option(metavar="N", help="At most so many MACs per sample, like 1.2G.")
    ] = None,
    max_size: Annotated[
        str | None, typer.Option(metavar="N", help="A file of at most so many bytes, like 18MB or 18MiB.")
    ] = None,
    max_drop: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            min=0,
            help="Instead of --ratio: the smallest model whose --score on --data is at most X worse.",
        ),
    ] = None,
    score: Annotated[
        str | None,
        typer.Option(
            metavar="WORD", help=f"How good a model is, before and after: {METRICS}. [default: top1 with --max-drop]"
        ),
    ] = None,
    output_name: OutputName = None,
    data: SomeData = None,
    preprocess: Preprocess = None,
    samples: Samples = None,
    batch: BatchSize = None,
    importance: Annotated[
        str | None,
        typer.Option(
            metavar="WORD", help=f"{CRITERIA} [default: output-error with --data, else l2-norm]", show_default=False
        ),
    ] = None,
    compensate: Compensate = None,
    rotate: Rotate = None,
    mirror: Mirror = False,
    stats: Stats = None,
    memory: Memory = "2GB",
    round_to: Annotated[int, typer.Option(metavar="N", min=1, help="Widths become multiples of N.")] = 1,
    min_keep: Annotated[
        float, typer.Option(metavar="SHARE", min=0, max=1, help="Share of each axis that must stay.")
    ] = 0.0,
    exclude: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="Nodes whose outputs keep their width. Repeatable.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="Nodes that alone may lose outputs. Repeatable.")
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
            answer.save_to(report_to, *(path for task in found for path in task.files))
        requested = {
            "ratio": ratio,
            "metric": metric,
            **{
                f"max_{name}": None
                if text is None
                else units.parse(text, option=f"--max-{name}", of_bytes=name == "size")
                for name, text in (("params", max_params), ("macs", max_macs), ("size", max_size))
            },
            "importance": importance,
            "compensate": compensate,
            "stats": None if stats is None else str(stats),
            "rotate": rotate,
            "mirror": mirror,
            "memory": units.parse(memory, option="--memory", of_bytes=True),
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
        wanted = {
            "max_drop": max_drop,
            "score": "top1" if score is None and max_drop is not None else score,
            "output_name": output_name,
            "data": data,
            "preprocess": preprocess,
            "samples": samples,
            "batch": batch,
        }
        _check(ratio, wanted)
        if output_dir is None:
            _prune(
                answer, found[0].model, found[0].target, requested, wanted, options,
                dry_run=dry_run, overwrite=overwrite,
            )  # fmt: skip
        else:
            from onnxsurgeon.cli.batch import prune_all

            prune_all(
                answer, found, arguments(context), {**requested, **wanted, **options},
                at_once=jobs or max(1, (os.cpu_count() or 1) // 2), resume=resume, writes=not dry_run,
            )  # fmt: skip


def _check(ratio: float | None, wanted: dict[str, Any]) -> None:
    """Raises UsageError for options of data and scores that don't go together."""
    given = [f"--{name.replace('_', '-')}" for name, value in wanted.items() if value is not None]
    if given and wanted["data"] is None:
        raise UsageError(f"{given[0]} needs samples", why="there is no --data", fix="give some with --data")
    if ratio is not None and wanted["max_drop"] is not None:
        raise UsageError(
            "--ratio and --max-drop exclude each other", why="both say how small the model gets", fix="give one of them"
        )


def _prune(
    answer: Answer, path: Path, target: Path, requested: dict[str, Any], wanted: dict[str, Any],
    options: dict[str, Any], *, dry_run: bool, overwrite: bool,
) -> None:  # fmt: skip
    from onnxsurgeon.cli.progress import Stages
    from onnxsurgeon.dependency.frozen import frozen
    from onnxsurgeon.model.write import check_target
    from onnxsurgeon.proof.comparison import tolerance
    from onnxsurgeon.report.results import proof as proof_report
    from onnxsurgeon.report.results import pruned
    from onnxsurgeon.report.tables import pruned as tables
    from onnxsurgeon.runtime.session import Session

    answer.tables = tables
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
        result, score = _chosen(source, requested, wanted, options["device"], progress)
        if score is not None:
            spent = time.perf_counter() - answer.began - seconds["read"]
            seconds["score"] = spent - sum(result.seconds.values())
        everything = {**requested, **wanted, **options}
        answer.found = pruned(result, output=target, requested=everything, frozen=frozen(result.labels), score=score)
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
                answer.found["proof"] = proof_report(proof, tolerance(result.labels, options["atol"], options["rtol"]))
    status = "dry run" if dry_run else "passed" if proof is not None else "not proven"
    answer.give(status=status, exit_code=0)


def _chosen(
    source: Model, requested: dict[str, Any], wanted: dict[str, Any], device: Device, progress: Progress
) -> tuple[Result, report.Report | None]:
    """The pruned model, and its score where one was asked for."""
    from onnxsurgeon.pruning.prune import prune as run
    from onnxsurgeon.pruning.ratio_search import Examiner, smallest
    from onnxsurgeon.report.results import scored

    data = None
    if wanted["data"] is not None:
        progress("data", wanted["data"])
        asked = {name: wanted[name] for name in ("preprocess", "samples", "batch")}
        data = read_data(wanted["data"], source, requested["input_shape"], **asked, seed=requested["seed"])

    def candidate(ratio: float | None, stats: str | None = requested["stats"]) -> Result:
        given = {**requested, "ratio": ratio, "stats": stats}
        return run(source, **given, data=data, device=device, progress=progress)

    if data is None or wanted["score"] is None:
        return candidate(requested["ratio"]), None
    examiner = Examiner(source, data, wanted["score"], wanted["output_name"], device)
    if wanted["max_drop"] is not None:
        with tempfile.TemporaryDirectory(prefix="onnxsurgeon-") as folder:  # what data tell is the same for all
            stats = requested["stats"] or str(Path(folder) / "stats.npz")
            tried = partial(candidate, stats=stats)
            found = smallest(tried, examiner, max_drop=wanted["max_drop"], progress=progress)
        return found.result, scored(found.before, found.after, found.trials)
    progress("score", source.path.name)
    before, result = examiner.file(source.path), candidate(requested["ratio"])
    progress("score", "the pruned model")
    return result, scored(before, examiner.result(result))
