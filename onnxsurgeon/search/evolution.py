"""From one generation to the next: who goes on, whom they meet, and how they change."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from onnxsurgeon.search.candidate import Candidate
from onnxsurgeon.search.fitness import WORST, Fitness, excess, valid
from onnxsurgeon.search.mutation import Mutated, Mutation
from onnxsurgeon.search.pareto import fronts, ranks
from onnxsurgeon.search.survival import Survival, by_fitness, chain, combined, each, elite, pairs, shuffle, tournament

FAR = 1e6  # below all that is within the limits: the fitness of what exceeds them, times by how much
Crossover = Callable[[Candidate, Candidate, np.random.Generator], tuple[Mutated[Candidate], Mutated[Candidate]]]


@dataclass(frozen=True)
class Rules:
    """How a generation is made. elites: the best, which go on as they are. among: candidates in a tournament.

    crossing, mutating: the probability that a pair is crossed, and that a child is mutated. cross, mutate: how.
    """

    mutate: Mutation[Candidate]
    cross: Crossover
    elites: int = 2
    among: int = 2
    crossing: float = 0.3
    mutating: float = 0.8

    def next(self, candidates: Sequence[Candidate], rng: np.random.Generator, generation: int) -> list[Candidate]:
        """The next generation, as large: the elites, then children of those who win tournaments."""
        few = min(self.elites, len(candidates))
        children = chain(
            tournament(len(candidates) - few, among=self.among), shuffle, _born(generation),
            pairs(self._crossed), each(self._mutated),
        )  # fmt: skip
        return combined(elite(few), children)(candidates, rng)

    def _crossed(self, a: Candidate, b: Candidate, rng: np.random.Generator) -> tuple[Candidate, Candidate]:
        if rng.random() >= self.crossing:
            return a, b
        first, second = self.cross(a, b, rng)
        return _with_parent(first, a, b), _with_parent(second, b, a)

    def _mutated(self, candidate: Candidate, rng: np.random.Generator) -> Candidate:
        if rng.random() >= self.mutating:
            return candidate
        found = self.mutate(candidate, rng)
        return replace(found.subject, notes=(*candidate.notes, *found.notes))


def _born(generation: int) -> Survival[Candidate]:
    return lambda found, rng: [c.child(f"{generation}-{number}", generation) for number, c in enumerate(found, 1)]


def _with_parent(found: Mutated[Candidate], own: Candidate, other: Candidate) -> Candidate:
    """What a crossover made of `own`; the other one's parent is its parent, too, if it got something from there."""
    if found.subject is own:
        return replace(own, notes=(*own.notes, *found.notes))
    parents = tuple(dict.fromkeys((*own.parents, *other.parents)))
    return replace(found.subject, parents=parents, notes=(*own.notes, *found.notes))


@dataclass(frozen=True)
class Goals:
    """What is wanted: one fitness, or several that are all to be high; and limits of costs, by word."""

    several: Sequence[Fitness]
    limits: Mapping[str, float] = field(default_factory=dict)

    def graded(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """All with their fitness, best first.

        What exceeds a limit is worse than all that does not, the more the farther. What has no score is worst.
        """
        values = [[self._value(fitness, c) for fitness in self.several] for c in candidates]
        single = [value[0] for value in values] if len(self.several) == 1 else ranks(values)
        found = [replace(c, fitness=self._limited(c, value)) for c, value in zip(candidates, single, strict=True)]
        return by_fitness(found)

    def _value(self, fitness: Fitness, candidate: Candidate) -> float:
        return WORST if candidate.measured is None else valid(fitness)(candidate.measured)

    def _limited(self, candidate: Candidate, value: float) -> float:
        over = 0.0 if candidate.measured is None else excess(candidate.measured.costs, self.limits)
        return value if value == WORST or not over else -FAR * (1 + over)

    def comparable(self, candidate: Candidate) -> float | None:
        """Its fitness, if that is a number by itself: no rank among others, and no excess over a limit."""
        found = candidate.fitness
        return None if found is None or len(self.several) > 1 or found <= -FAR else found

    def meets(self, candidate: Candidate) -> bool:
        """Whether it has a score and holds the limits."""
        measured = candidate.measured
        return measured is not None and not measured.problem and not excess(measured.costs, self.limits)

    def front(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Those that hold the limits and that no other one beats in all that is wanted, by the first of it.

        candidates: best first; where one thing is wanted, the first one alone is returned.
        """
        good = [c for c in candidates if self.meets(c)]
        if len(self.several) == 1 or not good:
            return good[:1]
        values = [[self._value(fitness, c) for fitness in self.several] for c in good]
        front = fronts(values)
        order = sorted(range(len(good)), key=lambda at: -values[at][0])
        return [good[at] for at in order if front[at] == 0]
