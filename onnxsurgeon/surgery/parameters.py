"""Parameters that several operations share, described once."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, get_args

from onnxsurgeon.edit.inits import GROWN, described
from onnxsurgeon.errors import UsageError
from onnxsurgeon.importance.criteria import help_text, reader
from onnxsurgeon.options.parsing import at_least, by_node, entries, flag, place, resolved, text, word_of, wrong
from onnxsurgeon.options.record import CHANGE, Option, Reader
from onnxsurgeon.options.shared import Alignment

if TYPE_CHECKING:
    from onnxsurgeon.surgery.blocks import Block, Separable
    from onnxsurgeon.surgery.rewire import Choices

LAYERS = "Conv, Linear, BatchNorm, MaxPool, AveragePool, or an activation like Relu, Silu, Gelu"


def blocks() -> list[str]:
    return list(resolved("surgery.blocks:BLOCKS"))


def layers() -> list[str]:
    return [word for word in blocks() if word != "Separable"]


def activations() -> list[str]:
    return list(resolved("ops.making:ACTIVATIONS"))


def made(op: str | Block | Separable, **options: Any) -> Block | Separable:
    from onnxsurgeon.surgery.blocks import block

    own = ("init", "kernel", "groups", "bias")
    return block(op, **{key: value for key, value in options.items() if key in own})


def kernel_size(value: Any, name: str) -> int | tuple[int, ...]:
    """3, 3x3 or [3, 3]."""
    parts = value.split("x") if isinstance(value, str) else [*map(str, entries(value))]
    if not all(re.fullmatch(r"[1-9]\d{0,3}", part) for part in parts) or not parts:
        raise wrong(value, name, "a kernel size", "write it like 3, 3x3 or 1x5")
    sizes = tuple(int(part) for part in parts)
    return sizes[0] if len(sizes) == 1 else sizes


def new_widths(value: Any, name: str) -> list[str]:
    """Requests as on the shell, or as a mapping {name: width}."""
    from onnxsurgeon.surgery.width_requests import parse

    found: list[tuple[str, Any]] = []
    for entry in entries(value):
        if isinstance(entry, Mapping):
            found += [(_request(node, amount), amount) for node, amount in entry.items()]
        else:
            found.append((text(entry, name), entry))
    for request, entry in found:
        try:
            parse(request)
        except UsageError as error:
            raise UsageError(f"{place(entry)}{error.what}", why=error.why, fix=error.fix) from None
    return [request for request, _ in found]


def _request(node: str, amount: Any) -> str:
    amount = ",".join(map(str, entries(amount)))
    return f"{node}{amount}" if amount.startswith("~") and "," not in amount else f"{node}={amount}"


def most_new(value: Any, name: str) -> Any:
    """A number, or a mapping of nodes to numbers."""
    one = at_least(0)
    if isinstance(value, Mapping) or any(":" in str(entry) for entry in entries(value)):
        return by_node(lambda given, name: one(entries(given)[-1], name), "conv3:8")(value, name)
    return one(entries(value)[-1], name)


def takes(read: Reader, help: str, metavar: str = "", **more: Any) -> Option:
    """The option for a parameter of an operation."""
    return Option(help, CHANGE, metavar, read=read, **more)


def choice(words: Sequence[str], help: str, **more: Any) -> Option:
    """The option for a parameter that takes one of `words`."""
    return takes(word_of(words), help, "|".join(words), **more)


Name = Annotated[str, takes(text, "The node.")]
Importance = Annotated[
    str | Mapping[str, Any] | Callable[[str, int], Any],
    takes(reader(data=False), help_text(data=False), "WORD", objects=True),
]
Grown = Annotated[str, choice(GROWN, f"Weights of new channels: {described(*GROWN)}.")]
Align = Annotated[
    str,
    choice(
        get_args(Alignment),
        "If widths differ: grow the smaller, shrink the larger, or both; auto takes the first that works.",
    ),
]
Seed = Annotated[int, takes(at_least(0), "Random seed.", in_shell=False)]
After = Annotated[str, takes(text, "The node or graph input to put it after.", "NAME")]
Kernel = Annotated[
    int | str | Sequence[int] | None,
    takes(kernel_size, "Kernel size of a Conv or a pooling.", "N|NxM", default="3"),
]
Groups = Annotated[int | None, takes(at_least(1), "Groups of a Conv.", "N", default="1")]
Bias = Annotated[
    bool | None,
    takes(flag, "Whether a Conv or Linear has a bias.", kind=bool, declared="--no-bias", off="Leave the bias out."),
]
From = Annotated[str, takes(text, "The node or graph input that feeds the other node.", declared="--from")]


def choices(align: str, importance: Any, init: str, seed: int) -> Choices:
    """The choices that make widths equal."""
    from onnxsurgeon.edit.growth import Growth
    from onnxsurgeon.surgery.rewire import Choices

    return Choices(align, importance, Growth(init, seed))  # type: ignore[arg-type]
