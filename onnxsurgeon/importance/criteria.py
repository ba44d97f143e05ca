"""The criteria of importance: one record each, from which help, checks, errors and the documentation are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from onnxsurgeon.errors import UsageError
from onnxsurgeon.options.parsing import file, place, unknown
from onnxsurgeon.options.record import Reader
from onnxsurgeon.options.shared import Needs

FILE = "file:"
WITH_DATA, WITHOUT_DATA = "output-error", "l2-norm"  # the defaults


@dataclass(frozen=True)
class Criterion:
    """A criterion. function: `module:function` that takes the evidence (`compensation.evidence`) and the word.

    gives: what the function returns. unit: importance per neuron, shape (neurons,). space: the same, and a `Judge` that
    gives the order of a space's units and a table with the importance of each count.
    """

    help: str
    function: str
    needs: Needs = "nothing"
    gives: Literal["unit", "space"] = "unit"


CRITERIA: Mapping[str, Criterion] = {
    "l1": Criterion("sum of |w| over the weights that write or read the channel", "importance.from_weights:l1"),
    "l2": Criterion("L2 norm of the same weights", "importance.from_weights:l2"),
    "l2-norm": Criterion(
        "l2, scaled to a mean of 1 in each weight, so that layers are comparable", "importance.from_weights:l2_norm"
    ),
    "bn-scale": Criterion("|scale| of the normalisation, else l2-norm", "importance.from_weights:bn_scale"),
    "random": Criterion("random, drawn with `seed`", "importance.from_weights:random"),
    "uniform": Criterion("equal for all channels", "importance.from_weights:uniform"),
    "file:SCORES.npz": Criterion("your own numbers, an array per node", "importance.from_weights:from_file"),
    "activation": Criterion("mean |x| of the channel", "importance.from_activations:observed", "data"),
    "variance": Criterion("variance of the channel", "importance.from_activations:observed", "data"),
    "wanda": Criterion("|w| * ||x||, summed over the reading layers", "importance.from_activations:observed", "data"),
    "taylor": Criterion(
        "|activation * gradient|, summed over positions, a mean over samples", "importance.from_gradients:taylor",
        "gradients",
    ),
    "fisher": Criterion(
        "squared derivative of the loss by a factor on all that is cut with the channel",
        "importance.from_gradients:fisher", "gradients",
    ),
    "taylor-weight": Criterion(
        "square of the sum of weight * gradient over the weights that write or read the channel",
        "importance.from_gradients:of_weights", "gradients",
    ),
    "obd": Criterion(
        "sum of (weight * gradient)^2 over the same weights: optimal brain damage, with the Fisher diagonal",
        "importance.from_gradients:of_weights", "gradients",
    ),
    "reconstruction": Criterion(
        "error of the layers that read it, after refitting their remaining weights",
        "importance.optimal_brain_surgeon:reconstruction", "data", "space",
    ),
    "output-error": Criterion(
        "reconstruction, scaled to the measured output error of models that are cut in one space",
        "importance.output_error:output_error", "samples", "space",
    ),
}  # fmt: skip


def words(*, data: bool) -> list[str]:
    """All words, or those that need no data."""
    return [word for word, record in CRITERIA.items() if data or record.needs == "nothing"]


def criterion(word: str, *, data: bool = True, name: str = "`importance`") -> Criterion:
    """The record of a word. Raises UsageError if it is unknown, or it needs data and there are none (`data`)."""
    key = "file:SCORES.npz" if str(word).startswith(FILE) else word
    if key not in CRITERIA:
        raise unknown(word, words(data=data), name)
    if CRITERIA[key].needs != "nothing" and not data:
        raise UsageError(
            f"{place(word)}{name} {word!r} needs samples",
            why="there is no data",
            fix=f"choose one of {', '.join(words(data=False))}",
        )
    return CRITERIA[key]


def reader(*, data: bool) -> Reader:
    """A reader for an option that takes a criterion's word; a file must be there."""

    def read(value: str, name: str) -> str:
        criterion(value if isinstance(value, str) else str(value), data=data, name=name)  # a text knows its place
        return FILE + file(value, name, prefix=FILE) if value.startswith(FILE) else str(value)

    return read


def help_text(*, data: bool) -> str:
    """The help of an option that takes a criterion's word."""
    more = [word for word in words(data=True) if word not in words(data=False)]
    text = f"Importance of channels: {', '.join(words(data=False))}"
    return text + (f"; with `data` also {', '.join(more)}." if data else ".")
