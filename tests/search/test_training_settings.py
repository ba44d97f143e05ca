"""Settings of training: they walk within bounds, and are exchanged."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxsurgeon.search import training_settings as t
from onnxsurgeon.search.candidate import Candidate, of_network
from onnxsurgeon.search.mutation import Mutated, Note
from onnxsurgeon.surgery.network import load
from onnxsurgeon.training.optimisers import OPTIMISERS
from paths import FIXTURES

NETWORK = load(FIXTURES / "xor.onnx")


def of(**given: Any) -> Candidate:
    return Candidate(NETWORK, **given)


def test_the_learning_rate_walks_within_its_bounds() -> None:
    rng, walk = np.random.default_rng(0), t.learning_rate(0.3)
    for lr in (t.SLOWEST, 1e-3, t.FASTEST):
        found = of(lr=lr)
        for _ in range(200):
            after = walk(found, rng).subject
            assert 0.85 * found.lr <= after.lr <= 1.15 * found.lr
            assert t.SLOWEST <= after.lr <= t.FASTEST
            found = after


def test_another_optimiser_keeps_the_size_of_steps() -> None:
    before = of(optimiser="adam", lr=2e-3)
    found = t.another_optimiser()(before, np.random.default_rng(0))
    assert found.subject.optimiser != "adam"
    assert found.subject.lr / OPTIMISERS[found.subject.optimiser].rate == 2
    assert before.optimiser == "adam"
    alone = t.another_optimiser(["adam"])(before, np.random.default_rng(0))
    assert alone.subject is before
    assert not alone.notes[0].done


def test_batches_stay_within_bounds() -> None:
    rng, sizes = np.random.default_rng(0), set[int]()
    for _ in range(100):
        found = t.batch_size(least=8, most=40)(of(batch=32), rng)
        assert found.notes
        sizes.add(found.subject.batch)
    assert min(sizes) >= 16
    assert max(sizes) == 40


def test_swapped_settings_are_those_of_the_other_one() -> None:
    a, b = of(optimiser="sgd", lr=0.1, batch=16), of(optimiser="adam", lr=1e-3, batch=64)
    seen = set()
    for seed in range(20):
        x, y = (m.subject for m in t.swap_settings(a, b, np.random.default_rng(seed)))
        assert {x.optimiser, y.optimiser} == {"sgd", "adam"}
        assert {(x.optimiser, x.lr), (y.optimiser, y.lr)} == {("sgd", 0.1), ("adam", 1e-3)}
        assert {x.batch, y.batch} == {16, 64}
        seen.add((x.optimiser, x.batch))
    assert len(seen) == 4
    assert a.optimiser == "sgd"


def test_alike_settings_leave_both_as_they_are() -> None:
    a = of()
    x, y = t.swap_settings(a, a, np.random.default_rng(0))
    assert x.subject is a
    assert y.subject is a


def test_a_mutation_of_networks_is_one_of_candidates() -> None:
    other, candidate = NETWORK.copy(), of()
    note = Note("width", "conv", done=True)
    found = of_network(lambda network, rng: Mutated(other, (note,)))(candidate, np.random.default_rng(0))
    assert found.subject.network is other
    assert found.notes == (note,)
    assert of_network(lambda network, rng: Mutated(network))(candidate, np.random.default_rng(0)).subject is candidate
