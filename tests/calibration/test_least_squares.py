"""The quick fit is the careful one's with the middle ridge, whichever way it is solved."""

from __future__ import annotations

import numpy as np
import pytest

from onnxsurgeon.calibration.least_squares import MIDDLE, FitRows, normal_equations, quick_fit


@pytest.mark.parametrize(("rows", "features"), [(200, 12), (12, 200), (40, 40)])
def test_a_quick_fit_solves_for_rows_or_features_alike(rows: int, features: int) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((rows, 2, features)).astype(np.float32) + 1
    start = rng.standard_normal((2, features, 3))
    y = np.einsum("rgf,gfo->rgo", x, start + 0.1 * rng.standard_normal(start.shape)).astype(np.float32) + 5
    found = quick_fit(FitRows(x, y), start)
    right = normal_equations(x, y).solve(start, MIDDLE)
    assert np.allclose(found.matrix, right.matrix, atol=1e-3)
    assert np.allclose(found.bias, right.bias, atol=1e-2)
