"""The options of `evaluate`, `sensitivity` and `check`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from math import inf
from typing import Any

from onnxsurgeon import metrics
from onnxsurgeon.dependency.costs import CostLimits
from onnxsurgeon.errors import UsageError
from onnxsurgeon.importance import criteria
from onnxsurgeon.latency.options import TimedRuns
from onnxsurgeon.options.parsing import at_least, data_or_path, number, path, share, texts, word_in, wrong
from onnxsurgeon.options.record import DATA, HOLD, REMOVE, STAY, Options, option, option_of
from onnxsurgeon.options.shared import OF_DATA, SPEC, OfData, OfStates, RunsOn

SHARES = (0.9, 0.75, 0.5, 0.25)
_share = share("a share above 0 and up to 1", lambda x: 0 < x <= 1)


@dataclass(frozen=True, kw_only=True)
class Steps(Options):
    progress: Callable[..., None] | None = option(
        None, "Called with (steps done, steps in total); `sensitivity` adds the next layer.", panel=DATA,
        in_shell=False, reported=False,
    )  # fmt: skip


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


_finite = number("a number", lambda x: -inf < x < inf)


def _bound(metric: str) -> Any:
    """The option for the score that a model must reach."""
    record = metrics.METRICS[metric]
    way = "Least" if record.higher else "Largest"
    read = share("between 0 and 1", lambda x: 0 <= x <= 1) if record.targets == "classes" else _finite
    return option(
        None, f"{way} {metric} on `data`: the {record.help.partition(';')[0]}.", panel=HOLD, metavar="X", kind=str,
        read=read, about=metric,
    )  # fmt: skip


def _own(value: Any, name: str) -> tuple[str, ...]:
    """Texts MODULE:FUNCTION=X, checked."""
    found = texts(value, name)
    for text in found:
        word, _, bound = text.rpartition("=")
        if ":" not in word:
            raise wrong(text, name, "MODULE:FUNCTION=X", "write it like my_metrics:recall=0.9")
        _finite(bound, f"{name} of {word}")
    return found


@dataclass(frozen=True, kw_only=True)
class Scores(Options):
    """What a model must score: a bound for each metric there is."""

    min_top1: float | str | None = _bound("top1")
    min_top5: float | str | None = _bound("top5")
    max_mse: float | str | None = _bound("mse")
    min_cosine: float | str | None = _bound("cosine")
    min_psnr: float | str | None = _bound("psnr")
    min_score: Sequence[str] | str = option(
        (), "Least score of your own metric; the largest, if the function has lower_is_better. Repeatable.",
        panel=HOLD, metavar="MODULE:FUNCTION=X", read=_own,
    )  # fmt: skip

    @property
    def bounds(self) -> dict[str, tuple[str, float]]:
        """The option and its bound, by metric."""
        about = {of.name: option_of(of).about for of in fields(Scores)}
        given = {word: (name, getattr(self, name)) for name, word in about.items() if word}
        own = (text.rpartition("=") for text in self.min_score)
        return {
            **{word: (name, float(bound)) for word, (name, bound) in given.items() if bound is not None},
            **{word: ("min_score", float(bound)) for word, _, bound in own},
        }


@dataclass(frozen=True, kw_only=True)
class CheckOptions(Scores, CostLimits, TimedRuns, OfData):
    """What `check` takes. Raises UsageError if there is nothing to check, or not with what."""

    data: Any = option(None, OF_DATA, panel=DATA, metavar=SPEC, read=data_or_path)
    output_name: str | None = option(None, "The output to score, if the model has several.", panel=DATA, metavar="NAME")
    against: Any = option(
        None, "The model to compare with, like that of the main branch. Where `data` has no labels that fit, its"
        " outputs are the targets.", panel=HOLD, metavar="MAIN.onnx",
        read=lambda value, name: path(value, name) if isinstance(value, str | os.PathLike) else value,
    )  # fmt: skip
    max_growth: float | str | None = option(
        None, "How many more parameters, MACs and bytes than `against`: 0.02 or 2%.", panel=HOLD, metavar="SHARE",
        kind=str, read=share("0 or more", lambda x: x >= 0),
    )  # fmt: skip
    max_slowdown: float | str | None = option(
        None, "How much slower than `against`: 0.05 or 5%.", panel=HOLD, metavar="SHARE", kind=str,
        read=share("0 or more", lambda x: x >= 0),
    )  # fmt: skip
    max_drop: float | str | None = option(
        None, "How much worse than `against` by `metric` on `data`: 0.01 or 1%.", panel=HOLD, metavar="X", kind=str,
        read=share("0 or more", lambda x: x >= 0),
    )  # fmt: skip
    metric: str = option(
        metrics.DEFAULT, f"The score of `max_drop`: {', '.join(metrics.METRICS)}.", panel=HOLD, metavar="WORD",
        words=lambda: metrics.METRICS, read=word_in(metrics.METRICS),
    )  # fmt: skip

    def check(self) -> None:
        super().check()
        relative = [name for name in ("max_growth", "max_slowdown", "max_drop") if getattr(self, name) is not None]
        if not (relative or self.limits or self.bounds):
            raise UsageError(
                "there is nothing to check", why="no condition is given",
                fix="give one, like `max_size`, `min_top1`, or `against` with `max_growth`",
            )  # fmt: skip
        if relative and self.against is None:
            raise UsageError(
                f"`{relative[0]}` needs another model", why="it is relative to one", fix="give it with `against`"
            )
        if self.data is None and (self.bounds or self.max_drop is not None):
            name = next(iter(self.bounds.values()))[0] if self.bounds else "max_drop"
            raise UsageError(f"`{name}` needs samples", why="there is no data", fix="give samples with `data`")
        unused = self.data if not (self.bounds or self.max_drop is not None) else None
        if unused is not None or (self.against is not None and not relative and not self.bounds):
            raise UsageError(
                f"`{'data' if unused is not None else 'against'}` has no use", why="no condition is about it",
                fix="leave it out, or add a condition, like `min_top1` or `max_growth`",
            )  # fmt: skip
