"""The command `resize`: widths on the shell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import typer

from onnxsurgeon.cli.editing import Common, Importance, NewStart, edit, name, scores_file, with_common
from onnxsurgeon.cli.operations import asked
from onnxsurgeon.cli.options import Free, ModelPath
from onnxsurgeon.errors import UsageError


def _lists(option: str, texts: Sequence[str] | None) -> Mapping[str, list[str]] | None:
    """What `NAME:LIST` texts say of each node."""
    found: dict[str, list[str]] = {}
    for text in texts or ():
        node, colon, rest = text.rpartition(":")
        if not (node and colon and rest):
            raise UsageError(
                f"{option} {text!r} makes no sense", why="wanted: NAME:LIST", fix=f"write it like {option} fc:0,217,482"
            )
        found.setdefault(node, []).append(rest)
    return found or None


def _bounds(texts: Sequence[str] | None) -> str | Mapping[str, str] | None:
    """`N` for all, or `NAME:N` for some."""
    if not texts or (len(texts) == 1 and ":" not in texts[0]):
        return texts[0] if texts else None
    given = {node: numbers[-1] for node, numbers in (_lists("--max-new", texts) or {}).items()}
    return given


@with_common
def resize(
    model: ModelPath,
    requests: Annotated[list[str], name("NAME=WIDTH", "What is to become how wide; see above.")],
    keep: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME:LIST", help="Neurons that must stay, like fc:0,217,482 or fc:0-9. Repeatable."),
    ] = None,
    drop: Annotated[
        list[str] | None, typer.Option(metavar="NAME:LIST", help="Neurons that must go. Repeatable.")
    ] = None,
    importance: Importance = None,
    multiple: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Widths that are asked for are multiples of N.")
    ] = None,
    max_new: Annotated[
        list[str] | None,
        typer.Option(metavar="N|NAME:N", help="At most so many new neurons on an axis, or a node. Repeatable."),
    ] = None,
    relax: Annotated[bool, typer.Option("--relax", help="Where it can't be had exactly, take the nearest.")] = False,
    init: NewStart = None,
    free: Annotated[
        Free | None,
        typer.Option(
            help="Whether attention changes whole heads or parts of each. [default: auto]", show_default=False
        ),
    ] = None,
    *,
    common: Common,
) -> None:
    """Change widths; what is tied to them follows, all else stays.

    \b
    conv3=64         exactly 64 neurons        conv3=-16   16 less     conv3=-25%   a quarter less
    conv3~64         as near as possible       conv3=+8    8 more      conv3=free   whatever is most useful
    fc.in=512,free   what arrives at each of its inputs
    'layer1.*=-25%'  all layers that match (quote it)

    An output of the graph changes by its own name alone. New neurons leave the function as it is.
    """
    edit(
        "resize", model, common,
        lambda: [
            asked(
                "resize", widths=requests, keep=_lists("--keep", keep), drop=_lists("--drop", drop),
                importance=importance,
                multiple=multiple, max_new=_bounds(max_new), relax=relax or None, init=init, free=free,
            )
        ],
        *scores_file(importance),
    )  # fmt: skip
