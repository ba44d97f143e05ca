"""The options of `evaluate` and `sensitivity`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from onnxsurgeon import metrics
from onnxsurgeon.importance import criteria
from onnxsurgeon.options.parsing import at_least, path, share, texts, word_in
from onnxsurgeon.options.record import DATA, REMOVE, STAY, Options, option
from onnxsurgeon.options.shared import OfData, OfStates, RunsOn

SHARES = (0.9, 0.75, 0.5, 0.25)
_share = share("a share above 0 and up to 1", lambda x: 0 < x <= 1)


@dataclass(frozen=True, kw_only=True)
class Steps(Options):
    progress: Callable[..., None] | None = option(
        None, "Called with (steps done, steps in total); `sensitivity` adds the next layer.", panel=DATA, in_shell=False
    )


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(RunsOn, OfData, Steps):
    metric: str = option(
        metrics.DEFAULT, f"The score: {', '.join(metrics.METRICS)}.", panel=DATA, metavar="WORD",
        words=lambda: metrics.METRICS, read=word_in(metrics.METRICS),
    )  # fmt: skip
    against: Any = option(
        None, "Use the outputs of this model as targets, instead of labels.", panel=DATA, metavar="MODEL",
        read=lambda value, name: path(value, name) if isinstance(value, str | os.PathLike) else value,
    )  # fmt: skip
    output_name: str | None = option(None, "The output to score, if the model has several.", panel=DATA, metavar="NAME")


@dataclass(frozen=True, kw_only=True)
class SensitivityOptions(RunsOn, OfStates, OfData, Steps):
    samples: int | None = option(
        32, "Use at most N samples, drawn by `seed`.", panel=DATA, metavar="N", read=at_least(1)
    )
    only: Sequence[str] | str = option(
        ("*",), "Narrow only the outputs of these nodes. Repeatable.", panel=REMOVE, metavar="GLOB", read=texts
    )  # fmt: skip
    shares: Sequence[float] = option(
        SHARES, "Shares of a layer's width to keep.", panel=STAY, in_shell=False,
        read=lambda values, name: tuple(_share(value, name) for value in values),
    )  # fmt: skip
    importance: str = option(
        criteria.WITHOUT_DATA, criteria.help_text(data=False), panel=REMOVE, metavar="WORD",
        words=lambda: criteria.words(data=False), read=criteria.reader(data=False),
    )  # fmt: skip
