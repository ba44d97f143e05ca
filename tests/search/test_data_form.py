"""What a network must look like follows from the samples: its input, its outputs, its loss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnxsurgeon.errors import UsageError
from onnxsurgeon.options.shared import OfData
from onnxsurgeon.search.data_form import DataForm, form_of, outputs_of, written

CLASSES = np.array([0, 2, 1, 2])


@pytest.mark.parametrize(
    ("shape", "labels", "outputs", "loss", "last"),
    [
        ((3, 8, 8), CLASSES, 3, "cross-entropy", False),
        ((8, 8, 3), CLASSES, 3, "cross-entropy", True),
        ((5,), CLASSES[:, None], 3, "cross-entropy", False),
        ((5,), CLASSES.astype(np.float32), 1, "mse", False),
        ((5,), np.zeros((4, 2), np.float32), 2, "mse", False),
    ],
)
def test_the_form_follows_from_the_file(
    shape: tuple[int, ...], labels: Any, outputs: int, loss: str, *, last: bool, tmp_path: Path
) -> None:
    np.savez(tmp_path / "a.npz", pictures=np.zeros((4, *shape), np.float32), labels=labels)
    found = form_of(str(tmp_path / "a.npz"), OfData())
    assert found == DataForm("pictures", shape, outputs, loss)
    assert found.channels_last is last


def test_classes_may_be_known_without_a_sample_of_each() -> None:
    assert outputs_of(CLASSES, 7) == (7, "cross-entropy")


def test_what_has_no_form_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "two.npz", a=np.zeros((4, 2), np.float32), b=np.zeros((4, 2), np.float32), labels=CLASSES)
    np.savez(tmp_path / "bytes.npz", a=np.zeros((4, 2), np.uint8), labels=CLASSES)
    with pytest.raises(UsageError, match="drawn for one input"):
        form_of(str(tmp_path / "two.npz"), OfData())
    with pytest.raises(UsageError, match="wrong type"):
        form_of(str(tmp_path / "bytes.npz"), OfData())
    with pytest.raises(UsageError, match="form of the samples is not known"):
        form_of("module:function", OfData())
    with pytest.raises(UsageError, match=r"nope.npz does not exist"):
        form_of("nope.npz", OfData())
    with pytest.raises(UsageError, match="belong into the file"):
        written("a.npz", CLASSES, tmp_path)


def test_arrays_are_written_as_the_network_reads_them(tmp_path: Path) -> None:
    path = written(np.arange(8).reshape(4, 2), CLASSES, tmp_path / "new")
    assert form_of(path, OfData()) == DataForm("input", (2,), 3, "cross-entropy")
