"""The smallest model that is still good enough: bisection over the ratio, each candidate pruned and scored."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from onnxsurgeon.data import Data
from onnxsurgeon.errors import InfeasibleError, UsageError
from onnxsurgeon.evaluation.metrics import DIFFERENCES
from onnxsurgeon.evaluation.score import Score, evaluate
from onnxsurgeon.model.model import Model
from onnxsurgeon.model.write import write
from onnxsurgeon.pruning.budgets import Progress
from onnxsurgeon.pruning.prune import Result
from onnxsurgeon.runtime.session import Device

RESOLUTION = 0.005  # of the ratio
LEAST = 1e-6  # a ratio that the smallest cut meets
ROUNDING = 1e-9  # of a drop


@dataclass(frozen=True)
class Trial:
    """A candidate. drop: how much worse it is than the original; infinite where no selection has that ratio."""

    ratio: float
    drop: float


@dataclass(frozen=True)
class Found:
    """The smallest model that was good enough, how good the original and it are, and all that was tried."""

    result: Result
    before: Score
    after: Score
    trials: tuple[Trial, ...]


@dataclass(frozen=True)
class Examiner:
    """Scores models on the same data by the same metric; see `evaluate`.

    Where the data have no targets (no labels, or numbers of classes), differences are taken from what `original` says.
    """

    original: Model
    data: Data
    metric: str = "top1"
    output: str | None = None
    device: Device = "auto"

    @cached_property
    def against(self) -> Path | None:
        if self.metric not in DIFFERENCES:
            return None
        labels = next(self.data.batches()).labels
        targets = labels is not None and not (labels.ndim == 1 and labels.dtype.kind in "iu")
        return None if targets else self.original.path

    def file(self, path: Path) -> Score:
        return evaluate(
            path, self.data, metric=self.metric, against=self.against, output=self.output, device=self.device
        )  # fmt: skip

    def result(self, result: Result) -> Score:
        """Of a pruned model, as it will be written."""
        with tempfile.TemporaryDirectory(prefix="onnxsurgeon-") as folder:
            path = Path(folder) / "model.onnx"
            write(result.ir, path)
            return self.file(path)


def smallest(
    pruned: Callable[[float], Result], examiner: Examiner, *, max_drop: float, progress: Progress | None = None
) -> Found:
    """The candidate of the largest ratio found whose score is worse than the original's by `max_drop` at most.

    pruned: the candidate of a ratio, like `lambda ratio: prune(model, ratio=ratio)`. The score is taken to fall with
    the ratio; where it does not, a smaller one may exist. Raises InfeasibleError where no candidate is good enough.
    """
    if not 0 <= max_drop < math.inf:
        raise UsageError(f"--max-drop {max_drop} makes no sense", why="wanted: 0 or more", fix="0.01 is one point")
    report = progress or (lambda stage, detail: None)
    report("score", "the original")
    before = examiner.file(examiner.original.path)
    if not math.isfinite(before.value):
        raise UsageError(
            f"--max-drop can't be measured by {before.metric}", why=f"the original's is {before.value}",
            fix="choose another --score",
        )  # fmt: skip
    search = _Search(pruned, examiner, before, max_drop, report)
    low, high = 0.0, 1.0
    while high - low > RESOLUTION:
        middle = (low + high) / 2
        low, high = (middle, high) if search.good(middle) else (low, middle)
    if not search.best and not search.good(LEAST):
        raise search.failure()
    result, after = search.best[-1]
    return Found(result, before, after, tuple(search.trials))


@dataclass
class _Search:
    pruned: Callable[[float], Result]
    examiner: Examiner
    before: Score
    max_drop: float
    report: Progress
    trials: list[Trial] = field(default_factory=list)
    best: list[tuple[Result, Score]] = field(default_factory=list)  # the last one that was good, if any

    def good(self, ratio: float) -> bool:
        """Tries a ratio."""
        self.report("try", f"candidate {len(self.trials) + 1}: ratio {ratio:.3g}")
        try:
            result = self.pruned(ratio)
        except InfeasibleError:
            self.trials.append(Trial(ratio, math.inf))
            return False
        self.report("score", f"candidate {len(self.trials) + 1}: ratio {ratio:.3g}")
        after = self.examiner.result(result)
        drop = self.before.loss(after)
        self.trials.append(Trial(ratio, math.inf if math.isnan(drop) else drop))
        self.report("score", f"candidate {len(self.trials)}: {after.metric} {after.value:.4g}, worse by {drop:.4g}")
        if self.trials[-1].drop > self.max_drop + ROUNDING:
            return False
        self.best = [(result, after)]
        return True

    def failure(self) -> InfeasibleError:
        nearest = min(self.trials, key=lambda trial: trial.drop)
        why = f"the original's {self.before.metric} is {self.before.value:.4g}; "
        if math.isfinite(nearest.drop):
            why += f"the best of {len(self.trials)} candidates, at ratio {nearest.ratio:.3g}, loses {nearest.drop:.4g}"
        else:
            why += "no selection meets the budgets, or its score is no number"
        return InfeasibleError(
            f"no smaller model was found that loses at most {self.max_drop:g}", why=why,
            fix="allow more with --max-drop, or choose another --importance",
        )  # fmt: skip
