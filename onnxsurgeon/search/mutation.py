"""What a mutation is: a function of a subject and a generator that returns a changed copy, and notes of what it did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

T = TypeVar("T")


@dataclass(frozen=True)
class Note:
    """What a mutation did, or did not do. kind: of mutation. where: the node or the setting, as a text. why: it was not
    done; or what exactly was."""

    kind: str
    where: str
    done: bool
    why: str = ""


@dataclass(frozen=True)
class Mutated(Generic[T]):
    """A changed copy, or the same object where nothing was done; the notes say what and why."""

    subject: T
    notes: tuple[Note, ...] = ()


Mutation = Callable[[T, np.random.Generator], Mutated[T]]
