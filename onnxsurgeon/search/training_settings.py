"""Mutations and crossover of how a candidate is trained: optimiser, learning rate and batch size.

A mutation returns a changed copy; where nothing changes, the candidate itself. See `mutation`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from onnxsurgeon.search.candidate import Candidate
from onnxsurgeon.search.mutation import Mutated, Mutation, Note
from onnxsurgeon.training.optimisers import OPTIMISERS

SLOWEST, FASTEST = 1e-6, 1.0  # learning rates
SETTINGS = ("optimiser", "lr", "batch")
Pair = tuple[Mutated[Candidate], Mutated[Candidate]]


def another_optimiser(words: Sequence[str] = tuple(OPTIMISERS)) -> Mutation[Candidate]:
    """Another one of `words`. The learning rate keeps its ratio to the optimiser's own, so that steps stay alike."""

    def mutate(candidate: Candidate, rng: np.random.Generator) -> Mutated[Candidate]:
        others = [word for word in words if word != candidate.optimiser]
        if not others:
            return Mutated(candidate, (Note("optimiser", candidate.optimiser, done=False, why="there is no other"),))
        word = others[int(rng.integers(len(others)))]
        lr = _bounded(candidate.lr * OPTIMISERS[word].rate / OPTIMISERS[candidate.optimiser].rate)
        note = Note("optimiser", candidate.optimiser, done=True, why=f"{word}, learning rate {lr:.3g}")
        return Mutated(replace(candidate, optimiser=word, lr=lr), (note,))

    return mutate


def learning_rate(step: float = 0.3) -> Mutation[Candidate]:
    """A bounded walk: lr + (u - 0.5) * lr * step with u from 0 to 1, and within 1e-6 .. 1."""

    def mutate(candidate: Candidate, rng: np.random.Generator) -> Mutated[Candidate]:
        lr = _bounded(candidate.lr + (rng.random() - 0.5) * candidate.lr * step)
        return _set(candidate, "lr", lr)

    return mutate


def batch_size(factor: float = 2.0, *, least: int = 8, most: int = 256) -> Mutation[Candidate]:
    """Up to `factor` times larger or smaller, within `least` .. `most`, and another than before where there is one."""

    def mutate(candidate: Candidate, rng: np.random.Generator) -> Mutated[Candidate]:
        wanted = candidate.batch * factor ** rng.uniform(-1, 1)
        return _set(candidate, "batch", int(np.clip(round(wanted), least, most)))

    return mutate


def _bounded(lr: float) -> float:
    return float(np.clip(lr, SLOWEST, FASTEST))


def _set(candidate: Candidate, name: str, value: float) -> Mutated[Candidate]:
    before = getattr(candidate, name)
    if value == before:
        return Mutated(candidate, (Note(name, f"{before:.3g}", done=False, why="it is at its bound"),))
    changes = {name: value}
    return Mutated(replace(candidate, **changes), (Note(name, f"{before:.3g}", done=True, why=f"{value:.3g}"),))  # type: ignore[arg-type]


def swap_settings(a: Candidate, b: Candidate, rng: np.random.Generator, *, names: Sequence[str] = SETTINGS) -> Pair:
    """Both with some of their settings exchanged, each one with a probability of a half.

    An optimiser and its learning rate belong together, and are exchanged together.
    """
    chosen = [name for name in names if name != "lr" and rng.random() < 0.5]
    if "lr" in names and ("optimiser" in chosen or a.optimiser == b.optimiser):
        chosen.append("lr")
    mine, its = ({name: getattr(of, name) for name in chosen} for of in (a, b))
    if mine == its:
        return Mutated(a), Mutated(b)
    return _given(a, its), _given(b, mine)


def _given(candidate: Candidate, values: dict[str, object]) -> Mutated[Candidate]:
    changed = {name: value for name, value in values.items() if value != getattr(candidate, name)}
    notes = tuple(Note("swap", name, done=True, why=str(value)) for name, value in changed.items())
    return Mutated(replace(candidate, **changed), notes)  # type: ignore[arg-type]
