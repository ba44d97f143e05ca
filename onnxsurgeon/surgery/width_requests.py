"""Requests for widths: conv3=-16, conv3~-16, fc=10, conv3=-25%, fc.in=512,free."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import Ids
from onnxsurgeon.dependency.labels import Labels
from onnxsurgeon.dependency.names import name_of, result_of
from onnxsurgeon.errors import UsageError
from onnxsurgeon.neurons.relations import OUTPUT
from onnxsurgeon.surgery.find import data_inputs, find
from onnxsurgeon.surgery.widths import Ask, Limits, known_axis, makers, value_axis

WIDEST = 10_000_000  # more is a typing error, and memory runs out
_AMOUNT = re.compile(r"(~?)(?:(free)|([+-]?)(\d{1,12})(%?))")


@dataclass(frozen=True)
class Amount:
    """exact: or as near as possible. sign: + or - for a change of the width, or empty. share: in percent of it."""

    exact: bool = True
    free: bool = False
    sign: str = ""
    number: int = 0
    share: bool = False

    def size(self, width: int) -> int | None:
        """The new width; None for any."""
        if self.free:
            return None
        number = round(width * self.number / 100) if self.share else self.number
        return {"+": width + number, "-": width - number}.get(self.sign, number)


@dataclass(frozen=True)
class WidthRequest:
    """Widths for the output of a node, or for its inputs."""

    text: str
    name: str
    inputs: bool
    amounts: tuple[Amount, ...]


def parse(text: str) -> WidthRequest:
    """The request that `text` states. Raises UsageError if it states none."""
    place = max(text.rfind("="), text.find("~") if "=" not in text else -1)
    name, rest = text[:place], text[place + (text[place : place + 1] == "=") :]
    inputs = name.endswith(".in")
    found = [_AMOUNT.fullmatch(part.strip()) for part in rest.split(",")]
    if place < 1 or not name or any(f is None for f in found) or (len(found) > 1 and not inputs):
        raise UsageError(
            f"{text!r} is not a width",
            why="wanted: NAME=WIDTH, NAME=+N, NAME=-N, NAME=-N% (~ instead of = for as near as possible), "
            "or NAME.in=WIDTH,free,...",
            fix="write it like conv3=-16, conv3~-16, fc=10 or fc.in=512,free",
        )
    amounts = tuple(Amount(not f[1], bool(f[2]), f[3] or "", int(f[4] or 0), bool(f[5])) for f in found if f)
    return WidthRequest(text, name.removesuffix(".in") if inputs else name, inputs, amounts)


def expanded(labels: Labels, requests: Sequence[WidthRequest]) -> list[WidthRequest]:
    """The requests, each glob replaced by one request per matching layer whose width can change.

    An output of the graph changes only if it is named. Raises UsageError if a glob matches nothing.
    """
    names = {name_of(node) for node in labels.model.graph} | {v.name for v in labels.model.graph.inputs}
    found: list[WidthRequest] = []
    for request in requests:
        if request.name in names or not any(c in request.name for c in "*?["):
            found.append(request)
            continue
        hits = [n for n in labels.model.graph if fnmatch.fnmatchcase(name_of(n), request.name) and _changes(labels, n)]
        if not hits:
            raise UsageError(
                f"{request.text!r} matches no layer whose width can change",
                why=f"{sum(fnmatch.fnmatchcase(name or '', request.name) for name in names)} nodes match the name",
                fix="see the names with onnxsurgeon inspect -v; outputs of the graph need their full name",
            )
        rest = request.text[len(request.name) :]
        found += [replace(request, text=name_of(node) + rest, name=name_of(node)) for node in hits]
    return found


def _changes(labels: Labels, node: ir.Node) -> bool:
    """Whether a layer with weights gives the node's output a width, and it isn't frozen."""
    found = (
        value_axis(labels, node.outputs[0]) if node.outputs and makers(labels, node.outputs[0]) is not None else None
    )
    return found is not None and not labels.classes.frozen[found[1]].all()


def asks(labels: Labels, requests: Sequence[WidthRequest]) -> list[Ask]:
    """The requested axes and widths. Raises UsageError for names that do not exist or have no width."""
    found: list[Ask] = []
    for request in requests:
        values = _values(labels, request)
        if len(values) != len(request.amounts):
            raise UsageError(
                f"{request.text!r} gives {len(request.amounts)} widths",
                why=f"{request.name} has {len(values)} input{'s' * (len(values) != 1)}",
                fix="give a width or free for each input",
            )
        for value, amount in zip(values, request.amounts, strict=True):
            if request.inputs and amount.free:
                continue
            axis = known_axis(labels, value, request.name)
            size = amount.size(len(axis))
            if size is not None and size < 1:
                raise UsageError(
                    f"{request.text!r} leaves no channel",
                    why=f"{request.name} is {len(axis)} wide",
                    fix="leave at least one",
                )
            if size is not None and size > WIDEST:
                raise UsageError(
                    f"{request.text!r} is too wide",
                    why=f"{request.name} is {len(axis)} wide",
                    fix=f"ask for {WIDEST:,} at most",
                )
            text = request.text if len(values) == 1 else f"{request.text} ({value.name})"
            found.append(Ask(text, axis, size, amount.exact))
    return found


def _values(labels: Labels, request: WidthRequest) -> list[ir.Value]:
    for value in labels.model.graph.inputs:
        if value.name == request.name and not request.inputs:
            return [value]
    node = find(labels.model, request.name)
    return [value for _, value in data_inputs(labels, node)] if request.inputs else [result_of(node)]


def opened(labels: Labels, wanted: Sequence[Ask]) -> set[str]:
    """Names of the graph's outputs that a request changes: those that freeze a requested axis."""
    names: set[str] = set()
    root = labels.classes.root
    for ask in wanted:
        cause = labels.classes.cause(ask.axis)
        if cause is None or cause.text != OUTPUT or ask.size in (None, len(ask.axis)):
            continue
        mine = set(root[ask.axis].tolist())
        for value in labels.model.graph.outputs:
            axes = [axis for axis in labels.axes.get(value, ()) if axis is not None]
            if any(mine & set(root[axis].tolist()) for axis in axes):
                names.add(value.name or "")
    return names


