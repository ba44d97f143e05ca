"""How a search begins: its first candidates, what they are trained on, what is wanted of them, and how they change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from onnxsurgeon.data import inputs_of, open_data
from onnxsurgeon.model.model import as_model
from onnxsurgeon.model.write import write
from onnxsurgeon.search import fitness as fitnesses
from onnxsurgeon.search.candidate import Candidate
from onnxsurgeon.search.data_form import DataForm, form_of, labels_of, outputs_of
from onnxsurgeon.search.default_mutations import candidate_crossover, candidate_mutation
from onnxsurgeon.search.default_spaces import space_for
from onnxsurgeon.search.drawing import draw
from onnxsurgeon.search.evolution import Goals, Rules
from onnxsurgeon.search.first_cuts import cuts
from onnxsurgeon.search.fitness import excess
from onnxsurgeon.search.options import SearchOptions
from onnxsurgeon.search.population import Population
from onnxsurgeon.search.training_share import Lessons
from onnxsurgeon.surgery.network import Network, load
from onnxsurgeon.training.losses import loss as loss_record
from onnxsurgeon.training.optimisers import OPTIMISERS

MODEL = "model.onnx"  # in the folder: what a search begins with
FIRST_OPTIMISERS = ("adam", "adamw", "sgd")
LARGEST = 2e8  # parameters of a network that may only shrink
EAGER = 3.0  # the largest factor between the first learning rates and that of their optimiser; trained weights get less


@dataclass(frozen=True)
class Beginning:
    """What a search needs to know. form: of the samples, where networks are drawn. sources: the model that it begins
    with, or cuts of it."""

    options: SearchOptions
    lessons: Lessons
    goals: Goals
    rules: Rules
    form: DataForm | None
    sources: Sequence[Network]

    def first(self, rng: np.random.Generator) -> list[Candidate]:
        """The first generation: draws, or the sources and mutations of them."""
        return [self._one(number, rng) for number in range(self.options.population)]

    def _one(self, number: int, rng: np.random.Generator) -> Candidate:
        word = FIRST_OPTIMISERS[int(rng.integers(len(FIRST_OPTIMISERS)))]
        lr = OPTIMISERS[word].rate * EAGER ** (rng.uniform(-1, 1) - bool(self.sources))
        network = self.sources[number % len(self.sources)] if self.sources else self._drawn(rng)
        found = Candidate(network, word, lr, self.options.batch or 32, f"1-{number + 1}", born=1)
        if not self.sources or number < len(self.sources):
            return found
        changed = self.rules.mutate(found, rng)
        return replace(changed.subject, notes=changed.notes)

    def _drawn(self, rng: np.random.Generator) -> Network:
        form, given = self.form, self.options.space
        assert form is not None
        space = space_for(form, given) if isinstance(given, str) else given
        return draw(space, {form.input: form.shape}, rng)


def kept_model(given: Any, folder: Path) -> None:
    """Keeps the model that a search begins with in its folder. Raises as `as_model` does."""
    if given is not None:
        write(as_model(given).ir, folder / MODEL, overwrite=True)


def begins(population: Population, options: SearchOptions) -> Beginning:
    """What the search in a folder needs to know. Raises UsageError if samples and model don't fit together."""
    data, path = str(population.request["data"]), population.folder / MODEL
    source = load(path) if path.exists() else None
    form = None if source is not None else form_of(data, options)
    loss = options.loss or (_fitting(data, source, options) if form is None else form.loss)
    record = _fitness(options.fitness)
    share = options.batches * (options.batch or 32)
    learning = {**dict(options.learning), "loss": loss, "metric": options.metric or loss_record(loss).metric}
    lessons = Lessons(
        data, float(options.held_out), share, options.seed, tuple(learning.items()), options.seconds,
        tuple(sorted(options.wanted - {"latency"})), record.trained,
    )  # fmt: skip
    several = [record.make(), *([fitnesses.cheap(options.cost)] if options.cost else [])]
    goals = Goals(several, _limits(source, options))
    sources = [] if source is None else cuts(source, data, goals.limits, options, population.folder)
    return Beginning(options, lessons, goals, _rules(options, goals), form, sources)


def _fitting(data: str, source: Network | None, options: SearchOptions) -> str:
    """The loss that fits the labels."""
    assert source is not None
    found = open_data(
        data, list(inputs_of(source, options.shapes)), preprocess=options.preprocess, samples=options.samples,
        seed=options.seed,
    )  # fmt: skip
    return outputs_of(labels_of(found))[1]


def _fitness(given: Any) -> fitnesses.FitnessRecord:
    if isinstance(given, str):
        return fitnesses.fitness(given)
    return fitnesses.FitnessRecord("", lambda: given, trained=True)


def _limits(source: Network | None, options: SearchOptions) -> dict[str, float]:
    """The limits of costs; a ratio is of what the source costs."""
    found = dict(options.limits)
    if source is not None and options.share:
        word = options.cost or "params"
        found[word] = min(found.get(word, float("inf")), (1 - options.share) * source.measure().of(word))
    return found


def _rules(options: SearchOptions, goals: Goals) -> Rules:
    def too_large(candidate: Candidate) -> bool:
        costs = {} if candidate.measured is None else candidate.measured.costs
        return bool(excess(costs, goals.limits)) or costs.get("params", 0.0) > LARGEST

    mutate = options.mutate or candidate_mutation(too_large)
    o = options
    return Rules(mutate, options.cross or candidate_crossover, o.elites, o.tournament, o.crossover, o.mutation)
