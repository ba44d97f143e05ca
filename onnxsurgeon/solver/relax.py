"""A linear relaxation of a program over a box of options: its optimum bounds the importance of each selection in it.

A space is a convex combination of vertices, which are some of its options. So its count is exact, and the vertices
bound its importance. Costs are bounded from below in two complementary ways, both tight in a small box:

- the logarithm of a count is at least the combination of the vertices' logarithms, and a product is the exponential of
  a sum of logarithms, which is convex, so tangents bound it (geometric programming, Boyd et al. 2007). Works for any
  degree; best if importances are curved;
- a product of a space with a sum L of others is the sum of n_i w_i over its vertices, where w_i stands for L times the
  weight of vertex i (disaggregation, Sherali and Adams 1990). Best if importances are linear.

The bound also covers options between vertices: the vertices' importances are raised to dominate them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onnxsurgeon.arrays import FloatArray, IntArray
from onnxsurgeon.solver.program import ZERO_COUNT, Box, Program, logs


@dataclass(frozen=True)
class Grid:
    """The vertices of all spaces, grouped by space."""

    start: IntArray  # shape (spaces + 1,)
    option: IntArray  # shape (vertices,)
    count: FloatArray  # shape (vertices,)
    importance: FloatArray  # shape (vertices,), raised

    @property
    def owner(self) -> IntArray:
        return np.repeat(np.arange(len(self.start) - 1), np.diff(self.start))

    def usable(self, box: Box) -> np.typing.NDArray[np.bool_]:
        """Mask of the vertices that `box` needs, shape (vertices,): those inside, and the next ones outside."""
        owner = self.owner
        after = np.append(self.option[1:], self.option[-1])
        before = np.append(self.option[0], self.option[:-1])
        last, first = np.diff(owner, append=-1) != 0, np.diff(owner, prepend=-1) != 0
        usable: np.typing.NDArray[np.bool_] = (after > box.low[owner]) | last
        usable &= (before < box.high[owner]) | first
        return usable

    def importance_at(self, x: FloatArray) -> FloatArray:
        """Importances interpolated at log counts `x`, shape (spaces,)."""
        # One call interpolates all spaces: each is shifted to its own stretch of the x axis.
        shift = 100.0 * np.arange(len(x))
        at: FloatArray = np.interp(x + shift, logs(self.count) + shift[self.owner], self.importance)
        return at


def sample(program: Program, box: Box, centres: FloatArray, step: float, growth: float) -> Grid:
    """Vertices `step` apart near `centres` (log counts, shape (points, spaces)), coarser by `growth` with distance."""
    owner, option = program.owner, np.arange(len(program.count))
    inside = (option >= box.low[owner]) & (option <= box.high[owner])
    option, owner = option[inside], owner[inside]
    x = logs(program.count[option])
    keep = (option == box.low[owner]) | (option == box.high[owner])
    for centre in centres:
        away = x - centre[owner]
        # The number of steps between an option and the centre.
        near = np.minimum(np.abs(away) / step, 1 / growth)
        far = np.log(np.maximum(np.abs(away) * growth / step, 1.0)) / growth
        steps = np.floor(np.sign(away) * (near + far))
        keep[1:] |= steps[1:] != steps[:-1]
    count, value = program.count[option].astype(np.float64), program.value[option]
    vertex = np.flatnonzero(keep)
    lift = _excess(count, value, vertex)
    importance = value[vertex] + np.maximum(lift, np.append(0.0, lift[:-1]))
    start = np.searchsorted(owner[vertex], np.arange(program.spaces + 1))
    return Grid(start, option[vertex], count[vertex], importance)


def _excess(x: FloatArray, value: FloatArray, vertex: IntArray) -> FloatArray:
    """The largest excess of values over the chord from each vertex to the next, shape (vertices,)."""
    cell = np.repeat(np.arange(len(vertex)), np.diff(np.append(vertex, len(x))))
    left, right = vertex[cell], np.append(vertex, vertex[-1])[cell + 1]
    # The last option of a space is a vertex, alone in its cell: its share is 0.
    share = np.divide(x - x[left], x[right] - x[left], out=np.zeros(len(x)), where=x > x[left])
    above = value - value[left] - share * (value[right] - value[left])
    excess: FloatArray = np.maximum(np.maximum.reduceat(above, vertex), 0.0)
    return excess


@dataclass(frozen=True)
class Constraints:
    """Sparse rows lower <= a x <= upper, as (row, column, value) entries."""

    row: IntArray
    column: IntArray
    value: FloatArray
    lower: FloatArray
    upper: FloatArray

    @staticmethod
    def stack(parts: list[Constraints]) -> Constraints:
        shift = np.cumsum([0] + [len(part.lower) for part in parts])
        return Constraints(
            np.concatenate([part.row + down for part, down in zip(parts, shift[:-1], strict=True)]),
            np.concatenate([part.column for part in parts]),
            np.concatenate([part.value for part in parts]),
            np.concatenate([part.lower for part in parts]),
            np.concatenate([part.upper for part in parts]),
        )

    def sparse(self) -> tuple[IntArray, IntArray, FloatArray]:
        """(start, column, value) in row order."""
        order = np.argsort(self.row, kind="stable")
        return np.searchsorted(self.row[order], np.arange(len(self.lower) + 1)), self.column[order], self.value[order]


@dataclass(frozen=True)
class Links:
    """Disaggregated products: space `space[g]` times the sum of the spaces that occur with it in `monomial`."""

    space: IntArray  # shape (links,)
    link: IntArray  # shape (members,), with `monomial` and `other`: the other space
    monomial: IntArray
    other: IntArray

    def total(self, per_space: FloatArray) -> FloatArray:
        """The sums of `per_space` over the other spaces, shape (links,)."""
        return np.bincount(self.link, per_space[self.other], len(self.space)).astype(np.float64)


def find_links(program: Program) -> Links:
    """Each product of two spaces in one link; products that share a space and a coefficient share a link (Concat)."""
    factor, spaces = program.factor, program.spaces
    used = factor < spaces
    monomial = np.flatnonzero(used.sum(axis=1) == 2)
    pair = np.sort(factor[monomial], axis=1)[:, :2]
    distinct = pair[:, 0] != pair[:, 1] if len(pair) else np.zeros(0, dtype=bool)
    monomial, pair = monomial[distinct], pair[distinct].reshape(-1, 2)
    # Disaggregate the space with fewer partners: the sum of its partners then has a narrower range.
    partners = np.bincount(pair.reshape(-1), minlength=spaces)
    swap = partners[pair[:, 0]] > partners[pair[:, 1]]
    space, other = np.where(swap, pair[:, 1], pair[:, 0]), np.where(swap, pair[:, 0], pair[:, 1])
    kind = np.unique(program.coefficient[:, monomial], axis=1, return_inverse=True)[1].reshape(-1)
    key, link = np.unique(np.stack([space, kind]), axis=1, return_inverse=True)
    return Links(key[0], link.reshape(-1), monomial, other)


class Relaxation:
    """The linear program for boxes inside `box`. Columns: x, monomials, vertex weights, then w of the links.

    Monomials are scaled by their largest values over `box`; w is shifted and scaled into 0..1 by the current box.
    """

    def __init__(
        self, program: Program, links: Links, box: Box, grid: Grid, tangents: tuple[IntArray, FloatArray], *,
        scale: float, floored: bool,
    ) -> None:  # fmt: skip
        self.program, self.links, self.grid = program, links, grid
        self.spaces, self.monomials = program.spaces, len(program.factor)
        self._floored = floored
        self._top = self.log_products(logs(program.count[box.high]))
        self._zero_slack = self._zero_slacks(box)
        self.vertex = self.spaces + self.monomials  # the column of the first vertex
        self._w = self.vertex + len(grid.option)
        self._w_link, self._w_vertex = _members(grid, links.space)
        self.columns = self._w + len(self._w_link)
        self.cost = np.zeros(self.columns)
        self.cost[self.vertex : self._w] = grid.importance / scale
        self._room = np.maximum(program.upper - program.constant, 0) + program.coefficient @ self._zero_slack
        self._room = np.maximum(self._room, 1e-300)
        self._share = program.coefficient * np.exp(self._top) / self._room[:, None]
        self.weight = self._share.max(axis=0, initial=0.0)  # of a monomial in the tightest budget
        self._fixed = [self._definitions(), self._convexity(), self._budgets(), *self._sums(), self._w_bounds()]
        self._tangents = self.tangents(*tangents)

    @property
    def budget_rows(self) -> slice:
        return slice(2 * self.spaces, 2 * self.spaces + len(self.program.upper))

    def log_products(self, x: FloatArray) -> FloatArray:
        """The logarithms of the monomials at log counts `x`, shape (monomials,)."""
        total: FloatArray = np.append(x, 0.0)[self.program.factor].sum(axis=1)
        return total

    def missing(self, solution: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(at, error): where tangents would cut off `solution`, and the budget share that each adds, (monomials,)."""
        at = self.log_products(solution[: self.spaces])
        error = np.exp(at - self._top) - solution[self.spaces : self.vertex]
        return at, np.maximum(error, 0.0) * self.weight

    def shares(self, solution: FloatArray) -> FloatArray:
        """The share of each budget that the monomials of each space take at `solution`, shape (costs, spaces)."""
        taken = self._share * np.exp(self.log_products(solution[: self.spaces]) - self._top)
        shares = np.zeros((self.spaces + 1, len(taken)))
        for factor in self.program.factor.T:
            np.add.at(shares, factor, taken.T)
        return shares[:-1].T

    def tangents(self, monomial: IntArray, at: FloatArray) -> Constraints:
        """Constraints that keep monomials above their tangents at `at`, the sum of their log counts."""
        factor = self.program.factor[monomial]
        slope = np.exp(at - self._top[monomial])
        # A power is one entry: the first of equal factors carries the others.
        first = np.ones(factor.shape, dtype=bool)
        first[:, 1:] = factor[:, 1:] != factor[:, :-1]
        row, position = np.nonzero(first & (factor < self.spaces))
        power = (factor[row] == factor[row, position][:, None]).sum(axis=1)
        every = np.arange(len(monomial))
        return Constraints(
            np.concatenate([every, row]),
            np.concatenate([self.spaces + monomial, factor[row, position]]),
            np.concatenate([np.ones(len(monomial)), -slope[row] * power]),
            slope * (1 - at),
            np.full(len(monomial), np.inf),
        )

    def restrict(self, box: Box, extra: tuple[IntArray, FloatArray]) -> tuple[FloatArray, FloatArray, Constraints]:
        """(lower, upper, rows) of the linear program for `box`; the tangents `extra` come last."""
        low, high = self.program.count[box.low], self.program.count[box.high]
        lower, upper = np.zeros(self.columns), np.ones(self.columns)
        lower[: self.spaces], upper[: self.spaces] = logs(low), logs(high)
        least = np.exp(self.log_products(logs(low)) - self._top)
        lower[self.spaces : self.vertex] = least
        upper[self.spaces : self.vertex] = np.exp(self.log_products(logs(high)) - self._top)
        upper[self.vertex : self._w] = self.grid.usable(box)
        return lower, upper, Constraints.stack([*self._fixed, *self._links(box), self._tangents, self.tangents(*extra)])

    def _zero_slacks(self, box: Box) -> FloatArray:
        """How much replacing counts of 0 by `ZERO_COUNT` can add to each monomial, shape (monomials,)."""
        count = self.program.count
        empty = np.append(count[box.low] == 0, False)
        high = np.append(np.maximum(count[box.high], ZERO_COUNT), 1.0)[self.program.factor]
        slack = np.zeros(self.monomials)
        for position in range(high.shape[1]):
            others = np.delete(high, position, axis=1).prod(axis=1)
            slack += np.where(empty[self.program.factor[:, position]], ZERO_COUNT * others, 0.0)
        return slack

    def _definitions(self) -> Constraints:
        """x is the combination of log counts."""
        owner, every = self.grid.owner, np.arange(self.spaces)
        zero = np.zeros(self.spaces)
        return Constraints(
            np.concatenate([every, owner]),
            np.concatenate([every, self.vertex + np.arange(len(owner))]),
            np.concatenate([zero + 1, -logs(self.grid.count)]),
            zero, zero,
        )  # fmt: skip

    def _convexity(self) -> Constraints:
        owner, one = self.grid.owner, np.ones(self.spaces)
        return Constraints(owner, self.vertex + np.arange(len(owner)), np.ones(len(owner)), one, one)

    def _budgets(self) -> Constraints:
        cost, monomial = np.nonzero(self._share > 0)
        count = len(self._room)
        lower = np.full(count, -np.inf)
        if self._floored:
            lower = (self.program.lower - self.program.constant) / self._room - 1e-9
        return Constraints(cost, self.spaces + monomial, self._share[cost, monomial], lower, np.ones(count))

    def _sums(self) -> list[Constraints]:
        """Sums of counts with a lower bound; if costs have lower bounds, also the monomials of a single space."""
        program, grid = self.program, self.grid
        rows = []
        if len(program.row_least):
            entry, vertex = _members(grid, program.row_space)
            scale = np.maximum(np.abs(program.row_least), 1)
            rows.append(
                Constraints(
                    program.row[entry], self.vertex + vertex,
                    program.row_weight[entry] * grid.count[vertex] / scale[program.row[entry]],
                    program.row_least / scale, np.full(len(scale), np.inf),
                )
            )  # fmt: skip
        if self._floored:
            alone = np.flatnonzero((program.factor < self.spaces).sum(axis=1) == 1)
            entry, vertex = _members(grid, program.factor[alone].min(axis=1, initial=self.spaces))
            top = np.exp(self._top[alone])
            rows.append(
                Constraints(
                    np.concatenate([np.arange(len(alone)), entry]),
                    np.concatenate([self.spaces + alone, self.vertex + vertex]),
                    np.concatenate([np.ones(len(alone)), -grid.count[vertex] / top[entry]]),
                    np.full(len(alone), -np.inf), self._zero_slack[alone] / top,
                )
            )  # fmt: skip
        return rows

    def _w_bounds(self) -> Constraints:
        """w is at most the weight of its vertex."""
        every = np.arange(len(self._w_link))
        return Constraints(
            np.concatenate([every, every]),
            np.concatenate([self._w + every, self.vertex + self._w_vertex]),
            np.concatenate([np.ones(len(every)), np.full(len(every), -1.0)]),
            np.full(len(every), -np.inf), np.zeros(len(every)),
        )  # fmt: skip

    def _links(self, box: Box) -> list[Constraints]:
        """The w of a link add up to the sum of its other spaces; count times w adds up to its monomials."""
        links, grid, count = self.links, self.grid, self.program.count
        low, high = links.total(count[box.low].astype(float)), links.total(count[box.high].astype(float))
        number, every = len(links.space), np.arange(len(self._w_link))
        # Scaled by the largest values over the relaxation's own box, so that only coefficients change later.
        largest = np.maximum(links.total(self._largest), 1.0)
        member, vertex = _members(grid, links.other)
        link = links.link[member]
        balance = Constraints(
            np.concatenate([self._w_link, link]),
            np.concatenate([self._w + every, self.vertex + vertex]),
            np.concatenate([((high - low) / largest)[self._w_link], -grid.count[vertex] / largest[link]]),
            -low / largest, -low / largest,
        )  # fmt: skip
        top = np.maximum(self._largest[links.space], 1.0) * largest
        per_count = grid.count[self._w_vertex] / top[self._w_link]
        slack = np.bincount(links.link, self._zero_slack[links.monomial], number) / top
        product = Constraints(
            np.concatenate([links.link, self._w_link, self._w_link]),
            np.concatenate([self.spaces + links.monomial, self.vertex + self._w_vertex, self._w + every]),
            np.concatenate(
                [
                    np.exp(self._top[links.monomial]) / top[links.link],
                    -per_count * low[self._w_link],
                    -per_count * (high - low)[self._w_link],
                ]
            ),
            np.zeros(number), slack if self._floored else np.full(number, np.inf),
        )  # fmt: skip
        return [balance, product]

    @property
    def _largest(self) -> FloatArray:
        return self.grid.count[self.grid.start[1:] - 1]


def _members(grid: Grid, space: IntArray) -> tuple[IntArray, IntArray]:
    """(entry, vertex): all vertices of all entries of `space`."""
    length = np.diff(grid.start)[space]
    entry = np.repeat(np.arange(len(space)), length)
    return entry, (grid.start[space] - np.cumsum(length) + length)[entry] + np.arange(len(entry))
