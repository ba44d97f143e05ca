"""The result of a training: the same graph with other weights, not yet written."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import Arrays
from onnxsurgeon.data import inputs_of
from onnxsurgeon.data.model_inputs import Expected
from onnxsurgeon.errors import ProofError
from onnxsurgeon.model.model import Model, load
from onnxsurgeon.notebook import Shown
from onnxsurgeon.options.record import takes
from onnxsurgeon.options.shared import SaveOptions
from onnxsurgeon.proof.saving import pending
from onnxsurgeon.runtime.partial_runs import Segment
from onnxsurgeon.training.learning_rate import written
from onnxsurgeon.training.options import TrainOptions

CLOSE = {ir.DataType.FLOAT: 1e-3, ir.DataType.FLOAT16: 2e-2}  # how far outputs may differ, relative to their largest


@dataclass(frozen=True)
class Epoch:
    """A pass over the data. number: from 1. loss: the mean over its samples. score: after it; None where it is not
    measured. rate: the last learning rate; 0.01 of 1%. seconds: of its steps. samples: how many it trained on."""

    number: int
    loss: float
    score: float | None
    rate: float
    seconds: float
    samples: int

    @property
    def samples_per_second(self) -> float:
        return self.samples / self.seconds if self.seconds else 0.0

    def __str__(self) -> str:
        score = "" if self.score is None else f", score {self.score:.4g}"
        return f"epoch {self.number}: loss {self.loss:.4g}{score}, {self.samples_per_second:.0f} samples/s"


@dataclass(frozen=True, repr=False)
class Trained(Shown):
    """A trained model, not yet written.

    ir: the model with its new weights. epochs: those that were done. rate: the highest learning rate, as text. kept:
    the number of the epoch whose weights these are: 0 for the start, one more than all of them if that was not
    completed. metric, higher: what scores are, and whether higher is better. before, after: the scores. judged_on: the
    samples of the scores, in words. stopped: why the training ended early, if it did. names: of the weights that were
    trained. lost: by weight that no gradient reached, the node that ends it. probe: inputs, and what the trained model
    computed for them.
    """

    source: Model
    ir: ir.Model
    options: TrainOptions
    epochs: tuple[Epoch, ...]
    rate: str
    kept: int
    metric: str
    higher: bool
    before: float
    after: float
    judged_on: str
    stopped: str
    names: tuple[str, ...]
    lost: Mapping[str, str]
    batch: int
    provider: str
    probe: tuple[Arrays, Arrays]
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def model(self) -> Model:
        """The trained model, as it would be written."""
        return Model(self.source.path, self.ir, in_file=False)

    @property
    def verdict(self) -> str:
        """What came of it, in words."""
        better = (self.after > self.before) == self.higher and self.after != self.before
        change = "better" if better else "the same" if self.after == self.before else "worse"
        part = ", which is not complete" if self.kept > len(self.epochs) else ""
        which = (
            f"epoch {self.kept} of {self.options.epochs}{part}" if self.kept else "nothing was better than the start"
        )
        said = (
            f"{self.metric} {self.before:.4g} before, {self.after:.4g} after ({change}), on {self.judged_on}; {which}"
        )
        asked = written(self.options.rate, self.options.peak)
        said += "" if self.rate == asked else f"; at a rate of {self.rate}, as {asked} did harm"
        return f"{said}; stopped early: {self.stopped}" if self.stopped else said

    def line(self) -> str:
        return f"{self.source.path}: {self.verdict}"

    def table(self) -> Iterator[Sequence[object]]:
        yield "epoch", "loss", self.metric, "learning rate", "samples/s"
        for epoch in self.epochs:
            score = "" if epoch.score is None else f"{epoch.score:.4g}"
            rate = written(epoch.rate, self.rate)
            yield epoch.number, f"{epoch.loss:.4g}", score, rate, f"{epoch.samples_per_second:.0f}"

    @takes(SaveOptions)
    def save(self, path: str | os.PathLike[str], options: SaveOptions) -> float | None:
        """Writes the model to `path`, after its file was run on samples and computed what was trained.

        Returns how far it differed, relative to the largest output; None without `proof`. Raises ProofError if it
        differs, and then does not write; UsageError if `path` exists and may not be overwritten.
        """
        with pending(path, options) as file:
            file.write(self.ir)
            return _compared(self, load(file.path).ir) if options.proof else None


def _in_batches(segment: Segment, feed: Arrays, sampled: Sequence[str], size: int) -> Arrays:
    """What a model computes that takes no other number of samples at once."""
    starts = range(0, len(feed[sampled[0]]), size)
    parts = ({n: a[at : at + size] if n in sampled else a for n, a in feed.items()} for at in starts)
    runs = [segment.run(part, size) for part in parts]
    names = [value.name or "" for value in segment.wanted]
    return runs[0] if len(runs) == 1 else {name: np.concatenate([run[name] for run in runs]) for name in names}


def _compared(trained: Trained, model: ir.Model) -> float:
    """How far the outputs of the written model are from what was trained. Raises ProofError if too far."""
    feed, expected = trained.probe
    values = {v.name: v for node in model.graph for v in node.outputs}
    feed = {v.name or "": feed[v.name or ""] for v in model.graph.inputs if v.name in feed}
    segment, inputs = Segment(model, [values[name] for name in expected], "cpu"), Expected(inputs_of(model))
    found = segment.run(feed) if inputs.size is None else _in_batches(segment, feed, inputs.sampled, inputs.size)
    dtypes = {v.dtype for v in model.graph.initializers.values()}
    close, gap = max(CLOSE.get(dtype, 0.0) for dtype in (*dtypes, ir.DataType.FLOAT) if dtype is not None), 0.0
    for name, array in expected.items():
        wrong = np.abs(np.asarray(found[name], np.float64) - array)
        largest = float(np.abs(array).max(initial=0.0)) or 1.0
        gap = max(gap, float(wrong.max(initial=0.0)) / largest)
        if not gap <= close:
            raise ProofError(
                "the written model does not compute what was trained",
                why=f"{name} differs by {gap:.3g} of its largest number; {close:g} is allowed",
                fix="report it, with the model if you can",
            )
    return gap
