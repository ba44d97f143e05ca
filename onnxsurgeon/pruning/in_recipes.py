"""Pruning as an operation of a recipe: cut and proven like any other edit of a network."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import Field as Of
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from onnxsurgeon.errors import UsageError
from onnxsurgeon.options.parsing import Placed, flag
from onnxsurgeon.options.record import Option, Reader, option_of
from onnxsurgeon.pruning.options import PruneOptions
from onnxsurgeon.surgery.operation import Field, Operation

if TYPE_CHECKING:
    from onnxsurgeon.edit.step import Step
    from onnxsurgeon.pruning.result import Result
    from onnxsurgeon.surgery.network import Network

# What the run says, or what a recipe has no way to give: files that are written, states, whose ends would change
NOT_HERE = ("seed", "device", "stats", "profile", "states", "keep_interface")


def _prune(self: Network, *, seed: int = 0, device: str = "auto", **options: Any) -> None:
    """Make it smaller, down to a budget: keep the most important channels, remove the rest."""
    from onnxsurgeon.pruning.prune import prune

    found = prune(self, seed=seed, device=device, keep_interface=True, **options)  # type: ignore[arg-type]
    self.do([*_steps(self, found)])


def _steps(network: Network, found: Result) -> Iterator[Step]:
    """The cut, which is proven, and what became of the weights that stay, which has nothing to be compared with."""
    import numpy as np

    from onnxsurgeon.edit.step import Step
    from onnxsurgeon.neurons.selection import Selection

    if found.unchanged:
        return
    what = "prune: " + str(found.line()).partition(": ")[2]
    if found.keep.all():  # weights that the file computed are constants now
        yield Step(what, network.ir, found.bare, same=True)
    else:
        labels = found.labels
        selection = Selection(labels.classes.root, found.keep, np.zeros_like(labels.classes.root))
        yield Step(what, network.ir, found.bare, labels, selection)
    if found.ir is not found.bare:
        yield Step("refit what is left", found.bare, found.ir)


def _require_a_goal(**given: Any) -> None:
    try:
        PruneOptions(**given, keep_interface=True).require_a_goal()
    except UsageError as error:
        raise UsageError(error.what, why=error.why, fix=_as_keys(error.fix)) from None


def _as_keys(text: str) -> str:
    """`text` with every option in backticks written as a key of a recipe."""
    return re.sub(r"`(\w+)`", lambda found: found[1].replace("_", "-"), text)


def _field(of: Of[Any]) -> Field:
    place = inspect.Parameter(of.name, inspect.Parameter.KEYWORD_ONLY, default=of.default)
    return Field(place, _for_recipes(of.name, option_of(of)))


def _for_recipes(name: str, about: Option) -> Option:
    """The option, read from the text of a recipe; `data` may lie beside the recipe."""
    own: Reader = flag if about.kind is bool else about.read
    read: Reader = (lambda value, word: own(_beside(value), word)) if name == "data" else own
    return replace(about, off="", declared="", read=read)


def _beside(value: Any) -> Any:
    """A path of a recipe starts at its folder; other texts stay."""
    if isinstance(value, Placed) and isinstance(value, str) and (value.folder / value).exists():
        return str(value.folder / value)
    return value


_FIELDS = [_field(of) for of in fields(PruneOptions) if option_of(of).in_shell and of.name not in NOT_HERE]
PRUNE = Operation(
    "prune",
    _prune,
    inspect.signature(_prune).replace(
        parameters=[
            *(p for p in inspect.signature(_prune).parameters.values() if p.kind is not p.VAR_KEYWORD),
            *(field.place for field in _FIELDS),
        ]
    ),
    {field.word: field for field in _FIELDS},
    (),
    pairs=False,
    check=_require_a_goal,
    keys="the options of [`prune`](commands.md#prune), like `ratio` and `cost`",
)
