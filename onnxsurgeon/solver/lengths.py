"""Finds counts that give axes requested lengths: three small MILPs in order, each held to the optimum of the last."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from onnxsurgeon.arrays import IntArray
from onnxsurgeon.errors import SurgeonError
from onnxsurgeon.solver.highs import highs as silent_highs
from onnxsurgeon.solver.problem import Resizing

_INFINITY = float("inf")
_SPREAD = 0.8  # weight of the largest relative change, which spreads changes over axes (NaiveNASlib)
_EACH = 0.1  # weight of each relative change
_FEW = 1e-4  # weight of new units: breaks ties in favour of the fewest


class Sizes(NamedTuple):
    """Kept and new units of each space, shapes (spaces,)."""

    kept: IntArray
    new: IntArray


def resize(problem: Resizing, *, time_limit: float = 30.0) -> Sizes | None:
    """The counts that meet the wishes best; None if no counts meet the exact ones. time_limit: seconds per program.

    Raises SurgeonError if HiGHS finds no counts in time.
    """
    model = _Model(problem, time_limit)
    for objective in (model.distance, model.importance, model.change):
        if not model.solve(objective):
            return None
    values = model.values.round().astype(np.int64)
    return Sizes(values[model.kept], values[model.new])


class _Model:
    """Columns: units kept, units new, then what the objectives need."""

    def __init__(self, problem: Resizing, time_limit: float) -> None:
        self.problem, self.time_limit = problem, time_limit
        spaces = len(problem.tables)
        self.lower: list[float] = [*problem.least.astype(float), *np.zeros(spaces)]
        self.upper: list[float] = [*problem.most.astype(float), *problem.new.astype(float)]
        self.whole: list[bool] = [True] * (2 * spaces)
        self.rows: list[tuple[dict[int, float], float, float]] = []
        self.kept, self.new = np.arange(spaces), np.arange(spaces, 2 * spaces)
        self.values = np.empty(0)
        self.length = [self._length(a) for a in range(len(problem.constant))]
        self.distance: dict[int, float] = {}
        for a in range(len(problem.constant)):
            old = {c: w for c, w in self.length[a].items() if c < spaces}
            self._row(old, 1 - problem.constant[a], _INFINITY)  # each axis keeps an old neuron
        self._add_wishes()
        for a, b in problem.equal:
            difference = dict(self.length[a])
            for column, weight in self.length[b].items():
                difference[column] = difference.get(column, 0.0) - weight
            self._row(difference, *[float(problem.constant[b] - problem.constant[a])] * 2)
        self.importance = self._importance()
        self.change = self._change()

    def _length(self, axis: int) -> dict[int, float]:
        """The variable part of an axis' length, as {column: weight}."""
        here = self.problem.axis == axis
        pairs = list(zip(self.problem.space[here].tolist(), self.problem.multiplicity[here].tolist(), strict=True))
        return {c: float(m) for s, m in pairs for c in (s, s + len(self.problem.tables))}

    def _column(self, lower: float = 0.0, upper: float = _INFINITY, *, whole: bool = False) -> int:
        self.lower.append(lower)
        self.upper.append(upper)
        self.whole.append(whole)
        return len(self.lower) - 1

    def _row(self, weights: dict[int, float], lower: float, upper: float) -> None:
        self.rows.append((weights, float(lower), float(upper)))

    def _add_wishes(self) -> None:
        present = self.problem.present
        for wish in self.problem.wishes:
            length, rest = self.length[wish.axis], float(wish.length - self.problem.constant[wish.axis])
            if wish.multiple > 1:
                quotient = self._column(0.0, whole=True)
                constant = float(self.problem.constant[wish.axis])
                self._row({**length, quotient: -float(wish.multiple)}, -constant, -constant)
            if wish.exact:
                self._row(length, rest, rest)
                continue
            self.distance[self._magnitude(length, rest)] = 1.0
            now = int(present[wish.axis])
            if wish.length != now:
                self._forbid(length, float(now - self.problem.constant[wish.axis]))

    def _magnitude(self, expression: dict[int, float], value: float, scale: float = 1.0) -> int:
        """A new column that is at least |expression - value| * scale."""
        column = self._column()
        self._row({**{c: w * scale for c, w in expression.items()}, column: -1.0}, -_INFINITY, value * scale)
        self._row({**{c: w * scale for c, w in expression.items()}, column: 1.0}, value * scale, _INFINITY)
        return column

    def _forbid(self, expression: dict[int, float], value: float) -> None:
        """Require the integer expression to differ from `value`."""
        above = self._column(0.0, 1.0, whole=True)
        low = sum(min(w * self.lower[c], w * self.upper[c]) for c, w in expression.items())
        high = sum(max(w * self.lower[c], w * self.upper[c]) for c, w in expression.items())
        self._row({**expression, above: -(value + 1 - low)}, low, _INFINITY)
        self._row({**expression, above: -(high - value + 1)}, -_INFINITY, value - 1)

    def _importance(self) -> dict[int, float]:
        """The objective that maximises importance: one column per space, below the tangents of its concave table."""
        objective: dict[int, float] = {}
        for s, table in enumerate(self.problem.tables):
            column = self._column(-_INFINITY)
            objective[column] = -1.0
            slopes = np.diff(table)
            _, first = np.unique(-slopes, return_index=True)
            for k in np.sort(first).tolist():
                self._row({column: 1.0, s: -float(slopes[k])}, -_INFINITY, float(table[k] - slopes[k] * k))
            if not len(slopes):
                self._row({column: 1.0}, 0.0, 0.0)
        return objective

    def _change(self) -> dict[int, float]:
        largest = self._column()
        objective = {largest: _SPREAD}
        for axis, length in enumerate(self.length):
            present = float(self.problem.present[axis])
            rest = present - float(self.problem.constant[axis])
            column = self._magnitude(length, rest, 1.0 / present)
            self._row({largest: 1.0, column: -1.0}, 0.0, _INFINITY)
            objective[column] = _EACH
        objective |= {int(c): _FEW for c in self.new}
        return objective

    def solve(self, objective: dict[int, float]) -> bool:
        """Whether there is an optimum; if so, later programs must not be worse in this objective."""
        optimum = _minimise(self, objective)
        if optimum is None:
            return False
        self.values, value = optimum
        if objective:
            self._row(objective, -_INFINITY, value + 1e-6 * max(1.0, abs(value)))
        return True


