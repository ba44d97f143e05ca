"""The search itself: from samples, or from a model, to the best candidate of the last generation."""

from __future__ import annotations

import os
import statistics
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from onnxsurgeon import metrics
from onnxsurgeon.dependency.costs import COSTS
from onnxsurgeon.errors import InfeasibleError, ModelError
from onnxsurgeon.evaluation.score import Score, evaluate
from onnxsurgeon.files import drafts
from onnxsurgeon.latency.bench import side_by_side
from onnxsurgeon.latency.options import Timed
from onnxsurgeon.model.model import Model
from onnxsurgeon.model.write import as_bytes
from onnxsurgeon.notebook import Shown
from onnxsurgeon.options.record import takes
from onnxsurgeon.options.shared import Counted, SaveOptions
from onnxsurgeon.proof.saving import pending
from onnxsurgeon.search.beginning import Beginning, begins, kept_model
from onnxsurgeon.search.candidate import Candidate
from onnxsurgeon.search.crews import EXECUTORS, Crew, cores
from onnxsurgeon.search.data_form import written
from onnxsurgeon.search.options import SearchOptions
from onnxsurgeon.search.population import Population, begun, resumed
from onnxsurgeon.search.training_share import Share
from onnxsurgeon.training.train import INTERRUPTED

TIMED = 0.05  # seconds that the latency of a candidate is measured for


@takes(SearchOptions)
def fit(x: Any, y: Any, options: SearchOptions) -> Found:
    """The best network for samples: drawn, or made from `model`, then mutated, trained and selected.

    x: a path or `module:function` as `train` takes them, with `y` None; or an array of samples, shape (N, ...), with
    `y`: class numbers, shape (N,), or targets, shape (N, ...). With `resume`, both are None.
    A KeyboardInterrupt ends it and keeps what it has reached. Raises UsageError if samples and options don't fit
    together, ModelError if no candidate can be trained.
    """
    with ExitStack() as stack:
        folder = Path(options.resume or options.dir or stack.enter_context(drafts()))
        if options.resume is None:
            population = begun(folder, options.request())
            spec = written(x, y, folder)
            kept_model(options.model, folder)
            places = {"data": _anywhere(spec), "val": _anywhere(population.request["val"])}
            population = population.saved(request={**population.request, **places})
        else:
            population = resumed(folder)
            options = options.continued(population.request)
        run, stopped = _Evolution(population, options), INTERRUPTED
        opened = EXECUTORS[options.executor or "local"].open(options.jobs or cores())
        with suppress(KeyboardInterrupt), opened as crew:
            stopped = run.generations(crew)
        found = Found(options, run.population.saved(stopped=stopped), run.beginning)
        weakref.finalize(found, stack.pop_all().close)  # a temporary folder lives as long as its result
    return found


def _anywhere(spec: Any) -> Any:
    """What names the same samples from any folder."""
    return str(Path(spec).absolute()) if isinstance(spec, str) and Path(spec).exists() else spec


class _Evolution:
    """A search under way."""

    def __init__(self, population: Population, options: SearchOptions) -> None:
        self.population, self.options = population, options
        options.announce("prepare", str(population.request["data"]))
        self.beginning = begins(population, options)
        self.heard = True

    def generations(self, crew: Crew) -> str:
        """Takes the generations that are left; why it ended before the last one."""
        while True:
            stopped = self._stopped()
            if stopped is not None:
                return stopped
            self._generation(crew)

    def _stopped(self) -> str | None:
        options, found = self.options, self.population
        if found.generation >= options.last:
            return ""
        if not self.heard:
            return "`on_generation` ended it"
        if options.minutes is not None and found.seconds >= 60 * options.minutes:
            return f"{options.minutes:g} minutes are over"
        best = found.history[-1]["best_score"] if found.history else None
        if options.target is not None and best is not None and best >= options.target:
            return f"the score reached {best:.4g}"
        return None

    def _generation(self, crew: Crew) -> None:
        began, number, options = time.perf_counter(), self.population.generation + 1, self.options
        rng = np.random.default_rng([options.seed, number])
        candidates: Sequence[Candidate] = self.population.candidates
        if number == 1:
            candidates = self.beginning.first(rng)
        elif not options.random:
            candidates = self.beginning.rules.next(candidates, rng, number)
        trained = self._timed(self._trained(crew, candidates, number))
        graded = self.beginning.goals.graded(trained)
        self._require_some(graded)
        seconds = time.perf_counter() - began
        row = _row(graded, number, seconds)
        self.population = self.population.after(graded, row, self.population.seconds + seconds)
        options.announce("generation", Counted(number, options.last, _said(row)))
        self.heard = options.on_generation is None or options.on_generation(self.population) is not False

    def _trained(self, crew: Crew, candidates: Sequence[Candidate], number: int) -> list[Candidate]:
        """All of them after their share, in the same order."""
        population = self.population
        done = {c.id: measured for c in candidates if (measured := population.kept(c.id, number)) is not None}
        shares = [self._share(c, number) for c in candidates if c.id not in done]
        for found in crew(shares):
            population.keep(found, number)
            done[found.id] = found.measured
            self.options.announce("train", Counted(len(done), len(candidates), f"generation {number}"))
        return [population.loaded(replace(c, measured=done[c.id]), number) for c in candidates]

    def _share(self, candidate: Candidate, number: int) -> Share:
        c = candidate
        model = as_bytes(c.network.ir)
        before = self.beginning.goals.comparable(c)
        return Share(c.id, number - 1, model, c.optimiser, c.lr, c.batch, before, self.beginning.lessons)

    def _timed(self, candidates: list[Candidate]) -> list[Candidate]:
        """With their latency, where it is asked for: measured side by side, while nothing trains."""
        if "latency" not in self.options.wanted:
            return candidates
        options = self.options
        timed = Timed(
            input_shape=options.shapes, device=options.device, seed=options.seed, time_limit=TIMED * len(candidates),
        )  # fmt: skip
        names = [c.id for c in candidates]
        found = side_by_side([c.network.path for c in candidates], timed, names=names)
        return [_with_cost(c, "latency", row.timing.median) for c, row in zip(candidates, found.models, strict=True)]

    def _require_some(self, candidates: Sequence[Candidate]) -> None:
        """Raises ModelError if none could be trained in the first generation."""
        problems = [c.measured.problem for c in candidates if c.measured is not None and c.measured.problem]
        if len(problems) == len(candidates) and not self.population.generation:
            raise ModelError("no candidate can be trained", why=problems[0], fix="check the samples and the options")


