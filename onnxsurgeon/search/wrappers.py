"""Mutations of mutations: with a probability, one after another, recorded, under a condition, for each vertex.

The subject may be anything. Of vertices, a probability or a condition is drawn or asked for each one alone, and the
mutation then acts on those that remain, together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar

import numpy as np

from onnxsurgeon.importance.from_weights import scores
from onnxsurgeon.search.mutation import Mutated, Mutation
from onnxsurgeon.search.vertices import Shield, Vertices, names_of
from onnxsurgeon.surgery.network import Network
from onnxsurgeon.surgery.widths import value_axis

T = TypeVar("T")


def probability(mutation: Mutation[T], p: float | Callable[[T], float]) -> Mutation[T]:
    """`mutation` with a probability: a number, or a function of the subject (by weight)."""

    def mutate(subject: T, rng: np.random.Generator) -> Mutated[T]:
        return _where(mutation, subject, rng, lambda one: rng.random() < (p(one) if callable(p) else p))

    return mutate


def only_if(mutation: Mutation[T], test: Callable[[T], bool]) -> Mutation[T]:
    """`mutation` where the test holds for the subject."""
    return lambda subject, rng: _where(mutation, subject, rng, test)


def _where(
    mutation: Mutation[T], subject: T, rng: np.random.Generator, test: Callable[[Any], bool]
) -> Mutated[T]:  # fmt: skip
    """`mutation` of the subject where the test holds; of vertices, of those for which it holds."""
    if not isinstance(subject, Vertices):
        return mutation(subject, rng) if test(subject) else Mutated(subject)
    chosen = subject.where(test)
    if not chosen.names:
        return Mutated(subject)
    found: Mutated[Any] = mutation(chosen, rng)  # type: ignore[arg-type]  # vertices, as the subject
    if found.subject is chosen:
        return Mutated(subject, found.notes)
    left = set(names_of(found.subject.network))
    again = Vertices(found.subject.network, tuple(n for n in subject.names if n in left), subject.shields)
    return Mutated(again, found.notes)  # type: ignore[arg-type]


def by_importance(
    mutation: Mutation[Vertices],
    p: float,
    *,
    prefer: Literal["low", "high"] = "low",
    importance: Callable[[Network], Mapping[str, float]] | None = None,
) -> Mutation[Vertices]:
    """`mutation` with a probability that falls (or rises) with the importance of a vertex among the others.

    p: on average; from 0 to 2 p by rank. importance: of nodes by name; by default the mean `l2-norm` of their channels.
    """

    def mutate(subject: Vertices, rng: np.random.Generator) -> Mutated[Vertices]:
        known = (importance or mean_importance)(subject.network)
        order = sorted((name for name in subject.names if name in known), key=lambda name: (known[name], name))
        if prefer == "low":
            order.reverse()
        chance = {name: 2 * p * (rank + 0.5) / len(order) for rank, name in enumerate(order)}
        return _where(mutation, subject, rng, lambda one: rng.random() < chance.get(one.names[0], 0.0))

    return mutate


def mean_importance(network: Network) -> dict[str, float]:
    """The mean importance of the channels of each node that has such, by `l2-norm`."""
    labels = network.labels
    each = scores(labels)
    total = np.bincount(labels.classes.root, weights=each, minlength=len(each))
    found = {call.name: value_axis(labels, node.outputs[0]) for node, call in labels.calls.items()}
    return {name: float(total[labels.classes.root[axis[1]]].mean()) for name, axis in found.items() if axis}


def sequence(*mutations: Mutation[T]) -> Mutation[T]:
    """The mutations, one after another."""

    def mutate(subject: T, rng: np.random.Generator) -> Mutated[T]:
        found = Mutated(subject)
        for mutation in mutations:
            after = mutation(found.subject, rng)
            found = Mutated(after.subject, found.notes + after.notes)
        return found

    return mutate


def one_of(mutations: Sequence[Mutation[T]], weights: Sequence[float] = ()) -> Mutation[T]:
    """One of the mutations. weights: how likely each is; by default the same."""
    shares = np.array(weights or [1.0] * len(mutations), np.float64)

    def mutate(subject: T, rng: np.random.Generator) -> Mutated[T]:
        return mutations[int(rng.choice(len(shares), p=shares / shares.sum()))](subject, rng)

    return mutate


def record(mutation: Mutation[T], heard: Callable[[T, Mutated[T]], object]) -> Mutation[T]:
    """`mutation`; `heard` is called with each subject and what came of it."""

    def mutate(subject: T, rng: np.random.Generator) -> Mutated[T]:
        found = mutation(subject, rng)
        heard(subject, found)
        return found

    return mutate


def log(mutation: Mutation[T], write: Callable[[str], object]) -> Mutation[T]:
    """`mutation`; `write` is called with a line for each of its notes."""

    def lines(subject: T, found: Mutated[T]) -> None:
        for note in found.notes:
            write(f"{note.kind} {note.where}: {'done' if note.done else 'not done'}{note.why and f', {note.why}'}")

    return record(mutation, lines)


def per_vertex(
    mutation: Mutation[Vertices],
    *,
    among: Literal["allowed", "all"] = "allowed",
    protect: Sequence[str | Shield] = (),
) -> Mutation[Network]:
    """`mutation` of a network, acting on its vertices.

    among: those that no shield covers, or all. protect: shields, or globs of names and operators that nothing changes.
    """
    shields = tuple(one if isinstance(one, Shield) else Shield(one) for one in protect)

    def mutate(network: Network, rng: np.random.Generator) -> Mutated[Network]:
        found = mutation(Vertices(network, names_of(network), shields if among == "allowed" else ()), rng)
        return Mutated(found.subject.network, found.notes)

    return mutate
