"""Optimisers: one record each. A step emits nodes that work on the flat vectors of all weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnxsurgeon.ops.emitter import Emitter

Settings = Mapping[str, float]


@dataclass(frozen=True)
class OptimiserCall:
    """One step while it is emitted. gradient, states: names of flat vectors. scalar: the input with a number that
    differs from step to step."""

    emit: Emitter
    gradient: str
    states: Mapping[str, str]
    settings: Settings
    scalar: Callable[[str], str]


def _towards(emit: Emitter, old: str, new: str, by: float) -> str:
    """`old` moved a share of the way to `new`."""
    return emit("Add", old, emit("Mul", emit("Sub", new, old), by))


def _sgd(call: OptimiserCall) -> tuple[str, dict[str, str]]:
    emit, momentum = call.emit, call.settings["momentum"]
    velocity = emit("Add", emit("Mul", call.states["velocity"], momentum), call.gradient)
    if call.settings["nesterov"]:
        return emit("Add", call.gradient, emit("Mul", velocity, momentum)), {"velocity": velocity}
    return velocity, {"velocity": velocity}


def _adam(call: OptimiserCall) -> tuple[str, dict[str, str]]:
    """Kingma and Ba 2015. The corrections are in two numbers, so that no vector is divided by them."""
    emit, gradient, settings = call.emit, call.gradient, call.settings
    mean = _towards(emit, call.states["mean"], gradient, 1 - settings["beta1"])
    square = _towards(emit, call.states["square"], emit("Mul", gradient, gradient), 1 - settings["beta2"])
    deviation = emit("Add", emit("Sqrt", square), call.scalar("least deviation"))
    direction = emit("Mul", emit("Div", mean, deviation), call.scalar("correction"))
    return direction, {"mean": mean, "square": square}


def _corrections(step: int, settings: Settings) -> dict[str, float]:
    """For running means that begin at 0: m / a / (sqrt(s / b) + tiny) is m / (sqrt(s) + tiny sqrt(b)) sqrt(b) / a."""
    first, second = (1 - settings[name] ** step for name in ("beta1", "beta2"))
    return {"correction": sqrt(second) / first, "least deviation": settings["tiny"] * sqrt(second)}


@dataclass(frozen=True)
class Optimiser:
    """emit: the direction of a step, which the learning rate multiplies, and the new states. rate: what suits weights
    of the usual size. relative: whether the direction has no unit, so that rates may be relative to weights.

    decoupled: whether weight decay acts on the weights themselves, instead of on their gradient. scalars: the numbers
    of step 1, 2, ..., by the name of their input.
    """

    help: str
    states: tuple[str, ...]
    emit: Callable[[OptimiserCall], tuple[str, dict[str, str]]]
    settings: Settings
    rate: float
    relative: bool = False
    decoupled: bool = False
    scalars: Callable[[int, Settings], dict[str, float]] = lambda step, settings: {}


ADAM = {"beta1": 0.9, "beta2": 0.999, "tiny": 1e-8}
OPTIMISERS: Mapping[str, Optimiser] = {
    "sgd": Optimiser(
        "gradient descent with `momentum`, which may be Nesterov's", ("velocity",), _sgd,
        {"momentum": 0.9, "nesterov": 0.0}, 0.05,
    ),
    "adam": Optimiser(
        "steps relative to the recent size of each gradient", ("mean", "square"), _adam, ADAM, 1e-3,
        relative=True, scalars=_corrections,
    ),
    "adamw": Optimiser(
        "adam whose weight decay acts on the weights themselves", ("mean", "square"), _adam, ADAM, 1e-3,
        relative=True, decoupled=True, scalars=_corrections,
    ),
}  # fmt: skip
