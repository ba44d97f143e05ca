"""Laws of what wraps mutations: with which probability, on which vertices, in which order, and who hears of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from drawn_networks import saved
from onnxsurgeon import search
from onnxsurgeon.search.mutation import Mutated, Mutation, Note
from onnxsurgeon.search.wrappers import mean_importance
from onnxsurgeon.surgery.network import Network

RNG = np.random.default_rng


def up(number: int, rng: np.random.Generator) -> Mutated[int]:
    return Mutated(number + 1, (Note("up", str(number), done=True),))


def double(number: int, rng: np.random.Generator) -> Mutated[int]:
    return Mutated(number * 2, (Note("double", str(number), done=True, why="twice"),))


def small() -> Network:
    space = search.Chain([search.Repeat(search.DenseSpace(6), 4), search.DenseSpace(2, activations=())])
    return search.draw(space, (5,), RNG(0))


def counting(seen: Counter[str]) -> Mutation[search.Vertices]:
    """A mutation that does nothing, and counts on which nodes it would act."""

    def mutate(vertices: search.Vertices, rng: np.random.Generator) -> Mutated[search.Vertices]:
        seen.update(vertices.suited("count", search.is_layer)[0])
        return Mutated(vertices)

    return mutate


def test_a_probability_is_a_number_or_a_function_of_the_subject() -> None:
    rng = RNG(0)
    changed = [search.probability(up, 0.3)(0, rng).subject for _ in range(2000)]
    assert np.mean(changed) == pytest.approx(0.3, abs=0.04)
    weighted = search.probability(up, lambda n: n / 10)
    assert [weighted(n, rng).subject for n in (0, 10)] == [0, 11]
    assert search.probability(up, 0.0)(3, rng) == Mutated(3)


def test_wrappers_compose() -> None:
    heard: list[tuple[int, int]] = []
    lines: list[str] = []
    both = search.record(search.sequence(up, double), lambda before, after: heard.append((before, after.subject)))
    found = search.log(both, lines.append)(3, RNG(0))
    assert (found.subject, [note.kind for note in found.notes]) == (8, ["up", "double"])
    assert heard == [(3, 8)]
    assert lines == ["up 3: done", "double 4: done, twice"]
    few = search.only_if(up, lambda number: number < 5)
    assert [few(n, RNG(0)).subject for n in (4, 5)] == [5, 5]
    either = search.one_of([up, double], weights=(0.0, 1.0))
    assert either(5, RNG(0)).subject == 10


def test_each_vertex_is_drawn_alone() -> None:
    network, seen, rng = small(), Counter[str](), RNG(0)
    mutate = search.per_vertex(search.probability(counting(seen), 0.25))
    for _ in range(400):
        assert mutate(network, rng).subject is network
    assert set(seen) == {"linear1", "linear2", "linear3", "linear4", "output"} - {"output"} | {"linear5"}
    assert all(70 < count < 130 for count in seen.values())


def test_shields_keep_nodes_and_kinds() -> None:
    network, rng = small(), RNG(0)
    wide = search.new_width(0.3, 0.3)
    found = search.per_vertex(wide, protect=["linear[12]"])(network, rng)
    assert [found.subject[f"linear{k}"].width for k in range(1, 5)] == [6, 6, 8, 8]
    assert [note.why for note in found.notes if not note.done][:2] == ["it is shielded"] * 2
    all_shielded = search.per_vertex(wide, protect=["Gemm"])(network, rng)
    assert all_shielded.subject is network
    assert saved(all_shielded.subject) == saved(small())
    allowed = search.per_vertex(wide, protect=[search.Shield("linear*", allows=("width",))])(network, rng)
    assert allowed.subject["linear1"].width == 8
    every = search.per_vertex(wide, among="all", protect=["Gemm"])(network, rng)
    assert every.subject["linear1"].width == 8


@pytest.mark.parametrize("prefer", ["low", "high"])
def test_importance_decides_who_is_drawn(prefer: str) -> None:
    network, seen, rng = small(), Counter[str](), RNG(0)
    names = tuple(f"linear{k}" for k in range(1, 5))
    given = dict(zip(names, (1.0, 2.0, 3.0, 4.0), strict=True))
    mutate = search.by_importance(counting(seen), 0.25, prefer=prefer, importance=lambda network: given)  # type: ignore[arg-type]
    for _ in range(1000):
        mutate(search.Vertices(network, names), rng)
    expected = np.array([0.4375, 0.3125, 0.1875, 0.0625]) * 1000
    counts = np.array([seen[name] for name in (names if prefer == "low" else reversed(names))])
    assert ((counts - expected) ** 2 / expected).sum() < 16.3  # chi-square of 3 degrees at 0.001, which is strict here
    assert (np.diff(counts) < 0).all()


def test_importance_is_that_of_channels() -> None:
    network = small()
    assert set(mean_importance(network)) >= {"linear1", "linear2", "linear3", "linear4"}
    low = search.by_importance(search.remove_vertex(), 0.25)
    assert search.per_vertex(low)(network, RNG(3)).notes


def test_vertices_that_are_gone_are_no_longer_drawn() -> None:
    network = small()
    both = search.sequence(
        search.only_if(search.remove_vertex(), lambda one: one.names == ("linear3",)), search.new_width(0.5, 0.5)
    )
    found = search.per_vertex(both)(network, RNG(0))
    assert "linear3" not in found.subject
    assert {note.where for note in found.notes if note.kind == "width" and note.done} == {
        "linear1", "linear2", "linear4",
    }  # fmt: skip
    assert replace(search.Vertices(network, ("a",)), names=()) == search.Vertices(network, ())
