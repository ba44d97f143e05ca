"""Trains a model on data: from options to a model with other weights."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import Arrays
from onnxsurgeon.data import image_inputs
from onnxsurgeon.files import uninterrupted
from onnxsurgeon.model.editor import copied, set_tensor
from onnxsurgeon.model.model import Model, Source, as_model
from onnxsurgeon.ops.nodes import constant
from onnxsurgeon.options.record import takes
from onnxsurgeon.options.shared import Counted
from onnxsurgeon.training import checkpoints
from onnxsurgeon.training.augmentations import require_fit
from onnxsurgeon.training.collecting import Collection
from onnxsurgeon.training.learning_rate import written
from onnxsurgeon.training.options import TrainOptions
from onnxsurgeon.training.padded_batches import parts_of
from onnxsurgeon.training.schedules import rate
from onnxsurgeon.training.step_graph import STATISTICS, WEIGHTS
from onnxsurgeon.training.task import TrainingTask, task_of
from onnxsurgeon.training.trained import Epoch, Trained
from onnxsurgeon.training.trainer import NotFiniteError

INTERRUPTED = "interrupted"  # why a training stopped
STATE, BEST, COLLECTED = "state", "best", "collected"  # parts of a checkpoint
GENTLER, TRIES = 0.3, 4  # a rate that did harm is multiplied by this, so often


@takes(TrainOptions)
def train(model: Source, data: Any, options: TrainOptions) -> Trained:
    """The model with trained weights; its graph is the same.

    data: a path, `module:function`, opened data, a function that yields batches, or an iterable of them: each a dict of
    arrays, or a pair of that and the labels. A KeyboardInterrupt ends the training and keeps what it has reached.
    Raises UsageError if the data, the labels and the loss don't fit together; ModelError if nothing can be trained.
    """
    source = as_model(model)
    began = time.perf_counter()
    options.announce("prepare", "gradients")
    collection = None if options.collect is None else Collection(source.ir, options)
    task = task_of(source, data, options, None if collection is None else collection.watch)
    run = _Training(task, options, collection)
    run.begin()
    ready = time.perf_counter()
    with suppress(KeyboardInterrupt):
        run.epochs()
    trained = time.perf_counter()
    return run.result(source, {"prepare": ready - began, "train": trained - ready})


class _Training:
    """A training under way. done: epochs that are over. best: the weights that are kept so far, and their epoch.

    harmful: how many learning rates did harm, and were followed by a lower one.
    """

    def __init__(self, task: TrainingTask, options: TrainOptions, collection: Collection | None) -> None:
        self.collection = collection
        self.task, self.options, self.trainer = task, options, task.trainer
        self.size, self.stride, self.count = task.size, task.stride, len(task.samples)
        self.steps = ceil(self.count / self.stride)  # of an epoch
        self.done, self.at, self.lost = list[Epoch](), 0, 0.0
        self.seconds, self.kept, self.stopped, self.harmful = 0.0, 0, INTERRUPTED, 0
        self.last_saved = time.monotonic()
        self.widths = image_inputs(task.samples.data.expected.inputs)
        inputs = "; ".join(map(str, task.samples.data.expected.inputs))
        require_fit(options.augment, self.widths, inputs, self.size)

    def begin(self) -> None:
        """Scores the start, or goes on from a checkpoint."""
        options, path = self.options, None if self.options.checkpoint is None else Path(self.options.checkpoint)
        self.best = self.trainer.weights()
        if options.resume and path is not None and path.exists():
            parts, about = checkpoints.load(path, self.request)
            self.trainer.start(state=parts[STATE])
            self.best = self._unpacked(parts[BEST])
            if self.collection is not None:
                self.collection.start(parts.get(COLLECTED, {}))
            self.done = [Epoch(**epoch) for epoch in about["epochs"]]
            self.at, self.lost, self.kept, self.harmful = (about[k] for k in ("step", "loss", "kept", "harmful"))
            self.before, self.top, self.seconds = about["before"], about["top"], about["seconds"]
            return
        options.announce("score", "before training")
        self.before = self.top = self.task.judge.score(self.trainer.predict)

    @property
    def request(self) -> dict[str, Any]:
        """What must be the same for a checkpoint to go on."""
        asked = {**self.options.report(), "batch": self.stride, "samples of data": self.count}
        ignored = ("checkpoint", "every", "resume", "progress", "device", "threads", "memory")
        found = {name: value for name, value in asked.items() if name not in ignored}
        start = self.trainer.initial
        found["rate"] = self.options.peak
        found["weights"] = float(sum(float(np.abs(array).sum(dtype=np.float64)) for array in start.values()))
        return {name: [list(v) if isinstance(v, tuple) else v for v in value] if isinstance(value, list) else value
                for name, value in found.items()}  # fmt: skip

    def epochs(self) -> None:
        while len(self.done) < self.options.epochs:
            try:
                self._epoch()
            except NotFiniteError as problem:
                if not self._goes_gentler(problem.why):
                    self.stopped = f"{problem.what}: {problem.why}"
                    return
                continue
            if self._worse and self._goes_gentler(f"score {self.before:.4g} -> {self.done[0].score:.4g}"):
                continue
            going = self.options.on_epoch is None or self.options.on_epoch(self.done[-1]) is not False
            if not going:
                self.stopped = "`on_epoch` ended it"
                return
            if len(self.done) < self.options.epochs:
                self._save(soon=False)
        self.stopped = ""
        self._save(soon=True)

    def _epoch(self) -> None:
        number, options = len(self.done), self.options
        order = np.random.default_rng([options.seed, number]).permutation(self.count)
        total = options.epochs * self.steps
        while self.at < self.steps:
            began = time.perf_counter()
            done = number * self.steps + self.at
            rng = np.random.default_rng([options.seed, number, self.at])
            chosen = order[self.at * self.stride : (self.at + 1) * self.stride]
            parts = list(parts_of(self.task, chosen, order, options.augment, self.widths, rng))
            with uninterrupted():  # what is saved is the state between two steps
                taken = self.trainer.step(parts, self._rate(done), rng)
                if self.collection is not None:
                    for part, found in zip(parts, taken.watched, strict=True):
                        self.collection.add(done, found, part.shares)
                self.lost += taken.loss * len(chosen)
                self.at += 1
            self.seconds += time.perf_counter() - began
            seen = min(self.at * self.stride, self.count)
            speed = f"{seen / self.seconds:.0f} samples/s" if self.seconds else ""
            text = f"epoch {number + 1}: loss {self.lost / seen:.4g}, {speed}"
            options.announce("train", Counted(done + 1, total, text))
            self._save(soon=False)
        score = self.task.judge.score(self.trainer.predict) if self._scores else None
        epoch = Epoch(
            number + 1,
            self.lost / self.count,
            score,
            self._rate(self.steps * (number + 1) - 1),
            self.seconds,
            self.count,
        )
        with uninterrupted():
            self.done.append(epoch)
            self._keep(score, number + 1)
            self.at, self.lost, self.seconds = 0, 0.0, 0.0
        options.announce("train", str(epoch))

    @property
    def _worse(self) -> bool:
        """Whether the first epoch is over and did harm."""
        score = self.done[0].score if len(self.done) == 1 else None
        return score is not None and not self.task.judge.holds(score, self.before)

    def _goes_gentler(self, why: str) -> bool:
        """Begins again with a lower learning rate, if the first epoch did harm with one that nobody asked for."""
        if self.options.lr is not None or len(self.done) > 1 or self.harmful == TRIES:
            return False
        was, self.harmful = self.peak, self.harmful + 1
        self.options.announce("train", f"a rate of {was} did harm ({why}): again at {self.peak}")
        self.trainer.start()
        if self.collection is not None:
            self.collection.start({})
        self.done, self.at, self.lost, self.seconds = [], 0, 0.0, 0.0
        self.best, self.top, self.kept = self.trainer.weights(), self.before, 0
        return True

    @property
    def peak(self) -> str:
        """The highest learning rate, as text."""
        return written(self._highest, self.options.peak)

    @property
    def _highest(self) -> float:
        return self.options.rate * GENTLER**self.harmful

    def _keep(self, score: float | None, number: int) -> None:
        """Keeps the weights as those of epoch `number`: if they are the best so far, or the last ones count."""
        better = score is not None and self.task.judge.holds(score, self.top)
        if better or not self._chooses:
            self.best, self.kept = self.trainer.weights(), number
            self.top = self.top if score is None else score

    def _rate(self, step: int) -> float:
        options = self.options
        warmup = round(options.warmup * self.steps)
        return rate(options.schedule, self._highest, step, options.epochs * self.steps, warmup)

    @property
    def _chooses(self) -> bool:
        """Whether the best weights count, not the last ones."""
        return self.task.held_out or self.options.only_better

    @property
    def _scores(self) -> bool:
        """Whether the next epoch is scored: there are held-out samples, or it is the last one, or the first one at a
        rate that nobody asked for."""
        first = not self.done and self.options.lr is None
        return self.task.held_out or first or len(self.done) + 1 == self.options.epochs

    def _save(self, *, soon: bool) -> None:
        """Writes a checkpoint where one is due."""
        options, now = self.options, time.monotonic()
        if options.checkpoint is None or not (soon or now - self.last_saved >= 60 * options.every):
            return
        self.last_saved = now
        about = {
            "request": self.request, "harmful": self.harmful, "step": self.at, "loss": self.lost, "kept": self.kept,
            "before": self.before, "top": self.top, "seconds": self.seconds,
            "epochs": [vars(epoch) for epoch in self.done],
        }  # fmt: skip
        trainer = self.trainer
        best = {WEIGHTS: trainer.layout.pack(self.best), STATISTICS: trainer.statistics.pack(self.best)}
        collected = {} if self.collection is None else self.collection.state()
        checkpoints.save(
            Path(options.checkpoint), {STATE: trainer.state(), BEST: best, COLLECTED: collected}, about
        )  # fmt: skip

    def _unpacked(self, vectors: Arrays) -> Arrays:
        trainer = self.trainer
        return {**trainer.layout.unpack(vectors[WEIGHTS]), **trainer.statistics.unpack(vectors[STATISTICS])}

    def result(self, source: Model, seconds: Mapping[str, float]) -> Trained:
        """Writes the best weights into a copy of the model."""
        if self.stopped:
            self._save(soon=self.stopped == INTERRUPTED)
        task, options = self.task, self.options
        if self.collection is not None and options.collect is not None:
            self.collection.save(Path(options.collect))
        unscored = self._chooses and not task.held_out and 0 < len(self.done) < options.epochs
        if (self.at and (self.stopped == INTERRUPTED or not task.held_out)) or unscored:  # within an epoch, or early
            score = task.judge.score(self.trainer.predict)
            if score != self.top or not task.held_out:
                self._keep(score, len(self.done) + (self.at > 0))
        after = task.judge.score(lambda feed: self.trainer.predict(feed, self.best))
        result = copied(source.ir)
        put(result, task.folded(self.best))
        batch = task.samples.data.expected.size or 1  # the file may take no other number
        feed, _ = task.batch(np.resize(np.arange(self.count), batch * max(1, min(self.size, self.count) // batch)))
        expected = self.trainer.predict(feed, self.best)
        names = tuple(self.trainer.layout.shapes)
        return Trained(
            source, result, options, tuple(self.done), self.peak, self.kept, task.judge.metric, task.judge.higher,
            self.before, after, task.judge.where, self.stopped, names, self.trainer.lost,
            self.stride // options.accumulate, self.trainer.provider, (task.narrow(feed), expected), seconds,
        )  # fmt: skip


def put(model: ir.Model, weights: Arrays) -> None:
    """Writes these weights, in the types that the model has them in."""
    values = {v.name or "": v for node in model.graph for v in node.inputs if v is not None and constant(v) is not None}
    for name, array in weights.items():
        tensor = constant(values[name])
        assert tensor is not None
        set_tensor(values[name], ir.Tensor(array.astype(tensor.numpy().dtype), name=tensor.name))
