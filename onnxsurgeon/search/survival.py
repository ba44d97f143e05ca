"""Who goes on to the next generation: plain functions of a population and a generator, which compose.

A selection takes candidates and returns some of them, best first where that is said; one may be returned several times.
Whatever has a `fitness` can be selected: a number, the higher the better, or None for one that has none yet (worst).

    survivors = combined(elite(2), chain(tournament(48), shuffle))(population, rng)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite, isnan
from typing import Protocol, TypeVar

import numpy as np

from onnxsurgeon.arrays import FloatArray
from onnxsurgeon.errors import UsageError
from onnxsurgeon.search.fitness import WORST


class HasFitness(Protocol):
    @property
    def fitness(self) -> float | None: ...


C = TypeVar("C", bound=HasFitness)
T = TypeVar("T")
Survival = Callable[[Sequence[C], np.random.Generator], list[C]]


def fitness_of(candidate: HasFitness) -> float:
    """Its fitness as a number that can be compared: NaN and none at all are the worst."""
    found = candidate.fitness
    return WORST if found is None or isnan(found) else found


def by_fitness(candidates: Sequence[C]) -> list[C]:
    """The best first; equal ones in the order in which they came."""
    return sorted(candidates, key=fitness_of, reverse=True)


def elite(count: int) -> Survival[C]:
    """The `count` best, the best first."""
    return lambda candidates, rng: by_fitness(candidates)[:count]


def tournament(count: int, *, among: int = 2, chance: float = 1.0) -> Survival[C]:
    """`count` winners, each the best of `among` that are drawn; with a `chance` below 1 the second one wins sometimes,
    and so on (geometrically). Raises UsageError if `among` is no size of a tournament, or `chance` no probability."""
    if among < 1 or not 0 < chance <= 1:
        raise UsageError(
            "a tournament can't be held", why=f"among {among}, with chance {chance}",
            fix="give `among` of 1 or more, and a `chance` above 0, at most 1",
        )  # fmt: skip

    def select(candidates: Sequence[C], rng: np.random.Generator) -> list[C]:
        return [_winner(candidates, min(among, len(candidates)), chance, rng) for _ in range(count)]

    return select


def _winner(candidates: Sequence[C], among: int, chance: float, rng: np.random.Generator) -> C:
    drawn: list[C] = by_fitness([candidates[at] for at in rng.choice(len(candidates), among, replace=False)])
    place = min(int(rng.geometric(chance)) - 1, among - 1)
    return drawn[place]


def universal_sampling(count: int, *, offset: float | None = None) -> Survival[C]:
    """Stochastic universal sampling (Baker 1987): `count` pointers at equal distances along the summed fitness.

    offset: of the first pointer, as a share of that distance; drawn if None. The order stays. Fitness below 0 is
    counted from the lowest; the worst gets no share, unless all are worst.
    """

    def select(candidates: Sequence[C], rng: np.random.Generator) -> list[C]:
        ends = np.cumsum(_shares(candidates))
        first = rng.random() if offset is None else offset
        pointers = (np.arange(count) + first) * (ends[-1] / count)
        chosen = np.searchsorted(ends, pointers, side="right")
        return [candidates[min(int(at), len(candidates) - 1)] for at in chosen]

    return select


def _shares(candidates: Sequence[HasFitness]) -> FloatArray:
    values = np.array([fitness_of(candidate) for candidate in candidates], np.float64)
    known = np.array([isfinite(value) for value in values])
    if not known.any():
        return np.ones(len(values))
    lowest = min(0.0, float(values[known].min()))
    shares = np.where(known, values - lowest, 0.0)
    return shares if shares.sum() > 0 else known.astype(np.float64)


def chain(*selections: Survival[C]) -> Survival[C]:
    """Each selects from what the one before it returned."""

    def select(candidates: Sequence[C], rng: np.random.Generator) -> list[C]:
        found = list(candidates)
        for one in selections:
            found = one(found, rng)
        return found

    return select


def combined(*selections: Survival[C]) -> Survival[C]:
    """What each selects from the same candidates, one after the other."""
    return lambda candidates, rng: [found for one in selections for found in one(candidates, rng)]


def shuffle(candidates: Sequence[C], rng: np.random.Generator) -> list[C]:
    """All of them in an order that is drawn."""
    return [candidates[at] for at in rng.permutation(len(candidates))]


def each(change: Callable[[C, np.random.Generator], C]) -> Survival[C]:
    """What `change` makes of each: a mutation as a part of a chain."""
    return lambda candidates, rng: [change(candidate, rng) for candidate in candidates]


def pairs(change: Callable[[C, C, np.random.Generator], tuple[C, C]]) -> Survival[C]:
    """What `change` makes of each two neighbours: a crossover as a part of a chain. A last one alone stays as it is."""

    def select(candidates: Sequence[C], rng: np.random.Generator) -> list[C]:
        found = list(candidates)
        for at in range(0, len(found) - 1, 2):
            found[at], found[at + 1] = change(found[at], found[at + 1], rng)
        return found

    return select


def then(selection: Survival[C], heard: Callable[[Sequence[C]], object]) -> Survival[C]:
    """The same selection; `heard` is called with all that it returned."""

    def select(candidates: Sequence[C], rng: np.random.Generator) -> list[C]:
        found = selection(candidates, rng)
        heard(found)
        return found

    return select


def reset(selection: Survival[C], restart: Callable[[C], C]) -> Survival[C]:
    """The same selection; `restart` is called once for each that it returned, and what it returns goes on."""
    return lambda candidates, rng: [restart(candidate) for candidate in selection(candidates, rng)]
