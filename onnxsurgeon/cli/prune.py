"""The command `prune`: one model in this process, or several, each in its own process."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from onnxsurgeon.cli.answer import Answer
from onnxsurgeon.cli.batch_crews import EXECUTORS
from onnxsurgeon.cli.latency import before_and_after, beside
from onnxsurgeon.cli.options import Given, Spoken, check_output, read_model, with_options
from onnxsurgeon.cli.pipes import PIPES
from onnxsurgeon.cli.tasks import Task, arguments, tasks
from onnxsurgeon.dependency.costs import Reduction
from onnxsurgeon.errors import ProofError, UsageError
from onnxsurgeon.files import require_place
from onnxsurgeon.latency.options import Benching
from onnxsurgeon.options.parsing import at_least, path, text, word_of
from onnxsurgeon.options.record import OUTPUT, Options, option
from onnxsurgeon.options.shared import SaveOptions
from onnxsurgeon.pruning.options import PruneOptions
from onnxsurgeon.report import json_report as report

R = TypeVar("R", PruneOptions, SaveOptions)
EXAMPLES = (
    "onnxsurgeon prune model.onnx --max-drop 0.01 --data test.npz --metric top1 --cost macs -o small.onnx",
    "onnxsurgeon prune 'zoo/**/*.onnx' --ratio 20% --exclude '/head/*' --output-dir pruned/ --jobs 4 --resume",
)


@dataclass(frozen=True, kw_only=True)
class Outputs(Options):
    """Where the command writes its outputs."""

    output: Path | None = option(
        None, "The file to write.", panel=OUTPUT, metavar="FILE", declared="-o --output", shown="MODEL.pruned.onnx",
        read=path,
    )  # fmt: skip
    output_dir: Path | None = option(
        None, "Prune several models, each in its own process, to DIR/MODEL.onnx.", panel=OUTPUT, metavar="DIR",
        read=path,
    )  # fmt: skip
    jobs: int | None = option(
        None, "Of several models or ratios: prune N at once.", panel=OUTPUT, metavar="N", kind=int, read=at_least(1),
        shown="half of the CPU cores",
    )  # fmt: skip
    resume: bool = option(
        False,
        "Of several models or ratios: skip those that an earlier run finished with the same options.",
        panel=OUTPUT,
    )
    executor: str = option(
        "local", "Of several models or ratios: what prunes them: processes of this machine, or a Ray cluster.",
        panel=OUTPUT, words=lambda: EXECUTORS, read=word_of(EXECUTORS),
    )  # fmt: skip
    address: str | None = option(
        None, "Of a Ray cluster, like ray://head:10001 or auto.", panel=OUTPUT, metavar="ADDRESS", kind=str, read=text,
        shown="RAY_ADDRESS, else a new cluster here",
    )  # fmt: skip
    dry_run: bool = option(False, "Do everything except the proof and the output.", panel=OUTPUT)


@with_options(PruneOptions, Outputs, SaveOptions, Benching, Spoken)
def prune(
    context: typer.Context,
    models: Annotated[
        list[Path],
        typer.Argument(metavar="MODEL", help="An .onnx file; with --output-dir, files or globs.", show_default=False),
    ],
    given: Given,
) -> None:
    """Make a model smaller, down to a budget: keep the most important channels, remove the rest, prove the result.

    --output-dir prunes several models. Globs may be quoted. --ratio 0.2,0.35,0.5 makes a model for each, and --html
    draws what each gives up for what it saves. If one fails, the others continue; the exit code is the worst of all,
    in the order 1, 5, 4, 3, 2.
    """
    spoken = given.of(Spoken)
    with spoken.answering("prune") as answer:
        outputs, ratios = given.of(Outputs), _ratios(given)
        found = tasks(models, outputs.output, outputs.output_dir)
        several = outputs.output_dir is not None or bool(ratios)
        if not several:
            answer.found = {"model": str(found[0].model)}
            if outputs.jobs is not None or outputs.resume or outputs.executor != "local":
                raise UsageError(
                    "`jobs`, `resume` and `executor` need `output_dir`", fix="give a folder for the outputs"
                )
        if outputs.address is not None and outputs.executor != "ray":
            raise UsageError("`address` is that of a Ray cluster", fix="add `executor=ray`")
        if ratios:
            found = [task.at(ratio) for task in found for ratio in ratios]
            given = Given({**given.values, "ratio": ratios[0]})
        answer.save_to(spoken.report_to, *(file for task in found for file in task.files))
        options, save = _meant(given, PruneOptions), _meant(given, SaveOptions)
        options.require_a_goal()
        bench = given.of(Benching).bench
        if not several:
            _prune(
                answer, found[0], options, save, dry_run=outputs.dry_run, copies=outputs.output is not None, bench=bench
            )
            return
        for task in () if outputs.dry_run else found:
            require_place(task.target, made=True)
        from onnxsurgeon.cli.batch import prune_all

        def requested(task: Task) -> report.Report:
            return _requested(replace(options, ratio=task.ratio) if task.ratio else options, save)

        def latencies(written: Sequence[Task]) -> Sequence[report.Report | None]:
            """Of the ratios of one model; several models at once would disturb each other, and take long."""
            if not bench or len(models) > 1 or not ratios:
                return [None] * len(written)
            files = [task.target for task in written]
            return beside(found[0].model, files, shapes=options.shapes, device=save.device, threads=options.threads)

        words = [word for word in arguments(context) if not (ratios and word.startswith("--ratio="))]
        with EXECUTORS[outputs.executor].open(outputs.jobs, outputs.address, save.device) as crew:
            prune_all(
                answer, found, words, requested, crew=crew, resume=outputs.resume, writes=not outputs.dry_run,
                latencies=latencies,
            )  # fmt: skip


def _ratios(given: Given) -> list[str]:
    """The ratios, each as a share, if there are several; else none. Raises UsageError if one is wrong."""
    words = [word.strip() for word in str(given.values.get("ratio", "")).split(",")]
    if len(words) < 2:
        return []
    return [f"{Reduction(ratio=word).share:g}" for word in dict.fromkeys(words)]


def _meant(given: Given, record: type[R]) -> R:
    """The record; `samples` may be a number of samples of the data, or a file with inputs for the proof."""
    values = dict(given.values)
    file = str(values.get("samples", "")).endswith(".npz")
    if file == (record is PruneOptions):
        values.pop("samples", None)
    return Given(values).of(record)


def _requested(options: PruneOptions, save: SaveOptions) -> report.Report:
    return {**options.report(), **save.report()}


def _prune(
    answer: Answer, task: Task, options: PruneOptions, save: SaveOptions, *, dry_run: bool, copies: bool, bench: bool
) -> None:
    """copies: whether a model that is within its budgets already is written all the same."""
    from onnxsurgeon.cli.progress import Stages
    from onnxsurgeon.dependency.frozen import frozen
    from onnxsurgeon.proof.comparison import tolerance
    from onnxsurgeon.pruning.prune import prune as run
    from onnxsurgeon.pruning.verdict import verdict
    from onnxsurgeon.report.results import judged, pruned, scored
    from onnxsurgeon.report.results import proof as proof_report
    from onnxsurgeon.report.tables import pruned as tables

    answer.tables = tables
    path, target = task.model, task.target
    if not path.exists():  # before the output is looked at: the first wrong thing is named
        raise UsageError(f"{path} not found", fix="check the path")
    if not dry_run:
        check_output(target, save)
    seconds: dict[str, float] = {}
    with Stages(verbose=answer.verbose, quiet=answer.quiet) as progress:
        progress("read", path.name)
        source = read_model(path, options.shapes)
        if not dry_run:
            check_output(target, save, source)
        seconds["read"] = time.perf_counter() - answer.began
        result = run(source, **replace(options, progress=progress).given())
        if result.score is not None:
            spent = time.perf_counter() - answer.began - seconds["read"]
            seconds["score"] = spent - sum(result.seconds.values())
        score = None if result.score is None else scored(result.score)
        answer.found = pruned(
            result, output=target, requested=_requested(options, save), frozen=frozen(result.labels), score=score
        )
        proof = None
        unchanged = result.unchanged and not copies
        began = time.perf_counter()
        try:
            if not dry_run and not unchanged:
                proof = result.save(target, **replace(save, progress=progress).given())
        except ProofError as error:
            proof = error.proof
            raise
        finally:
            seconds = {**seconds, **result.seconds, "write and prove": time.perf_counter() - began}
            seconds["total"] = time.perf_counter() - answer.began
            answer.found["seconds"] = seconds
            if proof is not None:
                answer.found["proof"] = proof_report(proof, tolerance(result.labels, save.atol, save.rtol))
            unproven = "nothing was written" if dry_run or save.proof else "written without a proof"
            about = judged(verdict(result, proof, unproven, str(target)))
            answer.found["verdict"] = {**about, "next": ""} if PIPES.names else about  # a pipe can't be typed again
        if bench and not (dry_run or unchanged):
            progress("measure", "latency")
            answer.found["latency"] = before_and_after(
                path, target, shapes=options.shapes, device=save.device, threads=options.threads, largest=options.whole
            )
    done = "not proven" if proof is None else "passed" if options.asks_to_pass else "written"
    status = "dry run" if dry_run else "unchanged" if unchanged else done
    answer.give(status=status, exit_code=0)
