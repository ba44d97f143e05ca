"""What is trained after a cut is closer to the labels, or to the original, than the cut alone; its file is proven."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import onnxsurgeon as osg
from paths import FIXTURES

DIGITS = FIXTURES / "digits.onnx"
HELD = FIXTURES / "digits_test.npz"


@pytest.mark.slow
@pytest.mark.parametrize("labelled", [True, False])
def test_a_cut_model_that_was_trained_is_better(labelled: bool, tmp_path: Path) -> None:  # noqa: FBT001  of pytest
    with np.load(FIXTURES / "digits_train.npz") as archive:
        arrays = {name: archive[name][:512] for name in (("input", "labels") if labelled else ("input",))}
    np.savez(tmp_path / "seen.npz", **arrays)
    scores = []
    for epochs in (None, 2):
        found = osg.prune(
            DIGITS, ratio=0.8, cost="macs", data=tmp_path / "seen.npz", importance="l2-norm", compensate="none",
            fine_tune=epochs, device="cpu",
        )  # fmt: skip
        found.save(tmp_path / "out.onnx", device="cpu", overwrite=True)
        scores.append(osg.evaluate(tmp_path / "out.onnx", HELD, device="cpu").value)
    assert scores[1] > scores[0] + 0.05
    assert found.tuned is not None
    assert found.tuned.options.loss == ("cross-entropy" if labelled else "distill")
    assert [n.op_type for n in onnx.load(tmp_path / "out.onnx").graph.node] == [n.op_type for n in found.bare.graph]


def test_training_that_harms_a_cut_is_undone_and_few_samples_choose_it() -> None:
    options = {"ratio": 0.3, "data": FIXTURES / "digits_train.npz", "effort": "fast", "device": "cpu"}
    found = osg.prune(DIGITS, fine_tune=1, lr=0.9, cut_samples=64, **options)
    alone = osg.prune(DIGITS, samples=64, rotate=False, **options)
    assert found.tuned is not None
    assert found.tuned.kept == 0
    assert "1347" in found.tuned.judged_on
    assert found.samples is not None
    assert len(found.samples) == 64
    weights = [[v.const_value.numpy() for v in result.ir.graph.initializers.values()] for result in (found, alone)]
    assert all(np.array_equal(a, b) for a, b in zip(*weights, strict=True))


def test_a_file_that_states_a_batch_of_one_is_tuned_in_batches() -> None:
    model = onnx.load(DIGITS)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    options = {"ratio": 0.3, "data": FIXTURES / "digits_train.npz", "effort": "fast", "device": "cpu"}
    found = osg.prune(model, fine_tune=1, batch=64, samples=64, **options)
    assert found.tuned is not None
    assert found.tuned.batch == 64
    with pytest.raises(osg.UsageError, match="batch size is static"):
        osg.prune(model, batch=64, **options)


def test_fine_tuning_needs_data() -> None:
    with pytest.raises(osg.UsageError, match="`fine_tune` needs samples"):
        osg.prune(DIGITS, ratio=0.5, fine_tune=1)
