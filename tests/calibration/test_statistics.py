"""Laws: moments equal numpy's over all rows; memory limits, padding and saving don't change them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from drawn_samples import Drawn
from onnxsurgeon.calibration import statistics
from onnxsurgeon.calibration.linear_layers import consumers
from onnxsurgeon.calibration.statistics import Moments, RowLimits, Statistics, load_statistics, moments, pick_rows
from onnxsurgeon.dependency.labels import Labels, label
from onnxsurgeon.errors import ModelError, UsageError
from onnxsurgeon.model.read import read
from paths import FIXTURES

DATA = Drawn("input", (3, 16, 16), 20)


@pytest.fixture(scope="module")
def labels() -> Labels:
    return label(read(FIXTURES / "se.onnx"))


def _same(a: Moments, b: Moments) -> bool:
    return all(np.allclose(x, y, rtol=1e-5, atol=1e-6) for x, y in ((a.gram, b.gram), (a.mean, b.mean)))


def test_moments_are_those_of_numpy(labels: Labels) -> None:
    first = consumers(labels)[0]
    found = moments(labels, [first], DATA, memory=1e9)[first.key]
    x = np.concatenate([batch.feed["input"] for batch in DATA.batches()])
    rows = first.linear.rows(first.call, x, np.arange(first.linear.positions(first.call, x))).astype(np.float64)
    assert found.gram == pytest.approx(np.einsum("rgf,rgh->gfh", rows, rows) / len(rows), rel=1e-4, abs=1e-5)
    assert found.mean == pytest.approx(rows.mean(axis=0), abs=1e-6)
    assert found.magnitude == pytest.approx(np.abs(rows).mean(axis=0), rel=1e-5)


@pytest.mark.parametrize(
    ("data", "memory"), [(DATA, 1.0), (Drawn("input", (3, 16, 16), 20, padding=3), 1e9)], ids=["memory", "padding"]
)
def test_neither_memory_nor_padding_changes_moments(labels: Labels, data: Drawn, memory: float) -> None:
    found = consumers(labels)
    whole, again = moments(labels, found, DATA, memory=1e9), moments(labels, found, data, memory=memory)
    assert all(_same(whole[key], again[key]) for key in whole)


def test_a_sample_of_rows_gives_nearly_the_same_moments(labels: Labels, monkeypatch: pytest.MonkeyPatch) -> None:
    first = consumers(labels)[0]
    whole = moments(labels, [first], DATA, memory=1e9)[first.key]
    monkeypatch.setattr(statistics, "GRAM_ROWS", RowLimits(1000, 1))
    some = moments(labels, [first], DATA, memory=1e9)[first.key]
    assert not _same(whole, some)
    assert np.abs(whole.gram - some.gram).max() < 0.25 * np.abs(whole.gram).max()


def test_the_same_rows_are_picked_again(labels: Labels) -> None:
    consumer, batch = consumers(labels)[0], next(DATA.batches())
    one, two = (pick_rows(consumer, 4096, batch, 0, 2000, 7, RowLimits(100, 1)) for _ in range(2))
    assert np.array_equal(one, two)
    assert len(np.unique(one)) == len(one)


def test_saved_statistics_load_unchanged(labels: Labels, tmp_path: Path) -> None:
    known = Statistics("model", dict(moments(labels, consumers(labels), DATA, memory=1e9)), {"space": {3: 0.25}})
    known.save(tmp_path / "stats.npz")
    found = load_statistics(tmp_path / "stats.npz", "model")
    assert found.losses == known.losses
    assert all(_same(found.moments[key], known.moments[key]) for key in known.moments)
    with pytest.raises(UsageError, match="another model"):
        load_statistics(tmp_path / "stats.npz", "other")
    (tmp_path / "bad.npz").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="can't be read"):
        load_statistics(tmp_path / "bad.npz", "model")
