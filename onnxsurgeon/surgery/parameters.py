"""Parameters that several operations share, described once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from onnxsurgeon.edit.inits import GROWN, described
from onnxsurgeon.importance.criteria import help_text
from onnxsurgeon.surgery import readers
from onnxsurgeon.surgery.operation import Takes

if TYPE_CHECKING:
    from onnxsurgeon.surgery.blocks import Block, Separable
    from onnxsurgeon.surgery.rewire import Choices

LAYERS = "Conv, Linear, BatchNorm, MaxPool, AveragePool, or an activation like Relu, Silu, Gelu"


def blocks() -> list[str]:
    from onnxsurgeon.surgery.blocks import BLOCKS

    return list(BLOCKS)


def layers() -> list[str]:
    from onnxsurgeon.surgery.blocks import BLOCKS, Separable

    return [word for word, block in BLOCKS.items() if block is not Separable]


def activations() -> list[str]:
    from onnxsurgeon.surgery.blocks import ACTIVATIONS

    return list(ACTIVATIONS)


def made(op: str | Block | Separable, **options: Any) -> Block | Separable:
    from onnxsurgeon.surgery.blocks import block

    takes = ("init", "kernel", "groups", "bias")
    return block(op, **{key: value for key, value in options.items() if key in takes})


Name = Annotated[str, Takes(readers.text, "The node.")]
Importance = Annotated[
    str | Mapping[str, Any] | Callable[[str, int], Any],
    Takes(readers.importance, help_text(data=False), objects=True),
]
Grown = Annotated[str, Takes(readers.word(GROWN), f"Weights of new channels: {described(*GROWN)}.")]
Align = Annotated[
    str,
    Takes(
        readers.word(("auto", "grow", "shrink", "both")),
        "If widths differ: grow the smaller, shrink the larger, or both; auto takes the first that works.",
    ),
]
Seed = Annotated[int, Takes(readers.number(0), "Random seed.", shared=True)]
After = Annotated[str, Takes(readers.text, "The node or graph input to put it after.")]
Kernel = Annotated[
    int | str | Sequence[int] | None, Takes(readers.kernel, "Kernel size of a Conv or a pooling.", unless="3")
]
Groups = Annotated[int | None, Takes(readers.number(1), "Groups of a Conv.", unless="1")]
Bias = Annotated[bool | None, Takes(readers.flag, "Whether a Conv or Linear has a bias.", off="Leave the bias out.")]
From = Annotated[str, Takes(readers.text, "The node or graph input that feeds the other node.", "FROM", "from")]


def choices(align: str, importance: Any, init: str, seed: int) -> Choices:
    """The choices that make widths equal."""
    from onnxsurgeon.edit.growth import Growth
    from onnxsurgeon.surgery.rewire import Choices

    return Choices(align, importance, Growth(init, seed))  # type: ignore[arg-type]
