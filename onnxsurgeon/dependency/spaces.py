"""Builds the selection problem from classes of neurons: units, spaces of exchangeable units, axis lengths and costs.

Two units are exchangeable if they count equally often in each axis. Then costs depend only on how many of them stay,
and a sort by importance says which ones.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import gcd

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from onnxsurgeon.arrays import FloatArray, Ids, IntArray, Mask
from onnxsurgeon.dependency.costs import COSTS
from onnxsurgeon.dependency.labels import Labels, Weight
from onnxsurgeon.dependency.live_memory import Buffer
from onnxsurgeon.errors import ModelError
from onnxsurgeon.neurons.relations import Axis
from onnxsurgeon.ops.registry import Factors
from onnxsurgeon.options.parsing import resolved
from onnxsurgeon.solver.problem import Cost, CostTable, Peak, Problem

Terms = dict[tuple[int, ...], float]  # axes -> coefficient
# Axes, the lengths of each that were measured, and the cost at each combination of them
Measured = tuple[Sequence[Ids], Sequence[Sequence[int]], FloatArray]
# Units (roots, ascending) of a space -> their positions, best first, and the importance of each count
Judge = Callable[[IntArray], tuple[IntArray, FloatArray]]


@dataclass
class Lengths:
    """The distinct axes of a graph: each is a multiset of units plus a number of neurons that always stay."""

    labels: Labels
    pinned: Mask  # per neuron: frozen, or pinned by the user
    constant: list[int] = field(default_factory=list)
    units: list[npt.NDArray[np.int64]] = field(default_factory=list)  # roots, ascending, per axis
    counts: list[npt.NDArray[np.int64]] = field(default_factory=list)
    _free: Mask | None = None  # once closed: per neuron, whether it is on an axis that costs something
    _by_object: dict[int, int] = field(default_factory=dict)
    _by_content: dict[bytes, int] = field(default_factory=dict)

    weights: list[Weight] = field(default_factory=list)  # constants; uses that are cut alike share one

    def number_weights(self) -> None:
        """Find the weights, and give their axes the first indices."""
        found: dict[tuple[ir.Value, tuple[int, ...]], Weight] = {}
        for weight in self.labels.weights():
            found.setdefault((weight.value, tuple(self.index(axis) for axis in weight.axes)), weight)
        self.weights = list(found.values())

    def index(self, axis: Axis) -> int:
        """The index of `axis`; -1 if nothing on it may be cut."""
        if axis is None:
            return -1
        index = self._by_object.get(id(axis))
        if index is None:
            index = self._by_object[id(axis)] = self._add(axis)
        return index

    def close(self) -> None:
        """End the axes that cost something. Axes added later only get a minimum; neurons on them alone are not cut."""
        self._free = np.zeros(len(self.pinned), np.bool_)
        for units in self.units:
            self._free[units] = True

    def _add(self, axis: npt.NDArray[np.int64]) -> int:
        free = ~self.pinned[axis]
        if self._free is not None:
            free &= self._free[self.labels.classes.root[axis]]
        if not free.any():
            return -1
        roots = np.sort(self.labels.classes.root[axis[free]])
        key = roots.tobytes() + len(axis).to_bytes(8, "little")
        if key not in self._by_content:
            self._by_content[key] = len(self.constant)
            units, counts = np.unique(roots, return_counts=True)
            self.constant.append(len(axis) - len(roots))
            self.units.append(units)
            self.counts.append(counts)
        return self._by_content[key]

    def add(self, terms: Terms, coefficient: float, factors: Factors) -> float:
        """Add a product of axis lengths to `terms` and return 0; returns the product instead if it is constant."""
        axes = []
        for size, axis in factors:
            index = self.index(axis)
            if index < 0:
                coefficient *= size
            else:
                axes.append(index)
        if not axes:
            return coefficient
        key = tuple(sorted(axes))
        terms[key] = terms.get(key, 0.0) + coefficient
        return 0.0


@dataclass(frozen=True)
class Spaces:
    """The problem and the units that its counts refer to: `roots`, ordered by space, then importance, best first."""

    problem: Problem
    roots: IntArray  # shape (units,)
    starts: IntArray  # shape (spaces + 1,): where each space begins in roots
    frozen: Mask  # per neuron
    axes: Lengths  # the index of each axis in the problem

    def keep(self, counts: IntArray, root: IntArray) -> Mask:
        """Mask of the neurons that stay, shape (neurons,), if each space s keeps its best `counts[s]` units."""
        rank = np.arange(len(self.roots)) - np.repeat(self.starts[:-1], np.diff(self.starts))
        dropped = np.zeros(len(root), np.bool_)
        dropped[self.roots[rank >= np.repeat(counts, np.diff(self.starts))]] = True
        return ~dropped[root]


def spaces(
    labels: Labels,
    scores: FloatArray,
    *,
    round_to: int = 1,
    min_keep: float = 0.0,
    pinned: Mask | None = None,
    overhead: Mapping[str, float] = {},
    judge: Judge | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    wanted: Collection[str] = (),
    measured: Mapping[str, Iterable[Measured]] = {},
    less: float | None = None,
) -> Spaces:
    """The selection problem of a labelled graph with all costs that the graph tells, without budgets.

    scores: importance per neuron, shape (neurons,). round_to: widths become multiples of it. min_keep: least share of
    each axis that stays. pinned: neurons that must stay, shape (neurons,). overhead: by cost, what no term is about.
    wanted: costs that may be bounded; a peak that is not among them is only evaluated. measured: by cost, the tables
    of further costs; widths are then those that the tables know.
    judge: gives the order and importance table of a space, instead of sums of scores. progress: called with (spaces
    judged, spaces in all). less: the quantile of a space's scores that is subtracted from them.
    """
    frozen = labels.classes.frozen if pinned is None else labels.classes.frozen | pinned
    lengths = Lengths(labels, frozen)
    costs = _costs(lengths, overhead, wanted, measured)
    lengths.close()
    for table in (labels.axes.values(), labels.uses.values()):
        for axes in table:
            for axis in axes:
                lengths.index(axis)
    peaks = tuple(_peaks(lengths, [word for word in COSTS if word not in wanted]))
    every = np.concatenate(lengths.units or [np.empty(0, np.int64)])
    axis_of = np.repeat(np.arange(len(lengths.units)), [len(u) for u in lengths.units])
    count = np.concatenate(lengths.counts or [np.empty(0, np.int64)])
    roots, unit = np.unique(every, return_inverse=True)
    space = _classes(unit, axis_of, count, len(roots))
    importance = np.bincount(labels.classes.root, weights=scores, minlength=labels.relations.count)[roots]
    order = np.lexsort((roots, -importance, space))
    starts = np.searchsorted(space[order], np.arange(space.max(initial=-1) + 2))
    _, first = np.unique(axis_of * (len(starts) - 1) + space[unit], return_index=True)  # one entry an (axis, space)
    entries = axis_of[first], space[unit][first], count[first]
    least = np.full(len(starts) - 1, np.iinfo(np.int64).max)
    np.minimum.at(least, entries[1], entries[2])
    full = np.array([c + int(n.sum()) for c, n in zip(lengths.constant, lengths.counts, strict=True)], np.int64)
    tables, sizes = [], []
    for s, (low, high) in enumerate(zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True)):
        progress(s, len(starts) - 1)
        if judge is None:
            worth = importance[order[low:high]]
            tables.append(np.r_[0.0, np.cumsum(worth if less is None else worth - np.quantile(worth, less))])
        else:
            members = np.sort(order[low:high])
            best, saved = judge(roots[members])
            order[low:high] = members[best]
            tables.append(saved)
        if not np.isfinite(tables[-1]).all():
            raise _no_number(labels, roots[order[low:high]])
        step = round_to // gcd(round_to, int(least[s]))
        sizes.append(np.union1d(np.arange(0, high - low + 1, step), [high - low]).astype(np.int64))
    _restrict(sizes, costs, entries, lengths)
    problem = Problem(
        tuple(tables),
        tuple(sizes),
        *entries,
        np.array(lengths.constant, np.int64),
        np.maximum(1, np.ceil(min_keep * full - 1e-9).astype(np.int64)),
        costs,
        peaks,
    )
    return Spaces(problem, roots[order], starts, frozen, lengths)


def _no_number(labels: Labels, roots: IntArray) -> ModelError:
    """That a space has no importance, which has these neurons."""
    ours = np.isin(labels.classes.root, roots)
    results = ((call.name, axis) for call in labels.calls.values() for axes in call.results for axis in axes or ())
    place = next((name for name, axis in results if axis is not None and ours[axis].any()), "the inputs")
    return ModelError(
        f"the importance of the neurons of {place} is not a number",
        why="weights or activations are NaN, infinite or too large",
        fix="mend the weights, or choose other `data` or `importance`",
    )


def _classes(unit: IntArray, axis: IntArray, count: IntArray, units: int) -> IntArray:
    """The space of each unit, shape (units,): units with equal sets of (axis, multiplicity) share one, numbered from 0
    by first appearance. Random 64-bit sums identify the sets."""
    pairs, inverse = np.unique(axis * (count.max(initial=0) + 1) + count, return_inverse=True)
    hashes = np.random.default_rng(0).integers(0, 2**63, len(pairs), dtype=np.uint64)
    sums = np.zeros(units, np.uint64)
    np.add.at(sums, unit, hashes[inverse])
    _, first, number = np.unique(sums, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[number] if units else np.empty(0, np.int64)


def retabled(built: Spaces, word: str, measured: Iterable[Measured], fixed: float) -> Spaces:
    """`built` with other tables for a cost, which know the same lengths."""
    new = _looked_up(word, measured, built.axes, fixed)
    costs = [
        replace(new, upper=cost.upper, lower=cost.lower) if cost.name == word else cost for cost in built.problem.costs
    ]
    return replace(built, problem=replace(built.problem, costs=tuple(costs)))


def _restrict(sizes: list[IntArray], costs: Iterable[Cost], entries: tuple[IntArray, ...], lengths: Lengths) -> None:
    """Leaves the sizes at which an axis of a table has a length that it knows: widths in between buy nothing."""
    axis, space, multiplicity = entries
    known: dict[int, list[IntArray]] = {}
    for table in (table for cost in costs for table in cost.tables):
        for of, there in zip(table.axes, table.lengths, strict=True):
            entry = np.flatnonzero(axis == of)
            if len(entry) == 1:
                rest = there - lengths.constant[of]
                known.setdefault(int(space[entry[0]]), []).append(
                    rest[rest % multiplicity[entry[0]] == 0] // multiplicity[entry[0]]
                )
    for s, counts in known.items():
        stays = np.isin(sizes[s], np.concatenate([*counts, sizes[s][-1:]]))
        sizes[s] = sizes[s][stays]


def _costs(
    lengths: Lengths,
    overhead: Mapping[str, float],
    wanted: Collection[str],
    measured: Mapping[str, Iterable[Measured]],
) -> tuple[Cost, ...]:
    lengths.number_weights()  # before the axes of outputs
    products = {word: resolved(kind.terms)(lengths) for word, kind in COSTS.items() if kind.terms}
    found = [_cost(word, products[word], lengths, overhead.get(word, 0.0)) for word in products]
    for peak in _peaks(lengths, wanted):
        found += [Cost(peak.name, peak.coefficient[m], peak.axes[m], 0.0, np.inf) for m in peak.moments()]
    return *found, *(_looked_up(word, measured[word], lengths, overhead.get(word, 0.0)) for word in measured)


def _looked_up(name: str, measured: Iterable[Measured], lengths: Lengths, fixed: float) -> Cost:
    """The cost that is a sum of tables; axes that may not be cut count as they are."""
    tables = []
    for axes, known, values in measured:
        indices = [lengths.index(axis) for axis in axes]
        for which in reversed([which for which, index in enumerate(indices) if index < 0]):
            at = min(int(np.searchsorted(known[which], len(axes[which]))), len(known[which]) - 1)
            values = np.take(values, at, which)
        if values.ndim == 0:
            fixed += float(values)
            continue
        free = [which for which, index in enumerate(indices) if index >= 0]
        there = tuple(np.array(known[which], np.int64) for which in free)
        tables.append(CostTable(tuple(indices[which] for which in free), there, values))
    return Cost(name, np.zeros(0), np.zeros((0, 1), np.int64), fixed, np.inf, tables=tuple(tables))


def _cost(name: str, products: Iterable[tuple[float, Factors]], lengths: Lengths, fixed: float) -> Cost:
    terms: Terms = {}
    for coefficient, factors in products:
        fixed += lengths.add(terms, coefficient, factors)
    return Cost(name, np.array(list(terms.values()), np.float64), _padded(list(terms)), fixed, np.inf)


def _peaks(lengths: Lengths, words: Iterable[str]) -> Iterator[Peak]:
    """The costs among `words` that are peaks."""
    for word in words:
        if COSTS[word].buffers:
            yield _peak(word, resolved(COSTS[word].buffers)(lengths.labels), lengths)


def _peak(name: str, buffers: Iterable[Buffer], lengths: Lengths) -> Peak:
    coefficients, axes, moments = list[float](), list[tuple[int, ...]](), list[tuple[int, int]]()
    for buffer in buffers:
        terms: Terms = {}
        fixed = lengths.add(terms, buffer.coefficient, buffer.factors)
        key, coefficient = next(iter(terms.items()), ((), fixed))
        coefficients.append(coefficient)
        axes.append(key)
        moments.append((buffer.first, buffer.last))
    first, last = np.array(moments, np.int64).reshape(-1, 2).T
    return Peak(name, np.array(coefficients, np.float64), _padded(axes), first, last)


def _padded(keys: Sequence[tuple[int, ...]]) -> IntArray:
    """Tuples of axes as the rows of an array, shape (len(keys), longest), with -1 behind."""
    degree = max(map(len, keys), default=1)
    return np.array([key + (-1,) * (degree - len(key)) for key in keys], np.int64).reshape(len(keys), degree)
