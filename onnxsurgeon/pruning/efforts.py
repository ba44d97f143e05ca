"""How much work a pruning is worth: one record each, from which help, checks and the documentation are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from onnxsurgeon.compensation import compensations
from onnxsurgeon.importance import criteria

DEFAULT = "default"


@dataclass(frozen=True)
class Effort:
    """The options that it stands for, where they are not given.

    importance, compensate: with samples. alone: the compensation without any, where norms choose.
    """

    help: str
    importance: str
    compensate: str
    alone: str


EFFORTS: Mapping[str, Effort] = {
    "fast": Effort(
        "a few passes over the samples: reconstruction, and sequential; without samples norms, and bias",
        "reconstruction", compensations.WITH_DATA, "bias",
    ),
    DEFAULT: Effort(
        f"at most about 60 passes: {criteria.WITH_DATA}, and {compensations.WITH_DATA}; without samples norms alone",
        criteria.WITH_DATA, compensations.WITH_DATA, compensations.WITHOUT_DATA,
    ),
    "best": Effort(
        f"minutes: {criteria.WITH_DATA}, and distillation", criteria.WITH_DATA, "distillation", "distillation"
    ),
}  # fmt: skip
