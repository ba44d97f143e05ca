"""Options that several commands share, one small record for each; commands inherit what they have."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from onnxsurgeon.options.parsing import at_least, positive_or_zero, shapes, word_of
from onnxsurgeon.options.record import DATA, OUTPUT, PROOF, RUN, STAY, Options, option

Device = Literal["auto", "cuda", "cpu"]
Preset = Literal["imagenet", "cifar", "unit"]
Attention = Literal["auto", "heads", "head-size"]
# What a criterion or a compensation needs: statistics of data; samples to run through cut models; also gradients
Needs = Literal["nothing", "data", "samples", "gradients"]
SPEC = "FILE|DIR|MODULE:FUNCTION"
OF_DATA = "An .npz or .npy file, a folder of images, or a function that yields batches."


def _words(of: object) -> Callable[[], Sequence[str]]:
    return lambda: get_args(of)


@dataclass(frozen=True, kw_only=True)
class Progress(Options):
    """Who hears of each stage: (stage, detail)."""

    progress: Callable[[str, str], None] | None = option(
        None, "Called with (stage, detail) as work goes on.", panel=OUTPUT, in_shell=False, reported=False
    )

    def told(self, stage: str, detail: str) -> None:
        if self.progress is not None:
            self.progress(stage, detail)


@dataclass(frozen=True, kw_only=True)
class Seed(Options):
    seed: int = option(0, "Seed of whatever is random.", panel=RUN, metavar="N", read=at_least(0))


@dataclass(frozen=True, kw_only=True)
class RunsOn(Options):
    device: Device = option(
        "auto", "What onnxruntime runs on; auto: CUDA where it really works.", panel=RUN, words=_words(Device),
        read=word_of(_words(Device)),
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class InputShape(Options):
    input_shape: Mapping[str, Sequence[int]] | Sequence[str] | str = option(
        (), "Shape of a dynamic input. Repeatable.", panel=DATA, metavar="NAME:1,3,224,224", read=shapes
    )

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes that are given, by input."""
        return shapes(self.input_shape, "input_shape")


@dataclass(frozen=True, kw_only=True)
class OfAttention(Options):
    attention: Attention = option(
        "auto", "Whether attention loses whole heads or parts of each.", panel=STAY, words=_words(Attention),
        read=word_of(_words(Attention)),
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class OfData(InputShape, Seed):
    """How data become batches."""

    preprocess: Preset | None = option(
        None, "How a folder of images becomes numbers.", panel=DATA, words=_words(Preset),
        read=word_of(_words(Preset)),
    )  # fmt: skip
    samples: int | None = option(
        None, "At most so many, drawn by `seed`.", panel=DATA, metavar="N", kind=int, read=at_least(1)
    )
    batch: int | None = option(
        None, "Samples at a time.", panel=DATA, metavar="N", kind=int, read=at_least(1), shown="32, or the model's own"
    )


@dataclass(frozen=True, kw_only=True)
class Allowed(Options):
    """How far outputs may differ."""

    atol: float | None = option(
        None, "Accepted absolute difference.", panel=PROOF, metavar="X", kind=float, read=positive_or_zero, shown="1e-5"
    )
    rtol: float | None = option(
        None, "Accepted difference, relative to the largest output.", panel=PROOF, metavar="X", kind=float,
        read=positive_or_zero, shown="by type, 1e-3 for float32",
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class SaveOptions(Allowed, RunsOn, Seed, Progress):
    """How an edited model is written: proven first, then moved into its place."""

    overwrite: bool = option(False, "Replace an existing output.", panel=OUTPUT, reported=False)
    external: bool | None = option(
        None, "Write the weights to FILE.data beside the model.", panel=OUTPUT, kind=bool,
        declared="--save-as-external-data", shown="as the model has them",
    )  # fmt: skip
    proof: bool = option(
        True, "Prove the output before it appears.", panel=PROOF, declared="--no-proof", off="Write without proving."
    )


@dataclass(frozen=True, kw_only=True)
class InspectOptions(InputShape, OfAttention):
    """What `inspect` takes."""


@dataclass(frozen=True, kw_only=True)
class ValidateOptions(InputShape, Allowed, RunsOn, Seed):
    """What `validate` takes."""

    shapes_only: bool = option(False, "Compare names, types and shapes alone, as for a pruned model.", panel=PROOF)
