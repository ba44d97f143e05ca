"""Schedules of the learning rate: one record each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import cos, pi

RISE, START, END = 0.3, 1 / 25, 1e-4 / 25  # of one-cycle: the share of rising steps, the first factor and the last
DROPS = (0.5, 0.75)  # where `step` divides the rate by 10


def _glide(first: float, last: float, done: float) -> float:
    """From one number to the other along half a cosine."""
    return last + (first - last) * (1 + cos(pi * done)) / 2


def _one_cycle(done: float) -> float:
    """Smith and Topin 2018."""
    return _glide(START, 1.0, done / RISE) if done < RISE else _glide(1.0, END, (done - RISE) / (1 - RISE))


@dataclass(frozen=True)
class Schedule:
    """factor: of the learning rate, by the share of all steps that is done."""

    help: str
    factor: Callable[[float], float]


SCHEDULES: Mapping[str, Schedule] = {
    "constant": Schedule("the same rate", lambda done: 1.0),
    "cosine": Schedule("falls to 0 along half a cosine", lambda done: _glide(1.0, 0.0, done)),
    "one-cycle": Schedule("rises for 30% of the steps, then falls to almost 0", _one_cycle),
    "step": Schedule(
        "a tenth after 50% of the steps, a hundredth after 75%",
        lambda done: float(0.1 ** sum(done >= drop for drop in DROPS)),
    ),
}


def rate(word: str, peak: float, step: int, steps: int, warmup: int) -> float:
    """The learning rate of step 0, 1, ... of `steps`; the first `warmup` ones rise linearly to `peak`."""
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    return peak * SCHEDULES[word].factor((step - warmup) / max(1, steps - warmup))
