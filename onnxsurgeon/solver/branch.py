"""Branch and bound over boxes: the best bound first, until no box can hold a much better selection."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from onnxsurgeon.arrays import FloatArray, IntArray
from onnxsurgeon.solver.local_search import Search
from onnxsurgeon.solver.program import Box, Program, logs
from onnxsurgeon.solver.relax import Relaxation, find_links, sample

_STEP, _GROWTH = 0.03, 0.3  # of the first grids: 3 % apart near the centres
_FINEST = 8  # halvings of the step
_REFRESH = 0.6  # a box that has shrunk to this share of its size gets a new grid
_VERTICES = 20_000  # more make the linear programs slow


@dataclass(frozen=True)
class Optimum:
    """What a linear program returns."""

    bound: float
    solution: FloatArray
    reduced: FloatArray  # reduced costs
    price: FloatArray  # shape (costs,): of a whole budget
    extra: tuple[IntArray, FloatArray]  # the tangents added
    basis: Any


class Solver(Protocol):
    def __call__(
        self, relaxation: Relaxation, box: Box, extra: tuple[IntArray, FloatArray], basis: Any, *, enough: float
    ) -> Optimum | None:
        """The optimum over `box`, None where it is at most `enough` or nothing is feasible; raises TimeoutError."""


@dataclass(frozen=True)
class Branch:
    """A box that may hold a better selection."""

    box: Box
    bound: float
    x: FloatArray  # log counts at its parent's optimum, shape (spaces,)
    relaxation: Relaxation | None
    made_for: float  # the size of the box that the relaxation was made for
    extra: tuple[IntArray, FloatArray]
    basis: Any
    fine: int


_NONE = (np.zeros(0, np.int64), np.zeros(0))


class Tree:
    """The state of one run: the best selection, the open boxes, and the largest bound of what was set aside."""

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
        self._set_aside = -np.inf
        box = Box(low, high - 1 if len(self.program.row_least) else search.reach(low))
        self._open: list[tuple[float, int, Branch]] = []
        self._made = self.seen = self._next_climb = 0
        self._patience = 1  # boxes between two climbs
        self._push(Branch(box, float(greatest.sum()), logs(self.program.count[best]), None, 0.0, _NONE, None, 0))

    @property
    def bound(self) -> float:
        return max(self._set_aside, -self._open[0][0] if self._open else -np.inf, self.value)

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
        """Look into the box with the largest bound. TimeoutError leaves the tree as it was."""
        _, _, node = heapq.heappop(self._open)
        try:
            self._visit(node)
        except TimeoutError:
            self._push(node)
            raise
        self.seen += 1

    def _visit(self, node: Branch) -> None:
        size = node.box.size(self.program)
        if size == 0.0:
            self._offer(node.box.low)
            return
        relaxation = node.relaxation
        if relaxation is None or size < _REFRESH * node.made_for:
            relaxation = self._relax(node)
            node = replace(node, relaxation=relaxation, made_for=size, extra=_NONE, basis=None)
        enough = self._enough
        # The first optimum is worth having even where it proves that nothing else is needed.
        least = (enough - self._noise) / self._scale if self.seen else -np.inf
        optimum = self._linear(relaxation, node.box, node.extra, node.basis, enough=least)
        if optimum is None:
            self._set_aside = max(self._set_aside, enough)
            return
        bound = min(optimum.bound * self._scale + self._noise, node.bound)
        x = optimum.solution[: relaxation.spaces]
        if self.seen >= self._next_climb:
            better = self._offer(self.search.climb(self.search.shrink(self._least, np.exp(x)), self._deadline))
            # The longer nothing comes of it, the rarer it gets.
            self._patience = 1 if better else 2 * self._patience
            self._next_climb = self.seen + self._patience
        enough = self._enough
        if bound <= enough:
            self._set_aside = max(self._set_aside, bound)
            return
        room = optimum.bound + (self._noise - enough) / self._scale
        box = _trim(self.program, relaxation, node.box, optimum.reduced, room)
        self._set_aside = max(self._set_aside, enough)
        child = replace(node, box=box, bound=bound, x=x, extra=optimum.extra, basis=optimum.basis)
        self._divide(child, size, optimum)

    def _divide(self, node: Branch, size: float, optimum: Optimum) -> None:
        """Push what is left of a box: in one part where it shrank much or needs a finer grid, else in two."""
        relaxation, program = node.relaxation, self.program
        assert relaxation is not None
        if node.box.size(program) < _REFRESH * size:
            self._push(replace(node, relaxation=None))
            return
        excess = self._excess(relaxation, optimum.solution)
        doubt = excess + self._rounding(relaxation, optimum)
        settled = node.box.low == node.box.high
        excess[settled] = doubt[settled] = 0.0
        room = node.bound - self.value if np.isfinite(self.value) else 0.0
        if excess.sum() + (doubt - excess).max() < 0.3 * room and node.fine < _FINEST:
            self._push(replace(node, relaxation=None, fine=node.fine + 1))
            return
        wide = node.box.high - node.box.low
        space = int(np.argmax(doubt)) if doubt.max() > 1e-9 * self._scale else int(np.argmax(wide))
        cut = self._cut(relaxation, node, optimum.solution, space)
        for side in (0, 1):
            low, high = node.box.low.copy(), node.box.high.copy()
            if side:
                low[space] = cut + 1
            else:
                high[space] = cut
            self._push(replace(node, box=Box(low, high)))

    def _excess(self, relaxation: Relaxation, solution: FloatArray) -> FloatArray:
        """By how much the importance of a space exceeds what its log count is worth, shape (spaces,)."""
        grid, x = relaxation.grid, solution[: relaxation.spaces]
        weight = solution[relaxation.vertex : relaxation.vertex + len(grid.option)]
        excess: FloatArray = np.add.reduceat(weight * grid.importance, grid.start[:-1]) - grid.importance_at(x)
        return np.maximum(excess, 0.0)

    def _rounding(self, relaxation: Relaxation, optimum: Optimum) -> FloatArray:
        """About what it costs to round a space's count to an option, shape (spaces,)."""
        x = optimum.solution[: relaxation.spaces]
        below = self.search.at_most(np.exp(x) * (1 + 1e-9))
        above = np.minimum(below + 1, self.program.start[1:] - 1)
        away = np.minimum(np.abs(x - logs(self.program.count[below])), np.abs(x - logs(self.program.count[above])))
        return away * (optimum.price @ relaxation.shares(optimum.solution)) * self._scale

    def _cut(self, relaxation: Relaxation, node: Branch, solution: FloatArray, space: int) -> int:
        """The option after which a box is divided.

        Where vertices far apart are combined: the vertex between them at which that gains most, as the gain is lost in
        both parts. Else the last vertex at or before the optimum.
        """
        grid, low, high = relaxation.grid, int(node.box.low[space]), int(node.box.high[space])
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
        before = before[logs(grid.count[before]) <= node.x[space] + 1e-9]
        return int(grid.option[before[-1]]) if len(before) else low

    def _relax(self, node: Branch) -> Relaxation:
        program, box = self.program, node.box
        low, high = logs(program.count[box.low]), logs(program.count[box.high])
        centres = np.clip(np.stack([logs(program.count[self.best]), node.x]), low, high)
        step, growth = _STEP / 2**node.fine, _GROWTH / 2 ** (node.fine / 2)
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
        """Whether `position` is better than the best selection, whose place it then takes."""
        better = self.search.feasible(position) and self.search.score(position) > self.score
        if better:
            self.best, self.score = position, self.search.score(position)
            if self.search.meets(position):
                self.value = self.search.value(position)
        return better

    def _push(self, node: Branch) -> None:
        self._made += 1
        heapq.heappush(self._open, (-node.bound, self._made, node))


def _trim(program: Program, relaxation: Relaxation, box: Box, reduced: FloatArray, room: float) -> Box:
    """`box` without the cells at its ends where reduced costs tell that nothing is within `room` of the optimum."""
    grid = relaxation.grid
    price = np.maximum(-reduced[relaxation.vertex : relaxation.vertex + len(grid.option)], 0.0)
    owner = grid.owner
    usable = grid.usable(box)
    cell = np.flatnonzero((owner[1:] == owner[:-1]) & usable[1:] & usable[:-1])
    # Between two vertices the weights are on these two, so the loss is at least the smaller price.
    cell = cell[np.minimum(price[cell], price[cell + 1]) <= room]
    low, high = box.low.copy(), box.high.copy()
    space, first = np.unique(owner[cell], return_index=True)
    last = np.append(first[1:], len(cell)) - 1
    low[space] = np.maximum(low[space], grid.option[cell[first]])
    high[space] = np.minimum(high[space], grid.option[cell[last] + 1])
    return Box(low, high)
