"""Which parameters of a model can't be cut, and why."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import numpy as np

from onnxsurgeon.dependency.labels import Labels, Weight
from onnxsurgeon.dependency.spaces import spaces
from onnxsurgeon.neurons.relations import CARRIED, LAYOUT, POSITIONS, WORKED, Reason
from onnxsurgeon.solver.solve import least


@dataclass(frozen=True)
class Frozen:
    """The number of parameters that no selection can drop for one reason; `reason.node` is the first such node.

    table: whether they are indexed by positions only, not by neurons.
    """

    reason: Reason | None
    params: int
    weights: int
    table: bool = False


def frozen(labels: Labels) -> list[Frozen]:
    """Parameters that no selection can drop, by operator and reason, most first."""
    rows: dict[tuple[str, str, bool], Frozen] = {}
    for weight in labels.weights():
        params = frozen_params(labels, weight) if weight.counts else 0
        if params:
            reason, table = cause(labels, weight), is_table(labels, weight)
            key = ("", "", table) if reason is None else (reason.operator, reason.text, table)
            row = rows.get(key, Frozen(reason, 0, 0, table))
            rows[key] = replace(row, params=row.params + params, weights=row.weights + 1)
    return sorted(rows.values(), key=lambda row: -row.params)


def is_table(labels: Labels, weight: Weight) -> bool:
    """Whether a weight has axes of positions only (of an image, a sentence, fixed heads), none of neurons.

    An axis of positions must be a known one, or all readers must only move elements along it.
    """
    reasons = [labels.classes.cause(axis) for axis in weight.axes if axis is not None]
    if not all(axis is None or labels.classes.frozen[axis].all() for axis in weight.axes):
        return False
    texts = {reason.text for reason in reasons if reason is not None}
    operators = [labels.operator(node) for node, _ in weight.uses]
    moved = bool(operators) and all(o is not None and o.silence == "none" and o.macs is None for o in operators)
    return (POSITIONS in texts or (moved and WORKED in texts)) and texts <= {POSITIONS, CARRIED, LAYOUT, WORKED}


def frozen_params(labels: Labels, weight: Weight) -> int:
    parts = [1.0 if a is None else float(labels.classes.frozen[a].mean()) for a in weight.axes]
    return round(prod(weight.shape) * prod(parts))


def cause(labels: Labels, weight: Weight) -> Reason | None:
    """The reason why a weight is frozen along an axis, `LAYOUT` and `WORKED` (a kernel) last; None if it isn't."""
    causes = [c for c in map(labels.classes.cause, weight.axes) if c is not None]
    return min(causes, key=lambda reason: reason.text in (LAYOUT, WORKED), default=None)


def why(labels: Labels, weight: Weight) -> str:
    """The reason in words why a weight is frozen along an axis; empty if it isn't."""
    reason = cause(labels, weight)
    if reason is not None:
        return f"{reason.text} ({reason.operator} {reason.node})"
    if not any(n > 1 for n in weight.shape):
        return "a scalar"
    return "" if any(axis is not None for axis in weight.axes) else "no rule reads it"


def is_uncuttable(labels: Labels) -> bool:
    """Whether no selection can cut anything."""
    built = spaces(labels, np.zeros(labels.relations.count))
    return bool(built.keep(least(built.problem), labels.classes.root).all())
