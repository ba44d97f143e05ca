"""One candidate's share of a generation, wherever it runs: bytes and settings in, bytes and numbers out.

What comes out depends only on what goes in, so that neither the number of workers nor their order matters. A share
that fails, is not finite or takes too long is no exception: it says what happened, and the candidate is the worst.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil
from typing import Any

import numpy as np
import onnx

from onnxsurgeon.arrays import IntArray
from onnxsurgeon.data import Data, Input, image_inputs, inputs_of, open_data
from onnxsurgeon.dependency.labels import label
from onnxsurgeon.dependency.measure import measure
from onnxsurgeon.dependency.spaces import spaces
from onnxsurgeon.errors import SurgeonError
from onnxsurgeon.model.editor import copied
from onnxsurgeon.model.model import Model, as_model
from onnxsurgeon.model.write import as_bytes
from onnxsurgeon.search.fitness import Measured
from onnxsurgeon.search.partitions import Partitions, Stream, held_out
from onnxsurgeon.training.options import TrainOptions
from onnxsurgeon.training.padded_batches import parts_of
from onnxsurgeon.training.schedules import rate
from onnxsurgeon.training.task import TrainingTask, task_of
from onnxsurgeon.training.train import put
from onnxsurgeon.training.training_set import TrainingSet, training_set

JUDGED = 256  # samples in a batch that is only judged
WARM_UP = 10  # a share begins with one step in so many at a rising rate: its optimiser has no momentum yet


@dataclass(frozen=True)
class Lessons:
    """What all candidates of a search are trained and judged on.

    data: a path or `module:function`. held_out: the share of its samples that judges. share: samples in a generation.
    learning: options of a training by name. seconds: when a share is too long. costs: those to measure. train_score:
    whether to judge on samples that were trained on, too.
    """

    data: str
    held_out: float
    share: int
    seed: int
    learning: tuple[tuple[str, Any], ...] = ()
    seconds: float | None = None
    costs: tuple[str, ...] = ("params", "macs")
    train_score: bool = False

    def options(self, **more: Any) -> TrainOptions:
        """Those of a training, with more of them."""
        return TrainOptions(**{**dict(self.learning), "seed": self.seed, **more})


@dataclass(frozen=True)
class Share:
    """A candidate and what it is to do. model: its .onnx file. before: its fitness so far."""

    id: str
    generation: int
    model: bytes
    optimiser: str
    lr: float
    batch: int
    before: float | None
    lessons: Lessons


@dataclass(frozen=True)
class Taught:
    """model: with the weights after the share; those before it where there was a problem."""

    id: str
    model: bytes
    measured: Measured


@dataclass(frozen=True)
class Ground:
    """The samples of a search, opened. rows: of those to train on. judges: the data of those that are held out."""

    samples: TrainingSet
    rows: IntArray
    judges: Data


@lru_cache(maxsize=2)
def ground(lessons: Lessons, inputs: tuple[Input, ...]) -> Ground:
    """Opened once in a process, for models with these inputs. Raises UsageError or ModelError where they can't be."""
    options = lessons.options()
    data = open_data(
        lessons.data, inputs, preprocess=options.preprocess, samples=options.samples, batch=None, seed=lessons.seed
    )
    samples = training_set(data)
    train, held = held_out(len(samples), lessons.held_out, lessons.seed)
    return Ground(samples, train, replace(samples.part(held), step=JUDGED))


def train_share(share: Share) -> Taught:
    """The candidate after its share, and what was measured. Never raises for what a candidate does wrong."""
    began = time.perf_counter()
    try:
        model, measured = _trained(share)
    except (SurgeonError, MemoryError) as problem:
        said = str(problem).replace("\n", "; ") or "out of memory"
        model, measured = share.model, Measured(problem=said)
    return Taught(share.id, model, replace(measured, before=share.before, seconds=time.perf_counter() - began))


def _trained(share: Share) -> tuple[bytes, Measured]:
    source, lessons = as_model(onnx.load_from_string(share.model)), share.lessons
    found = ground(lessons, inputs_of(source, lessons.options().shapes))
    options = lessons.options(optimiser=share.optimiser, lr=share.lr, threads=1, val=found.judges)
    task = task_of(source, found.samples.in_batches(min(share.batch, len(found.rows))), options)
    rows = _rows(lessons, found, share.generation)
    loss = _steps(task, share, rows, options)
    score = _signed(task, task.judge.data)
    result = copied(source.ir)
    put(result, task.folded(task.trainer.weights()))
    seen = None
    if lessons.train_score:
        few = found.samples.part(np.sort(rows[: len(found.judges)]))
        seen = _signed(task, replace(few, step=JUDGED))
    costs = _costs(Model(source.path, result, in_file=False), lessons.costs)
    return as_bytes(result), Measured(score, loss, costs, train_score=seen)


def _rows(lessons: Lessons, found: Ground, generation: int) -> IntArray:
    """The samples of a generation: the same for every candidate."""
    return found.rows[Partitions(Stream(len(found.rows), lessons.seed), lessons.share)[generation]]


def _steps(task: TrainingTask, share: Share, rows: IntArray, options: TrainOptions) -> float:
    """Trains on these samples; the mean loss. Raises NotFiniteError, or SurgeonError when it takes too long."""
    lessons = share.lessons
    widths, losses, began = image_inputs(task.samples.data.expected.inputs), list[float](), time.monotonic()
    steps = ceil(len(rows) / task.stride)
    for start in range(0, len(rows), task.stride):
        if lessons.seconds is not None and time.monotonic() - began > lessons.seconds:
            raise SurgeonError(f"it took more than {lessons.seconds:g} s", why=f"{start} of {len(rows)} samples")
        rng = np.random.default_rng([lessons.seed, share.generation, start])
        chosen = rows[start : start + task.stride]
        parts = list(parts_of(task, chosen, rows, options.augment, widths, rng))
        at = rate(options.schedule, options.rate, len(losses), steps, steps // WARM_UP)
        losses.append(task.trainer.step(parts, at, rng).loss)
    return float(np.mean(losses))


def _signed(task: TrainingTask, data: Data) -> float:
    """The score, higher for better."""
    judge = replace(task.judge, data=data)
    score = judge.score(task.trainer.predict)
    if not math.isfinite(score):
        raise SurgeonError("its score is not finite", why=f"{judge.metric} is {score}")
    return score if judge.higher else -score


def _costs(model: Model, wanted: tuple[str, ...]) -> Mapping[str, float]:
    labels = label(model.ir)
    found = measure(model, spaces(labels, np.zeros(labels.relations.count), wanted=wanted))
    return {word: float(found.costs[word]) for word in wanted if word in found.costs}
