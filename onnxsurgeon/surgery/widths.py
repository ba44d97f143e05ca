"""Turns requested widths into the selection that meets them, keeps the most importance and changes little else.

The width of a node is the length of the axis of its first output that carries its neurons. Axes that are tied to a
requested axis follow; all others stay.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import FloatArray, Ids, IntArray
from onnxsurgeon.dependency.labels import Labels
from onnxsurgeon.dependency.spaces import Spaces, spaces
from onnxsurgeon.errors import InfeasibleError, UsageError
from onnxsurgeon.importance.from_weights import scores
from onnxsurgeon.neurons.selection import Selection
from onnxsurgeon.notebook import Shown
from onnxsurgeon.solver.lengths import Sizes, resize
from onnxsurgeon.solver.problem import Resizing, Wish

Importance = str | Mapping[str, Any] | Callable[[str, int], Any]
LARGEST_GROWTH = 10  # factor by which an axis may grow, unless more is requested


@dataclass(frozen=True)
class Ask:
    """A requested width.

    text: how the user wrote it. axis: neurons, shape (width,). size: None for any. exact: fail if it is impossible.
    """

    text: str
    axis: Ids
    size: int | None
    exact: bool = True


@dataclass(frozen=True)
class Limits:
    """The limits of a resize.

    keep, drop: neurons that must stay, or go. new: largest number of new neurons on any axis; None: no limit. new_on:
    the same for single axes. round_to: requested widths become multiples of it. equal: pairs of axes to make equally
    long. may_drop: whether axes may shrink.
    """

    keep: Sequence[Ids] = ()
    drop: Sequence[Ids] = ()
    new: int | None = None
    new_on: Sequence[tuple[Ids, int]] = ()
    round_to: int = 1
    equal: Sequence[tuple[Ids, Ids]] = ()
    may_drop: bool = True


def value_axis(labels: Labels, value: ir.Value) -> tuple[int, Ids] | None:
    """The index of the axis that carries a value's neurons, and these neurons; None if no axis does.

    It is the output axis of a layer's weights, else an axis that can change: axis 1 of an image if it can, else the
    last one.
    """
    axes = labels.axes.get(value) or ()
    known = {a: axis for a, axis in enumerate(axes) if axis is not None}
    weights = makers(labels, value)
    if weights is not None:
        made = set(labels.classes.root[weights].tolist())
        known = {a: axis for a, axis in known.items() if made & set(labels.classes.root[axis].tolist())}
    free = {a: axis for a, axis in known.items() if not labels.classes.frozen[axis].all()} or known
    if not free:
        return None
    chosen = 1 if 1 in free and len(axes) > 3 else max(free)
    return chosen, free[chosen]


def makers(labels: Labels, value: ir.Value) -> Ids | None:
    """The neurons of the weights of the layer that computes `value`; None if no layer does."""
    node = value.producer()
    operator = None if node is None or node not in labels.calls else labels.operator(node)
    if node is None or operator is None or operator.macs is None:
        return None
    weights = [i for i, t in enumerate(labels.calls[node].inputs) if t and t.weight and len(t.shape or ()) > 1]
    axes = [axis for i in weights for axis in labels.known(node, i) or () if axis is not None]
    return np.concatenate([np.empty(0, np.int64), *axes]) if weights else None


@dataclass(frozen=True, repr=False)
class Resized(Shown):
    """A selection and the requested widths that it leads to. relaxed: not all are as requested."""

    selection: Selection
    asks: tuple[Ask, ...]
    after: tuple[int, ...]
    relaxed: bool = False

    @property
    def before(self) -> tuple[int, ...]:
        return tuple(len(ask.axis) for ask in self.asks)

    def line(self) -> str:
        return ", ".join(f"{text}: {before} -> {after}" for text, before, after in islice(self.table(), 1, None))

    def table(self) -> Iterator[Sequence[object]]:
        yield "request", "before", "after"
        yield from zip((ask.text for ask in self.asks), self.before, self.after, strict=True)


def select(
    labels: Labels,
    asks: Sequence[Ask],
    *,
    importance: Importance = "l2-norm",
    limits: Limits = Limits(),
    relax: bool = False,
    spread: bool = False,
    seed: int = 0,
) -> Resized:
    """The selection that gives the widths of `asks`.

    Raises InfeasibleError if the exact widths contradict each other; it names these and the nearest possible widths.
    relax: take the nearest widths instead. spread: copy as many different neurons as possible.
    """
    problem = _Asked(labels, asks, limits)
    problem.weigh(importance, seed)
    found, relaxed = problem.solve(asks), False
    if found is None:
        nearest = problem.solve([replace(ask, exact=False) for ask in asks])
        if not relax or nearest is None:
            raise _conflict(problem, asks, nearest)
        found, relaxed = nearest, True
    selection = problem.selection(found, spread=spread)
    after = tuple(selection.width(len(ask.axis), ask.axis) for ask in asks)
    return Resized(selection, tuple(asks), after, relaxed)


def _conflict(problem: _Asked, asks: Sequence[Ask], nearest: Sizes | None) -> InfeasibleError:
    """The error that names a minimal set of requests that contradict each other."""
    core = list(asks)
    for ask in asks:
        rest = [other for other in core if other is not ask]
        if rest and problem.solve(rest) is None:
            core = rest
    names = " and ".join(ask.text for ask in core)
    lines = [f"{ask.text}: {reason}" for ask in core if (reason := problem.held(ask))]
    if nearest is not None:
        selection = problem.selection(nearest, spread=False)
        widths = ", ".join(f"{a.text}: {selection.width(len(a.axis), a.axis)}" for a in asks if a.size is not None)
        lines.append(f"the nearest possible widths: {widths}")
    together = "is impossible" if len(core) == 1 else "are impossible together"
    return InfeasibleError(
        f"{names} {together}; nothing was changed",
        why="\n".join(lines) or "no widths of the nodes that are tied to it fit",
        fix="request the nearest widths, or allow them with `relax=True`",
    )


class _Asked:
    """The arrays of one problem: the spaces on the requested axes, and every axis of these spaces."""

    def __init__(self, labels: Labels, asks: Sequence[Ask], limits: Limits) -> None:
        self.labels, self.limits = labels, limits
        self.built: Spaces = spaces(labels, np.zeros(labels.relations.count))
        whole, index = self.built.problem, self.built.axes.index
        self.full = np.diff(self.built.starts)
        wanted = [ask.axis for ask in asks] + [axis for pair in limits.equal for axis in pair]
        numbers = {index(axis) for axis in wanted} - {-1}
        self.spaces = np.unique(whole.space[np.isin(whole.axis, list(numbers))])
        self.axes = np.unique(whole.axis[np.isin(whole.space, self.spaces)])
        inside = np.isin(whole.axis, self.axes)
        mine = inside & np.isin(whole.space, self.spaces)
        constant = whole.constant.copy()
        other = inside & ~mine
        np.add.at(constant, whole.axis[other], whole.multiplicity[other] * self.full[whole.space[other]])
        self.axis = np.searchsorted(self.axes, whole.axis[mine])
        self.space = np.searchsorted(self.spaces, whole.space[mine])
        self.multiplicity, self.constant = whole.multiplicity[mine], constant[self.axes]
        self.units = [self.built.roots[self.built.starts[s] : self.built.starts[s + 1]] for s in self.spaces]
        self.values: list[FloatArray] = [np.zeros(len(u)) for u in self.units]

    def weigh(self, importance: Importance, seed: int) -> None:
        """Sorts the units of each space by importance: first those that must stay, last those that must go."""
        root = self.labels.classes.root
        within = np.zeros(len(root), np.bool_)
        for units in self.units:
            within[units] = True
        held = copy.copy(self.labels)  # so that only the weights of these units are read
        held.classes = replace(self.labels.classes, frozen=~within[root])
        if callable(importance):
            importance = _called(self.labels, importance, within)
        total = np.bincount(root, weights=scores(held, importance, seed=seed), minlength=len(root))
        keep, drop = (self._roots(chosen) for chosen in (self.limits.keep, self.limits.drop))
        for s, units in enumerate(self.units):
            value = _finite(total[units].astype(np.float64))
            rank = np.isin(units, keep).astype(np.int64) - np.isin(units, drop)
            order = np.lexsort((units, -value, -rank))
            value = np.where(rank > 0, value.max(), np.where(rank < 0, value.min(), value))  # in order again
            self.units[s], self.values[s] = units[order], value[order]

    def _roots(self, chosen: Sequence[Ids]) -> IntArray:
        return np.unique(self.labels.classes.root[np.concatenate(chosen)]) if chosen else np.empty(0, np.int64)

    def solve(self, asks: Sequence[Ask]) -> Sizes | None:
        number = {int(a): k for k, a in enumerate(self.axes.tolist())}
        wishes = []
        for ask in asks:
            at = number.get(self.built.axes.index(ask.axis), -1)
            if at < 0:
                if ask.size not in (None, len(ask.axis)):
                    return None
            elif ask.size is not None:
                wishes.append(Wish(at, ask.size, ask.exact, self.limits.round_to))
        if not self.units:
            return Sizes(np.empty(0, np.int64), np.empty(0, np.int64))
        equal = []
        for pair in self.limits.equal:
            (a, n), (b, m) = ((number.get(self.built.axes.index(axis), -1), len(axis)) for axis in pair)
            if a < 0 and b < 0 and n != m:
                return None
            if a >= 0 and b >= 0:
                equal.append((a, b))
            elif max(a, b) >= 0:
                wishes.append(Wish(max(a, b), m if a >= 0 else n, exact=True))
        return resize(self._problem(wishes, equal))

    def _problem(self, wishes: Sequence[Wish], equal: Sequence[tuple[int, int]]) -> Resizing:
        keep, drop = (self._roots(chosen) for chosen in (self.limits.keep, self.limits.drop))
        sizes = np.array([len(u) for u in self.units], np.int64)
        least = np.array([int(np.isin(u, keep).sum()) for u in self.units], np.int64)
        most = sizes - np.array([int(np.isin(u, drop).sum()) for u in self.units], np.int64)
        asked = max([wish.length for wish in wishes], default=0)
        bound = np.maximum(LARGEST_GROWTH * sizes, asked + int(sizes.max(initial=0)))
        sized = [wish.axis for wish in wishes] + [axis for pair in equal for axis in pair]
        needed = np.isin(np.arange(len(sizes)), self.space[np.isin(self.axis, sized)])  # free axes only shrink
        new = np.where(needed, bound if self.limits.new is None else np.minimum(bound, self.limits.new), 0)
        for axis, number in self.limits.new_on:
            roots = np.unique(self.labels.classes.root[axis])
            on = np.array([bool(np.isin(u, roots).any()) for u in self.units])
            new = np.where(on, np.minimum(new, number), new)
        return Resizing(
            tuple(np.r_[0.0, np.cumsum(v)] for v in self.values),
            self.axis, self.space, self.multiplicity, self.constant,
            least if self.limits.may_drop else most, most, new.astype(np.int64), tuple(wishes), tuple(equal),
        )  # fmt: skip

    def selection(self, sizes: Sizes, *, spread: bool) -> Selection:
        root = self.labels.classes.root
        dropped, new = np.zeros(len(root), np.bool_), np.zeros(len(root), np.int64)
        for units, kept, added in zip(self.units, sizes.kept.tolist(), sizes.new.tolist(), strict=True):
            dropped[units[kept:]] = True
            if added and spread:  # copies of different neurons, the most important first
                np.add.at(new, units[np.arange(added) % max(kept, 1)], 1)
            elif added:
                new[units.max()] += added
        return Selection(root, ~dropped[root], new[root])

    def held(self, ask: Ask) -> str:
        """Why an axis can't change; empty if it can."""
        if self.built.axes.index(ask.axis) >= 0:
            return ""
        cause = self.labels.classes.cause(ask.axis)
        return f"frozen by {cause.operator} {cause.node}: {cause.text}" if cause else "it has no channel axis"


