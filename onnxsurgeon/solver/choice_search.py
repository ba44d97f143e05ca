"""Local search for costs with tables: a selection is an index into the sizes of each space. Proves nothing.

Prices on the budgets lead from the largest selection to one that fits; then single changes and pairs of changes
improve it. Many selections are evaluated at once.
"""

from __future__ import annotations

import time

import numpy as np

from onnxsurgeon.arrays import FloatArray, IntArray
from onnxsurgeon.solver.problem import Cost, Problem

_HALVINGS, _SWEEPS = 24, 4  # of the price; over all spaces at one price
_REACH = (1, 2, 4)  # sizes by which one change moves
_BATCH = 4096  # selections that are evaluated at once


class ChoiceSearch:
    """Evaluates selections of a problem, shape (..., spaces), and improves them. Costs count where they have a budget.

    Selections are indices into `sizes`, which may be fewer than those of the problem.
    """

    def __init__(self, problem: Problem, sizes: tuple[IntArray, ...]) -> None:
        self.problem, self.sizes = problem, sizes
        self.costs = [cost for cost in problem.costs if cost.bounded]
        self.last = np.array([len(size) - 1 for size in sizes], np.int64)
        self.start = np.concatenate([[0], np.cumsum(self.last + 1)])[:-1].astype(np.int64)
        self.count = np.concatenate([*sizes, np.zeros(0, np.int64)])
        values = [table[size] for table, size in zip(problem.tables, sizes, strict=True)]
        self.value = np.concatenate([*values, np.zeros(0)])
        self.weight = np.zeros((len(sizes), len(problem.constant)), np.int64)
        np.add.at(self.weight, (problem.space, problem.axis), problem.multiplicity)
        self.upper = np.array([cost.upper for cost in self.costs])
        self._evaluators = [_Evaluator(cost, problem) for cost in self.costs]

    def counts(self, chosen: IntArray) -> IntArray:
        """The counts of a selection."""
        found: IntArray = self.count[self.start + chosen]
        return found

    def chosen(self, counts: IntArray) -> IntArray:
        """The selection that has these counts."""
        found = [int(np.searchsorted(size, n)) for size, n in zip(self.sizes, counts.tolist(), strict=True)]
        return np.array(found, np.int64)

    def importance(self, chosen: IntArray) -> FloatArray:
        found: FloatArray = self.value[self.start + chosen].sum(axis=-1)
        return found

    def spent(self, chosen: IntArray) -> FloatArray:
        """The costs that have a budget, and are `inf` below a minimum length: (..., spaces) -> (..., costs)."""
        lengths = self.problem.constant + self.counts(chosen) @ self.weight
        found = np.stack([evaluate(lengths) for evaluate in self._evaluators], axis=-1)
        found[(lengths < self.problem.minimum).any(axis=-1)] = np.inf
        return found

    def fits(self, chosen: IntArray) -> np.typing.NDArray[np.bool_]:
        """Whether the budgets hold: (..., spaces) -> (...)."""
        return np.asarray((self.spent(chosen) <= self.upper).all(axis=-1))

    def best(self, deadline: float) -> IntArray | None:
        """A good selection that fits; None if the search finds none that does."""
        found = self._priced(deadline)
        return None if found is None else self.improved(found, deadline)

    def cheapest(self) -> IntArray:
        """A selection that is low in all budgets together: where even this exceeds one, it is out of reach."""
        return self._sweep(self.last.copy(), np.inf)

    def _priced(self, deadline: float) -> IntArray | None:
        """The selection at the lowest price of the budgets at which it fits."""
        low, high, best = 0.0, 0.0, None
        chosen = self.last.copy()
        if self.fits(chosen):
            return chosen
        price = max(float(self.importance(chosen)), 1e-30)
        for _ in range(_HALVINGS):
            chosen = self._sweep(chosen, price)
            if self.fits(chosen):
                if best is None or self.importance(chosen) > self.importance(best):
                    best = chosen
                high = price
            else:
                low = price
            price = (low + high) / 2 if high else 4 * low
            if time.perf_counter() > deadline:
                break
        if best is None:
            best = self.cheapest()
        return best if self.fits(best) else None

    def _sweep(self, chosen: IntArray, price: float) -> IntArray:
        """`chosen` after each space in turn took the size that is best at this price; `inf` counts costs alone."""
        room = np.maximum(np.abs(self.upper), 1e-300)
        for _ in range(_SWEEPS):
            before = chosen
            for space in np.flatnonzero(self.last > 0).tolist():
                trial = np.repeat(chosen[None], self.last[space] + 1, axis=0)
                trial[:, space] = np.arange(self.last[space] + 1)
                over = (self.spent(trial) / room).sum(axis=-1)
                value = -over if price == np.inf else self.importance(trial) - price * over
                chosen = trial[int(np.argmax(value))]
            if (chosen == before).all():
                break
        return chosen

    def improved(self, chosen: IntArray, deadline: float) -> IntArray:
        """The fitting selection `chosen` after changes of one or two spaces, until none helps."""
        while time.perf_counter() < deadline:
            space, step = self._moves(chosen)
            single = np.repeat(chosen[None], len(space), axis=0)
            single[np.arange(len(space)), space] += step
            gain = self.value[self.start[space] + single[np.arange(len(space)), space]]
            gain = gain - self.value[(self.start + chosen)[space]]
            a, b = np.triu_indices(len(space), 1)
            both = gain[a] + gain[b]
            worth = np.flatnonzero((space[a] != space[b]) & (both > 1e-12 * abs(float(self.importance(chosen)))))
            order = worth[np.argsort(-both[worth])]
            moves = [single[np.argsort(-gain)][: int((gain > 0).sum())]]
            for first in range(0, len(order), _BATCH):
                some = order[first : first + _BATCH]
                trial = single[a[some]]
                trial[np.arange(len(some)), space[b[some]]] = single[b[some], space[b[some]]]
                moves.append(trial)
            better = next((m for trial in moves if (m := self._first_that_fits(trial, deadline)) is not None), None)
            if better is None:
                break
            chosen = better
        return chosen

    def _first_that_fits(self, trial: IntArray, deadline: float) -> IntArray | None:
        if not len(trial) or time.perf_counter() > deadline:
            return None
        fits = self.fits(trial)
        return trial[int(np.argmax(fits))] if fits.any() else None

    def _moves(self, chosen: IntArray) -> tuple[IntArray, IntArray]:
        """(space, step) of each change of one space."""
        spaces = np.flatnonzero(self.last > 0)
        steps = np.array([sign * reach for reach in _REACH for sign in (-1, 1)])
        space, step = np.repeat(spaces, len(steps)), np.tile(steps, len(spaces))
        after = chosen[space] + step
        inside = (after >= 0) & (after <= self.last[space])
        return space[inside], step[inside]


