"""Functions of the user's own, named `module:function`; and samples that one of them yields."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from onnxsurgeon.data.model_inputs import LABELS, Chunk, Expected
from onnxsurgeon.errors import SurgeonError, UsageError


def is_function(spec: str) -> bool:
    """Whether `spec` has the form `module:function`."""
    return re.fullmatch(r"[^\W\d][\w.]*:[^\W\d]\w*", spec) is not None


def imported(spec: str, option: str) -> Callable[..., Any]:
    """The function that `module:function` names; modules of the current folder are found, too."""
    module, _, name = spec.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    with explained(f"{option} {spec} can't be imported"):
        found = getattr(importlib.import_module(module), name, None)
    if not callable(found):
        raise UsageError(f"{option} {spec} is no function", why=f"{module} has no {name}", fix="check the name")
    return found  # type: ignore[no-any-return]


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Raises what goes wrong in a user's code as a UsageError."""
    try:
        yield
    except SurgeonError:
        raise
    except Exception as problem:
        raise UsageError(what, why=f"{type(problem).__name__}: {problem}", fix="try it in Python alone") from problem


@dataclass(frozen=True)
class Function:
    """The samples that a function yields, the first `most` of them. marks: a checksum per piece."""

    spec: str
    function: Callable[..., Any]
    expected: Expected
    seed: int
    most: int | None
    count: int = 0
    labelled: bool = False
    marks: tuple[int, ...] = ()
    classes = None

    def pieces(self, step: int) -> Iterator[Chunk]:
        """Raises UsageError where they are not those that were checked."""
        number = -1
        for number, piece in enumerate(self._yielded()):
            if self.marks[number : number + 1] != (_mark(piece),):
                break
            yield piece
        else:
            if number + 1 == len(self.marks):
                return
        raise UsageError(
            f"--data {self.spec} yields other samples the second time", why=f"the first difference: dict {number + 1}",
            fix="let it take a seed and draw by that alone",
        )  # fmt: skip

    def verified(self) -> Function:
        """The same, once all was looked at. Raises UsageError for what is not as the model takes it."""
        marks, count, first, labelled = [], 0, None, set()
        for piece in self._yielded():
            self.expected.check_numbers(piece.arrays, piece.labels, f"--data {self.spec}")
            whole = {n: a for n, a in piece.arrays.items() if n not in self.expected.sampled}
            first = whole if first is None else first
            if any(not np.array_equal(whole[n], first[n]) for n in whole):
                raise UsageError(
                    f"--data {self.spec}: {', '.join(whole)} must be the same in every dict",
                    why="these inputs have no batch axis", fix="yield one value",
                )  # fmt: skip
            marks.append(_mark(piece))
            labelled.add(piece.labels is not None)
            count += piece.count
        if len(labelled) != 1:
            raise UsageError(
                f"--data {self.spec} yields " + ("no samples" if not labelled else "labels for some dicts alone"),
                fix="yield a dict of arrays, or (dict, labels), for each batch",
            )
        return replace(self, count=count, labelled=labelled.pop(), marks=tuple(marks))

    def _yielded(self) -> Iterator[Chunk]:
        seeded = "seed" in inspect.signature(self.function).parameters
        left = self.most
        with explained(f"--data {self.spec} failed"):
            for found in self.function(seed=self.seed) if seeded else self.function():
                piece = self._piece(found)
                if left is not None:
                    piece = piece.part(0, left, self.expected.sampled)
                    left -= piece.count
                yield piece
                if left == 0:
                    return

    def _piece(self, found: Any) -> Chunk:
        where = f"--data {self.spec}"
        given, labels = found if isinstance(found, tuple) and len(found) == 2 else (found, None)
        if not isinstance(given, dict):
            raise UsageError(
                f"{where} yields {type(given).__name__}", why="wanted: a dict of arrays, or (dict, labels)",
                fix="yield one for each batch; the keys are the names of inputs",
            )  # fmt: skip
        held = {str(key): np.asarray(value) for key, value in given.items()}
        keys = self.expected.named(held, where)
        arrays = {name: held[key] for name, key in keys.items()}
        if labels is None and LABELS not in arrays:
            labels = held.get(LABELS)
        labels = None if labels is None else np.asarray(labels)
        return Chunk(arrays, labels, self.expected.check_forms(arrays, labels, where))


def _mark(piece: Chunk) -> int:
    mark = 0
    for array in (*piece.arrays.values(), *([] if piece.labels is None else [piece.labels])):
        mark = zlib.crc32(np.ascontiguousarray(array).tobytes(), mark)
    return mark
