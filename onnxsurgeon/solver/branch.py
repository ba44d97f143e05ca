"""Branch and bound over boxes of options, best bound first, until the bound is within the gap of the best selection."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from onnxsurgeon.arrays import FloatArray, IntArray
from onnxsurgeon.solver.local_search import Search
from onnxsurgeon.solver.program import Box, Program, logs
from onnxsurgeon.solver.relax import Relaxation, find_links, sample

_STEP, _GROWTH = 0.03, 0.3  # of the first grids: counts near the centres are 3 % apart
_FINEST = 8  # times that the step may be halved
_REFRESH = 0.6  # a box gets a new grid when it has shrunk to this share of its size
_VERTICES = 20_000  # with more vertices the linear programs are slow


@dataclass(frozen=True)
class Optimum:
    """The optimum of a linear program."""

    bound: float
    solution: FloatArray
    reduced: FloatArray  # reduced costs
    price: FloatArray  # shape (costs,): dual value of a whole budget
    extra: tuple[IntArray, FloatArray]  # the tangents that were added
    basis: Any


class Solver(Protocol):
    def __call__(
        self, relaxation: Relaxation, box: Box, extra: tuple[IntArray, FloatArray], basis: Any, *, enough: float
    ) -> Optimum | None:
        """The optimum over `box`; None if it is at most `enough` or the box is infeasible. Raises TimeoutError."""


@dataclass(frozen=True)
class Branch:
    """A box that may hold a better selection."""

    box: Box
    bound: float
    x: FloatArray  # log counts at its parent's optimum, shape (spaces,)
    relaxation: Relaxation | None
    relaxed_size: float  # size of the box that `relaxation` was built for
    extra: tuple[IntArray, FloatArray]
    basis: Any
    halvings: int  # of the grid's step


_NONE = (np.zeros(0, np.int64), np.zeros(0))


class Tree:
    """The state of one run: the best selection, the open boxes, and the largest bound among discarded boxes."""

    def __init__(
        self, search: Search, least: IntArray, best: IntArray, linear: Solver, *, gap: float, deadline: float
    ) -> None:
        self.search, self.program, self._linear = search, search.program, linear
        self.best, self.score = best, search.score(best)
        self.value = search.value(best) if search.meets(best) else -np.inf
        self._least, self._gap, self._deadline = least, gap, deadline
        self._links = find_links(self.program)
        value = self.program.value
        low, high = self.program.start[:-1], self.program.start[1:]
        greatest = np.maximum.reduceat(value, low)
        least = np.minimum.reduceat(value, low)
        self._scale = max(float((greatest - least).sum()), float(np.abs(greatest).sum()) * 1e-6, 1e-300) / 1000
        self._noise = 1e-6 * 1000 * self._scale / 1000
        self._floored = bool((self.program.lower > self.program.constant).any())
        self._discarded = -np.inf
        box = Box(low, high - 1 if len(self.program.row_least) else search.reach(low))
        self._open: list[tuple[float, int, Branch]] = []
        self._made = self.seen = self._next_climb = 0
        self._patience = 1  # boxes between two climbs
        self._push(Branch(box, float(greatest.sum()), logs(self.program.count[best]), None, 0.0, _NONE, None, 0))

    @property
    def bound(self) -> float:
        return max(self._discarded, -self._open[0][0] if self._open else -np.inf, self.value)

    @property
    def target(self) -> float:
        """A bound that is good enough."""
        return self.value + self._slack

    @property
    def _slack(self) -> float:
        return self._gap * max(abs(self.value), 1e-300) if np.isfinite(self.value) else 0.0

    @property
    def _enough(self) -> float:
        """A little below the target, so that the bound meets it in spite of rounding."""
        return self.value + 0.98 * self._slack

    @property
    def closed(self) -> bool:
        return self.bound <= self.target

    def advance(self) -> None:
        """Explore the box with the largest bound. TimeoutError leaves the tree unchanged."""
        _, _, branch = heapq.heappop(self._open)
        try:
            self._visit(branch)
        except TimeoutError:
            self._push(branch)
            raise
        self.seen += 1

    def _visit(self, branch: Branch) -> None:
        size = branch.box.size(self.program)
        if size == 0.0:
            self._offer(branch.box.low)
            return
        relaxation = branch.relaxation
        if relaxation is None or size < _REFRESH * branch.relaxed_size:
            relaxation = self._relax(branch)
            branch = replace(branch, relaxation=relaxation, relaxed_size=size, extra=_NONE, basis=None)
        enough = self._enough
        # The first optimum is always computed: the climb below starts from it.
        least = (enough - self._noise) / self._scale if self.seen else -np.inf
        optimum = self._linear(relaxation, branch.box, branch.extra, branch.basis, enough=least)
        if optimum is None:
            self._discarded = max(self._discarded, enough)
            return
        bound = min(optimum.bound * self._scale + self._noise, branch.bound)
        x = optimum.solution[: relaxation.spaces]
        if self.seen >= self._next_climb:
            better = self._offer(self.search.climb(self.search.shrink(self._least, np.exp(x)), self._deadline))
            # Climb less often while climbing finds nothing better.
            self._patience = 1 if better else 2 * self._patience
            self._next_climb = self.seen + self._patience
        enough = self._enough
        if bound <= enough:
            self._discarded = max(self._discarded, bound)
            return
        room = optimum.bound + (self._noise - enough) / self._scale
        box = _trim(self.program, relaxation, branch.box, optimum.reduced, room)
        self._discarded = max(self._discarded, enough)
        child = replace(branch, box=box, bound=bound, x=x, extra=optimum.extra, basis=optimum.basis)
        self._divide(child, size, optimum)

    def _divide(self, branch: Branch, size: float, optimum: Optimum) -> None:
        """Push the rest of a box: whole if it shrank much or needs a finer grid, else split in two."""
        relaxation, program = branch.relaxation, self.program
        assert relaxation is not None
        if branch.box.size(program) < _REFRESH * size:
            self._push(replace(branch, relaxation=None))
            return
        excess = self._excess(relaxation, optimum.solution)
        doubt = excess + self._rounding(relaxation, optimum)
        settled = branch.box.low == branch.box.high
        excess[settled] = doubt[settled] = 0.0
        room = branch.bound - self.value if np.isfinite(self.value) else 0.0
        if excess.sum() + (doubt - excess).max() < 0.3 * room and branch.halvings < _FINEST:
            self._push(replace(branch, relaxation=None, halvings=branch.halvings + 1))
            return
        wide = branch.box.high - branch.box.low
        space = int(np.argmax(doubt)) if doubt.max() > 1e-9 * self._scale else int(np.argmax(wide))
        cut = self._cut(relaxation, branch, optimum.solution, space)
        for side in (0, 1):
            low, high = branch.box.low.copy(), branch.box.high.copy()
            if side:
                low[space] = cut + 1
            else:
                high[space] = cut
            self._push(replace(branch, box=Box(low, high)))

    def _excess(self, relaxation: Relaxation, solution: FloatArray) -> FloatArray:
        """How far the relaxation overstates the importance of each space at its log count, shape (spaces,)."""
        grid, x = relaxation.grid, solution[: relaxation.spaces]
        weight = solution[relaxation.vertex : relaxation.vertex + len(grid.option)]
        excess: FloatArray = np.add.reduceat(weight * grid.importance, grid.start[:-1]) - grid.importance_at(x)
        return np.maximum(excess, 0.0)

    def _rounding(self, relaxation: Relaxation, optimum: Optimum) -> FloatArray:
        """An estimate of the importance lost by rounding each space's count to an option, shape (spaces,)."""
        x = optimum.solution[: relaxation.spaces]
        below = self.search.at_most(np.exp(x) * (1 + 1e-9))
        above = np.minimum(below + 1, self.program.start[1:] - 1)
        away = np.minimum(np.abs(x - logs(self.program.count[below])), np.abs(x - logs(self.program.count[above])))
        return away * (optimum.price @ relaxation.shares(optimum.solution)) * self._scale

    def _cut(self, relaxation: Relaxation, branch: Branch, solution: FloatArray, space: int) -> int:
        """The option after which to split a box.

        If the optimum combines distant vertices, split at the vertex between them where the combination overstates
        importance most: both halves lose that gain. Otherwise split at the last vertex at or before the optimum.
        """
        grid, low, high = relaxation.grid, int(branch.box.low[space]), int(branch.box.high[space])
        own = np.arange(grid.start[space], grid.start[space + 1])
        used = own[solution[relaxation.vertex + own] > 1e-6]
        first, last = used[0], used[-1]
        inner = np.arange(first + 1, last)
        inner = inner[(grid.option[inner] >= low) & (grid.option[inner] < high)]
        if len(inner):
            x = logs(grid.count)
            gain = np.interp(x[inner], x[[first, last]], grid.importance[[first, last]]) - grid.importance[inner]
            if gain.max() > 0:
                return int(grid.option[inner[np.argmax(gain)]])
        before = own[(grid.option[own] >= low) & (grid.option[own] < high)]
        before = before[logs(grid.count[before]) <= branch.x[space] + 1e-9]
        return int(grid.option[before[-1]]) if len(before) else low

    def _relax(self, branch: Branch) -> Relaxation:
        program, box = self.program, branch.box
        low, high = logs(program.count[box.low]), logs(program.count[box.high])
        centres = np.clip(np.stack([logs(program.count[self.best]), branch.x]), low, high)
        step, growth = _STEP / 2**branch.halvings, _GROWTH / 2 ** (branch.halvings / 2)
        grid = sample(program, box, centres, step, growth)
        while len(grid.option) > max(_VERTICES, 4 * program.spaces) and growth < 8:
            step, growth = step * 2, growth * 2
            grid = sample(program, box, centres, step, growth)
        padded = np.append(centres[1], 0.0)
        centre = padded[program.factor].sum(axis=1)
        bottom, top = (np.append(x, 0.0)[program.factor].sum(axis=1) for x in (low, high))
        every = np.arange(len(centre))
        monomial, at = [every, every], [bottom, top]
        for away in (0.0, -0.1, 0.1, -0.4, 0.4):
            inside = np.flatnonzero((centre + away > bottom) & (centre + away < top))
            monomial.append(inside)
            at.append(centre[inside] + away)
        tangents = np.concatenate(monomial), np.concatenate(at)
        return Relaxation(program, self._links, box, grid, tangents, scale=self._scale, floored=self._floored)

    def _offer(self, position: IntArray) -> bool:
        """Make `position` the best selection if it is better; returns whether it was."""
        better = self.search.feasible(position) and self.search.score(position) > self.score
        if better:
            self.best, self.score = position, self.search.score(position)
            if self.search.meets(position):
                self.value = self.search.value(position)
        return better

    def _push(self, branch: Branch) -> None:
        self._made += 1
        heapq.heappush(self._open, (-branch.bound, self._made, branch))


def _trim(program: Program, relaxation: Relaxation, box: Box, reduced: FloatArray, room: float) -> Box:
    """`box` without the cells at its ends whose reduced costs prove that they lose more than `room`."""
    grid = relaxation.grid
    price = np.maximum(-reduced[relaxation.vertex : relaxation.vertex + len(grid.option)], 0.0)
    owner = grid.owner
    usable = grid.usable(box)
    cell = np.flatnonzero((owner[1:] == owner[:-1]) & usable[1:] & usable[:-1])
    # A point between two vertices has weight on these two only, so it loses at least the smaller price.
    cell = cell[np.minimum(price[cell], price[cell + 1]) <= room]
    low, high = box.low.copy(), box.high.copy()
    space, first = np.unique(owner[cell], return_index=True)
    last = np.append(first[1:], len(cell)) - 1
    low[space] = np.maximum(low[space], grid.option[cell[first]])
    high[space] = np.minimum(high[space], grid.option[cell[last] + 1])
    return Box(low, high)
