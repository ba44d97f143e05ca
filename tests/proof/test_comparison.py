"""Outputs are compared slice by slice: a large part of an output hides nothing of a small one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxsurgeon.proof.comparison import FEW, Tolerance, compare, slice_scale

ALLOWED = Tolerance(atol=1e-5, rtol=1e-3)


def margin(a: np.ndarray, b: np.ndarray) -> float:
    return compare([{"y": a}], [{"y": b}], ALLOWED, "CPU").margin


shapes = st.lists(st.integers(FEW, 7), min_size=2, max_size=4).map(tuple)


@settings(max_examples=100, deadline=None)
@given(shapes, st.integers(0, 2**31), st.floats(1.0, 1e6), st.data())
def test_the_scale_of_one_slice_says_nothing_about_another(
    shape: tuple[int, ...], seed: int, factor: float, data: st.DataObject
) -> None:
    """However large a channel is in both outputs, an error in another one weighs as much as it did."""
    rng = np.random.default_rng(seed)
    axis = data.draw(st.integers(0, len(shape) - 1))
    a = rng.standard_normal(shape)
    b = a.copy()
    at = tuple(int(rng.integers(1, n)) if k == axis else int(rng.integers(n)) for k, n in enumerate(shape))
    b[at] += 0.1
    large = np.ones(shape[axis])
    large[0] = factor
    large = large.reshape([-1 if k == axis else 1 for k in range(len(shape))])
    assert margin(a * large, b * large) >= 0.1 / (1e-5 + 1e-3 * np.abs(a).max()) * (1 - 1e-9)


@settings(max_examples=100, deadline=None)
@given(shapes, st.integers(0, 2**31))
def test_the_scale_is_at_most_the_largest_magnitude_and_at_least_the_element(shape: tuple[int, ...], seed: int) -> None:
    x = np.random.default_rng(seed).standard_normal(shape)
    scale = np.broadcast_to(slice_scale(x, [x]), shape)
    assert (scale <= np.abs(x).max()).all()
    assert (scale >= np.abs(x)).all()


def test_rounding_of_a_vector_is_judged_beside_the_vector() -> None:
    """A single element has no scale of its own: one that happens to be near zero is not compared with itself."""
    a = np.array([[10.0, 1e-4, 5.0]])
    assert margin(a, a + 1e-3) < 1


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_what_is_not_a_number_on_one_side_is_wrong(wrong: float) -> None:
    a = np.ones((4, 4))
    b = a.copy()
    b[1, 2] = wrong
    assert margin(a, b) == np.inf
    assert margin(b, b) == 0
