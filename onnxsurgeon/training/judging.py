"""The score of a model while it is trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from onnxsurgeon.arrays import Array, Arrays
from onnxsurgeon.data import Batch, Data
from onnxsurgeon.data.functions import explain_errors, import_function
from onnxsurgeon.errors import UsageError
from onnxsurgeon.metrics import metric as known
from onnxsurgeon.options.parsing import is_own, resolved
from onnxsurgeon.training.targets import TrainingTargets, wide

Predict = Callable[[Arrays], Arrays]


@dataclass(frozen=True)
class Judge:
    """Scores what a model predicts for `data`.

    said: the value that is scored; targets: gives it its targets, if those are no labels. where: the samples, in words.
    """

    data: Data
    metric: str
    said: str
    targets: TrainingTargets | None
    where: str

    @property
    def higher(self) -> bool:
        """Whether a higher score is better."""
        lower = getattr(import_function(self.metric, "`metric`"), "lower_is_better", False) if self._own else None
        return known(self.metric).higher if lower is None else not lower

    def holds(self, score: float, against: float) -> bool:
        """Whether a score is at least as good as another one."""
        return score >= against if self.higher else score <= against

    @property
    def _own(self) -> bool:
        return is_own(self.metric)

    def score(self, predict: Predict) -> float:
        if self._own:
            with explain_errors(f"metric {self.metric} failed"):
                return float(import_function(self.metric, "`metric`")(self._runs(predict)))
        pairs = ((found[self.said], right) for found, right in self._runs(predict))
        return float(resolved(known(self.metric).function)(pairs))

    def _runs(self, predict: Predict) -> Iterator[tuple[Arrays, Array]]:
        """(outputs, targets) of each batch, without padding."""
        for batch in self.data.batches():
            found = predict(wide(batch.feed))
            yield {name: _rows(array, batch) for name, array in found.items()}, self._right(batch)

    def _right(self, batch: Batch) -> Array:
        if self.targets is not None:
            return _rows(self.targets.of(wide(batch.feed), batch.labels, batch.size)[self.said], batch)
        if batch.labels is None:
            raise UsageError(
                f"{self.metric} needs labels", why=f"{self.data.spec} has none",
                fix="add an array `labels`, or train with `loss=distill` and a `teacher`",
            )  # fmt: skip
        return np.asarray(batch.labels)


def _rows(array: Array, batch: Batch) -> Array:
    """Those of the samples. Arrays that are not by sample stay whole."""
    return array[: batch.count] if array.shape[:1] == (batch.size,) else array
