"""Compression: a model is cut a little, trained and scored, again and again, while it stays good enough."""

from __future__ import annotations

import json
import math
import os
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from onnxsurgeon.calibration.statistics import fingerprint
from onnxsurgeon.data import Data
from onnxsurgeon.dependency.costs import COSTS
from onnxsurgeon.errors import InfeasibleError, UsageError
from onnxsurgeon.files import drafts
from onnxsurgeon.model.model import Model, Source, as_model, load, on_disk
from onnxsurgeon.notebook import Shown
from onnxsurgeon.options.record import takes
from onnxsurgeon.options.shared import SaveOptions
from onnxsurgeon.proof.saving import pending
from onnxsurgeon.pruning.compression_options import CompressOptions
from onnxsurgeon.pruning.compression_state import CompressionState, CompressionStep, CutModel, begun
from onnxsurgeon.pruning.fine_tuning import samples_of_cuts, taught
from onnxsurgeon.pruning.prune import prune
from onnxsurgeon.pruning.ratio_search import ROUNDING, Examiner
from onnxsurgeon.runtime.carried_states import opened_with_states
from onnxsurgeon.training.batch_size import reading
from onnxsurgeon.training.train import INTERRUPTED

IGNORED = "folder every resume progress device threads".split()  # what may change when a run goes on


@takes(CompressOptions)
def compress(model: Source, options: CompressOptions) -> Compressed:
    """The smallest model on the way to `ratio` that is good enough, as a result to save.

    Each step cuts the model before it, proves the cut, trains what is left and scores it. The first step that is not
    good enough ends the run. A KeyboardInterrupt ends it, too: what it has reached is kept. Raises UsageError if the
    options don't fit together or to the model, ModelError if a step can't be trained.
    """
    source = as_model(model)
    data, val = (_opened(given, source, options) for given in (options.data, options.val or options.data))
    with ExitStack() as stack:
        folder = Path(options.folder or stack.enter_context(drafts()))
        state = begun(folder, _request(source, data, val, options), resume=options.resume)
        run, stopped = _Compression(source, data, val, options, state), INTERRUPTED
        with suppress(KeyboardInterrupt):
            stopped = run.steps()
        found = Compressed(source, options, run.state, val.spec, stopped)
        weakref.finalize(found, stack.pop_all().close)  # a temporary folder lives as long as its result
    return found


class _Compression:
    """A compression under way."""

    def __init__(
        self, source: Model, data: Data, val: Data, options: CompressOptions, state: CompressionState
    ) -> None:  # fmt: skip
        self.source, self.data, self.options, self.state = source, data, options, state
        self.examiner = Examiner(source, val, options.judged_by, options.output_name, options.device)
        self.val = val

    def steps(self) -> str:
        """Takes the steps that are left; why the run ended before the last one."""
        options = self.options
        if self.state.before is None:
            options.announce("score", "the original")
            before = self.examiner.file(self.source).value
            if not math.isfinite(before):
                raise UsageError(
                    f"nothing can be judged by {options.judged_by}", why=f"the original scores {before}",
                    fix="choose another `metric`",
                )  # fmt: skip
            self.state = self.state.saved(before=before)
        while True:
            last = self.state.steps[-1] if self.state.steps else None
            if last is not None and not last.passed:
                return f"step {last.number} is worse by {last.drop:.4g}"
            number = self._next(last)
            if number is None:
                return ""
            try:
                self._step(number, last)
            except InfeasibleError as problem:
                return f"step {number}: {problem.what}"

    def _next(self, last: CompressionStep | None) -> int | None:
        """The first step that the model so far is too large for."""
        options, done = self.options, 0 if last is None else last.number
        left = 1.0 if last is None else last.left[options.cost]
        later = (n for n in range(done + 1, options.steps + 1) if options.left(n) < left * (1 - 1e-6))
        return next(later, None)

    def _step(self, number: int, last: CompressionStep | None) -> None:
        """Cuts, if that is not done, trains and scores. A step that is not good enough is not over while it may be
        trained again."""
        began, options, state = time.perf_counter(), self.options, self.state
        options.announce("step", f"{number} of {options.steps}")
        if state.cut is None or state.cut.number != number:
            state = self.state = self._cut(number, last)
        cut = state.cut
        assert cut is not None
        files = [state.cut_model(number, cut.trainings), state.checkpoint(number, cut.trainings)]
        trained = taught(
            load(files[0]), self.data, options, teacher=self.source, epochs=options.fine_tune, checkpoint=files[1],
            resume=True, every=options.every, val=self.val if self.val is not self.data else None,
        )  # fmt: skip
        if trained.stopped == INTERRUPTED:
            raise KeyboardInterrupt
        trained.save(state.model(number), overwrite=True)
        options.announce("score", f"step {number}")
        score = self.examiner.file(state.model(number))
        assert state.before is not None
        drop = (state.before - score.value) * (1 if score.higher else -1)
        passed = options.max_drop is None or drop <= float(options.max_drop) + ROUNDING
        cut = replace(
            cut, epochs=cut.epochs + len(trained.epochs), seconds=cut.seconds + time.perf_counter() - began,
            trainings=cut.trainings + 1,
        )  # fmt: skip
        if not passed and trained.kept and not trained.stopped and cut.trainings <= options.patience:
            trained.save(state.cut_model(number, cut.trainings), overwrite=True)
            self.state = state.saved(cut=cut)
        else:
            step = CompressionStep(
                number, 1 - cut.left[options.cost], cut.left, cut.costs, score.value, drop, passed, cut.epochs,
                trained.kept, trained.stopped, cut.seconds,
            )  # fmt: skip
            self.state = state.saved(steps=(*state.steps, step), cut=None)
        for path in (*files, files[0].with_name(f"{files[0].name}.data")):
            path.unlink(missing_ok=True)

    def _cut(self, number: int, last: CompressionStep | None) -> CompressionState:
        """The state once the cut of a step is proven and written."""
        options, state = self.options, self.state
        before = self.source if last is None else load(state.model(last.number))
        left = {} if last is None else last.left
        ratio = 1 - options.left(number) / left.get(options.cost, 1.0)
        few = samples_of_cuts(options.data, self.source, options)
        found = prune(before, **options.of_cut(ratio, few).given())
        found.save(state.cut_model(number), overwrite=True, device=options.device, seed=options.seed)
        state.checkpoint(number).unlink(missing_ok=True)  # of a cut that was lost
        words = [word for word in COSTS if word in found.before.costs and found.before.of(word)]
        shares = {word: left.get(word, 1.0) * found.after.of(word) / found.before.of(word) for word in words}
        costs = {word: found.after.of(word) for word in words}
        return state.saved(cut=CutModel(number, shares, costs))


