"""Which sizes of the dynamic dims a graph is evaluated at: the first of the usual ones that it accepts and that need
little memory."""

from __future__ import annotations

from collections.abc import Mapping

from onnxsurgeon.arrays import Shape
from onnxsurgeon.dependency.dynamic_dims import Samples, samples
from onnxsurgeon.dependency.facts import PICKED, Evaluator, Facts
from onnxsurgeon.dependency.rewrites import KnownModel
from onnxsurgeon.dependency.size_facts import all_facts

LARGE = 2**28  # bytes of a tensor: smaller sizes are taken where they are assumed


def proposed(evaluator: Evaluator, given: Mapping[str, Shape]) -> list[Samples]:
    """The samples at which the fewest shapes are unknown, of those the first whose tensors are not large; where some
    are unknown, the usual ones before them, which may be made to fit."""
    model = evaluator.model
    first = next(samples(model, given))
    best: tuple[tuple[int, float], Samples] | None = None
    for sizes in samples(model, given):
        try:
            facts = [evaluator.run(*sample) for sample in zip(sizes, PICKED, strict=False)]
        except ValueError:  # the graph does not accept these sizes (broadcasting)
            continue
        missing, large = (
            sum(f.shape is None or min(f.shape, default=1) < 1 for f in facts[0].values()),
            largest(facts[0]),
        )
        rank = (missing, large if large > LARGE else 0)
        if best is None or rank < best[0]:
            best = rank, sizes
        if rank == (0, 0):
            for found, sample, picked in zip(facts, sizes, PICKED, strict=False):
                evaluator.keep(found, sample, picked)
            break
    if best is None or best[1] == first:
        return [first]
    return [best[1]] if best[0][0] == 0 and 1 not in best[1][0].values() else [first, best[1]]


def known_at(evaluator: Evaluator, sizes: Samples, *, lenient: bool) -> KnownModel:
    """A model with its facts at these samples. lenient: where a node refuses them, what follows is unknown; else all
    is."""
    model, evaluator = evaluator.model, evaluator.again()
    try:
        return KnownModel(model, evaluator, all_facts(evaluator, *sizes[:2]))
    except ValueError:
        if not lenient:
            return KnownModel(model, evaluator, ({}, {}, {}))
        evaluator.lenient = True
        return KnownModel(model, evaluator, all_facts(evaluator, *sizes[:2]))


def largest(facts: Facts) -> float:
    """Bytes of the largest tensor that a node makes."""
    return max((f.nbytes for v, f in facts.items() if f.dtype and v.producer() is not None), default=0)
