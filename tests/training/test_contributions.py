"""Every unit that may be cut ends somewhere, and a file of scores has a place for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from onnxsurgeon.compensation.evidence import Evidence
from onnxsurgeon.dependency.labels import label
from onnxsurgeon.importance import from_weights
from onnxsurgeon.model.read import read
from onnxsurgeon.training.contributions import by_node, channel_ends, joined
from paths import FIXTURES


@pytest.mark.parametrize("path", sorted(FIXTURES.glob("*.onnx")), ids=lambda path: path.stem)
def test_units_end_and_stand_in_a_file_once(path: Path, tmp_path: Path) -> None:
    labels = label(read(path))
    root, frozen = labels.classes.root, labels.classes.frozen
    units = np.unique(root[joined([ids for w in labels.weights() if w.counts for ids in w.axes if ids is not None])])
    units = units[~frozen[units]]
    assert set(units) <= set(root[joined([end.ids for end in channel_ends(labels)])])
    worth = np.zeros(len(root))
    worth[units] = np.arange(1, len(units) + 1)
    np.savez(tmp_path / "scores.npz", **by_node(labels, worth))
    found = from_weights.from_file(Evidence(labels), f"file:{tmp_path / 'scores.npz'}")
    assert np.bincount(root, found)[units] == pytest.approx(worth[units])
