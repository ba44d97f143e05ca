"""The options of `search`: one record, for Python, the command line and the JSON report."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from onnxsurgeon import metrics
from onnxsurgeon.dependency.costs import COSTS, Budgets
from onnxsurgeon.errors import UsageError
from onnxsurgeon.options.parsing import at_least, number, path, positive_or_zero, share, word_in, word_of
from onnxsurgeon.options.record import CHANGE, DATA, OUTPUT, REMOVE, RUN, TRAIN, Options, option
from onnxsurgeon.options.shared import SPEC, OfData, Progress, RunsOn
from onnxsurgeon.training import augmentations, losses
from onnxsurgeon.training.schedules import SCHEDULES

FITNESSES = ("score-then-size", "score", "train-score", "loss", "mean-score")
EXECUTORS = ("local", "here", "ray")
SPACES = ("auto", "pictures", "vectors")
MAY_CHANGE = ("jobs", "executor", "device", "generations", "minutes", "target")  # when a run goes on
_chance = share("from 0 to 1", lambda x: 0 <= x <= 1)
_positive = number("more than 0", lambda x: 0 < x < float("inf"))


def _taken(value: Any, name: str) -> Any:
    return path(value, name) if isinstance(value, str | os.PathLike) else value


@dataclass(frozen=True, kw_only=True)
class Evolving(Options):
    """How a population evolves."""

    generations: int | None = option(
        None, "Generations.", panel=CHANGE, metavar="N", kind=int, read=at_least(1), shown="100"
    )
    population: int = option(50, "Candidates in each generation.", panel=CHANGE, metavar="N", read=at_least(2))
    elites: int = option(2, "The best, which go on as they are.", panel=CHANGE, metavar="N", read=at_least(0))
    tournament: int = option(
        2, "Candidates that compete to have a child: more of them favour the best.", panel=CHANGE, metavar="N",
        read=at_least(1),
    )  # fmt: skip
    crossover: float = option(
        0.3, "Probability that two children exchange parts.", panel=CHANGE, metavar="P", read=_chance
    )
    mutation: float = option(0.8, "Probability that a child is mutated.", panel=CHANGE, metavar="P", read=_chance)
    space: Any = option(
        "auto", "What networks are drawn from: pictures (convolutions) or vectors (dense layers); auto: by the input.",
        panel=CHANGE, words=lambda: SPACES, read=lambda v, n: word_of(SPACES)(v, n) if isinstance(v, str) else v,
    )  # fmt: skip
    mutate: Any = option(
        None, "A mutation of candidates, instead of the default ones.", panel=CHANGE, in_shell=False, reported=False
    )
    cross: Any = option(
        None, "A crossover of candidates, instead of the default one.", panel=CHANGE, in_shell=False, reported=False
    )
    random: bool = option(
        False, "Draw and train, but don't evolve: each generation goes on training the same candidates.", panel=CHANGE
    )
    minutes: float | None = option(
        None, "Stop when generations have taken this long.", panel=CHANGE, metavar="MINUTES", kind=float, read=_positive
    )
    target: float | None = option(
        None, "Stop when the best score reaches this.", panel=CHANGE, metavar="X", kind=float,
        read=number("a number", lambda x: abs(x) < float("inf")),
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Judging(Budgets):
    """What is wanted of a candidate."""

    fitness: Any = option(
        "score-then-size", "What is best: score-then-size (the score to three digits, then the fewest parameters),"
        " score, mean-score (over generations), train-score, loss.", panel=REMOVE, metavar="WORD",
        words=lambda: FITNESSES, read=lambda v, n: word_of(FITNESSES)(v, n) if isinstance(v, str) else v,
    )  # fmt: skip
    cost: str | None = option(  # type: ignore[assignment]  # here it may be left out
        None, "Also lower this cost: the population keeps the best trade-offs of score and cost.", panel=REMOVE,
        words=lambda: COSTS, read=word_of(lambda: COSTS),
    )  # fmt: skip

    @property
    def wanted(self) -> set[str]:
        return {"params", "macs", *self.limits, *([self.cost] if self.cost else [])}


@dataclass(frozen=True, kw_only=True)
class Teaching(Options):
    """How candidates are trained."""

    batches: int = option(
        400, "Batches that each candidate trains on in a generation.", panel=TRAIN, metavar="N", read=at_least(1)
    )
    loss: str | None = option(
        None, f"What is minimised: {', '.join(word for word in losses.LOSSES if word != 'distill')}.", panel=TRAIN,
        metavar="WORD", words=lambda: losses.LOSSES, read=word_in(losses.LOSSES),
        shown="cross-entropy for class numbers, mse for other labels",
    )  # fmt: skip
    schedule: str = option(
        "cosine", "How the learning rate falls within a generation, so that candidates are compared at its end.",
        panel=TRAIN, words=lambda: SCHEDULES, read=word_of(lambda: SCHEDULES),
    )  # fmt: skip
    clip: float | None = option(
        None, "The largest norm of a gradient.", panel=TRAIN, metavar="X", kind=float, read=_positive
    )
    weight_decay: float = option(
        0.0, "Shrinks weights, but no biases and no norms.", panel=TRAIN, metavar="X", read=positive_or_zero
    )
    augment: Any = option(
        (), f"Change pictures at random: {', '.join(augmentations.AUGMENTATIONS)}, each with a strength like shift:0.1."
        " Repeatable.", panel=TRAIN, metavar="WORD", kind=str, read=augmentations.read,
    )  # fmt: skip
    seconds: float | None = option(
        None, "A candidate that trains longer than this in a generation is the worst.", panel=TRAIN, metavar="S",
        kind=float, read=_positive,
    )  # fmt: skip
    held_out: float | str = option(
        0.1, "The share of the samples that no candidate trains on, and that their fitness is measured on.", panel=DATA,
        metavar="SHARE", kind=str, read=share("above 0 and below 1", lambda x: 0 < x < 1),
    )  # fmt: skip
    val: Any = option(
        None, "Samples that the search never uses, as `data`: the result is scored on them.", panel=DATA, metavar=SPEC
    )
    metric: str | None = option(
        None, f"The score: {', '.join(metrics.METRICS)}.", panel=DATA, metavar="WORD", words=lambda: metrics.METRICS,
        read=word_in(metrics.METRICS), shown="by `loss`",
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Workplace(Options):
    """Where candidates are trained, and where the search is kept."""

    jobs: int | None = option(
        None, "Candidates that are trained at once.", panel=RUN, metavar="N", kind=int, read=at_least(1),
        shown="one per core",
    )  # fmt: skip
    executor: str | None = option(
        None, "Where: in processes of this machine (local), in this process alone (here), or on a Ray cluster (ray).",
        panel=RUN, words=lambda: EXECUTORS, read=word_of(EXECUTORS), shown="local",
    )  # fmt: skip
    dir: str | os.PathLike[str] | None = option(
        None, "Keep the search here: its population, its history, and what is needed to go on.", panel=OUTPUT,
        metavar="DIR", read=path,
    )  # fmt: skip
    resume: str | os.PathLike[str] | None = option(
        None, "Go on with the search that is kept here, with its options, but for `jobs`, `executor`, `device`,"
        " `generations`, `minutes` and `target`.", panel=OUTPUT, metavar="DIR", read=path, reported=False,
    )  # fmt: skip
    on_generation: Callable[[Any], object] | None = option(
        None, "Called with the `Population` after each generation; if it returns False, the search ends.",
        panel=OUTPUT, in_shell=False, reported=False,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class SearchOptions(Progress, RunsOn, Workplace, OfData, Teaching, Judging, Evolving):
    """All options of `search`. Raises UsageError if they do not fit together."""

    batch: int | None = option(
        32, "Samples in a batch, until a mutation changes it.", panel=DATA, metavar="N", kind=int, read=at_least(1)
    )
    model: Any = option(
        None, "Begin with this model instead of networks that are drawn.", panel=DATA, metavar="MODEL", read=_taken,
        in_shell=False,
    )  # fmt: skip

    def check(self) -> None:
        super().check()
        if self.loss == "distill":
            raise UsageError("candidates can't be distilled", why="`loss` is distill", fix="choose another `loss`")
        if self.ratio is not None and self.model is None and self.resume is None:
            raise UsageError("`ratio` needs a model", why="it is a share of what it costs", fix="use `max_params`")
        if self.elites >= self.population:
            raise UsageError(
                "nothing could change", why=f"`elites` is {self.elites}, `population` {self.population}",
                fix="ask for fewer elites",
            )  # fmt: skip

    @property
    def learning(self) -> tuple[tuple[str, Any], ...]:
        """What all trainings share, as options of `train`."""
        shapes = tuple(f"{name}:{','.join(map(str, dims))}" for name, dims in self.shapes.items())
        names = "loss schedule clip weight_decay augment metric device preprocess samples".split()
        return (*((name, getattr(self, name)) for name in names), ("input_shape", shapes))

    @property
    def last(self) -> int:
        """The number of the last generation."""
        return 100 if self.generations is None else self.generations

    def request(self) -> dict[str, Any]:
        """What a search is asked, by name, as it is kept: objects by what they are called."""
        return {name: _called(value) for name, value in self.report().items()}

    def continued(self, kept: Mapping[str, Any]) -> SearchOptions:
        """The options of a search that goes on. kept: its request.

        Raises UsageError if one is given that can't change, or an object is not given again.
        """
        own, plain = self.request(), SearchOptions(resume=self.resume).request()
        changed = [n for n in plain if n not in MAY_CHANGE and own[n] not in (plain[n], kept.get(n, plain[n]))]
        if changed:
            raise UsageError(
                f"`{changed[0]}` can't change when a search goes on", why=f"it was {kept.get(changed[0])}",
                fix="leave it out, or begin a new search",
            )  # fmt: skip
        found = {n: _given(kept[n]) for n in plain if n in kept and getattr(self, n) == getattr(_PLAIN, n)}
        lost = [n for n in OBJECTS if str(found.get(n, "")).startswith(OBJECT)]
        if lost:
            raise UsageError(
                f"`{lost[0]}` must be given again", why=f"the search began with {found[lost[0]]}", fix="give the same"
            )
        return SearchOptions(**{**self.given(), **found})


OBJECT, OBJECTS = "<", ("space", "fitness")
_PLAIN = SearchOptions()


def _called(value: Any) -> Any:
    if isinstance(value, str | int | float | None):
        return value
    if isinstance(value, Mapping | Sequence):
        return value
    return f"{OBJECT}{getattr(value, '__name__', type(value).__name__)}>"


def _given(value: Any) -> Any:
    """What JSON made of an option, as the option takes it."""
    return tuple(tuple(v) if isinstance(v, list) else v for v in value) if isinstance(value, list) else value
