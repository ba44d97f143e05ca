"""Checks a model: what it costs, how fast it runs and what it scores, against limits or another model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from onnxsurgeon.dependency.costs import COSTS
from onnxsurgeon.dependency.labels import label
from onnxsurgeon.dependency.measure import Measure, measure, overhead
from onnxsurgeon.dependency.spaces import spaces
from onnxsurgeon.errors import GateError
from onnxsurgeon.evaluation.options import CheckOptions
from onnxsurgeon.evaluation.score import Score, evaluate
from onnxsurgeon.latency.bench import Bench, side_by_side
from onnxsurgeon.latency.gates import Gate, growth, in_time, mends, slowdown, within
from onnxsurgeon.latency.options import Timed
from onnxsurgeon.metrics.formulas import UnfitTargets
from onnxsurgeon.model.model import Model, Source, as_model, named, on_disk
from onnxsurgeon.notebook import Shown
from onnxsurgeon.options.record import takes
from onnxsurgeon.runtime.carried_states import opened_with_states
from onnxsurgeon.runtime.runnable_file import runnable_file


@dataclass(frozen=True, repr=False)
class Checked(Shown):
    """The gates of a model. against: the other model's name, if there is one. before: what that one costs.

    bench: None if no gate is about latency. scores: of the model, and of the other for `max_drop`.
    """

    model: str
    against: str
    measure: Measure
    before: Measure | None
    gates: tuple[Gate, ...]
    bench: Bench | None
    scores: tuple[Score, ...]

    @property
    def failed(self) -> tuple[Gate, ...]:
        return tuple(gate for gate in self.gates if not gate.passed)

    @property
    def passed(self) -> bool:
        return not self.failed

    def line(self) -> str:
        what = ", ".join(gate.what for gate in self.failed)
        return f"{self.model}: " + (f"FAILED {what}" if what else f"all {len(self.gates)} gates hold")

    def table(self) -> Iterator[Sequence[object]]:
        yield "gate", "measured", "allowed", "by", "holds"
        for gate in self.gates:
            yield gate.what, gate.measured, gate.allowed, gate.margin, gate.passed

    def require(self) -> None:
        """Raises GateError if a gate does not hold."""
        if self.failed:
            raise GateError(
                f"{self.model} fails {len(self.failed)} of {len(self.gates)} conditions",
                why="\n".join(gate.said() for gate in self.failed), fix=mends(self.failed),
            )  # fmt: skip


@takes(CheckOptions)
def check(model: Source, options: CheckOptions) -> Checked:
    """The gates of a model: each limit that is given, with what was measured; `passed` says whether all hold.

    Latency holds for this device; it fails only if the whole 95 % interval is beyond its limit. Scores compare with
    labels, or where there are none that fit with the outputs of `against`.

    Raises UsageError if there is nothing to check or the data don't fit, ModelError if a model can't be read or run.
    """
    source = as_model(model)
    other = None if options.against is None else as_model(options.against)
    own = _measured(source, options)
    before = None if other is None or options.max_growth is None else _measured(other, options)
    gates = [
        within(f"max_{word}", COSTS[word], word, own.of(word), limit)
        for word, limit in options.limits.items()
        if not COSTS[word].timed
    ]
    if before is not None and options.max_growth is not None:
        gates += growth("max_growth", before, own, float(options.max_growth))
    bench = _timed(source, other, options)
    if bench is not None and "latency" in options.limits:
        gates.append(in_time(bench.models[-1].timing, options.limits["latency"]))
    if bench is not None and options.max_slowdown is not None:
        gates.append(slowdown("max_slowdown", bench.ratios[1], float(options.max_slowdown)))
    scores = [*_scores(source, other, options)]
    gates += [gate for gate, _ in scores]
    against = "" if options.against is None else named(options.against)
    return Checked(
        named(model), against, own, before, tuple(gates), bench, tuple(score for _, found in scores for score in found)
    )


def _measured(model: Model, options: CheckOptions) -> Measure:
    """What a model costs by all costs that the graph tells and that are asked about."""
    wanted = [word for word in options.limits if not COSTS[word].timed]
    labels = label(model.ir, shapes=options.shapes)
    built = spaces(labels, np.zeros(labels.relations.count), overhead=overhead(model), wanted=wanted)
    return measure(model, built)


def _timed(model: Model, other: Model | None, options: CheckOptions) -> Bench | None:
    """The latency of the model, behind that of the other one where that is asked about."""
    if "latency" not in options.limits and options.max_slowdown is None:
        return None
    several = [model] if other is None or options.max_slowdown is None else [other, model]
    timed = Timed(
        input_shape=options.shapes, device=options.device, seed=options.seed, threads=options.threads,
        time_limit=options.time_limit,
    )  # fmt: skip
    with ExitStack() as stack:
        paths = [stack.enter_context(on_disk(each)) for each in several]
        return side_by_side(paths, timed, names=[str(each.path) for each in several])


def _scores(model: Model, other: Model | None, options: CheckOptions) -> Iterator[tuple[Gate, list[Score]]]:
    """A gate for each bound on a score, and the scores that it is about."""
    if options.data is None:
        return
    data = opened_with_states(options.data, model, options, options.device)
    with ExitStack() as stack:
        paths = [stack.enter_context(runnable_file(each)) for each in (model, other) if each is not None]
        original = None if other is None else paths[-1]

        def score(path: Path, metric: str) -> Score:
            run = partial(evaluate, path, data, metric=metric, output_name=options.output_name, device=options.device)
            try:
                return run(against=None if data.labelled else original)
            except UnfitTargets:  # like class numbers for a cosine
                if original is None:
                    raise
                return run(against=original)

        for metric, (name, bound) in options.bounds.items():
            found = score(paths[0], metric)
            yield Gate(name, metric, found.value, bound, "score", upper=not found.higher), [found]
        if options.max_drop is not None:
            new, old = (score(path, options.metric) for path in paths)
            drop, what = old.loss(new), f"drop of {options.metric}"
            yield Gate("max_drop", what, drop, float(options.max_drop), "score"), [new, old]
