"""The options of `bench`, `profile` and `compare`."""

from __future__ import annotations

from dataclasses import dataclass

from onnxsurgeon.options.parsing import at_least, number, share, word_of
from onnxsurgeon.options.record import RUN, SHOW, Options, option
from onnxsurgeon.options.shared import InputShape, Progress, RunsOn, Seed


@dataclass(frozen=True)
class Care:
    """How thoroughly a device is measured. runs: sets of widths at most. share: of the tables, when it is enough."""

    runs: int
    share: float


EFFORTS = {"fast": Care(16, 0.25), "default": Care(64, 0.8), "best": Care(200, 0.95)}


@dataclass(frozen=True, kw_only=True)
class TimedRuns(InputShape, RunsOn, Seed):
    """How runs are timed, whatever their batch size."""

    threads: int | None = option(
        None, "Threads of onnxruntime.", panel=RUN, metavar="N", kind=int, read=at_least(1), shown="one per core"
    )
    time_limit: float = option(
        4.0, "Seconds for the timed runs of all models together.", panel=RUN, metavar="S",
        read=number("more than 0 seconds", lambda x: 0 < x < 1e6),
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Timed(TimedRuns):
    """How runs are timed."""

    batch: int | None = option(
        None, "Batch size.", panel=RUN, metavar="N", kind=int, read=at_least(1), shown="1, or the model's own size"
    )


@dataclass(frozen=True, kw_only=True)
class Benching(Options):
    bench: bool = option(
        True, "Measure the latency before and after.", panel=RUN, declared="--no-bench", off="Don't measure latency.",
        reported=False,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class BenchOptions(Timed):
    """What `bench` takes."""

    layers: bool = option(False, "Show the time of each node, too.", panel=SHOW)


@dataclass(frozen=True, kw_only=True)
class ProfileOptions(Progress, Timed):
    """What `profile` takes."""

    effort: str = option(
        "default", "How many sets of widths to measure at most: fast 16, default 64, best 200. It ends early where all"
        " was measured before.", panel=RUN, words=lambda: EFFORTS, read=word_of(lambda: EFFORTS),
    )  # fmt: skip
    time_limit: float = option(
        100.0,
        "Seconds for all runs.",
        panel=RUN,
        metavar="S",
        read=number("more than 0 seconds", lambda x: 0 < x < 1e6),
    )
    fresh: bool = option(False, "Measure again what was measured before on this machine.", panel=RUN)


@dataclass(frozen=True, kw_only=True)
class CompareOptions(Benching, Timed):
    """What `compare` takes."""

    fail_if_larger: bool = option(
        False, "Exit with 6 if the second model has more parameters, MACs or bytes.", panel=SHOW, kind=bool
    )
    fail_if_slower: float | str | None = option(
        None, "Exit with 6 if the second model is slower by more than this share: 0.05 or 5%.", panel=SHOW,
        metavar="SHARE", read=share("0 or more", lambda x: x >= 0),
    )  # fmt: skip
