"""A relaxation of a program as a mixed-integer linear program: its optimum is an upper bound on every selection's.

With x = log(count), every cost is a sum of exponentials of linear functions, so it is convex: tangents bound it from
below, exactly and however many factors a monomial has (geometric programming, Boyd et al. 2007). What is not concave then is the
utility of a space as a function of its x alone. It is bounded from above by a piecewise linear function whose concave
pieces are chained by binaries (the incremental model, Markowitz and Manne 1957). Both are fine near chosen points
and coarse elsewhere; the bound is valid anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from onnxsurgeon.problem import FloatArray, IntArray
from onnxsurgeon.program import Program

_NOTHING = 1e-3  # stands for a count of 0, which has no logarithm


@dataclass(frozen=True)
class Resolution:
    """How fine a relaxation is."""

    step: float  # of log counts, at the centres
    growth: float  # of the step, for each unit of distance from the nearest centre
    slack: float  # what the utility bound of a space may exceed its table by, in a concave piece


@dataclass(frozen=True)
class Curve:
    """One space's utility bound: vertices from left to right; `gate[i]` says that vertex i starts a concave piece."""

    x: FloatArray
    utility: FloatArray
    gate: npt.NDArray[np.bool_]


class Logs:
    """A program in log counts."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.x = np.log(np.maximum(program.count, _NOTHING))
        self.low, self.high = self.x[program.start[:-1]], self.x[program.start[1:] - 1]
        self.top = self._sum(self.high)
        self.bottom = self._sum(self.low)
        self.scale = float(np.add.reduceat(program.value, program.start[:-1]).max(initial=0)) if program.spaces else 1.0

    def _sum(self, x: FloatArray) -> FloatArray:
        total: FloatArray = np.append(x, 0.0)[self.program.factor].sum(axis=1)
        return total

    def room(self) -> FloatArray:
        """The upper bounds, less constants, plus what counting 0 as `_NOTHING` can add; shape (costs,)."""
        program = self.program
        largest = program.count[program.start[1:] - 1].astype(np.float64)
        empty = program.count[program.start[:-1]] == 0
        padded = np.append(np.where(empty, np.maximum(largest, _NOTHING), largest), 1.0)
        ghost = np.zeros(len(program.factor))
        zero = np.append(empty, False)[program.factor]
        for position in range(program.factor.shape[1]):
            others = np.delete(padded[program.factor], position, axis=1).prod(axis=1)
            ghost += np.where(zero[:, position], _NOTHING * others, 0)
        return program.upper - program.constant + program.coefficient @ ghost


def curves(logs: Logs, centres: FloatArray, resolution: Resolution) -> list[Curve]:
    """One curve a space; `centres`, shape (points, spaces), are log counts."""
    program, x = logs.program, logs.x
    owner = program.owner
    keep = np.zeros(len(x), dtype=bool)
    keep[program.start[:-1]] = keep[program.start[1:] - 1] = True
    for centre in centres:
        away = x - centre[owner]
        # The number of steps between a point and the centre when steps grow with the distance.
        linear = np.minimum(np.abs(away), resolution.step / resolution.growth)
        rest = np.log(np.maximum(np.abs(away) * resolution.growth / resolution.step, 1.0)) / resolution.growth
        steps = np.floor(np.sign(away) * (linear / resolution.step + rest))
        keep[1:] |= (steps[1:] != steps[:-1])
    point = np.flatnonzero(keep)
    lift = _excess(x, program.value, point)
    utility = program.value[point] + np.maximum(lift, np.append(0, lift[:-1]))
    cut = np.searchsorted(point, program.start)
    distance = np.abs(x[point] - centres[:, owner[point]]).min(axis=0)
    slack = resolution.slack * (1 + (distance * 8) ** 2)
    return [
        _pieces(x[point[a:b]], utility[a:b], slack[a:b])
        for a, b in zip(cut[:-1].tolist(), cut[1:].tolist(), strict=True)
    ]


def _excess(x: FloatArray, value: FloatArray, point: IntArray) -> FloatArray:
    """By how much values exceed the chord from each kept point to the next, shape (points,)."""
    cell = np.repeat(np.arange(len(point)), np.diff(np.append(point, len(x))))
    after = np.minimum(cell + 1, len(point) - 1)
    left, right = point[cell], point[after]
    width = x[right] - x[left]
    share = np.divide(x - x[left], width, out=np.zeros(len(x)), where=width > 0)
    chord = value[left] + share * (value[right] - value[left])
    # The last point of a space stands alone: its share is 0.
    above: FloatArray = np.maximum.reduceat(np.where(width > 0, value - chord, 0.0), point)
    return np.maximum(above, 0.0)


def _hull(x: FloatArray, y: FloatArray) -> list[int]:
    """The vertices of the least concave function that is nowhere below the points."""
    xs, ys = x.tolist(), y.tolist()
    kept: list[int] = []
    for i in range(len(xs)):
        while len(kept) > 1:
            a, b = kept[-2], kept[-1]
            if (ys[b] - ys[a]) * (xs[i] - xs[a]) > (ys[i] - ys[a]) * (xs[b] - xs[a]):
                break
            kept.pop()
        kept.append(i)
    return kept


def _pieces(x: FloatArray, y: FloatArray, slack: FloatArray) -> Curve:
    """The points covered by concave pieces, each at most `slack` above its points."""
    if len(x) == 1:
        return Curve(x, y, np.zeros(1, dtype=bool))
    vertices: list[int] = []
    gates: list[bool] = []
    pending = [(0, len(x) - 1)]
    while pending:
        a, b = pending.pop()
        hull = _hull(x[a : b + 1], y[a : b + 1])
        gap = np.interp(x[a : b + 1], x[a : b + 1][hull], y[a : b + 1][hull]) - y[a : b + 1] - slack[a : b + 1]
        if b - a > 1 and gap.max() > 0:
            middle = a + int(np.argmax(gap))
            pending += [(middle, b), (a, middle)]
            continue
        vertices += [a + i for i in hull[:-1]]
        gates += [True] + [False] * (len(hull) - 2)
    vertices.append(len(x) - 1)
    gates.append(False)
    gate = np.array(gates)
    gate[0] = False
    return Curve(x[vertices], y[vertices], gate)


class Rows:
    """Sparse rows under construction."""

    def __init__(self) -> None:
        self._entries: list[tuple[IntArray, IntArray, FloatArray]] = []
        self._bounds: list[tuple[FloatArray, FloatArray]] = []
        self.count = 0

    def add(self, row: IntArray, column: IntArray, value: FloatArray, lower: FloatArray, upper: FloatArray) -> None:
        """Rows lower <= a x <= upper, shape (rows,); entries name rows from 0."""
        self._entries.append((row + self.count, column, value))
        self._bounds.append((lower, upper))
        self.count += len(lower)

    def arrays(self) -> tuple[FloatArray, FloatArray, IntArray, IntArray, FloatArray]:
        """(lower, upper, start, column, value), row-wise, no column twice in a row."""
        row, column, value = (np.concatenate(part) for part in zip(*self._entries, strict=True))
        lower, upper = (np.concatenate(part) for part in zip(*self._bounds, strict=True))
        order = np.lexsort((column, row))
        row, column, value = row[order], column[order], value[order]
        fresh = np.flatnonzero((np.diff(row, prepend=-1) != 0) | (np.diff(column, prepend=-1) != 0))
        value = np.add.reduceat(value, fresh) if len(fresh) else value
        start = np.searchsorted(row[fresh], np.arange(self.count + 1))
        return lower, upper, start, column[fresh], value


@dataclass(frozen=True)
class Layout:
    """The columns of the linear program: x of every space, q of every monomial, then edges, then gates."""

    spaces: int
    monomials: int
    edge_start: IntArray  # shape (spaces + 1,)
    gates: int

    @property
    def edge(self) -> int:
        return self.spaces + self.monomials

    @property
    def gate(self) -> int:
        return self.edge + int(self.edge_start[-1])

    @property
    def columns(self) -> int:
        return self.gate + self.gates


def tangents(logs: Logs, layout: Layout, monomial: IntArray, at: FloatArray) -> Rows:
    """Rows q >= the tangent of a monomial, where the sum of its log counts is `at`; q counts in its largest value."""
    factor = logs.program.factor[monomial]
    rows, slope = Rows(), np.exp(at - logs.top[monomial])
    row, position = np.nonzero(factor < logs.program.spaces)
    every = np.arange(len(monomial))
    rows.add(
        np.concatenate([every, row]),
        np.concatenate([layout.spaces + monomial, factor[row, position]]),
        np.concatenate([np.ones(len(monomial)), -slope[row]]),
        slope * (1 - at),
        np.full(len(monomial), np.inf),
    )
    return rows


@dataclass(frozen=True)
class Relaxed:
    """A mixed-integer linear program: maximise cost @ columns + offset; the last `layout.gates` columns are binary."""

    layout: Layout
    offset: float
    cost: FloatArray
    lower: FloatArray
    upper: FloatArray
    rows: Rows
    curves: list[Curve]


def relax(logs: Logs, shape: list[Curve], monomial: IntArray, at: FloatArray) -> Relaxed:
    """The relaxation with the utility bounds `shape` and tangents of monomials at sums `at` of log counts."""
    program = logs.program
    spaces, monomials = program.spaces, len(program.factor)
    edges = np.array([len(curve.x) - 1 for curve in shape], dtype=np.int64)
    layout = Layout(
        spaces, monomials, np.concatenate([[0], np.cumsum(edges)]), int(sum(curve.gate.sum() for curve in shape))
    )
    owner = np.repeat(np.arange(spaces), edges)
    rise = _joined([np.diff(curve.x) for curve in shape])
    gain = _joined([np.diff(curve.utility) for curve in shape])
    edge = layout.edge + np.arange(len(owner))
    rows = Rows()
    every = np.arange(spaces)
    rows.add(
        np.concatenate([every, owner]), np.concatenate([every, edge]), np.concatenate([np.ones(spaces), -rise]),
        logs.low, logs.low,
    )  # fmt: skip
    room = logs.room()
    share = program.coefficient * np.exp(logs.top) / room[:, None]
    metric, term = np.nonzero(share > 0)
    rows.add(metric, spaces + term, share[metric, term], np.full(len(room), -np.inf), np.ones(len(room)))
    _gate_rows(rows, layout, shape)
    if len(program.row_least):
        _least_rows(rows, program, layout, shape)
    cut = tangents(logs, layout, monomial, at)
    rows._entries += [(r + rows.count, c, v) for r, c, v in cut._entries]
    rows._bounds += cut._bounds
    rows.count += cut.count
    zero = np.zeros(layout.columns)
    cost, lower, upper = zero.copy(), zero.copy(), zero + 1
    cost[edge] = gain
    lower[:spaces], upper[:spaces] = logs.low, logs.high
    lower[spaces : layout.edge] = np.exp(logs.bottom - logs.top)
    return Relaxed(layout, float(sum(curve.utility[0] for curve in shape)), cost, lower, upper, rows, shape)


def _joined(parts: list[FloatArray]) -> FloatArray:
    return np.concatenate([*parts, np.zeros(0)])


def _gate_rows(rows: Rows, layout: Layout, shape: list[Curve]) -> None:
    """An open gate fills every edge of the piece before it, a closed one empties every edge of the piece after it."""
    gate = np.concatenate([curve.gate[:-1] for curve in shape])  # of the vertex on the left of every edge
    if not gate.any():
        return
    head = np.zeros(len(gate), dtype=bool)
    head[layout.edge_start[:-1][np.diff(layout.edge_start) > 0]] = True
    number = np.cumsum(gate) - 1  # the last gate at or before an edge, of this space or an earlier one
    piece = np.cumsum(gate | head) - 1
    last_of_space = np.zeros(int(piece[-1]) + 2, dtype=bool)
    last_of_space[piece[head]] = True  # the piece after which a new space starts is the one before a head
    after = piece + 1
    has_next = ~last_of_space[after] & (after <= piece[-1])
    gated = ~last_of_space[piece]
    piece_gate = np.full(int(piece[-1]) + 2, -1)
    piece_gate[piece[gate]] = number[gate]
    edge = np.arange(len(gate))
    for chosen, own, sign in ((gated, piece_gate[piece], 1.0), (has_next, piece_gate[after], -1.0)):
        e, g = edge[chosen], own[chosen]
        every = np.arange(len(e))
        rows.add(
            np.concatenate([every, every]), np.concatenate([layout.gate + g, layout.edge + e]),
            np.concatenate([np.full(len(e), sign), np.full(len(e), -sign)]), np.zeros(len(e)), np.full(len(e), np.inf),
        )  # fmt: skip


def _least_rows(rows: Rows, program: Program, layout: Layout, shape: list[Curve]) -> None:
    """Sums of counts: the chord of a count over log counts lies above the count, so no selection is lost."""
    counts = [np.where(curve.x > np.log(_NOTHING) + 1e-9, np.exp(curve.x), 0.0) for curve in shape]
    base = np.array([count[0] for count in counts])
    step = _joined([np.diff(count) for count in counts])
    length = np.diff(layout.edge_start)[program.row_space]
    entry = np.repeat(np.arange(len(length)), length)
    edge = layout.edge_start[program.row_space][entry] + np.arange(len(entry)) - (np.cumsum(length) - length)[entry]
    least = program.row_least - np.bincount(
        program.row, program.row_weight * base[program.row_space], len(program.row_least)
    )
    scale = np.maximum(np.abs(least), 1.0)
    rows.add(
        program.row[entry], layout.edge + edge,
        program.row_weight[entry] * step[edge] / scale[program.row[entry]],
        least / scale - 1e-9, np.full(len(least), np.inf),
    )  # fmt: skip
