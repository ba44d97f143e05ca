"""Who goes on: the worked cases, and what composes."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest

from onnxsurgeon.errors import UsageError
from onnxsurgeon.search import survival as s


@dataclass(frozen=True)
class One:
    fitness: float | None


def ones(*values: float | None) -> list[One]:
    return [One(value) for value in values]


def values(found: list[One]) -> list[float | None]:
    return [one.fitness for one in found]


def more(one: One) -> One:
    assert one.fitness is not None
    return replace(one, fitness=round(one.fitness + 0.1, 6))


RNG = np.random.default_rng(0)
TEN = ones(*range(1, 11))


def test_elite_takes_the_best_first() -> None:
    assert values(s.elite(2)(TEN, RNG)) == [10, 9]
    assert values(s.elite(3)(ones(3, 7, 4, 5, 9, 0), RNG)) == [9, 7, 5]


def test_what_has_no_number_is_worst() -> None:
    assert values(s.elite(4)(ones(math.nan, None, -5, 2), RNG))[:2] == [2, -5]


def test_universal_sampling_puts_pointers_at_equal_distances() -> None:
    select = s.chain(s.universal_sampling(5, offset=0.7), s.each(lambda one, rng: more(one)))
    assert values(select(TEN, RNG)) == [4.1, 6.1, 8.1, 9.1, 10.1]
    tenths = ones(*(n / 10 for n in range(1, 9)))
    assert values(s.universal_sampling(4, offset=0.05)(tenths, RNG)) == [0.1, 0.4, 0.6, 0.7]


@pytest.mark.parametrize("given", [[-3, -1, -2, -1], [None, None, None], [0, 0], [-math.inf, 5]])
def test_universal_sampling_works_on_any_fitness(given: list[float | None]) -> None:
    assert len(s.universal_sampling(7)(ones(*given), RNG)) == 7
    if 5 in given:
        assert set(values(s.universal_sampling(7)(ones(*given), RNG))) == {5}


def test_a_certain_tournament_of_all_has_one_winner() -> None:
    assert values(s.tournament(3, among=10)(TEN, RNG)) == [10, 10, 10]
    assert s.tournament(3, among=99)(TEN, RNG) == [TEN[-1]] * 3


def test_a_tournament_prefers_the_better_ones() -> None:
    won = values(s.tournament(2000)(TEN, np.random.default_rng(1)))
    unsure = values(s.tournament(2000, chance=0.5)(TEN, np.random.default_rng(1)))
    assert np.mean(won) > 6.8
    assert 5 < np.mean(unsure) < 6
    with pytest.raises(UsageError):
        s.tournament(1, chance=0.0)


def test_selections_compose() -> None:
    heard = list[One]()
    both = s.combined(s.elite(2), s.universal_sampling(5, offset=0.7))
    found = s.reset(s.then(both, heard.extend), more)(TEN, RNG)
    assert values(heard) == [10, 9, 4, 6, 8, 9, 10]
    assert values(found) == [10.1, 9.1, 4.1, 6.1, 8.1, 9.1, 10.1]


def test_shuffle_loses_none_and_pairs_meets_neighbours() -> None:
    assert sorted(values(s.shuffle(TEN, RNG)), key=float) == list(range(1, 11))  # type: ignore[arg-type]
    met = s.pairs(lambda a, b, rng: (b, a))(TEN[:5], RNG)
    assert values(met) == [2, 1, 4, 3, 5]
