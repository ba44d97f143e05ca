"""Laws: classes are the transitive closure of the edges, and a product is kept exactly if all its factors are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxsurgeon.neurons.relations import Relations, components


@given(st.integers(1, 60), st.lists(st.tuples(st.integers(0, 59), st.integers(0, 59)), max_size=80))
def test_components_are_what_a_plain_search_finds(count: int, pairs: list[tuple[int, int]]) -> None:
    pairs = [(a % count, b % count) for a, b in pairs]
    parent = list(range(count))
    for _ in range(count):
        for a, b in pairs:
            parent[a] = parent[b] = min(parent[a], parent[b])
    found = components(count, np.array([a for a, _ in pairs], np.int64), np.array([b for _, b in pairs], np.int64))
    assert found.tolist() == parent


def test_a_long_chain_in_the_worst_order() -> None:
    order = np.random.default_rng(0).permutation(20_000)
    assert not components(20_000, order[:-1], order[1:]).any()


@given(st.data())
def test_any_choice_of_free_classes_satisfies_every_product(data: st.DataObject) -> None:
    relations = Relations()
    axes = [relations.fresh(data.draw(st.integers(2, 5))) for _ in range(4)]
    for _ in range(data.draw(st.integers(1, 4))):
        a, b = (axes[i] for i in data.draw(st.lists(st.integers(0, 3), min_size=2, max_size=2, unique=True)))
        relations.product(relations.fresh(len(a) * len(b)), [a, b])
    for axis in axes:
        if data.draw(st.booleans()):
            relations.freeze(axis[data.draw(st.integers(0, len(axis) - 1)) :], "because")
    classes = relations.resolve(data.draw(st.sampled_from(["auto", "heads", "head-size"])))
    free = np.unique(classes.root[~classes.frozen]).tolist()
    keep = ~np.isin(classes.root, data.draw(st.lists(st.sampled_from(free), unique=True)) if free else [])
    for product in relations.products:
        expected = keep[product.factors[0]][:, None] & keep[product.factors[1]][None, :]
        assert (keep[product.flat] == expected).all()


def test_one_free_factor_carries() -> None:
    relations = Relations()
    heads, size, flat = relations.fresh(3), relations.fresh(4), relations.fresh(12)
    relations.freeze(heads, "spatial")
    relations.product(flat, [heads, size])
    classes = relations.resolve()
    assert not classes.frozen[flat].any()
    assert (classes.root[flat.reshape(3, 4)] == classes.root[size]).all()


@pytest.mark.parametrize(("free", "carrier"), [("auto", 1), ("heads", 0), ("head-size", 1)])
def test_the_larger_factor_carries_unless_the_user_says_otherwise(free: str, carrier: int) -> None:
    relations = Relations()
    factors = [relations.fresh(3), relations.fresh(4)]
    relations.product(relations.fresh(12), factors)
    classes = relations.resolve(free)  # type: ignore[arg-type]
    assert [not classes.frozen[f].any() for f in factors] == [i == carrier for i in range(2)]


def test_a_frozen_class_says_who_froze_it() -> None:
    relations = Relations()
    a, b = relations.fresh(2), relations.fresh(2)
    relations.node, relations.operator = "argmax", "ArgMax"
    relations.freeze(a, "positions matter")
    relations.node = "relu"
    relations.same(a, b)
    reason = relations.resolve().cause(b)
    assert reason is not None
    assert (reason.node, reason.operator, reason.text) == ("argmax", "ArgMax", "positions matter")
