"""How good a candidate is: functions from what was measured of it to a number, higher for better; they compose.

    fitness = mapped(rounded_then_size(3), math.sqrt)
    fitness = ewma(score, retain=0.5)

What is not finite, timed out or failed is the worst there is, never an exception.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from onnxsurgeon.options.parsing import record_of

WORST = -math.inf


@dataclass(frozen=True)
class Measured:
    """What is known of a candidate after its share of training.

    score: its metric on held-out samples, higher for better (an error is negated). loss: the mean in training. costs:
    by word, `params`, `macs`, and those that were asked for. seconds: of training and measuring. train_score: the
    metric on samples that it was trained on, if asked for. before: its fitness a generation ago, or its parent's.
    problem: why it has no score, if so: it is the worst then.
    """

    score: float = math.nan
    loss: float = math.nan
    costs: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    train_score: float | None = None
    before: float | None = None
    problem: str = ""


Fitness = Callable[[Measured], float]


def score(measured: Measured) -> float:
    """The metric on held-out samples, as accuracy."""
    return measured.score


def train_score(measured: Measured) -> float:
    """The metric on samples that were trained on."""
    return math.nan if measured.train_score is None else measured.train_score


def low_loss(measured: Measured) -> float:
    """The loss in training, negated."""
    return -measured.loss


def quick(measured: Measured) -> float:
    """The seconds that training and measuring took, negated."""
    return -measured.seconds


def cheap(cost: str) -> Fitness:
    """A cost, negated: params, macs, latency, memory."""
    return lambda measured: -measured.costs.get(cost, math.nan)


def rounded_then_size(digits: int = 3) -> Fitness:
    """The score rounded to `digits`, so that of two that are about as good the smaller one wins:
    round(score, digits) + min(10^-(digits + 1), 1 / params)."""

    def found(measured: Measured) -> float:
        smaller = 1 / max(1.0, measured.costs.get("params", math.inf))
        return round(measured.score, digits) + min(10.0 ** -(digits + 1), smaller)

    return found


def mapped(fitness: Fitness, function: Callable[[float], float]) -> Fitness:
    """What `function` makes of it."""
    return lambda measured: function(fitness(measured))


def ewma(fitness: Fitness, *, retain: float = 0.5) -> Fitness:
    """Its mean over generations, in which each keeps the share `retain` of the mean before it."""

    def found(measured: Measured) -> float:
        now, before = fitness(measured), measured.before
        return now if before is None or not math.isfinite(before) else retain * before + (1 - retain) * now

    return found


def aggregate(function: Callable[[Sequence[float]], float], *several: Fitness) -> Fitness:
    """What `function` makes of several, as `sum` or `min` do."""
    return lambda measured: function([fitness(measured) for fitness in several])


def valid(fitness: Fitness) -> Fitness:
    """The same, but the worst where there was a problem or the number is not finite."""

    def found(measured: Measured) -> float:
        if measured.problem:
            return WORST
        try:
            value = float(fitness(measured))
        except (ArithmeticError, ValueError):  # as the logarithm of 0
            return WORST
        return value if math.isfinite(value) else WORST

    return found


def excess(costs: Mapping[str, float], limits: Mapping[str, float]) -> float:
    """By how much costs exceed their limits, relative to these, summed; 0 if all are held."""
    return sum(max(0.0, costs.get(word, 0.0) / limit - 1) for word, limit in limits.items())


@dataclass(frozen=True)
class FitnessRecord:
    """A fitness by its word. make: it. trained: whether it needs `train_score`."""

    help: str
    make: Callable[[], Fitness]
    trained: bool = False


FITNESSES: Mapping[str, FitnessRecord] = {
    "score-then-size": FitnessRecord("the score to three digits, then the fewest parameters", rounded_then_size),
    "score": FitnessRecord("the score on held-out samples", lambda: score),
    "train-score": FitnessRecord("the score on samples that it was trained on", lambda: train_score, trained=True),
    "loss": FitnessRecord("the lowest loss in training", lambda: low_loss),
    "mean-score": FitnessRecord("the score, averaged over generations (half of it stays)", lambda: ewma(score)),
}  # fmt: skip


def fitness(word: Any, name: str = "`fitness`") -> FitnessRecord:
    """The record of a word. Raises UsageError for an unknown one."""
    return record_of(word, FITNESSES, name)