def _minimise(model: _Model, objective: dict[int, float]) -> tuple[Any, float] | None:
    import highspy  # lazily: most of the package needs no solver

    highs: Any = silent_highs()
    options = {
        "output_flag": False,
        "random_seed": 1,
        "threads": 1,
        "time_limit": model.time_limit,
        "mip_rel_gap": 1e-9,
    }
    cost = np.zeros(len(model.lower))
    cost[list(objective)] = list(objective.values())
    start = np.cumsum([0, *(len(weights) for weights, _, _ in model.rows)])
    status = [highs.setOptionValue(*option) for option in options.items()]
    status.append(
        highs.passModel(
            len(cost), len(model.rows), int(start[-1]), int(highspy.MatrixFormat.kRowwise),
            int(highspy.ObjSense.kMinimize), 0.0, cost, np.array(model.lower), np.array(model.upper),
            _numbers(low for _, low, _ in model.rows), _numbers(high for _, _, high in model.rows),
            start[:-1].astype(np.int32),
            np.array([c for weights, _, _ in model.rows for c in weights], np.int32),
            _numbers(w for weights, _, _ in model.rows for w in weights.values()),
            np.array(model.whole, np.int32),
        )
    )  # fmt: skip
    highs.run()
    if highspy.HighsStatus.kError in status:
        raise SurgeonError("the solver failed", why="HiGHS refused the model", fix="report it, with the model")
    outcome, states = highs.getModelStatus(), highspy.HighsModelStatus
    if outcome in (states.kInfeasible, states.kUnboundedOrInfeasible):
        return None
    solution = highs.getSolution()
    if not solution.value_valid:
        raise SurgeonError("the solver found no sizes in time", why=f"HiGHS says {outcome}", fix="ask for less at once")
    return np.array(solution.col_value), float(highs.getInfo().objective_function_value)


def _numbers(values: Iterable[float]) -> Any:
    return np.array(list(values), np.float64)
