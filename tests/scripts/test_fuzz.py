"""Broken models end with an exit code of the command's own, in little time and memory."""

from __future__ import annotations

import pytest

from examples import examples
from fuzz import QUICK, fuzz, mutant


@pytest.mark.slow
def test_no_mutant_is_an_internal_error() -> None:
    mutants = examples(few=160, many=500)
    codes, faults = fuzz(mutants, seed=0, commands=QUICK)
    assert not faults, "\n".join(faults)
    assert codes["4"] > mutants / 2
    assert codes["0"] > mutants / 10


def test_mutants_are_those_of_the_seed() -> None:
    assert mutant(7) == mutant(7)
    assert len({mutant(seed) for seed in range(20)}) > 15
