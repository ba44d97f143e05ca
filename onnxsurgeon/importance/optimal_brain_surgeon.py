"""The reconstruction error of a space's consumers after cutting units and refitting the remaining weights.

A consumer computes Y = X W. Without the features S, the best weights for the other features leave an error per row of

    trace(W_S^T ([H]_SS)^-1 W_S),   H = (X^T X / rows + ridge)^-1

(Optimal Brain Surgeon: Hassibi and Stork 1992; by layers: Optimal Brain Compression, Frantar and Alistarh 2022). Units
are eliminated one by one, the cheapest first, and W and H are updated each time. So the selections are nested, and the
errors on the way form a table over all counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onnxsurgeon.arrays import Array, FloatArray, IntArray, Mask
from onnxsurgeon.calibration.linear_layers import Consumer
from onnxsurgeon.calibration.statistics import Moments
from onnxsurgeon.dependency.labels import Labels
from onnxsurgeon.dependency.spaces import Judge
from onnxsurgeon.importance.criteria import WITHOUT_DATA
from onnxsurgeon.importance.from_weights import scores

if TYPE_CHECKING:
    from onnxsurgeon.compensation.evidence import Evidence

RIDGE = 1e-2  # relative to the mean variance of a feature
LARGE = 512  # with more features, several units are eliminated at a time
STEPS = 48  # 1/48 of the remaining units at a time
GONE = 0.1  # of the features: when more are eliminated, the matrices shrink
ROWS = 128  # of a matrix that are updated at a time, so that they stay in the cache


@dataclass
class ConsumerGroup:
    """One group of one consumer during the elimination.

    inverse: H, shape (features, features). weights: W, shape (features, outputs). place: the index of each unit of the
    space in this group, -1 if it has no features here. features: those of each unit, shape (units here, m). own: 0 if
    an output is dropped together with the unit, shape (units here, outputs). gone: which features are eliminated, but
    still in the matrices.
    """

    inverse: FloatArray
    weights: FloatArray
    place: IntArray
    features: IntArray
    own: FloatArray
    scale: float
    gone: Mask

    def errors(self, left: IntArray) -> FloatArray:
        """The error that dropping each unit in `left` would add, shape (left,)."""
        here = self.place[left]
        present = here[here >= 0]
        at = self.features[present]
        weights, own = self.weights[at], self.own[present]
        if not own.all():
            weights *= own[:, None, :]
        inverse = np.linalg.inv(self.inverse[at[:, :, None], at[:, None, :]])
        result = np.zeros(len(left))
        result[here >= 0] = (inverse * (weights @ weights.transpose(0, 2, 1))).sum(axis=(1, 2)) * self.scale
        return result

    def drop(self, units: IntArray) -> float:
        """Eliminate units together; returns the error that this adds."""
        here = self.place[units][self.place[units] >= 0]
        if not len(here):
            return 0.0
        at = self.features[here].ravel()
        self.weights[:, (self.own[here] == 0).any(axis=0)] = 0
        outputs, columns = self.weights.shape[1], self.inverse[:, at]
        solved = np.linalg.solve(self.inverse[np.ix_(at, at)], np.hstack([self.weights[at], columns.T]))
        added = float((self.weights[at] * solved[:, :outputs]).sum()) * self.scale
        _subtract(self.weights, columns, solved[:, :outputs])
        _subtract(self.inverse, columns, solved[:, outputs:])
        self.weights[at] = 0
        self.gone[at] = True
        if self.gone.sum() > GONE * len(self.gone):
            self._shrink()
        return added

    def _shrink(self) -> None:
        """Take what is eliminated out of the matrices."""
        stays = np.flatnonzero(~self.gone)
        index = np.full(len(self.gone), -1)
        index[stays] = np.arange(len(stays))
        self.inverse, self.weights = self.inverse[np.ix_(stays, stays)], self.weights[stays]
        self.features, self.gone = index[self.features], np.zeros(len(stays), np.bool_)


def _subtract(whole: FloatArray, left: FloatArray, right: Array) -> None:
    """whole -= left @ right"""
    for start in range(0, len(whole), ROWS):
        whole[start : start + ROWS] -= left[start : start + ROWS] @ right


def reconstruction(evidence: Evidence, word: str) -> tuple[FloatArray, Judge]:
    """Importance per neuron for spaces without a linear consumer, and the judge of all other spaces."""
    worth = scores(evidence.labels, WITHOUT_DATA)
    return worth, Reconstruction(evidence.labels, evidence.layers, evidence.statistics.moments, worth)


class Reconstruction:
    """Judges a space by the moments of its consumers' inputs.

    worth: importance per neuron, whose lost share replaces the error of a space without a linear consumer.
    """

    def __init__(
        self, labels: Labels, found: Sequence[Consumer], moments: Mapping[str, Moments], worth: FloatArray
    ) -> None:
        root = labels.classes.root
        self.root, self.found, self.moments = np.append(root, len(root)), found, moments
        self.worth = np.bincount(root, weights=worth, minlength=len(root))

    def __call__(self, roots: IntArray) -> tuple[IntArray, FloatArray]:
        """(positions in `roots`, best first; importance of each kept count, shape (units + 1,))."""
        parts = list(self._parts(roots))
        if not parts:
            order = np.argsort(-self.worth[roots], kind="stable")
            share = np.r_[0.0, np.cumsum(self.worth[roots][order])]
            return order, share / max(float(share[-1]), 1e-30)
        left, order_, error = np.arange(len(roots)), list[int](), [0.0]
        large = max(p.features.size for p in parts) > LARGE
        while len(left):
            scores = np.sum([p.errors(left) for p in parts], axis=0)
            step = max(1, len(left) // STEPS) if large else 1
            first = left[np.argsort(scores, kind="stable")[:step]]
            added = sum(p.drop(first) for p in parts)
            error += [error[-1] + added * (k + 1) / len(first) for k in range(len(first))]
            order_ += first.tolist()
            left = np.setdiff1d(left, first)
        errors = np.maximum.accumulate(error)[::-1]
        return np.array(order_[::-1], np.int64), errors[0] - errors

    def _parts(self, roots: IntArray) -> Iterator[ConsumerGroup]:
        lookup = np.full(len(self.root), -1)
        lookup[roots] = np.arange(len(roots))
        for consumer in self.found:
            if consumer.key not in self.moments:
                continue
            inputs, outputs = lookup[self.root[consumer.inputs]], lookup[self.root[consumer.outputs]]
            together = (inputs == inputs[:, :1]).all(axis=1) & (outputs == inputs[:, :1]).all(axis=1)
            groups = np.flatnonzero((inputs >= 0).any(axis=1) & ~together)
            if len(groups):
                matrix, covariance = consumer.matrix(), self.moments[consumer.key].covariance
                total = float((matrix * (covariance @ matrix)).sum())
                scale = 1.0 / total if total > 0 else 0.0
                for group in groups.tolist():
                    unit = np.repeat(inputs[group], consumer.kernel)
                    part = _part(covariance[group], matrix[group], unit, outputs[group], len(roots), scale)
                    if part is not None:
                        yield part


def _part(
    covariance: FloatArray, matrix: FloatArray, unit: IntArray, output: IntArray, count: int, scale: float
) -> ConsumerGroup | None:
    """A group of a consumer. unit, output: the unit of each feature and output; -1: none of the space's `count`."""
    where = np.flatnonzero(unit >= 0)
    where = where[np.argsort(unit[where], kind="stable")]
    units, counts = np.unique(unit[where], return_counts=True)
    if len(set(counts.tolist())) > 1:  # can't happen: such units would not be exchangeable
        return None
    place = np.full(count, -1)
    place[units] = np.arange(len(units))
    own = np.ones((len(units), len(output)))
    here = np.flatnonzero((output >= 0) & (place[output] >= 0))
    own[place[output[here]], here] = 0
    ridge = RIDGE * np.trace(covariance) / len(covariance) + 1e-12
    inverse = np.linalg.inv(covariance + ridge * np.eye(len(covariance)))
    gone = np.zeros(len(inverse), np.bool_)
    return ConsumerGroup(inverse, matrix.copy(), place, where.reshape(len(units), -1), own, scale, gone)
