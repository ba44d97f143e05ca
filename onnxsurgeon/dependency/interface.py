"""What a cut makes of the inputs and outputs of a model: states that the caller carries round get shorter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from onnxsurgeon.arrays import Arrays, Ids, Mask
from onnxsurgeon.data import Batch
from onnxsurgeon.dependency.labels import Labels
from onnxsurgeon.neurons.selection import cutting

Positions = tuple[Ids | None, ...]  # per axis: positions that stay, None for all
Dims = tuple[int | str | None, ...]


@dataclass(frozen=True)
class Reshaped:
    """An input or output whose shape changes. Dims are names or None where they are dynamic."""

    name: str
    kind: Literal["input", "output"]
    before: Dims
    after: Dims


def positions(labels: Labels, keep: Mask) -> dict[str, Positions]:
    """The positions that stay along the axes of each state that shrinks, by the name of the input or output."""
    selection, found = cutting(labels.classes, keep), dict[str, Positions]()
    for value in (*labels.model.graph.inputs, *labels.model.graph.outputs):
        name, axes = value.name or "", labels.axes.get(value, ())
        if (name in labels.states or name in labels.states.values()) and not selection.stays(axes):
            found[name] = tuple(selection.positions(axis) for axis in axes)
    return found


def taken(arrays: Arrays, places: Mapping[str, Positions]) -> Arrays:
    """`arrays` with those that are named in `places` reduced to the positions that stay."""
    found = dict(arrays)
    for name in found.keys() & places.keys():
        for axis, kept in enumerate(places[name]):
            if kept is not None:
                found[name] = np.take(found[name], kept, axis)
    return found


def narrowed(batches: Iterable[Batch], places: Mapping[str, Positions]) -> Iterator[Batch]:
    """Batches as a cut model takes them."""
    return (replace(batch, feed=taken(batch.feed, places)) for batch in batches)


def reshaped(labels: Labels, keep: Mask) -> list[Reshaped]:
    """The inputs and outputs whose shapes a cut changes."""
    places, rows = positions(labels, keep), list[Reshaped]()
    graph = labels.model.graph
    for value in (*graph.inputs, *graph.outputs):
        if value.name in places:
            sizes, stays = labels.facts[2][value].shape or (), places[value.name]
            stated = list(value.shape or [None] * len(stays))
            names = [n if isinstance(n, int) else getattr(n, "value", None) for n in stated]
            before = tuple(n if isinstance(n, int) else name for n, name in zip(sizes, names, strict=True))
            after = tuple(n if kept is None else len(kept) for n, kept in zip(before, stays, strict=True))
            rows.append(Reshaped(value.name, "input" if value in graph.inputs else "output", before, after))
    return rows
