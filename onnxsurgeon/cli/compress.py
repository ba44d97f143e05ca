"""The command `compress`: cuts, trains and scores a model in steps, while it stays good enough."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

from onnxsurgeon.cli.interrupts import INTERRUPTED
from onnxsurgeon.cli.options import Given, ModelPath, Spoken, check_output, read_model, with_options
from onnxsurgeon.options.parsing import path
from onnxsurgeon.options.record import OUTPUT, option
from onnxsurgeon.options.shared import SaveOptions, Writing
from onnxsurgeon.pruning.compression_options import CompressOptions

EXAMPLES = (
    "onnxsurgeon compress model.onnx --data train.npz --val val.npz --cost macs --ratio 60% --max-drop 1% -o out.onnx",
    "onnxsurgeon compress model.onnx --data train.npz --ratio 0.8 --steps 8 --folder steps/ --resume",
)


@dataclass(frozen=True, kw_only=True)
class CompressedFile(Writing):
    """Where the compressed model goes."""

    output: Path | None = option(
        None, "The file to write.", panel=OUTPUT, metavar="FILE", declared="-o --output",
        shown="MODEL.compressed.onnx", read=path,
    )  # fmt: skip


@with_options(CompressOptions, CompressedFile, Spoken)
def compress(model: ModelPath, given: Given) -> None:
    """Cut a model a little, train what is left, score it, and go on: the smallest that is good enough is written.

    Every cut is proven. With --folder the model of each step stays, and --resume goes on after an interruption. Ctrl-C
    ends the run and writes what it has reached.
    """
    spoken = given.of(Spoken)
    with spoken.answering("compress", model) as answer:
        options, wanted = given.of(CompressOptions), given.of(CompressedFile)
        target = wanted.output or model.with_suffix(".compressed.onnx")
        save = SaveOptions(overwrite=wanted.overwrite, external=wanted.external)
        files = [Path(str(file)) for file in (options.data, options.val) if file is not None]
        answer.save_to(spoken.report_to, model, target, *files)
        from onnxsurgeon.cli.progress import Stages
        from onnxsurgeon.pruning.compress import compress as run
        from onnxsurgeon.report.results import compressed
        from onnxsurgeon.report.training_tables import compressed as tables

        check_output(target, save)
        with Stages(verbose=spoken.verbose, quiet=spoken.quiet) as progress:
            progress("read", model.name)
            source = read_model(model, options.shapes)
            found = run(source, **replace(options, progress=progress).given())
            answer.found, answer.tables = compressed(found, str(options.data), target), tables
            answer.found["seconds"] = {"total": time.perf_counter() - answer.began}
            interrupted = found.stopped == "interrupted"
            if found.best is not None or not interrupted:
                found.save(target, **replace(save, progress=progress).given())
        if interrupted:
            answer.give(status="interrupted", exit_code=INTERRUPTED)
            raise SystemExit(INTERRUPTED)
        answer.give(status="written", exit_code=0)
