"""Local search: improves a selection until no small change helps. Costs are exact; optimality is not proven.

A selection is one option per space: `position`, shape (spaces,), indices into the program's flat options.
"""

from __future__ import annotations

import time

import numpy as np

from onnxsurgeon.arrays import FloatArray, IntArray
from onnxsurgeon.errors import InfeasibleError
from onnxsurgeon.solver.program import Program

_WIDEST = 2000  # pairs of spaces are tried in programs of at most this many spaces


class Search:
    """Moves between selections of one program, with the arrays that they share."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.first, self.last = program.start[:-1], program.start[1:] - 1
        self._incidence()
        # One sorted array of (space, count) keys: one binary search looks up many counts of many spaces.
        self._stride = int(program.count.max(initial=0)) + 2
        self._key = program.owner * self._stride + program.count
        self._best = _best_so_far(program)
        self._spread = float(np.ptp(program.value)) * program.spaces + 1.0 if len(program.value) else 1.0
        self._bounded = bool((program.lower > program.constant).any())

    def _incidence(self) -> None:
        """List every (monomial, space) pair, sorted by space, with the power of the space and the other factors."""
        factor, spaces = self.program.factor, self.program.spaces
        first = np.ones(factor.shape, dtype=bool)
        first[:, 1:] = factor[:, 1:] != factor[:, :-1]
        monomial, position = np.nonzero(first & (factor < spaces))
        space = factor[monomial, position]
        order = np.argsort(space, kind="stable")
        monomial, space = monomial[order], space[order]
        same = factor[monomial] == space[:, None]
        self._monomial, self._space, self._power = monomial, space, same.sum(axis=1)
        self._others = np.where(same, spaces, factor[monomial])
        self._space_starts = np.flatnonzero(np.diff(space, prepend=-1))
        self._spaces_used = space[self._space_starts]
        self._powers_used = np.unique(space[self._power > 1])

    def counts(self, position: IntArray) -> IntArray:
        return self.program.count[position]

    def value(self, position: IntArray) -> float:
        return float(self.program.value[position].sum())

    def feasible(self, position: IntArray) -> bool:
        """Whether the upper bounds and the rows hold."""
        within = bool((self.program.costs(self.counts(position)) <= self.program.upper).all())
        return within and self._meets_rows(position)

    def meets(self, position: IntArray) -> bool:
        """Whether the lower bounds hold."""
        return bool((self.program.costs(self.counts(position)) >= self.program.lower).all())

    def score(self, position: IntArray) -> float:
        """Importance minus a penalty for costs outside their bounds."""
        return self.value(position) - float(self._penalty(self.program.costs(self.counts(position))))

    def at_most(self, counts: FloatArray) -> IntArray:
        """The largest options that do not exceed `counts`, shape (..., spaces); the smallest option if all do."""
        key = np.arange(self.program.spaces) * self._stride + np.clip(np.floor(counts), -1, self._stride - 2)
        option: IntArray = np.searchsorted(self._key, key.astype(np.int64), side="right") - 1
        return np.maximum(option, self.first, dtype=np.int64)

    def _meets_rows(self, position: IntArray) -> bool:
        return bool((self.program.row_sums(self.counts(position)) >= self.program.row_least).all())

    def reach(self, position: IntArray) -> IntArray:
        """The largest option of each space that fits with all others as in `position`, a feasible selection."""
        fit: IntArray = np.maximum(self._fit(_State(self, position[None]))[0], position)
        return fit

    def least(self) -> IntArray:
        """The smallest options that meet all rows; if several spaces can meet a row, the cheapest ones grow.

        Exceeds budgets only if no exchange helps. Raises InfeasibleError if keeping all units does not meet a row.
        """
        position = self._meet_rows()
        while not self.feasible(position):
            before = position
            for space in np.unique(self.program.row_space).tolist():
                position = self._exchange(position, space)
            if (position == before).all():
                break
        return position

    def _meet_rows(self) -> IntArray:
        program, position = self.program, self.first.copy()
        for row, least in enumerate(program.row_least.tolist()):
            member = np.flatnonzero(program.row == row)
            space, weight = program.row_space[member], program.row_weight[member]
            while (lack := least - int((weight * program.count[position[space]]).sum())) > 0:
                slope = _State(self, position[None]).slope[0] / np.maximum(program.upper, 1e-300)[:, None]
                price = np.where(position[space] < self.last[space], slope.sum(axis=0)[space] / weight, np.inf)
                best = int(np.argmin(price))
                if not np.isfinite(price[best]):
                    raise InfeasibleError(
                        "a minimum length can't be met",
                        why=f"{least} channels must stay, but there are only {least - lack}",
                        fix="lower the minimum length",
                    )
                grow = int(space[best])
                wanted = program.count[position[grow]] - (-lack // weight[best])
                options = program.count[self.first[grow] : self.last[grow] + 1]
                position[grow] = min(self.first[grow] + int(np.searchsorted(options, wanted)), self.last[grow])
        return position

    def shrink(self, least: IntArray, counts: FloatArray) -> IntArray:
        """The largest feasible selection on the line from `least`, a feasible one, to `counts`, shape (spaces,)."""
        low, high = 0.0, 1.0
        base = self.counts(least).astype(np.float64)
        best = np.maximum(self.at_most(counts), least)
        if self.feasible(best):
            return best
        best = least
        for _ in range(30):
            middle = (low + high) / 2
            position = np.maximum(self.at_most(base + middle * np.maximum(counts - base, 0)), least)
            if self.feasible(position):
                low, best = middle, position
            else:
                high = middle
        return best

    def climb(self, position: IntArray, deadline: float) -> IntArray:
        """The feasible `position`, improved by raising single spaces and changing pairs until neither helps."""
        position = self.fill(position, deadline)
        while self.program.spaces <= _WIDEST and time.perf_counter() < deadline:
            before = self.score(position)
            for space in range(self.program.spaces):
                position = self._exchange(position, space)
                if time.perf_counter() > deadline:
                    break
            position = self.fill(position, deadline)
            if self.score(position) <= before + 1e-9 * abs(before):
                break
        return position

    def fill(self, position: IntArray, deadline: float) -> IntArray:
        """`position` after raising one space at a time: the one that gains most importance per share of the budgets."""
        program = self.program
        while time.perf_counter() < deadline:
            state = _State(self, position[None])
            fit = self._fit(state)[0]
            # Take a quarter of what fits: large steps while there is room, single ones at the end.
            target = self._best[np.minimum(position + np.maximum((fit - position + 3) // 4, 0), fit)]
            gain = program.value[target] - program.value[position]
            whole = self._best[fit]
            blocked = (gain <= 0) & (program.value[whole] > program.value[position])
            target = np.where(blocked, whole, target)
            gain = program.value[target] - program.value[position]
            if not (gain > 0).any():
                return position
            rise = np.maximum(state.costs_at(target[None])[0] - state.total[0, :, None], 0)
            share = (rise / np.maximum(program.upper - program.constant, 1e-300)[:, None]).sum(axis=0)
            space = int(np.argmax(np.where(gain > 0, gain / (share + 1e-12), -np.inf)))
            moved = position.copy()
            moved[space] = target[space]
            if not self.feasible(moved) or self.score(moved) <= self.score(position):
                return position
            position = moved
        return position

    def _exchange(self, position: IntArray, space: int) -> IntArray:
        """`position` after the best exchange: `space` moves 2^k options and one other space balances the costs."""
        program, first, last = self.program, self.first[space], self.last[space]
        step = 2 ** np.arange(max(int(last - first), 1).bit_length())
        step = np.concatenate([-step, step, [first - position[space], last - position[space]]])
        moved = np.unique(np.clip(position[space] + step, first, last))
        moved = moved[moved != position[space]]
        if not len(moved):
            return position
        trial = np.repeat(position[None], len(moved), axis=0)
        trial[:, space] = moved
        state = _State(self, trial)
        fit = self._fit(state)
        targets = [fit, self._best[fit], trial]
        if self._bounded:
            targets.append(self._reach(state))
        target = np.stack(targets)  # (kinds, trials, spaces)
        target[:, :, space] = moved
        counts = program.count[target]
        costs = np.stack([state.costs_at(one) for one in target])
        valid = counts >= state.floor
        gain = program.value[target] - program.value[trial] + program.value[trial].sum(axis=1)[:, None]
        gain = np.where(valid, gain - self._penalty(np.moveaxis(costs, 2, -1)), -np.inf)
        kind, index, other = np.unravel_index(int(np.argmax(gain)), gain.shape)
        best = trial[index].copy()
        best[other] = target[kind, index, other]
        now = self.score(position)
        better = self.score(best) > now + 1e-12 * abs(now) and self._meets_rows(best)
        return best if better else position

    def _fit(self, state: _State) -> IntArray:
        """The largest option of each space within the upper bounds, with all other spaces as in `state`."""
        program = self.program
        room = (program.upper - state.total)[:, :, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            change = np.where(state.slope > 0, room / state.slope, np.where(room >= 0, np.inf, -np.inf)).min(
                axis=1, initial=np.inf
            )
        fit = self.at_most(np.clip(state.counts + np.floor(change), -1, self._stride))
        if not len(self._powers_used):
            return fit
        low, high = np.broadcast_to(self.first, fit.shape).copy(), np.broadcast_to(self.last, fit.shape).copy()
        while (low < high).any():
            middle = (low + high + 1) // 2
            fits = (state.costs_at(middle) <= program.upper[:, None]).all(axis=1)
            low, high = np.where(fits, middle, low), np.where(fits, high, middle - 1)
        fit[:, self._powers_used] = low[:, self._powers_used]
        return fit

    def _reach(self, state: _State) -> IntArray:
        """The smallest option of each space that meets the lower bounds; the largest option if none does."""
        low = np.broadcast_to(self.first, state.counts.shape).copy()
        high = np.broadcast_to(self.last, state.counts.shape).copy()
        while (low < high).any():
            middle = (low + high) // 2
            meets = (state.costs_at(middle) >= self.program.lower[:, None]).all(axis=1)
            low, high = np.where(meets, low, np.minimum(middle + 1, high)), np.where(meets, middle, high)
        return low

    def _penalty(self, costs: FloatArray) -> FloatArray:
        """The penalty for costs outside their bounds, always more than any importance. (..., costs) -> (...)."""
        program = self.program
        lower = np.maximum(program.lower, 0.0)
        short = np.maximum(lower - costs, 0) / np.maximum(lower, 1e-300)
        over = np.maximum(costs - program.upper, 0) / np.maximum(np.abs(program.upper), 1e-300)
        off = short.sum(axis=-1) + 1e4 * over.sum(axis=-1)
        penalty: FloatArray = self._spread * (1e4 * off + (off > 0) + 1e4 * (over > 0).any(axis=-1))
        return penalty


class _State:
    """Selections, shape (trials, spaces), and how their costs change when one space changes."""

    def __init__(self, search: Search, position: IntArray) -> None:
        self.search, program = search, search.program
        self.position = position
        self.counts = program.count[position].astype(np.float64)
        padded = np.concatenate([self.counts, np.ones((len(position), 1))], axis=1)
        self.total = program.costs(self.counts)  # (trials, costs)
        rest = padded[:, search._others].prod(axis=-1)[:, None] * program.coefficient[None][:, :, search._monomial]
        self.slope = np.zeros((len(position), len(program.upper), program.spaces))  # of the terms linear in the space
        if len(search._space_starts):
            linear = rest * (search._power == 1)
            self.slope[:, :, search._spaces_used] = np.add.reduceat(linear, search._space_starts, axis=2)
        self.nonlinear = [
            (search._space[i], search._power[i], rest[:, :, i]) for i in np.flatnonzero(search._power > 1)
        ]
        self.floor = np.zeros(self.counts.shape)
        if len(program.row_least):
            slack = np.stack([program.row_sums(row) for row in program.count[position]]) - program.row_least
            spare = slack[:, program.row] // program.row_weight
            needed = self.counts[:, program.row_space] - spare
            for entry, space in enumerate(program.row_space.tolist()):
                self.floor[:, space] = np.maximum(self.floor[:, space], needed[:, entry])

    def costs_at(self, target: IntArray) -> FloatArray:
        """Costs after moving each space alone to `target`. (trials, spaces) -> (trials, costs, spaces)."""
        counts = self.search.program.count[target].astype(np.float64)
        costs = self.total[:, :, None] + self.slope * (counts - self.counts)[:, None]
        for space, power, rest in self.nonlinear:
            costs[:, :, space] += rest * (counts[:, space] ** power - self.counts[:, space] ** power)[:, None]
        return costs


def _best_so_far(program: Program) -> IntArray:
    """For each option, the most important option of its space that is not larger, shape (options,)."""
    # A running maximum that restarts at each space: rank the values, then lift each space above the one before.
    rank = np.unique(program.value, return_inverse=True)[1].reshape(-1) + program.owner * (len(program.value) + 1)
    running = np.maximum.accumulate(rank)
    leader = np.where(running == rank, np.arange(len(rank)), -1)
    first = np.diff(running, prepend=-1) > 0
    return np.maximum.accumulate(np.where(first, leader, -1))
