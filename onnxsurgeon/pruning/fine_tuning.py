"""Trains what a cut left: on labels, or on what the original says."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from onnxsurgeon.data import Data
from onnxsurgeon.errors import UsageError
from onnxsurgeon.metrics import metric
from onnxsurgeon.model.model import Model
from onnxsurgeon.options.shared import Counted
from onnxsurgeon.pruning.options import PruneOptions, Tuning
from onnxsurgeon.pruning.result import Result
from onnxsurgeon.runtime.carried_states import opened_with_states
from onnxsurgeon.training.batch_size import reading
from onnxsurgeon.training.train import INTERRUPTED, train
from onnxsurgeon.training.trained import Trained

SHARE = 0.1  # of the steps of the first epoch in which the learning rate rises


def samples_of_cuts(given: str | os.PathLike[str] | Data, model: Model, options: Tuning) -> Data:
    """The samples that choose and fit a cut, where all of a path are trained on."""
    few = min(options.cut_samples, options.samples or options.cut_samples)
    return opened_with_states(given, model, reading(replace(options, samples=few), model.ir), options.device)


def fine_tuned(result: Result, data: object, options: PruneOptions) -> Result:
    """`result` with trained weights, if that is asked for and anything was cut.

    Class numbers among the data are learned by cross-entropy; without them, or where the metric is about outputs, the
    original teaches. Raises UsageError if the data can't be trained on, ModelError if nothing can be trained.
    """
    if options.fine_tune is None or result.keep.all():
        return result
    if not isinstance(data, Data):
        raise UsageError("`fine_tune` can't read these `data`", fix="give `data` as a path, or open it with open_data")

    found = taught(
        Model(result.source.path, result.ir, in_file=False), data, options, result.source, epochs=options.fine_tune
    )
    if found.stopped == INTERRUPTED:
        raise KeyboardInterrupt
    return replace(result, ir=found.ir, tuned=found)


def taught(model: Model, data: Data, options: Tuning, teacher: Model, *, epochs: int, **more: Any) -> Trained:
    """`model`, trained on class numbers among the data; or on what `teacher` says without them, or where the metric is
    about outputs. more: options of `train`."""

    def said(stage: str, detail: str) -> None:
        shown = Counted(detail.done, detail.total, f"train: {detail.text}") if isinstance(detail, Counted) else detail
        options.announce("tune", shown)

    learned = _has_classes(data) and (options.metric is None or metric(options.metric).targets == "classes")
    return train(
        model, data, loss="cross-entropy" if learned else "distill", teacher=None if learned else teacher,
        epochs=epochs, batch=options.batch, lr=options.lr, warmup=SHARE, output_name=options.output_name,
        device=options.device, seed=options.seed, progress=said, augment=("flip",) if options.mirror else (),
        only_better=True, **more,
    )  # fmt: skip


def _has_classes(data: Data) -> bool:
    """Whether the samples have class numbers as labels."""
    labels = next(data.batches()).labels
    return labels is not None and labels.dtype.kind in "iu" and labels.ndim == 1
