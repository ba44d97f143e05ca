"""Edited weights: computed block by block, they are the same as at once."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from onnxsurgeon.model.lazy_weights import Drawn, EditedWeight, Places


@pytest.mark.parametrize("most", [1, 100, 1000, 10**6])
@pytest.mark.parametrize("first", [None, "kept", "grown"])
@pytest.mark.parametrize("second", [None, "kept", "grown"])
def test_blocks_are_the_weight(first: str | None, second: str | None, most: int) -> None:
    rng = np.random.default_rng(0)
    base = ir.Tensor(rng.standard_normal((23, 17, 3)).astype(np.float32), name="w")
    kept = {n: Places(np.sort(rng.choice(n, 9, replace=False)), (), rng.uniform(0.5, 2, 9)) for n in (23, 17)}
    grown = {n: Places(np.array([0, -1, 2, -2, n - 1]), (Drawn((3, 1), 0.5), 2.0)) for n in (23, 17)}
    known = {None: {23: None, 17: None}, "kept": kept, "grown": grown}
    weight = EditedWeight(base, (known[first][23], known[second][17], None), "w")
    blocks = list(weight.blocks(most))
    np.testing.assert_array_equal(np.concatenate(blocks), weight.numpy())
    assert len(blocks) == 1 or max(block.nbytes for block in blocks) <= max(most, blocks[0][:1].nbytes)