def _finite(values: FloatArray) -> FloatArray:
    """The values, with those that are not finite (or stand for it) below all others, by the range of these."""
    wrong = ~np.isfinite(values) | (values < -1e29)
    rest = values[~wrong]
    low, high = (float(rest.min()), float(rest.max())) if rest.size else (0.0, 0.0)
    return np.asarray(np.where(wrong, min(low, 0.0) - (high - low) - 1.0, values), np.float64)


def _called(labels: Labels, importance: Callable[[str, int], Any], within: np.ndarray) -> dict[str, Any]:
    """The importance that the function gives to each node whose neurons may change."""
    given: dict[str, Any] = {}
    for node, call in labels.calls.items():
        found = next((f for v in node.outputs if (f := value_axis(labels, v))), None)
        if found is not None and within[labels.classes.root[found[1]]].any():
            values = importance(call.name, len(found[1]))
            if values is not None:
                given[call.name] = values
    return given


def known_axis(labels: Labels, value: ir.Value, name: str) -> Ids:
    """The neurons of a value. Raises UsageError if it has none."""
    found = value_axis(labels, value)
    if found is None:
        shape = labels.facts[0][value].shape if value in labels.facts[0] else None
        raise UsageError(
            f"{name} has no width to change",
            why=f"its output {value.name} of shape {list(shape or ())} has no channel axis",
            fix="name a node with channels: onnxsurgeon inspect shows them",
        )
    return found[1]
