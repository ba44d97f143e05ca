"""What sizes say of themselves holds for all sizes of the dynamic dims."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, floor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxsurgeon.ops.size_expressions import (
    Number,
    Size,
    UndecidedError,
    floordiv,
    is_static,
    larger,
    remainder,
    smaller,
    symbol,
    whole,
)

B, S = symbol("b"), symbol("s")
Binary = Callable[[Any, Any], Any]
OPERATIONS: list[tuple[Binary, Binary]] = [
    (lambda a, b: a + b, lambda a, b: a + b),
    (lambda a, b: a - b, lambda a, b: a - b),
    (lambda a, b: a * b, lambda a, b: a * b),
    (smaller, min),
    (larger, max),
]
BY_CONSTANT: list[tuple[Binary, Binary]] = [
    (floordiv, lambda a, b: a // b),
    (remainder, lambda a, b: a % b),
    (lambda a, b: whole(a * 1 / b, ceil) if isinstance(a, Size) else -(-a // b), lambda a, b: -(-a // b)),
]
Tree = tuple[Number, Callable[[int, int], Any]]  # a size, and the same computed at sizes of b and s


def leaves() -> st.SearchStrategy[Tree]:
    constants = st.integers(-4, 70).map(lambda n: (n, lambda b, s: n))
    return st.one_of(st.just((B, lambda b, s: b)), st.just((S, lambda b, s: s)), constants)


def grown(children: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
    def apply(symbolic: Binary, plain: Binary, x: Tree, y: Tree) -> Tree:
        return symbolic(x[0], y[0]), lambda b, s: plain(x[1](b, s), y[1](b, s))

    two = st.builds(lambda f, x, y: apply(*f, x, y), st.sampled_from(OPERATIONS), children, children)
    numbers = st.integers(1, 9).map(lambda n: (n, lambda b, s: n))
    one = st.builds(lambda f, x, y: apply(*f, x, y), st.sampled_from(BY_CONSTANT), children, numbers)
    return st.one_of(two, one)


trees = st.recursive(leaves(), grown, max_leaves=8)
sizes = st.lists(st.tuples(st.integers(1, 300), st.integers(1, 300)), min_size=3, max_size=8)


@settings(max_examples=400, deadline=None)
@given(trees, sizes)
def test_a_static_size_is_the_same_at_all_sizes_and_bounds_hold(tree: Tree, at: list[tuple[int, int]]) -> None:
    size, plain = tree
    found = [plain(b, s) for b, s in at]
    if not isinstance(size, Size):
        assert set(found) == {size}
    else:
        low, high = size.bounds()
        assert all(low <= n <= high for n in found)


@settings(max_examples=400, deadline=None)
@given(trees, trees, sizes)
def test_a_comparison_that_is_decided_holds_at_all_sizes(x: Tree, y: Tree, at: list[tuple[int, int]]) -> None:
    for compare in (lambda a, b: a < b, lambda a, b: a <= b, lambda a, b: a == b):
        try:
            decided = compare(x[0], y[0])
        except UndecidedError:
            continue
        assert {compare(x[1](b, s), y[1](b, s)) for b, s in at} == {decided}


@settings(max_examples=400, deadline=None)
@given(trees, trees, sizes)
def test_equal_keys_are_equal_sizes(x: Tree, y: Tree, at: list[tuple[int, int]]) -> None:
    if isinstance(x[0], Size) and isinstance(y[0], Size) and x[0].key == y[0].key:
        assert all(x[1](b, s) == y[1](b, s) for b, s in at)


@pytest.mark.parametrize(
    ("size", "static"),
    [
        (B * 64 * 49 // B, 3136),
        (B * S * 32 // (B * S), 32),
        ((S * 4 + 2) // 2 - S * 2, 1),
        (smaller(S, 64) - smaller(S, 64), 0),
        (smaller(larger(S, 1), S), None),
        (smaller(S + 64, 64), 64),
        (smaller(S, 64), None),
        (remainder(S * 8, 8), 0),
        (remainder(S, 8), None),
        (whole(S * 2 * 0.5, floor) - S, 0),
        (S / S, 1),
    ],
)
def test_what_follows_from_arithmetic_is_static(size: Number, static: int | None) -> None:
    assert is_static(size) == (static is not None)
    if static is not None:
        assert size == static
