"""Initialisations of new weights, one record per word. Cheap to import, because `--help` shows the words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod, sqrt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from onnxsurgeon.arrays import FloatArray, Shape

    Split = Callable[[FloatArray, np.random.Generator], tuple[FloatArray, FloatArray]]


@dataclass(frozen=True)
class Init:
    """An initialisation, with a function for each use; None if it does not support that use.

    deviation: standard deviation of a new neuron's weights, by their number; 0: all zero.
    copies: whether new neurons are copies of others.
    fresh: the weight of a new layer, shape (out, in, *kernel).
    split: a depthwise weight, shape (in, prod(kernel)), and a pointwise one, shape (out, in), from that of a Conv.
    """

    word: str
    help: str
    deviation: Callable[[int], float] | None = None
    copies: bool = False
    fresh: Callable[[Shape, np.random.Generator], FloatArray] | None = None
    split: Split | None = None


def _zeros(shape: Shape, rng: np.random.Generator) -> FloatArray:
    import numpy as np

    return np.zeros(shape)


def _identity(shape: Shape, rng: np.random.Generator) -> FloatArray:
    """A kernel that passes on each channel: 1 at the centre."""
    import numpy as np

    weight, kernel, channels = np.zeros(shape), shape[2:], np.arange(shape[0])
    centre = int(np.ravel_multi_index([(k - 1) // 2 for k in kernel], kernel)) if kernel else 0
    weight.reshape(*shape[:2], -1)[channels, channels % shape[1], centre] = 1.0
    return weight


def _he(shape: Shape, rng: np.random.Generator) -> FloatArray:
    return rng.standard_normal(shape) * sqrt(2 / max(prod(shape[1:]), 1))


def _split_he(weight: FloatArray, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    out, channels, *kernel = weight.shape
    return _he((channels, prod(kernel)), rng), _he((out, channels), rng)


def _closest(weight: FloatArray, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """The first singular pair of each input channel's weight."""
    import numpy as np

    u, s, v = np.linalg.svd(weight.reshape(*weight.shape[:2], -1).transpose(1, 0, 2), full_matrices=False)
    return v[:, 0] * np.sqrt(s[:, :1]), (u[:, :, 0] * np.sqrt(s[:, :1])).T


INITS = {
    init.word: init
    for init in (
        Init("normal", "small and random", deviation=lambda count: 1 / count),
        Init("identity", "leaves the function unchanged", fresh=_identity),
        Init("zeros", "all zero", deviation=lambda count: 0.0, fresh=_zeros),
        Init("he", "random, He initialisation", deviation=lambda count: sqrt(2 / count), fresh=_he, split=_split_he),
        Init("duplicate", "copies of important channels, which share their outgoing weights", copies=True),
        Init("closest", "best approximation of the old weights", split=_closest),
    )
}
GROWN = tuple(word for word, init in INITS.items() if init.deviation or init.copies)  # of new neurons
FRESH = tuple(word for word, init in INITS.items() if init.fresh)  # of new layers
SPLIT = tuple(word for word, init in INITS.items() if init.split)  # of the two layers that replace one


def described(*words: str) -> str:
    """The words with their meanings, for help."""
    return ", ".join(f"{word} ({INITS[word].help})" for word in words)