def _with_cost(candidate: Candidate, word: str, cost: float) -> Candidate:
    assert candidate.measured is not None
    costs = {**candidate.measured.costs, word: cost}
    return replace(candidate, measured=replace(candidate.measured, costs=costs))


def _row(graded: Sequence[Candidate], number: int, seconds: float) -> dict[str, Any]:
    """What the history says of a generation."""
    known = [c for c in graded if c.measured is not None and not c.measured.problem]
    best, measured = graded[0], [c.measured for c in known if c.measured is not None]
    top = best.measured
    found: dict[str, Any] = {
        "generation": number, "best": best.id,
        "best_fitness": best.fitness if known else None,
        "best_score": top.score if known and top is not None else None,
        "median_score": _median([m.score for m in measured]),
        "median_loss": _median([m.loss for m in measured]),
    }  # fmt: skip
    for word in sorted({word for m in measured for word in m.costs}):
        found[f"best_{word}"] = None if top is None else top.costs.get(word)
        found[f"median_{word}"] = _median([m.costs[word] for m in measured])
    return {**found, "failed": len(graded) - len(known), "seconds": round(seconds, 3)}


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None


def _said(row: Mapping[str, Any]) -> str:
    if row["best_score"] is None:
        return "no candidate could be trained"
    return f"best {row['best_score']:.4g}, median {row['median_score']:.4g}"


@dataclass(frozen=True, repr=False)
class Found(Shown):
    """The result of a search. population: the last generation, best first."""

    options: SearchOptions
    population: Population
    beginning: Beginning

    @property
    def stopped(self) -> str:
        """Why it ended before the last generation; empty if it did not."""
        return self.population.stopped

    @property
    def best(self) -> Candidate:
        """The best candidate that holds the limits. Raises InfeasibleError if there is none."""
        good = [c for c in self.population.candidates if self.beginning.goals.meets(c)]
        if good and len(self.beginning.goals.several) > 1:  # of the front, the one with the best score
            good.sort(key=lambda c: c.measured.score if c.measured is not None else 0.0, reverse=True)
        if good:
            return good[0]
        limits = ", ".join(f"{COSTS[word].title} {COSTS[word].written(x)}" for word, x in self._limits.items())
        raise InfeasibleError(
            "no candidate is good enough", why=f"the limits are {limits or 'none'}; {self.population.generation} "
            "generations are over", fix="search longer with `resume`, or allow more",
        )  # fmt: skip

    @property
    def _limits(self) -> Mapping[str, float]:
        return self.beginning.goals.limits

    @property
    def front(self) -> list[Candidate]:
        """The best trade-offs where a `cost` is lowered, too: by descending score. Else the best alone."""
        return self.beginning.goals.front(self.population.candidates)

    @property
    def model(self) -> Model:
        """The model of the best one."""
        return self.best.network

    def score(self) -> Score | None:
        """The score of the best on `val`; None without such samples."""
        if self.options.val is None:
            return None
        o, learning = self.options, dict(self.beginning.lessons.learning)
        return evaluate(
            self.model, o.val, metric=learning["metric"] or metrics.DEFAULT, device=o.device, input_shape=o.shapes,
            preprocess=o.preprocess, seed=o.seed,
        )  # fmt: skip

    def line(self) -> str:
        return f"{self.population.folder}: {self.verdict}"

    @property
    def verdict(self) -> str:
        """What came of it, in words."""
        stopped = f"; stopped: {self.stopped}" if self.stopped else ""
        best = self.front[0].measured if self.front else None
        if best is None:
            return f"generation {self.population.generation}: no candidate is good enough{stopped}"
        held = f"score {best.score:.4g} on held-out samples"
        costs = ", ".join(f"{COSTS[word].written(cost)} {COSTS[word].title}" for word, cost in best.costs.items())
        return f"generation {self.population.generation}: {held}; {costs}{stopped}"

    def table(self) -> Iterator[Sequence[object]]:
        yield "generation", "best", "median", "parameters"
        for row in self.population.history:
            params = "" if row.get("best_params") is None else COSTS["params"].written(row["best_params"])
            yield row["generation"], _short(row["best_score"]), _short(row["median_score"]), params

    @takes(SaveOptions)
    def save(self, path: str | os.PathLike[str], options: SaveOptions) -> None:
        """Writes the model of the best one, once it was checked. Raises InfeasibleError if none is good enough;
        UsageError if `path` exists and may not be overwritten."""
        model = self.model
        with pending(path, options) as file:
            file.write(model.ir)


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
