"""A trial computes what a run of the whole cut and refitted network does, though it begins where the cut does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from onnxsurgeon.calibration.statistics import TRIAL_ROWS
from onnxsurgeon.compensation.layerwise import Targets, quickly, sequential
from onnxsurgeon.data import Batch
from onnxsurgeon.dependency.labels import Labels, label
from onnxsurgeon.dependency.spaces import spaces
from onnxsurgeon.edit.apply import cut
from onnxsurgeon.importance import cut_trials
from onnxsurgeon.importance.cut_trials import Loss, changed_values, split
from onnxsurgeon.importance.from_weights import scores
from onnxsurgeon.model.model import load
from onnxsurgeon.runtime.partial_runs import Segment
from onnxsurgeon.runtime.random_inputs import random_inputs
from onnxsurgeon.training.ends import loss_values, relative_error
from paths import MODELS


@dataclass(frozen=True)
class Few:
    """Batches of random inputs that a labelled model accepts."""

    labels: Labels
    count: int = 4

    def __len__(self) -> int:
        return sum(batch.count for batch in self.batches())

    def batches(self) -> Iterator[Batch]:
        for number in range(self.count):
            feed = random_inputs(self.labels, self.labels.sizes[0], number)
            size = len(next(iter(feed.values())))
            yield Batch(feed, None, size, size)


def whole(labels: Labels, data: Few, keep: np.ndarray) -> float:
    seen, held = split(data)
    model = cut(labels, keep)
    sequential(Targets(labels, seen, memory=1e9, device="cpu", rows=TRIAL_ROWS), keep, model, refit=quickly)
    found = []
    for graph in (labels.model, model):
        ends = loss_values(graph, labels.states)
        piece = Segment(graph, ends, "cpu")
        runs = [(piece.run(batch.feed), batch.count) for batch in held.batches()]
        found.append([np.concatenate([a[e.name or ""][:n].reshape(n, -1) for a, n in runs]) for e in ends])
    return relative_error(*found)


@pytest.mark.slow
@pytest.mark.parametrize("path", MODELS, ids=lambda p: p.stem)
def test_a_trial_is_a_run_of_the_whole_cut_network(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cut_trials, "WINDOW", np.inf)
    labels = label(load(path).ir)
    built, data, root = spaces(labels, scores(labels, "l2")), Few(labels), labels.classes.root
    loss = Loss(labels, data, memory=1e9, device="cpu")
    full = np.array([sizes[-1] for sizes in built.problem.sizes])
    chosen = np.unique(np.linspace(0, len(full) - 1, 4).astype(int))  # late ones before early ones, too
    for space in (*chosen[::-1], *chosen):
        counts = full.copy()
        counts[space] = max(1, full[space] // 2)
        keep = built.keep(counts, root)
        assert loss(keep) == pytest.approx(whole(labels, data, keep), rel=2e-2, abs=1e-6)


@pytest.mark.parametrize("path", MODELS, ids=lambda p: p.stem)
def test_values_that_are_not_called_changed_stay(path: Path) -> None:
    labels = label(load(path).ir)
    built = spaces(labels, scores(labels, "l2"))
    full = np.array([sizes[-1] for sizes in built.problem.sizes])
    for space in range(len(full)):
        counts = full.copy()
        counts[space] = max(1, full[space] // 2)
        keep = built.keep(counts, labels.classes.root)
        model, changed = cut(labels, keep), changed_values(labels, keep)
        made = {value.name: value for node in model.graph for value in node.outputs}
        same = [v for n in labels.model.graph for v in n.outputs if v.name not in changed and v.name in made]
        same = same[:: max(1, len(same) // 8)]
        if not same:
            continue
        feed = random_inputs(labels, labels.sizes[0], 0)
        before = Segment(labels.model, same, "cpu").run(feed)
        after = Segment(model, [made[v.name] for v in same], "cpu").run(feed)
        for value in same:
            assert np.allclose(before[value.name or ""], after[value.name or ""], atol=1e-4, rtol=1e-4, equal_nan=True)
