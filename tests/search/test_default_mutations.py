"""What candidates are made of by default: they are drawn, mutate, and only shrink where they are too large."""

from __future__ import annotations

import numpy as np
import pytest

from onnxsurgeon.model.write import as_bytes
from onnxsurgeon.runtime.session import Session
from onnxsurgeon.search.candidate import Candidate
from onnxsurgeon.search.data_form import DataForm
from onnxsurgeon.search.default_mutations import candidate_crossover, candidate_mutation
from onnxsurgeon.search.default_spaces import space_for
from onnxsurgeon.search.drawing import draw
from onnxsurgeon.surgery.network import Network

FORMS = {"channels first": (3, 12, 12), "channels last": (12, 12, 3), "vectors": (7,)}


def drawn(shape: tuple[int, ...], seed: int) -> Network:
    form = DataForm("x", shape, 5, "cross-entropy")
    return draw(space_for(form, "auto"), {"x": shape}, np.random.default_rng(seed))


@pytest.mark.parametrize("shape", FORMS.values(), ids=FORMS)
def test_draws_and_mutations_say_class_scores(shape: tuple[int, ...]) -> None:
    mutate, rng = candidate_mutation(lambda candidate: False), np.random.default_rng(0)
    samples = rng.normal(size=(2, *shape)).astype(np.float32)
    for seed in range(4):
        candidate = Candidate(drawn(shape, seed))
        for _ in range(3):
            (found,) = Session(as_bytes(candidate.network.ir), "cpu").run({"x": samples}).values()
            assert np.asarray(found).shape == (2, 5)
            candidate = mutate(candidate, rng).subject


def test_what_is_too_large_only_shrinks() -> None:
    mutate, rng = candidate_mutation(lambda candidate: True), np.random.default_rng(0)
    candidate = Candidate(drawn((3, 12, 12), 1))
    sizes = []
    for _ in range(20):
        sizes.append(candidate.network.measure().params)
        candidate = mutate(candidate, rng).subject
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < sizes[0]


def test_crossed_candidates_say_class_scores() -> None:
    rng, shape, done = np.random.default_rng(0), (3, 12, 12), 0
    samples = rng.normal(size=(2, *shape)).astype(np.float32)
    for seed in range(6):
        a, b = Candidate(drawn(shape, seed), lr=0.1), Candidate(drawn(shape, seed + 1), lr=0.2)
        for found in candidate_crossover(a, b, rng):
            (said,) = Session(as_bytes(found.subject.network.ir), "cpu").run({"x": samples}).values()
            assert np.asarray(said).shape == (2, 5)
            done += any(note.done for note in found.notes)
    assert done > 3
