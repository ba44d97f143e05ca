"""The command `train`: the same model with weights that are trained on data."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

from onnxsurgeon.cli.interrupts import INTERRUPTED
from onnxsurgeon.cli.options import DataPath, Given, ModelPath, Spoken, check_output, read_model, with_options
from onnxsurgeon.errors import ModelError
from onnxsurgeon.options.parsing import path
from onnxsurgeon.options.record import OUTPUT, option
from onnxsurgeon.options.shared import SaveOptions, Writing
from onnxsurgeon.training.options import TrainOptions

EXAMPLES = (
    "onnxsurgeon train model.onnx --data train.npz --val val.npz --epochs 5 --lr 1e-3 -o tuned.onnx",
    "onnxsurgeon train small.onnx --teacher model.onnx --data images/ --preprocess imagenet --loss distill",
)


@dataclass(frozen=True, kw_only=True)
class TrainedFile(Writing):
    """Where the trained model goes."""

    output: Path | None = option(
        None, "The file to write.", panel=OUTPUT, metavar="FILE", declared="-o --output", shown="MODEL.trained.onnx",
        read=path,
    )  # fmt: skip


@with_options(TrainOptions, TrainedFile, Spoken)
def train(model: ModelPath, data: DataPath, given: Given) -> None:
    """Train a model's weights on data, in onnxruntime: fine-tune it, or train it from the start. Its graph stays.

    The loss compares an output with labels, or with what another model says. With --val the best epoch is kept. Ctrl-C
    ends the training and writes what it has reached.
    """
    spoken = given.of(Spoken)
    with spoken.answering("train", model) as answer:
        options, wanted = given.of(TrainOptions), given.of(TrainedFile)
        target = wanted.output or model.with_suffix(".trained.onnx")
        save = SaveOptions(overwrite=wanted.overwrite, external=wanted.external)
        files = [Path(str(file)) for file in (data, options.val, options.teacher) if file is not None]
        answer.save_to(spoken.report_to, model, target, *files)
        from onnxsurgeon.cli.progress import Stages
        from onnxsurgeon.report.results import trained
        from onnxsurgeon.report.training_tables import trained as tables
        from onnxsurgeon.training.train import train as run

        check_output(target, save)
        with Stages(verbose=spoken.verbose, quiet=spoken.quiet) as progress:
            progress("read", model.name)
            source = read_model(model, options.shapes)
            found = run(source, data, **replace(options, progress=progress).given())
            answer.found, answer.tables = trained(found, data, target), tables
            writes = bool(found.kept or not found.stopped)
            difference = found.save(target, **replace(save, progress=progress).given()) if writes else None
        answer.found["difference"] = difference
        answer.found["seconds"] = {**found.seconds, "total": time.perf_counter() - answer.began}
        written = f"{target} holds epoch {found.kept}" if writes else "nothing was written"
        if found.stopped and found.stopped != "interrupted":
            raise ModelError(f"{found.stopped}", why=written, fix="use a smaller `lr`, or limit gradients with `clip`")
        if found.stopped:
            answer.give(status="interrupted", exit_code=INTERRUPTED)
            raise SystemExit(INTERRUPTED)
        answer.give(status="written", exit_code=0)
