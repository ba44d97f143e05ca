"""The options of `train`: one record, for Python, the command line and the JSON report."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Literal, get_args

from onnxsurgeon import metrics
from onnxsurgeon.errors import UsageError
from onnxsurgeon.options.parsing import amount, at_least, number, path, positive_or_zero, share, texts, word_in, word_of
from onnxsurgeon.options.record import DATA, OUTPUT, RUN, STAY, TRAIN, Options, option
from onnxsurgeon.options.shared import SPEC, OfData, OfGradients, Progress, RunsOn
from onnxsurgeon.training import augmentations, losses
from onnxsurgeon.training.learning_rate import RELATIVE, factor, learning_rate
from onnxsurgeon.training.losses import LossRecord
from onnxsurgeon.training.optimisers import OPTIMISERS, Optimiser
from onnxsurgeon.training.schedules import SCHEDULES

Norms = Literal["auto", "batch", "frozen"]
OF_VAL = "Held-out samples, as `data`: scored after each epoch, and the best epoch is kept."
_positive = number("more than 0", lambda x: 0 < x < inf)
_part = share("from 0 up to 1", lambda x: 0 <= x < 1)


def _own_or_path(value: Any, name: str) -> Any:
    return path(value, name) if isinstance(value, str | os.PathLike) else value


@dataclass(frozen=True, kw_only=True)
class Learning(Options):
    """What is minimised, and how."""

    loss: str = option(
        "cross-entropy", f"What is minimised: {', '.join(losses.LOSSES)}.", panel=TRAIN, metavar="WORD",
        words=lambda: losses.LOSSES, read=word_in(losses.LOSSES),
    )  # fmt: skip
    teacher: Any = option(
        None, "The model whose outputs the loss distill imitates.", panel=TRAIN, metavar="MODEL", read=_own_or_path,
        reported=False,
    )  # fmt: skip
    temperature: float = option(4.0, "What distill divides class scores by.", panel=TRAIN, metavar="X", read=_positive)
    match: Sequence[str] | str = option(
        (), "Distill also imitates this value inside both models. Repeatable.", panel=TRAIN, metavar="NAME",
        read=texts,
    )  # fmt: skip
    epochs: int = option(10, "Passes over `data`.", panel=TRAIN, metavar="N", read=at_least(1))
    optimiser: str = option(
        "adamw", "How weights move.", panel=TRAIN, words=lambda: OPTIMISERS, read=word_of(lambda: OPTIMISERS)
    )
    lr: float | str | None = option(
        None, "Learning rate: a number, or in percent of each weight's root mean square.", panel=TRAIN, metavar="X",
        kind=str, read=learning_rate, shown=f"0.05 with sgd, {RELATIVE} with adam and adamw",
    )  # fmt: skip
    schedule: str = option(
        "cosine", "How the learning rate changes.", panel=TRAIN, words=lambda: SCHEDULES,
        read=word_of(lambda: SCHEDULES),
    )  # fmt: skip
    warmup: float = option(
        0.0, "Epochs in which the learning rate rises from 0.", panel=TRAIN, metavar="EPOCHS", read=positive_or_zero
    )
    weight_decay: float = option(
        0.0, "Shrinks weights, but no biases and no norms.", panel=TRAIN, metavar="X", read=positive_or_zero
    )
    momentum: float | str = option(0.9, "Of sgd.", panel=TRAIN, metavar="X", kind=str, read=_part)
    nesterov: bool = option(False, "Use Nesterov's momentum in sgd.", panel=TRAIN)
    clip: float | None = option(
        None, "The largest norm of a gradient.", panel=TRAIN, metavar="X", kind=float, read=_positive
    )
    accumulate: int = option(1, "Batches whose gradients make one step.", panel=TRAIN, metavar="N", read=at_least(1))
    ema: float | str | None = option(
        None, "Keep the mean of the weights, with this share of it in each step, like 0.999.", panel=TRAIN,
        metavar="SHARE", kind=str, read=_part,
    )  # fmt: skip
    augment: Any = option(
        (), f"Change pictures at random: {', '.join(augmentations.AUGMENTATIONS)}, each with a strength like shift:0.1."
        " Repeatable.", panel=TRAIN, metavar="WORD", kind=str, read=augmentations.read,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Learned(Options):
    """What of the model is trained."""

    freeze: Sequence[str] | str = option(
        (), "Leave these nodes or weights as they are. Repeatable.", panel=STAY, metavar="GLOB", read=texts
    )
    norms: Norms = option(
        "auto", "Batch normalisation by the statistics of each batch, or by those in the file; auto: frozen where"
        " batches have fewer than 8 samples.", panel=STAY, words=lambda: get_args(Norms),
        read=word_of(lambda: get_args(Norms)),
    )  # fmt: skip
    dropout: bool = option(
        True, "Dropout nodes of the file drop in training.", panel=STAY, declared="--no-dropout",
        off="Dropout nodes of the file do nothing in training.",
    )  # fmt: skip
    unfold_bn: bool = option(
        False, "While training, put a batch normalisation behind each convolution with a bias, where it was folded.",
        panel=TRAIN,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Running(OfGradients):
    """How a training is judged and goes on."""

    val: Any = option(None, OF_VAL, panel=DATA, metavar=SPEC, reported=False)
    metric: str | None = option(
        None, f"The score of an epoch: {', '.join(metrics.METRICS)}.", panel=DATA, metavar="WORD",
        words=lambda: metrics.METRICS, read=word_in(metrics.METRICS), shown="by `loss`",
    )  # fmt: skip
    only_better: bool = option(
        False, "Without `val`: write the weights as they were, if the trained ones score worse on `data` itself.",
        panel=DATA,
    )  # fmt: skip
    output_name: str | None = option(None, "The output to train, if the model has several.", panel=DATA, metavar="NAME")
    memory: float | str | None = option(
        None, "Choose the largest `batch` that trains within this memory, like 2GB.", panel=DATA, metavar="SIZE",
        kind=str, read=amount(of_bytes=True, least=2**20),
    )  # fmt: skip
    threads: int | None = option(
        None, "Threads of onnxruntime.", panel=RUN, metavar="N", kind=int, read=at_least(1), shown="one per core"
    )
    checkpoint: str | os.PathLike[str] | None = option(
        None, "Save the state of the training here.", panel=OUTPUT, metavar="FILE.npz", read=path
    )
    collect: str | os.PathLike[str] | None = option(
        None, "Write what channels are worth by the criterion taylor, collected from the gradients of the training, to"
        " this file: for prune with `importance=file:FILE.npz`.", panel=OUTPUT, metavar="FILE.npz", read=path,
    )  # fmt: skip
    every: float = option(
        5.0, "Minutes between two checkpoints.", panel=OUTPUT, metavar="MINUTES", read=positive_or_zero
    )
    resume: bool = option(
        False, "Go on from `checkpoint`, if it is there: the result is that of no interruption.", panel=OUTPUT
    )
    on_epoch: Callable[[Any], object] | None = option(
        None, "Called with each finished `Epoch`; what it returns is ignored, unless it is False: that ends the"
        " training.", panel=OUTPUT, in_shell=False, reported=False,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class TrainOptions(Progress, RunsOn, OfData, Running, Learned, Learning):
    """All options of `train`. Raises UsageError if they do not fit together."""

    def check(self) -> None:
        super().check()
        teaches = self.record.labels == "teacher"
        if teaches != (self.teacher is not None):
            raise UsageError(
                f"`loss={self.loss}` and `teacher` don't go together",
                why="there is no teacher" if teaches else "this loss asks no teacher",
                fix="give `loss=distill` with `teacher=MODEL`",
            )
        if self.match and not teaches:
            raise UsageError("`match` needs a teacher", fix="give `loss=distill` with `teacher=MODEL`")
        if self.resume and self.checkpoint is None:
            raise UsageError("`resume` needs `checkpoint`", why="there is no file to go on from", fix="name it")
        if self.memory is not None and self.batch is not None:
            raise UsageError("`memory` and `batch` exclude each other", why="both set the batch", fix="give one")
        if self.relative and not self.how.relative:
            raise UsageError(
                f"`lr={self.lr}` is not for sgd", why="its steps grow with the gradient, whatever the weights are",
                fix="give a number, or choose `optimiser=adamw`",
            )  # fmt: skip
        if self.nesterov and self.optimiser != "sgd":
            raise UsageError("`nesterov` is for sgd", why=f"`optimiser` is {self.optimiser}", fix="leave it out")

    @property
    def record(self) -> LossRecord:
        return losses.loss(self.loss)

    @property
    def how(self) -> Optimiser:
        return OPTIMISERS[self.optimiser]

    @property
    def settings(self) -> dict[str, float]:
        """The numbers of the optimiser."""
        given = {"momentum": float(self.momentum), "nesterov": float(self.nesterov)}
        return {name: given.get(name, value) for name, value in self.how.settings.items()}

    @property
    def peak(self) -> float | str:
        """The learning rate before schedule and warm-up."""
        return self.lr or (RELATIVE if self.how.relative else self.how.rate)

    @property
    def relative(self) -> bool:
        """Whether learning rates are relative to the size of each weight."""
        return isinstance(self.peak, str)

    @property
    def rate(self) -> float:
        return factor(self.peak)
