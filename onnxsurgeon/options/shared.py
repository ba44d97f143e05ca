"""Options that several commands share, in small records that the records of the commands inherit."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from onnxsurgeon.errors import UsageError
from onnxsurgeon.options.parsing import at_least, inputs, pairs, positive_or_zero, shapes, share, word_of
from onnxsurgeon.options.record import DATA, OUTPUT, PROOF, RUN, STAY, Options, option

Device = Literal["auto", "cuda", "cpu"]
Preset = Literal["imagenet", "cifar", "unit"]
Attention = Literal["auto", "heads", "head-size"]
Alignment = Literal["auto", "grow", "shrink", "both"]
# What a criterion or a compensation needs: statistics of data, samples to run through cut models, gradients as well
Needs = Literal["nothing", "data", "samples", "gradients"]
SPEC = "FILE|DIR|MODULE:FUNCTION"
SYNTHETIC, NONE = "synthetic", "none"  # values of `data`
OF_DATA = "Samples: an .npz or .npy file, a folder of images, or a function that yields batches."


def _words(of: object) -> Callable[[], Sequence[str]]:
    return lambda: get_args(of)


class Counted(str):
    """A detail of a stage that says how much of it is done. text: what is being done."""

    done: int
    total: int
    text: str

    def __new__(cls, done: int, total: int, text: str = "") -> Counted:
        self = super().__new__(cls, f"{done} of {total}" + f": {text}" * bool(text))
        self.done, self.total, self.text = done, total, text
        return self


@dataclass(frozen=True, kw_only=True)
class Progress(Options):
    """A callback that hears of each stage."""

    progress: Callable[[str, str], None] | None = option(
        None, "Called with (stage, detail) when a stage begins.", panel=OUTPUT, in_shell=False, reported=False
    )

    def announce(self, stage: str, detail: str) -> None:
        if self.progress is not None:
            self.progress(stage, detail)


@dataclass(frozen=True, kw_only=True)
class Seed(Options):
    seed: int = option(0, "Random seed.", panel=RUN, metavar="N", read=at_least(0))


@dataclass(frozen=True, kw_only=True)
class RunsOn(Options):
    device: Device = option(
        "auto", "Where onnxruntime runs; auto: CUDA if it works, else CPU.", panel=RUN, words=_words(Device),
        read=word_of(_words(Device)),
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class InputShape(Options):
    input_shape: Mapping[str, Sequence[int]] | Sequence[str] | str = option(
        (),
        "Shape of an input with dynamic dimensions. Repeatable.",
        panel=DATA,
        metavar="NAME:1,3,224,224",
        read=shapes,
    )

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The given shapes, by input."""
        return shapes(self.input_shape, "`input_shape`")


@dataclass(frozen=True, kw_only=True)
class OfAttention(Options):
    attention: Attention = option(
        "auto", "Remove whole heads, or shrink all heads; auto: the one with more choices.",
        panel=STAY, words=_words(Attention), read=word_of(_words(Attention)),
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class OfStates(OfAttention):
    """How inputs and outputs belong together."""

    states: Mapping[str, str] | Sequence[str] | str = option(
        (), "An input that takes the value of an output of the run before: a state or cache, whose ends may shrink"
        " together. Repeatable; pairs that agree in name and shape are found.", panel=STAY, metavar="IN=OUT",
        read=pairs, declared="--state",
    )  # fmt: skip
    keep_interface: bool = option(False, "Keep the shapes of all inputs and outputs, states too.", panel=STAY)

    def check(self) -> None:
        super().check()
        if self.keep_interface and self.states:
            raise UsageError(
                "`states` and `keep_interface` exclude each other", why="states shrink with what produces them",
                fix="give one of them",
            )  # fmt: skip

    @property
    def carried(self) -> dict[str, str] | None:
        """The stated states, by input; None if none may be cut."""
        return None if self.keep_interface else pairs(self.states, "`states`")


@dataclass(frozen=True, kw_only=True)
class OfData(InputShape, Seed):
    """How samples are read."""

    preprocess: Preset | None = option(
        None, "How to scale and normalise images from a folder.", panel=DATA, words=_words(Preset),
        read=word_of(_words(Preset)),
    )  # fmt: skip
    samples: int | None = option(
        None, "Use at most N samples, drawn by `seed`.", panel=DATA, metavar="N", kind=int, read=at_least(1)
    )
    batch: int | None = option(
        None, "Batch size.", panel=DATA, metavar="N", kind=int, read=at_least(1), shown="32, or the model's own size"
    )


@dataclass(frozen=True, kw_only=True)
class OfGradients(Options):
    """How criteria that use gradients average over batches."""

    ewma: float | str | None = option(
        None, "Of criteria that use gradients: the share of the average that stays when a batch comes, like 0.9, so"
        " that the last ones count most.", panel=DATA, metavar="SHARE", kind=str,
        read=share("from 0 up to 1", lambda x: 0 <= x < 1), shown="all samples count alike",
    )  # fmt: skip
    every_nth: int = option(
        1, "Criteria that use gradients look at one batch in N.", panel=DATA, metavar="N", read=at_least(1)
    )


@dataclass(frozen=True, kw_only=True)
class Allowed(Options):
    """How far outputs may differ."""

    atol: float | None = option(
        None, "Accepted absolute difference.", panel=PROOF, metavar="X", kind=float, read=positive_or_zero, shown="1e-5"
    )
    rtol: float | None = option(
        None, "Accepted difference, relative to the scale of an output's slices.", panel=PROOF, metavar="X", kind=float,
        read=positive_or_zero, shown="by data type; 1e-3 for float32",
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Writing(Options):
    """How a model is written."""

    overwrite: bool = option(False, "Overwrite the output file if it exists.", panel=OUTPUT, reported=False)
    external: bool | None = option(
        None, "Write the weights to FILE.data beside the model.", panel=OUTPUT, kind=bool,
        declared="--save-as-external-data", shown="as in the input model",
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class SaveOptions(Writing, Allowed, RunsOn, Seed, Progress):
    """How an edited model is written: proven first, then moved into its place."""

    samples: str | os.PathLike[str] | Mapping[str, Any] | None = option(
        None, "Real inputs for the proof: an array for each input. In prune, also a number: use at most N samples of"
        " `data`, drawn by `seed`.",
        panel=PROOF, metavar="FILE.npz", kind=str, read=inputs, objects=True, reported=False,
    )  # fmt: skip
    proof: bool = option(
        True, "Prove the output before writing it.", panel=PROOF, declared="--no-proof", off="Write without a proof."
    )

    @property
    def inputs(self) -> Mapping[str, Any] | None:
        """The real inputs for the proof, once they are read."""
        return self.samples if isinstance(self.samples, Mapping) else None


@dataclass(frozen=True, kw_only=True)
class InspectOptions(InputShape, OfStates):
    """What `inspect` takes."""


@dataclass(frozen=True, kw_only=True)
class ValidateOptions(InputShape, Allowed, RunsOn, Seed):
    """What `validate` takes."""

    shapes_only: bool = option(False, "Compare only names, types and shapes; for pruned models.", panel=PROOF)
