"""What it costs the consumers of a space to lose units, when their weights are fitted anew to what is left.

A consumer computes Y = X W. Without the features S, the best weights for the others leave an error of

    trace(W_S^T ([H]_SS)^-1 W_S),   H = (X^T X / rows + ridge)^-1

in every row (Optimal Brain Surgeon: Hassibi and Stork 1992; in layers: Optimal Brain Compression, Frantar and Alistarh
2022). Units are eliminated one by one, the cheapest first, W and H updated for what is gone: their order is nested, and
the errors on the way are a table for every count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from onnxsurgeon.consumers import Consumer
from onnxsurgeon.graph import Labels
from onnxsurgeon.problem import FloatArray, IntArray
from onnxsurgeon.statistics import Moments

RIDGE = 1e-2  # of the mean variance of a feature
LARGE = 512  # features above which several units are eliminated at a time
STEPS = 48  # of a halving, there


@dataclass
class Part:
    """One group of one consumer while units are eliminated: `features` of each unit, shape (units, m)."""

    inverse: FloatArray  # shape (features, features)
    weights: FloatArray  # shape (features, outputs)
    features: IntArray
    own: FloatArray  # shape (units, outputs): 0 where the output goes with the unit
    scale: float

    def errors(self, left: IntArray) -> FloatArray:
        """By unit in `left`: what its loss adds, shape (left,)."""
        at = self.features[left]
        blocks = self.inverse[at[:, :, None], at[:, None, :]]
        weights = self.weights[at]
        solved = np.linalg.solve(blocks, weights)
        found: FloatArray = np.einsum("umo,umo,uo->u", weights, solved, self.own[left], optimize=True)
        return found * self.scale

    def drop(self, units: IntArray) -> float:
        """Eliminates units together; what that adds to the error."""
        at = self.features[units].ravel()
        gone = (self.own[units] == 0).any(axis=0)
        self.weights[:, gone] = 0
        block, columns = self.inverse[np.ix_(at, at)], self.inverse[:, at]
        solved = np.linalg.solve(block, np.hstack([self.weights[at], columns.T]))
        outputs = self.weights.shape[1]
        added = float((self.weights[at] * solved[:, :outputs]).sum()) * self.scale
        self.weights -= columns @ solved[:, :outputs]
        self.inverse -= columns @ solved[:, outputs:]
        self.weights[at] = 0
        return added


class Reconstruction:
    """Order and table of a space, from the moments of its consumers' inputs.

    weight: by consumer name, what a relative error of 1 in its output is worth.
    """

    def __init__(
        self,
        labels: Labels,
        found: Sequence[Consumer],
        moments: Mapping[str, Moments],
        weight: Mapping[str, float] | None = None,
    ) -> None:
        self.root, self.found, self.moments = labels.classes.root, found, moments
        self.weight = weight or {}

    def __call__(self, roots: IntArray) -> tuple[IntArray, FloatArray] | None:
        """Positions in `roots`, best first, and the error by count that is kept, shape (units + 1,)."""
        parts = list(self._parts(roots))
        if not parts:
            return None
        count = len(roots)
        left, order, error = np.arange(count), list[int](), [0.0]
        large = max(p.features.size for p in parts) > LARGE
        while len(left):
            scores = sum(p.errors(left) for p in parts)
            step = max(1, len(left) // STEPS) if large else 1
            first = left[np.argsort(scores, kind="stable")[:step]]
            added = sum(p.drop(first) for p in parts)
            error += [error[-1] + added * (k + 1) / len(first) for k in range(len(first))]
            order += first.tolist()
            left = np.setdiff1d(left, first)
        return np.array(order[::-1], np.int64), error[-1] - np.maximum.accumulate(error)[::-1]

    def _parts(self, roots: IntArray) -> Iterator[Part]:
        lookup = np.full(len(self.root) + 1, -1)
        lookup[roots] = np.arange(len(roots))
        root = np.append(self.root, len(self.root))
        for consumer in self.found:
            inputs, outputs = lookup[root[consumer.inputs]], lookup[root[consumer.outputs]]
            touched = (inputs >= 0).any(axis=1)
            alone = (inputs == inputs[:, :1]).all(axis=1) & (outputs == inputs[:, :1]).all(axis=1)
            if not (touched & ~alone).any():
                continue
            covariance, matrix = self.moments[consumer.key].covariance, consumer.matrix()
            total = float(np.einsum("gfo,gfe,geo->", matrix, covariance, matrix, optimize=True))
            scale = self.weight.get(consumer.name, 1.0) / total if total > 0 else 0.0
            for group in np.flatnonzero(touched & ~alone):
                unit = np.repeat(inputs[group], consumer.kernel)
                where = np.flatnonzero(unit >= 0)
                where = where[np.argsort(unit[where], kind="stable")]
                units, counts = np.unique(unit[where], return_counts=True)
                if len(units) < len(roots) or len(set(counts.tolist())) > 1:
                    continue  # TODO
                own = np.ones((len(roots), matrix.shape[2]))
                here = np.flatnonzero(outputs[group] >= 0)
                own[outputs[group][here], here] = 0
                ridge = RIDGE * np.trace(covariance[group]) / len(covariance[group]) + 1e-12
                inverse = np.linalg.inv(covariance[group] + ridge * np.eye(len(covariance[group])))
                yield Part(inverse, matrix[group].copy(), where.reshape(len(roots), -1), own, scale)
