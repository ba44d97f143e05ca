"""Scores a model on data with a built-in metric or a function of the user."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onnxsurgeon.arrays import Arrays
from onnxsurgeon.data import Batch, Data
from onnxsurgeon.data.functions import explain_errors, import_function
from onnxsurgeon.errors import UsageError
from onnxsurgeon.evaluation.options import EvaluateOptions
from onnxsurgeon.metrics import metric as known
from onnxsurgeon.metrics.formulas import Pairs, alike
from onnxsurgeon.model.model import Source, load, named
from onnxsurgeon.notebook import Shown
from onnxsurgeon.options.parsing import is_own, resolved
from onnxsurgeon.options.record import takes
from onnxsurgeon.runtime.carried_states import opened_with_states
from onnxsurgeon.runtime.runnable_file import runnable_file
from onnxsurgeon.runtime.session import Session

Run = tuple[Batch, Arrays, Arrays | None]  # a batch, the model's outputs for it, and those of the other model
Counted = Callable[[int, int], None]  # (samples done, samples in all)


@dataclass(frozen=True, repr=False)
class Score(Shown):
    """The result of `evaluate`. higher: whether higher is better. output: the scored output, empty for all of them.
    against: the model whose outputs were the targets, if any. provider: the execution provider that ran the model."""

    metric: str
    value: float
    higher: bool
    output: str
    against: str
    samples: int
    provider: str

    def line(self) -> str:
        return f"{self.metric} {self.value:.4g} on {self.samples} samples"

    def table(self) -> Iterator[Sequence[object]]:
        yield tuple(vars(self))
        yield tuple(vars(self).values())

    def loss(self, other: Score) -> float:
        """How much worse `other` is: negative if it is better, NaN if one of the values is."""
        return (self.value - other.value) if self.higher else (other.value - self.value)


@takes(EvaluateOptions)
def evaluate(model: Source, data: Data | str | os.PathLike[str], options: EvaluateOptions) -> Score:
    """The score of `model` on `data`.

    Raises UsageError if the metric and the data don't fit together, ModelError if the model can't run.
    """
    with ExitStack() as stack:
        path = stack.enter_context(runnable_file(model))
        against = None if options.against is None else stack.enter_context(runnable_file(options.against))
        return _evaluate(path, against, data, options)


def _evaluate(
    model: Path, against: Path | None, data: Data | str | os.PathLike[str], options: EvaluateOptions
) -> Score:
    metric = options.metric
    function = import_function(metric, "`metric`") if is_own(metric) else resolved(known(metric).function)
    if not isinstance(data, Data):
        data = opened_with_states(data, load(model), options, options.device)
    session = Session(model, options.device)
    other = None if against is None else Session(against, options.device)
    runs, name = _runs(session, other, data, options.progress), ""
    if is_own(metric):
        if options.output_name is not None:
            raise UsageError("`output_name` does not go with a metric of your own", fix="it is given all outputs")
        with explain_errors(f"metric {metric} failed"):
            value = float(function(_whole(runs)))
    else:
        if not (data.labelled or other):
            raise UsageError(
                f"{metric} needs labels", why=f"`data` {data.spec} has none",
                fix="add an array `labels`, or labels.csv to images; `against=ORIGINAL` compares with a model",
            )  # fmt: skip
        name = _output(session, options.output_name, str(model))
        if other is not None:
            _output(other, name, f"`against` {against}")
        counted = known(metric).targets == "classes" and other is None
        value = function(_pairs(runs, name, data.source.classes if counted else None))
    higher = not getattr(function, "lower_is_better", not known(metric).higher)
    return Score(
        metric, value, higher, name, named(options.against) if options.against else "", len(data), session.provider
    )


def _output(session: Session, wanted: str | None, of: str) -> str:
    names = [str(o.name) for o in session.session.get_outputs()]
    if wanted is None and len(names) == 1:
        return names[0]
    if wanted is not None and wanted in names:
        return wanted
    raise UsageError(
        f"{of} has no output {wanted}" if wanted else f"{of} has several outputs", why=f"outputs: {', '.join(names)}",
        fix="choose one with `output_name`",
    )  # fmt: skip


def _runs(session: Session, other: Session | None, data: Data, progress: Counted | None) -> Iterator[Run]:
    done = 0
    for batch in data.batches():
        if progress is not None:
            progress(done, len(data))
        yield batch, session.run(batch.feed), None if other is None else other.run(batch.feed)
        done += batch.count


def _whole(runs: Iterator[Run]) -> Iterator[tuple[dict[str, Any], Any]]:
    """The arguments of a user's metric: all outputs by name, and labels (or all outputs of the other model)."""
    for batch, outputs, right in runs:
        yield parts(outputs, batch), batch.labels if right is None else parts(right, batch)


def parts(outputs: Arrays, batch: Batch) -> dict[str, Any]:
    """All outputs without padding; outputs that are not tensors are unchanged."""
    return {n: _part(n, a, batch) if isinstance(a, np.ndarray) else a for n, a in outputs.items()}


def _pairs(runs: Iterator[Run], name: str, classes: int | None) -> Pairs:
    """(output, targets) of each batch. classes: the number of class folders, if labels are positions in their list."""
    for batch, outputs, right in runs:
        said = _part(name, outputs[name], batch)
        wanted = batch.labels if right is None else _part(name, right[name], batch)
        assert wanted is not None
        if right is not None and not alike(said, wanted):
            raise UsageError(
                f"the outputs {name} of the two models can't be compared",
                why=f"their shapes are {said.shape} and {wanted.shape}",
                fix="give a model in `against` with the same outputs, or leave it out and give labels among `data`",
            )
        if classes is not None and said.dtype.kind == "f" and classes != said[0].size:
            raise UsageError(
                f"{classes} folders of images for {said[0].size} classes", why="not by class number",
                fix="name the folders by the numbers of the classes, or write labels.csv: file,number",
            )  # fmt: skip
        yield said, wanted


def _part(name: str, array: Any, batch: Batch) -> np.ndarray:
    """The samples of an output, without padding; shape (samples, ...)."""
    if not isinstance(array, np.ndarray):
        raise UsageError(f"output {name} is not a tensor", why=f"it is a {type(array).__name__}", fix="choose another")
    if array.shape[:1] == (batch.size,):
        return array[: batch.count]
    if batch.size == 1:
        return array[None]
    raise UsageError(
        f"output {name} can't be split into samples", why=f"its shape is {array.shape} for {batch.size} samples",
        fix="choose another with `output_name`, or `batch=1`",
    )  # fmt: skip
