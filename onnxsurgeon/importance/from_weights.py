"""Importance of neurons from weights.

Importance is additive: that of a unit is the sum over its neurons, in producers' rows and consumers' columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from onnxsurgeon.arrays import FloatArray
from onnxsurgeon.compensation.evidence import Evidence
from onnxsurgeon.dependency.labels import Labels, Weight
from onnxsurgeon.errors import ModelError, UsageError
from onnxsurgeon.files import BROKEN, arrays_of
from onnxsurgeon.importance.criteria import FILE, criterion
from onnxsurgeon.model.read import release
from onnxsurgeon.ops.nodes import constant
from onnxsurgeon.options.parsing import resolved

CHUNK = 1 << 24  # bytes of a weight that are processed at a time


def scores(labels: Labels, given: str | Mapping[str, Any] = "l2-norm", *, seed: int = 0) -> FloatArray:
    """Importance per neuron, shape (neurons,).

    given: a criterion that needs no data; or arrays by node name, one number per channel of the node's first output.
    Raises UsageError for another word or names that don't fit, ModelError if a file can't be read.
    """
    if not isinstance(given, str):
        return _given(labels, {name: np.asarray(values, np.float64) for name, values in given.items()})
    found: FloatArray = resolved(criterion(given, data=False).function)(Evidence(labels, seed), given)
    return found


def l1(evidence: Evidence, word: str) -> FloatArray:
    return _norms(evidence.labels, word)


l2 = l2_norm = l1


def uniform(evidence: Evidence, word: str) -> FloatArray:
    return _one_each(evidence.labels, np.ones(evidence.labels.relations.count))


def random(evidence: Evidence, word: str) -> FloatArray:
    """One random number per class of neurons, whatever its size."""
    return _one_each(evidence.labels, np.random.default_rng(evidence.seed).random(evidence.labels.relations.count))


def _one_each(labels: Labels, values: FloatArray) -> FloatArray:
    """`values` of the first neuron of each class, 0 for all others."""
    root = labels.classes.root
    return np.where(root == np.arange(len(root)), values, 0.0)


def _norms(labels: Labels, criterion: str) -> FloatArray:
    """Norms of each weight's slices; `l2-norm` scales the norms of an axis to mean 1, so that layers are comparable."""
    result = np.zeros(labels.relations.count)
    for weight, axes in matrices(labels):
        sums = _sums(weight, axes, power=1 if criterion == "l1" else 2, done=partial(release, labels.original))
        for axis, total in zip(axes, sums, strict=True):
            labelled = weight.axes[axis]
            assert labelled is not None
            norm = total if criterion == "l1" else np.sqrt(total)
            if criterion == "l2-norm" and (mean := float(norm.mean())) > 0:
                norm = norm / mean
            np.add.at(result, labelled, norm)
    return result


def matrices(labels: Labels) -> Iterator[tuple[Weight, list[int]]]:
    """Weights with at least two axes longer than 1, and their axes on which neurons are free."""
    frozen = labels.classes.frozen
    for weight in labels.weights():
        axes = [a for a, axis in enumerate(weight.axes) if axis is not None and not frozen[axis].all()]
        if axes and weight.counts and sum(n > 1 for n in weight.shape) > 1:
            yield weight, axes


def _sums(weight: Weight, axes: list[int], *, power: int, done: Callable[[], None]) -> list[FloatArray]:
    """Sums of |w|^power over all other axes, for each of `axes`, computed in chunks of rows. done: called after each
    chunk, to give back the memory of what was read."""
    data: Any = weight.tensor.numpy()
    totals = [np.zeros(weight.shape[a]) for a in axes]
    letters = list(range(data.ndim))
    rows = max(1, CHUNK // max(1, prod(data.shape[1:]) * 4))
    for start in range(0, data.shape[0], rows):
        block = np.asarray(data[start : start + rows]).astype(np.float32, copy=False)
        if power == 1:
            rest = tuple(a for a in letters if a not in axes)
            energy = np.abs(block).sum(axis=rest, dtype=np.float64)
        else:
            squares: Any = np.einsum  # its type stubs don't allow lists of axes
            energy = squares(block, letters, block, letters, axes).astype(np.float64)
        for k, axis in enumerate(axes):
            part = energy.sum(axis=tuple(i for i in range(len(axes)) if i != k))
            if axis == 0:
                totals[k][start : start + rows] += part
            else:
                totals[k] += part
        done()
    return [np.nan_to_num(t, nan=0.0, posinf=0.0, neginf=0.0) for t in totals]


def bn_scale(evidence: Evidence, word: str) -> FloatArray:
    """|scale| of the normalisations; channels without one have their `l2-norm`."""
    labels = evidence.labels
    result, fallback = np.zeros(labels.relations.count), _norms(labels, "l2-norm")
    scaled = np.zeros(labels.relations.count, np.bool_)
    for (node, index), axes in labels.uses.items():
        operator = labels.operator(node)
        if operator is not None and operator.scale == index and axes and axes[-1] is not None:
            tensor = constant(node.inputs[index])
            assert tensor is not None  # only constants are labelled by use
            np.add.at(result, axes[-1], np.abs(tensor.numpy()).astype(np.float64))
            scaled[labels.classes.root[axes[-1]]] = True
    return np.where(scaled[labels.classes.root], result, fallback)


def from_file(evidence: Evidence, word: str) -> FloatArray:
    path = Path(word.removeprefix(FILE))
    try:
        given = {name: np.asarray(array, np.float64) for name, array in arrays_of(path).items()}
    except BROKEN as problem:
        raise ModelError(f"{path} can't be read as .npz", why=str(problem), fix="write it with numpy.savez") from None
    return _given(evidence.labels, given)


def _given(labels: Labels, given: Mapping[str, FloatArray]) -> FloatArray:
    result = np.zeros(labels.relations.count)
    calls = {call.name: call for call in labels.calls.values()}
    for name, values in given.items():
        axes = (calls[name].results[0] if name in calls and calls[name].results else None) or ()
        fitting = [axis for axis in axes if axis is not None and values.shape == axis.shape]
        if not fitting:
            widths = [len(axis) for axis in axes if axis is not None]
            raise UsageError(
                f"the scores for {name!r} fit no output",
                why=f"{values.shape} scores; " + (f"widths {widths}" if name in calls else "no node of that name"),
                fix="name a node and give one number per channel of its first output (see onnxsurgeon inspect)",
            )
        np.add.at(result, fitting[0], np.nan_to_num(values, nan=-np.inf, posinf=-np.inf).clip(-1e30, 1e30))
    return result