class _Evaluator:
    """A cost at many lengths at once: (..., axes) -> (...). All tables are one flat array."""

    def __init__(self, cost: Cost, problem: Problem) -> None:
        self._cost = cost
        most = problem.lengths(np.array([size[-1] for size in problem.sizes], np.int64))
        places, axes, offsets, values, base = [], [], [], [], 0
        size = 0
        for table in cost.tables:
            for which in (0, 1):
                axes.append(table.axes[which] if which < len(table.axes) else -1)
                longest = int(most[axes[-1]]) if axes[-1] >= 0 else 1
                here = np.zeros(longest + 1, np.int64)
                if which < len(table.axes):
                    here = table.places(which, np.arange(longest + 1))
                    here = here * (table.values.shape[1] if which == 0 and len(table.axes) == 2 else 1)
                offsets.append(size)
                places.append(here + (base if which == 0 else 0))
                size += len(here)
            values.append(table.values.reshape(-1))
            base += table.values.size
        self._axes, self._offsets = np.array(axes, np.int64), np.array(offsets, np.int64)
        self._places = np.concatenate([*places, np.zeros(0, np.int64)])
        self._values = np.concatenate([*values, np.zeros(0)])

    def __call__(self, lengths: IntArray) -> FloatArray:
        padded = np.concatenate([lengths, np.ones((*lengths.shape[:-1], 1), np.int64)], axis=-1)
        cost = self._cost
        total: FloatArray = cost.fixed + padded[..., cost.axes].prod(axis=-1, dtype=np.float64) @ cost.coefficient
        if len(self._axes):
            found = self._places[self._offsets + padded[..., self._axes]]
            total = total + self._values[found[..., ::2] + found[..., 1::2]].sum(axis=-1)
        return total
