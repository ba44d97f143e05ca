"""Merges spaces that cost the same: an exact reduction of a program, and the way back.

Two spaces are interchangeable if they occur with the same other factors and the same coefficients. Then costs depend
only on the sum of their counts. If importances are also concave and options evenly spaced, taking steps in descending
order of their gains is optimal, so the spaces become one space that has all their steps, sorted by gain.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from onnxsurgeon.arrays import FloatArray, IntArray
from onnxsurgeon.solver.program import Program

_Numbers = TypeVar("_Numbers", IntArray, FloatArray)


@dataclass(frozen=True)
class Merged:
    """A reduced program, and the steps of the original program that each of its options stands for."""

    program: Program
    original: Program
    group: IntArray  # shape (original spaces,): the space of `program` that each was merged into
    step: IntArray  # shape (steps,): original options except the first of each space, in the order they are taken
    before: IntArray  # shape (spaces,): where the steps of each space of `program` start

    def counts(self, position: IntArray) -> IntArray:
        """Counts of the original program at `position`, shape (original spaces,)."""
        return self.original.count[self.expand(position)]

    def expand(self, position: IntArray) -> IntArray:
        """Options of the original program, shape (original spaces,), at `position` of `program`, shape (spaces,)."""
        taken = position - self.program.start[:-1]
        rank = np.arange(len(self.step)) - np.repeat(self.before, np.diff(self.program.start) - 1)
        owner = self.original.owner[self.step]
        steps = np.bincount(owner[rank < np.repeat(taken, np.diff(self.program.start) - 1)], minlength=len(self.group))
        return self.original.start[:-1] + steps


def merge(program: Program) -> Merged:
    """`program` with all interchangeable spaces merged."""
    group = _groups(program)
    number = int(group.max(initial=-1)) + 1
    first = np.zeros(len(program.count), dtype=bool)
    first[program.start[:-1]] = True
    step = np.flatnonzero(~first)
    gain = program.value[step] - program.value[step - 1]
    width = program.count[step] - program.count[step - 1]
    owner = group[program.owner[step]]
    # A space that stays alone keeps its order, whatever its gains.
    alone = np.bincount(group, minlength=number)[owner] == 1
    order = np.lexsort((step, np.where(alone, 0.0, -gain), owner))
    step, gain, width, owner = step[order], gain[order], width[order], owner[order]

    options = np.bincount(owner, minlength=number) + 1
    start = np.concatenate([[0], np.cumsum(options)])
    head = start[:-1]
    count, value = np.zeros(start[-1], np.int64), np.zeros(start[-1])
    rest = np.ones(start[-1], dtype=bool)
    rest[head] = False
    count[rest], value[rest] = width, gain
    count[head] = np.bincount(group, program.count[program.start[:-1]], number).astype(np.int64)
    value[head] = np.bincount(group, program.value[program.start[:-1]], number)
    lone = np.bincount(group, minlength=number) == 1
    reduced = _rewrite(program, group, start, _runs(count, start), _runs(value, start))
    # Sums of steps round, so a space that stays alone copies its own values.
    inverse = np.zeros(number, dtype=np.int64)
    inverse[group] = np.arange(program.spaces)
    copied = np.repeat(lone, options)
    source = np.repeat(program.start[inverse] - start[:-1], options) + np.arange(start[-1])
    reduced.value[copied] = program.value[source[copied]]
    return Merged(reduced, program, group, step, start[:-1] - np.arange(number))


def _runs(change: _Numbers, start: IntArray) -> _Numbers:
    """Running sums that restart at each start."""
    total: _Numbers = np.cumsum(change)
    before = (total - change)[start[:-1]]
    runs: _Numbers = total - np.repeat(before, np.diff(start))
    return runs


def _groups(program: Program) -> IntArray:
    """The merged space of each space, shape (spaces,)."""
    spaces, factor = program.spaces, program.factor
    monomial, position = np.nonzero(factor < spaces)
    space = factor[monomial, position]
    others = factor[monomial].copy()
    others[np.arange(len(space)), position] = spaces
    # The context of each occurrence: the rest of the monomial, and its coefficients.
    rest = np.unique(np.sort(others, axis=1), axis=0, return_inverse=True)[1].reshape(-1)
    kind = np.unique(program.coefficient[:, monomial], axis=1, return_inverse=True)[1].reshape(-1)
    pair = np.unique(np.stack([rest, kind]), axis=1, return_inverse=True)[1].reshape(-1)
    # Random sums are a fingerprint of a set of occurrences: two different sets collide with probability 2^-128.
    random = np.random.default_rng(0).integers(0, 2**63, (2, int(pair.max(initial=0)) + 1), dtype=np.uint64)
    fingerprint = np.zeros((2, spaces), dtype=np.uint64)
    np.add.at(fingerprint[0], space, random[0, pair])
    np.add.at(fingerprint[1], space, random[1, pair])

    owner = program.owner
    inner = owner[1:] == owner[:-1]
    gain, width = np.diff(program.value), np.diff(program.count)
    second = inner[1:] & inner[:-1]
    mergeable = np.ones(spaces, dtype=bool)
    mergeable[owner[:-2][second & ((gain[1:] > gain[:-1]) | (width[1:] != width[:-1]))]] = False
    mergeable[program.row_space] = False
    mergeable[space[(factor[monomial] == space[:, None]).sum(axis=1) > 1]] = False  # powers
    step = np.zeros(spaces, dtype=np.int64)
    step[owner[:-1][inner]] = width[inner]
    mergeable &= step > 0
    own = np.where(mergeable, 0, np.arange(1, spaces + 1))
    keys = np.stack([fingerprint[0], fingerprint[1], step.astype(np.uint64), own.astype(np.uint64)])
    return np.unique(keys, axis=1, return_inverse=True)[1].reshape(-1)


def _rewrite(program: Program, group: IntArray, start: IntArray, count: IntArray, value: FloatArray) -> Program:
    """`program` in terms of merged spaces; monomials that became equal are kept once."""
    number = len(start) - 1
    factor = np.sort(np.append(group, number)[program.factor], axis=1)
    unique, first = np.unique(factor, axis=0, return_index=True)
    return replace(
        program, start=start, count=count, value=value, factor=unique.reshape(-1, factor.shape[1]),
        coefficient=program.coefficient[:, first], row_space=group[program.row_space],
    )  # fmt: skip
