"""The options of `prune`: one record, for Python, the command line and the JSON report."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

from onnxsurgeon import metrics
from onnxsurgeon.compensation.compensations import COMPENSATIONS, Compensation
from onnxsurgeon.dependency.costs import COSTS, Budgets
from onnxsurgeon.errors import UsageError
from onnxsurgeon.importance import criteria
from onnxsurgeon.importance.criteria import Criterion, criterion
from onnxsurgeon.options.parsing import (
    amount,
    at_least,
    data_or_path,
    path,
    positive_or_zero,
    share,
    texts,
    word_in,
    word_of,
)
from onnxsurgeon.options.record import DATA, REMOVE, RUN, STAY, Options, option
from onnxsurgeon.options.shared import (
    NONE,
    OF_DATA,
    SPEC,
    SYNTHETIC,
    Needs,
    OfData,
    OfGradients,
    OfStates,
    Progress,
    RunsOn,
)
from onnxsurgeon.pruning import efforts
from onnxsurgeon.pruning.efforts import EFFORTS
from onnxsurgeon.training.learning_rate import RELATIVE, learning_rate

if TYPE_CHECKING:
    from onnxsurgeon.data import Samples

DROP = share("0 or more", lambda x: 0 <= x < inf)
NEEDS_DATA = "samples batch mirror ewma".split()  # synthetic samples will do
NEEDS_REAL_DATA = "preprocess max_drop metric output_name fine_tune lr".split()


@dataclass(frozen=True, kw_only=True)
class Scoring(Options):
    """How models are scored."""

    metric: str | None = option(
        None, f"Score the model before and after: {', '.join(metrics.METRICS)}.", panel=REMOVE, metavar="WORD",
        words=lambda: metrics.METRICS, read=word_in(metrics.METRICS), shown="top1 with `max_drop`",
    )  # fmt: skip
    output_name: str | None = option(
        None, "The output to score, if the model has several.", panel=REMOVE, metavar="NAME"
    )


@dataclass(frozen=True, kw_only=True)
class Goal(Scoring, Budgets):
    max_drop: float | str | None = option(
        None, "Instead of `ratio`: find the smallest model whose `metric` on `data` is at most X worse: 0.02 or 2%.",
        panel=REMOVE, metavar="X", kind=str, read=DROP,
    )  # fmt: skip
    max_moved: float | str | None = option(
        None, "Write nothing, and exit with 3, if the outputs move by more: the share of samples whose top class"
        " changes; if the outputs are no classes, their relative error.", panel=REMOVE, metavar="SHARE",
        read=share("between 0 and 1", lambda x: 0 <= x <= 1),
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class OnDevice(Options):
    """Where latency is measured, if it is asked about."""

    threads: int | None = option(
        None, "Threads of onnxruntime when latency is measured.", panel=RUN, metavar="N", kind=int, read=at_least(1),
        shown="one per core",
    )  # fmt: skip
    profile: str | os.PathLike[str] | None = option(
        None, "Latency is that of the device where `onnxsurgeon profile` wrote this file, not of this one.",
        panel=REMOVE, metavar="FILE.json", read=path,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Fitting(OfGradients, OfData):
    """How data choose what to cut, and refit what remains."""

    effort: str = option(
        efforts.DEFAULT, "How much work the result is worth, where `importance` and `compensate` are not given: fast (a"
        " few passes over the samples), default (up to about 60), best (distillation: minutes).", panel=REMOVE,
        words=lambda: EFFORTS, read=word_of(lambda: EFFORTS),
    )  # fmt: skip
    importance: str | None = option(
        None, criteria.help_text(data=True), panel=REMOVE, metavar="WORD",
        words=lambda: criteria.words(data=True), read=criteria.reader(data=True),
        shown=f"by `effort`; {criteria.WITHOUT_DATA} without samples",
    )  # fmt: skip
    less_quantile: float | str | None = option(
        None, "Subtract this quantile of its space from the importance of each channel, like 0.2: so each layer has"
        " channels that it would rather lose.", panel=REMOVE, metavar="SHARE", kind=str,
        read=share("between 0 and 1", lambda x: 0 <= x <= 1),
    )  # fmt: skip
    data: str | os.PathLike[str] | Samples | None = option(
        SYNTHETIC, f"{OF_DATA} Or synthetic: made to fit the model; none: no samples, so norms alone.", panel=DATA,
        metavar=f"{SPEC}|{SYNTHETIC}|{NONE}", read=data_or_path,
    )  # fmt: skip
    compensate: str | None = option(
        None, "How to refit the layers that read cut channels. All but distillation are closed form; distillation adds"
        " gradient steps towards the original's outputs: no labels, but minutes.",
        panel=DATA, words=lambda: COMPENSATIONS, read=word_of(lambda: COMPENSATIONS),
        shown="by `effort`",
    )  # fmt: skip
    fine_tune: int | None = option(
        None, "Then train the cut model for N epochs: on class numbers among `data`, else on what the original says.",
        panel=DATA, metavar="EPOCHS", kind=int, read=at_least(1),
    )  # fmt: skip
    lr: float | str | None = option(
        None, "Learning rate of `fine_tune`: a number, or in percent of each weight's root mean square.", panel=DATA,
        metavar="X", kind=str, read=learning_rate, shown=RELATIVE,
    )  # fmt: skip
    rotate: bool | None = option(
        None, "In linear streams (residual bottlenecks), cut components instead of channels.", panel=DATA, kind=bool,
        declared="--rotate/--no-rotate", shown="with sequential or distillation, but not before `fine_tune`",
    )  # fmt: skip
    mirror: bool = option(
        False, "`data` holds images: also fit to mirrored copies; distillation also shifts them.", panel=DATA
    )
    memory: float | str = option(
        2e9, "About how much memory statistics of `data` may take, and the proof, like 2GB.", panel=DATA,
        metavar="SIZE", kind=str, read=amount(of_bytes=True, least=2**20), shown="2GB",
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Tuning(Progress, RunsOn, Fitting, Scoring):
    """What says how a cut model is trained."""

    cut_samples: int = option(
        512, "Samples of `data` that choose and fit a cut, where all are trained on.", panel=DATA, metavar="N",
        read=at_least(1),
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Cached(Options):
    stats: str | os.PathLike[str] | None = option(
        None, "Cache the statistics of `data` here, so that the next run on this model skips that pass.", panel=DATA,
        metavar="FILE", read=path,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class LeftAlone(Options):
    """What must stay, whatever the model."""

    round_to: int = option(1, "Round widths to multiples of N.", panel=STAY, metavar="N", read=at_least(1))
    min_keep: float | str = option(
        0.0, "Keep at least this share of each axis, like 0.25 or 25%.", panel=STAY, metavar="SHARE", kind=str,
        read=share("between 0 and 1", lambda x: 0 <= x <= 1),
    )  # fmt: skip
    exclude: Sequence[str] | str = option(
        (), "Don't cut the outputs of these nodes. Repeatable.", panel=STAY, metavar="GLOB", read=texts
    )
    only: Sequence[str] | str = option(
        (), "Only cut the outputs of these nodes. Repeatable.", panel=STAY, metavar="GLOB", read=texts
    )


@dataclass(frozen=True, kw_only=True)
class Kept(LeftAlone, OfStates):
    """What must stay, and states."""


@dataclass(frozen=True, kw_only=True)
class Solving(Options):
    time_limit: float = option(10.0, "Time limit of the solver.", panel=RUN, metavar="SECONDS", read=positive_or_zero)
    gap: float = option(
        1e-3, "Stop at this proven gap to the optimum.", panel=RUN, metavar="SHARE", read=positive_or_zero
    )


@dataclass(frozen=True, kw_only=True)
class PruneOptions(OnDevice, Solving, Kept, Cached, Tuning, Goal):
    """All options of `prune`. Raises UsageError if they do not fit together."""

    def __post_init__(self) -> None:
        if self.max_drop is not None and self.metric is None:
            object.__setattr__(self, "metric", metrics.DEFAULT)
        super().__post_init__()

    def check(self) -> None:
        super().check()
        if self.ratio is not None and self.max_drop is not None:
            raise UsageError(
                "`ratio` and `max_drop` exclude each other",
                why="both set the size of the model",
                fix="give one of them",
            )
        if self.profile is not None and "latency" not in self.wanted:
            raise UsageError(
                "`profile` is about latency", why="no budget is", fix="give `cost=latency` or `max_latency`, too"
            )
        for names, there in ((NEEDS_DATA, self.has_data), (NEEDS_REAL_DATA, self.has_real_data)):
            for name in names:
                if getattr(self, name) not in (None, False) and not there:
                    raise UsageError(f"`{name}` needs samples", why="there is no data", fix="give samples with `data`")
        self._require("stats", "nothing" if self.stats is None else "data")
        self._require("importance", self.criterion.needs)
        self._require("compensate", self.compensation.needs)
        if self.less_quantile is not None and self.criterion.gives == "space":
            raise UsageError(
                f"`less_quantile` is for sums over channels, not for `importance={self.word}`",
                why="that is an error of whole selections", fix="choose another `importance`, such as taylor",
            )  # fmt: skip
        self._require("rotate", "data" if self.rotate else "nothing")

    def _require(self, name: str, needs: Needs) -> None:
        known = self.has_data or (needs == "data" and self.knows_statistics)
        if needs != "nothing" and not known:
            name, given = (name, getattr(self, name)) if getattr(self, name) is not None else ("effort", self.effort)
            raise UsageError(f"`{name}={given}` needs samples", why="there is no data", fix="give samples with `data`")

    def require_a_goal(self) -> None:
        """Raises UsageError if neither a ratio nor a budget is given."""
        if self.ratio is None and self.max_drop is None and not self.limits:
            limits = ", ".join(f"`max_{word}`" for word in COSTS)
            raise UsageError(
                "there is no goal", why="no ratio and no budget", fix=f"give `ratio`, `max_drop` or one of {limits}"
            )

    @property
    def asks_to_pass(self) -> bool:
        """Whether the result must be good enough by some measure."""
        return self.max_drop is not None or self.max_moved is not None

    @property
    def has_data(self) -> bool:
        """Whether there are samples, real or synthetic."""
        return self.data is not None and not (isinstance(self.data, str) and self.data == NONE)

    @property
    def is_synthetic(self) -> bool:
        return isinstance(self.data, str) and self.data == SYNTHETIC

    @property
    def has_real_data(self) -> bool:
        return self.has_data and not self.is_synthetic

    @property
    def whole(self) -> float:
        """Bytes of the largest file that runs as a whole where nobody asked for it."""
        return float(self.memory) / 2

    @property
    def stats_file(self) -> Path | None:
        return None if self.stats is None else Path(self.stats)

    @property
    def knows_statistics(self) -> bool:
        """Whether the file with the statistics of an earlier run exists."""
        return self.stats_file is not None and os.path.lexists(self.stats_file)

    @property
    def word(self) -> str:
        """The word of the criterion: the given one, or the default."""
        return self.importance or (EFFORTS[self.effort].importance if self.has_data else criteria.WITHOUT_DATA)

    @property
    def criterion(self) -> Criterion:
        return criterion(self.word)

    @property
    def compensation(self) -> Compensation:
        chosen = EFFORTS[self.effort]
        return COMPENSATIONS[self.compensate or (chosen.compensate if self.has_data else chosen.alone)]

    @property
    def without_samples(self) -> PruneOptions:
        """The options if there are no samples: norms decide."""
        return replace(self, data=NONE, samples=None, batch=None, effort=efforts.DEFAULT)

    def at(self, ratio: float) -> PruneOptions:
        """The options for one candidate of the search for `max_drop`."""
        return replace(self, ratio=ratio, max_drop=None)
