"""The options of `compress`: one record, for Python, the command line and the JSON report."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from onnxsurgeon import metrics
from onnxsurgeon.dependency.costs import Reduction
from onnxsurgeon.errors import UsageError
from onnxsurgeon.options.parsing import at_least, data_or_path, path, positive_or_zero, word_of
from onnxsurgeon.options.record import DATA, OUTPUT, REMOVE, option
from onnxsurgeon.options.shared import OF_DATA, SPEC
from onnxsurgeon.pruning.options import DROP, LeftAlone, OnDevice, PruneOptions, Solving, Tuning

Spacing = Literal["geometric", "linear"]


@dataclass(frozen=True, kw_only=True)
class CompressOptions(OnDevice, Solving, LeftAlone, Tuning, Reduction):
    """All options of `compress`. Raises UsageError if they do not fit together."""

    max_drop: float | str | None = option(
        None, "Stop when the `metric` is more than X worse than the original's: 0.01 or 1%.", panel=REMOVE,
        metavar="X", kind=str, read=DROP, shown="all steps are taken",
    )  # fmt: skip
    steps: int = option(
        8, "Cuts on the way to `ratio`, each followed by training.", panel=REMOVE, metavar="N", read=at_least(1)
    )
    spacing: Spacing = option(
        "geometric", "Each step takes the same share of what is left (geometric), or the same amount (linear).",
        panel=REMOVE, words=lambda: get_args(Spacing), read=word_of(lambda: get_args(Spacing)),
    )  # fmt: skip
    data: Any = option(None, OF_DATA, panel=DATA, metavar=SPEC, read=data_or_path)
    val: Any = option(
        None, "Held-out samples, as `data`: they choose the epoch of each step, and judge it.", panel=DATA,
        metavar=SPEC, read=data_or_path, reported=False,
    )  # fmt: skip
    fine_tune: int = option(
        2, "Epochs of training after each cut: on class numbers among `data`, else on what the original says.",
        panel=DATA, metavar="EPOCHS", read=at_least(1),
    )  # fmt: skip
    patience: int = option(
        1, "How often a step that is not good enough is trained again, for as many epochs.", panel=DATA, metavar="N",
        read=at_least(0),
    )  # fmt: skip
    folder: str | os.PathLike[str] | None = option(
        None, "Keep the model of each step here, and what is needed to go on.", panel=OUTPUT, metavar="DIR", read=path
    )
    every: float = option(
        5.0, "Minutes between two checkpoints while a step trains.", panel=OUTPUT, metavar="MINUTES",
        read=positive_or_zero,
    )  # fmt: skip
    resume: bool = option(
        False, "Go on from `folder`, if a run began there: the result is that of no interruption.", panel=OUTPUT
    )

    def check(self) -> None:
        super().check()
        if not self.ratio:
            raise UsageError("there is no goal", why="`ratio` is not given", fix="give the share to remove in the end")
        if self.data is None:
            raise UsageError("`data` is not given", why="each step is trained", fix="give samples, best with labels")
        if self.resume and self.folder is None:
            raise UsageError("`resume` needs `folder`", why="there is nothing to go on from", fix="name it")
        self.of_cut(float(self.ratio), self.data)

    @property
    def judged_by(self) -> str:
        return self.metric or metrics.DEFAULT

    def left(self, step: int) -> float:
        """The share of the cost that is left after a step."""
        ratio, done = float(self.ratio or 0.0), step / self.steps
        return float((1 - ratio) ** done) if self.spacing == "geometric" else 1 - ratio * done

    def of_cut(self, ratio: float, data: Any) -> PruneOptions:
        """The options of one cut, by `ratio` of what is left. States keep their shapes: a step fits the same data.
        Nothing is rotated unless asked: it is trained next."""
        own, known = self.given(), {of.name for of in fields(PruneOptions)}
        found = {name: value for name, value in own.items() if name in known}
        changed = {"ratio": ratio, "data": data, "max_drop": None, "metric": None, "fine_tune": None, "lr": None}
        return PruneOptions(**{**found, **changed, "rotate": bool(self.rotate), "keep_interface": True})