def limits(
    labels: Labels,
    keep: Mapping[str, Sequence[int]],
    drop: Mapping[str, Sequence[int]],
    max_new: int | Mapping[str, int] | None,
    round_to: int,
) -> Limits:
    """The limits of a resize, given by the names of nodes; see `Network.resize`.

    Raises UsageError if a neuron is in both `keep` and `drop`.
    """
    by_node = max_new if isinstance(max_new, Mapping) else {}
    stay, go = ([_chosen(labels, name, places) for name, places in given.items()] for given in (keep, drop))
    for chosen, (name, places) in zip(stay, keep.items(), strict=True):
        both = np.isin(labels.classes.root[chosen], labels.classes.root[np.concatenate([chosen[:0], *go])])
        if both.any():
            raise UsageError(
                f"channel {places[int(np.argmax(both))]} of {name} can't both stay and go",
                why=f"`keep` names it, and so does `drop` of {', '.join(drop)}",
                fix="remove it from one of the lists",
            )
    return Limits(
        keep=stay,
        drop=go,
        new=None if isinstance(max_new, Mapping) else max_new,
        new_on=[(_axis(labels, name), number) for name, number in by_node.items()],
        round_to=round_to,
    )


def _axis(labels: Labels, name: str) -> Ids:
    return known_axis(labels, result_of(find(labels.model, name)), name)


def _chosen(labels: Labels, name: str, places: Sequence[int]) -> Ids:
    axis = _axis(labels, name)
    wrong = [p for p in places if not 0 <= p < len(axis)]
    if wrong:
        raise UsageError(
            f"{name} has no channel {wrong[0]}",
            why=f"it has {len(axis)} channels, from 0 to {len(axis) - 1}",
            fix="choose a number in this range",
        )
    return axis[list(places)]
