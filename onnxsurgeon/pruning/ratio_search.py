"""Finds the smallest model that is good enough: bisects the ratio, prunes and scores each candidate."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

from onnxsurgeon.data import Data
from onnxsurgeon.dependency.interface import narrowed, positions
from onnxsurgeon.errors import InfeasibleError, UsageError
from onnxsurgeon.evaluation.score import Score, evaluate
from onnxsurgeon.metrics import metric
from onnxsurgeon.model.model import Model, Source
from onnxsurgeon.options.shared import Device
from onnxsurgeon.pruning.options import PruneOptions
from onnxsurgeon.pruning.result import Result, Scored, Trial

RESOLUTION = 0.005  # of the ratio
LEAST = 1e-6  # a ratio that any cut meets
ROUNDING = 1e-9  # of a drop


@dataclass(frozen=True)
class Examiner:
    """Scores models on the same data by the same metric; see `evaluate`.

    If the data have no targets (no labels, or class numbers), the outputs of `original` are the targets.
    """

    original: Model
    data: Data
    metric: str = "top1"
    output: str | None = None
    device: Device = "auto"

    @cached_property
    def against(self) -> Model | None:
        if metric(self.metric).targets != "outputs":
            return None
        labels = next(self.data.batches()).labels
        targets = labels is not None and not (labels.ndim == 1 and labels.dtype.kind in "iu")
        return None if targets else self.original

    def file(self, model: Source, data: Data | None = None) -> Score:
        """The score of a model. data: as the model takes them, if that differs."""
        return evaluate(
            model, data or self.data, metric=self.metric, against=self.against, output_name=self.output,
            device=self.device,
        )  # fmt: skip

    def result(self, result: Result) -> Score:
        """The score of a pruned model, as it will be written."""
        narrow = partial(narrowed, places=positions(result.labels, result.keep))
        return self.file(result.model, self.data.seen(narrow))


def search(pruned: Callable[[float], Result], examiner: Examiner, options: PruneOptions) -> Result:
    """The candidate with the largest ratio whose score is at most `max_drop` worse than the original's.

    pruned: returns the candidate for a ratio. The search assumes that the score falls as the ratio rises; otherwise a
    smaller model may exist. Raises InfeasibleError if no candidate is good enough.
    """
    options.announce("score", "the original")
    before = examiner.file(examiner.original)
    if not math.isfinite(before.value):
        raise UsageError(
            f"`max_drop` can't be measured by {before.metric}", why=f"the original scores {before.value}",
            fix="choose another `metric`",
        )  # fmt: skip
    trials = _Search(pruned, examiner, before, options)
    low, high = 0.0, 1.0
    while high - low > RESOLUTION:
        middle = (low + high) / 2
        low, high = (middle, high) if trials.good(middle) else (low, middle)
    if not trials.best and not trials.good(LEAST):
        raise trials.failure()
    result, after = trials.best[-1]
    return replace(result, score=Scored(before, after, tuple(trials.trials)))


@dataclass
class _Search:
    pruned: Callable[[float], Result]
    examiner: Examiner
    before: Score
    options: PruneOptions
    trials: list[Trial] = field(default_factory=list)
    best: list[tuple[Result, Score]] = field(default_factory=list)  # the last good one, if any

    def good(self, ratio: float) -> bool:
        """Whether the candidate of a ratio is good enough."""
        self.options.announce("try", f"candidate {len(self.trials) + 1}: ratio {ratio:.3g}")
        try:
            result = self.pruned(ratio)
        except InfeasibleError:
            self.trials.append(Trial(ratio, math.inf))
            return False
        self.options.announce("score", f"candidate {len(self.trials) + 1}: ratio {ratio:.3g}")
        after = self.examiner.result(result)
        drop = self.before.loss(after)
        self.trials.append(Trial(ratio, math.inf if math.isnan(drop) else drop))
        self.options.announce(
            "score", f"candidate {len(self.trials)}: {after.metric} {after.value:.4g}, worse by {drop:.4g}"
        )
        if self.trials[-1].drop > float(self.options.max_drop or 0) + ROUNDING:
            return False
        self.best = [(result, after)]
        return True

    def failure(self) -> InfeasibleError:
        nearest = min(self.trials, key=lambda trial: trial.drop)
        why = f"the original's {self.before.metric} is {self.before.value:.4g}; "
        if math.isfinite(nearest.drop):
            why += f"the best of {len(self.trials)} candidates, at ratio {nearest.ratio:.3g}, loses {nearest.drop:.4g}"
        else:
            why += "no selection meets the budgets, or its score is not a number"
        return InfeasibleError(
            f"no smaller model was found that loses at most {float(self.options.max_drop or 0):g}", why=why,
            fix="allow a larger `max_drop`, or choose another `importance`",
        )  # fmt: skip