def _opened(given: Any, source: Model, options: CompressOptions) -> Data:
    if isinstance(given, str | os.PathLike):
        return opened_with_states(given, source, reading(options, source.ir), options.device)
    if not isinstance(given, Data):
        raise UsageError("`data` can't be read", fix="give `data` as a path, or open it with open_data")
    return given


def _request(source: Model, data: Data, val: Data, options: CompressOptions) -> dict[str, Any]:
    """What must be the same for a run to go on, as JSON has it."""
    with on_disk(source) as path:
        model = fingerprint([path, *(source.data if source.written else ())])
    asked = {name: value for name, value in options.report().items() if name not in IGNORED}
    found = {**asked, "model": model, "data": [data.spec, len(data)], "val": [val.spec, len(val)]}
    return dict(json.loads(json.dumps(found)))


@dataclass(frozen=True, repr=False)
class Compressed(Shown):
    """The result of a compression. state: its steps, and where their models are. judged_on: the samples of the scores.
    stopped: why it ended before the last step; empty if it did not."""

    source: Model
    options: CompressOptions
    state: CompressionState
    judged_on: str
    stopped: str

    @property
    def steps(self) -> tuple[CompressionStep, ...]:
        return self.state.steps

    @property
    def best(self) -> CompressionStep | None:
        """The last step that is good enough, whose model is the smallest; None if there is none."""
        return next((step for step in reversed(self.steps) if step.passed), None)

    @property
    def model(self) -> Model:
        """The smallest model that is good enough. Raises InfeasibleError if there is none."""
        best = self.best
        if best is None:
            nearest = self.steps[0] if self.steps else None
            raise InfeasibleError(
                "no step is good enough", why=self.stopped or "no step was taken",
                fix="allow a larger `max_drop`, take more `steps`, or train longer with `fine_tune`"
                if nearest else "ask for less `ratio`",
            )  # fmt: skip
        return load(self.state.model(best.number))

    @property
    def verdict(self) -> str:
        """What came of it, in words."""
        best, metric = self.best, self.options.judged_by
        stopped = f"; stopped: {self.stopped}" if self.stopped else ""
        if best is None:
            return f"no step is good enough{stopped}"
        gone = f"{best.ratio:.1%} of {COSTS[self.options.cost].title} gone after step {best.number}"
        scores = f"{metric} {self.state.before:.4g} before, {best.score:.4g} after, on {self.judged_on}"
        return f"{gone}: {scores}{stopped}"

    def line(self) -> str:
        return f"{self.source.path}: {self.verdict}"

    def table(self) -> Iterator[Sequence[object]]:
        yield "step", "gone", *(COSTS[word].title for word in self._words), self.options.judged_by, "worse by", ""
        for step in self.steps:
            costs = (COSTS[word].written(step.costs[word]) for word in self._words)
            note = "kept" if step is self.best else "" if step.passed else "too much"
            yield step.number, f"{step.ratio:.1%}", *costs, f"{step.score:.4g}", f"{step.drop:.4g}", note

    @property
    def _words(self) -> list[str]:
        return [word for word in COSTS if self.steps and word in self.steps[0].costs]

    @takes(SaveOptions)
    def save(self, path: str | os.PathLike[str], options: SaveOptions) -> None:
        """Writes the smallest model that is good enough to `path`. Its cuts and its training were proven as they were
        made. Raises InfeasibleError if there is none; UsageError if `path` exists and may not be overwritten."""
        found = self.model
        with pending(path, options) as file:
            file.write(found.ir)
