"""Candidates: networks with the settings that they are trained with, and what became of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from onnxsurgeon.search.fitness import Measured
from onnxsurgeon.search.mutation import Mutated, Mutation, Note
from onnxsurgeon.surgery.network import Network


@dataclass(frozen=True)
class Candidate:
    """One of a population.

    optimiser: a word of `training.optimisers`. lr: learning rate. batch: samples in a step. id, parents: names within a
    run. notes: what made it from its parents. fitness: higher is better. measured: what the fitness was made from.
    Before it was trained, these two are its parent's; None if it has none. born: the generation that it is from.
    """

    network: Network
    optimiser: str = "adam"
    lr: float = 1e-3
    batch: int = 32
    id: str = ""
    parents: tuple[str, ...] = ()
    notes: tuple[Note, ...] = ()
    fitness: float | None = None
    measured: Measured | None = None
    born: int = 0

    def child(self, id: str, born: int, *others: Candidate) -> Candidate:
        """A copy that is new: without notes, with this one and others as parents."""
        parents = (self.id, *(other.id for other in others))
        return replace(self, id=id, born=born, parents=parents, notes=())


def of_network(mutation: Mutation[Network]) -> Mutation[Candidate]:
    """A mutation of networks as one of candidates."""

    def mutate(candidate: Candidate, rng: np.random.Generator) -> Mutated[Candidate]:
        found = mutation(candidate.network, rng)
        if found.subject is candidate.network:
            return Mutated(candidate, found.notes)
        return Mutated(replace(candidate, network=found.subject), found.notes)

    return mutate
