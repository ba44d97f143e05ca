"""How a search begins: its first candidates, what they are trained on, what is wanted of them, and how they change."""

from __future__ import annotations

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
from onnxsurgeon.search.default_spaces import space_for
from onnxsurgeon.search.drawing import draw
from onnxsurgeon.search.evolution import Goals, Rules
from onnxsurgeon.search.options import SearchOptions
from onnxsurgeon.search.population import Population
from onnxsurgeon.search.training_share import Lessons
from onnxsurgeon.surgery.network import Network, load
from onnxsurgeon.training.losses import loss as loss_record
from onnxsurgeon.training.optimisers import OPTIMISERS

MODEL = "model.onnx"  # in the folder: what a search begins with
FIRST_OPTIMISERS = ("adam", "adamw", "sgd")
EAGER = 3.0  # the largest factor between the first learning rates and that of their optimiser


@dataclass(frozen=True)
class Beginning:
    """What a search needs to know. source: the model that it begins with, if any."""

    options: SearchOptions
    lessons: Lessons
    goals: Goals
    rules: Rules
    form: DataForm | None
    source: Network | None

    def first(self, rng: np.random.Generator) -> list[Candidate]:
        """The first generation: draws, or the source and mutations of it."""
        return [self._one(number, rng) for number in range(1, self.options.population + 1)]

    def _one(self, number: int, rng: np.random.Generator) -> Candidate:
        word = FIRST_OPTIMISERS[int(rng.integers(len(FIRST_OPTIMISERS)))]
        lr = OPTIMISERS[word].rate * EAGER ** rng.uniform(-1, 1)
        settings = {"optimiser": word, "lr": lr, "batch": self.options.batch or 32, "id": f"1-{number}", "born": 1}
        if self.source is None:
            return Candidate(self._drawn(rng), **settings)
        found = Candidate(self.source, **settings)
        if number == 1:
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
    return Beginning(options, lessons, goals, _rules(options), form, source)


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


def _rules(options: SearchOptions) -> Rules:
    from onnxsurgeon.search.training_settings import learning_rate, swap_settings

    o = options
    return Rules(learning_rate(), swap_settings, o.elites, o.tournament, o.crossover, o.mutation)
