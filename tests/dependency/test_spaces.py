"""Laws: the problem's costs equal the graph's for all counts; units of a space cost the same; the best ones stay."""

from __future__ import annotations

from math import prod
from pathlib import Path

import numpy as np
import pytest

from onnxsurgeon.dependency.labels import kept_shape, label
from onnxsurgeon.dependency.measure import count_params
from onnxsurgeon.dependency.spaces import spaces
from onnxsurgeon.edit.apply import cut
from onnxsurgeon.importance.from_weights import scores
from onnxsurgeon.model.read import read
from onnxsurgeon.model.write import write
from paths import MODELS

each = pytest.mark.parametrize("path", MODELS, ids=lambda p: p.stem)


@each
def test_predicted_costs_are_those_of_the_written_model(path: Path, tmp_path: Path) -> None:
    labels = label(read(path))
    built = spaces(labels, scores(labels, "random"))
    problem = built.problem
    rng = np.random.default_rng(0)
    counts = np.array([rng.integers(1, s[-1] + 1) for s in problem.sizes], np.int64)
    keep = built.keep(counts, labels.classes.root)
    model = cut(labels, keep)
    write(model, tmp_path / "cut.onnx")
    costs = {c.name: c.evaluate(problem.lengths(counts)) for c in problem.costs}
    again = label(read(tmp_path / "cut.onnx"))
    full = spaces(again, scores(again, "uniform")).problem
    found = {c.name: c.evaluate(full.lengths(np.array([s[-1] for s in full.sizes], np.int64))) for c in full.costs}
    assert costs["macs"] == pytest.approx(found["macs"], rel=1e-12)
    assert costs["params"] == count_params(model) == found["params"]


@each
def test_lengths_are_kept_neurons(path: Path) -> None:
    labels = label(read(path))
    built = spaces(labels, scores(labels))
    counts = np.array([max(1, s[-1] // 2) for s in built.problem.sizes], np.int64)
    keep = built.keep(counts, labels.classes.root)
    kept = sum(prod(kept_shape(w.axes, keep, w.shape)) for w in labels.weights() if w.counts)
    params = next(c for c in built.problem.costs if c.name == "params")
    assert params.evaluate(built.problem.lengths(counts)) == kept


def test_the_most_useful_stay() -> None:
    path = next(p for p in MODELS if p.stem == "xor")
    labels = label(read(path))
    values = np.zeros(labels.relations.count)
    hidden = next(w.axes[a] for w in labels.weights() for a, n in enumerate(w.shape) if n == 32)
    assert hidden is not None
    values[hidden] = np.arange(32)
    built = spaces(labels, values)
    keep = built.keep(np.array([5]), labels.classes.root)
    assert np.flatnonzero(keep[hidden]).tolist() == [27, 28, 29, 30, 31]


def test_widths_are_multiples_of_what_was_asked() -> None:
    path = next(p for p in MODELS if p.stem == "residual")
    labels = label(read(path))
    problem = spaces(labels, scores(labels), round_to=8).problem
    for sizes in problem.sizes:
        assert all(n % 8 == 0 or n == sizes[-1] for n in sizes.tolist())
