"""User functions, named `module:function`, and samples that such a function yields."""

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

Form = tuple[tuple[str, tuple[int, ...], int], ...]


def is_function(spec: str) -> bool:
    """Whether `spec` has the form `module:function`."""
    return re.fullmatch(r"[^\W\d][\w.]*:[^\W\d]\w*", spec) is not None


def import_function(spec: str, option: str) -> Callable[..., Any]:
    """The function named `module:function`; the module may be in the current folder. Raises UsageError."""
    module, _, name = spec.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    with explain_errors(f"{option} {spec} can't be imported"):
        found = getattr(importlib.import_module(module), name, None)
    if not callable(found):
        raise UsageError(
            f"{option} {spec} is not a function", why=f"{module} has no function {name}", fix="check the name"
        )
    return found  # type: ignore[no-any-return]


@contextmanager
def explain_errors(what: str) -> Iterator[None]:
    """Turn exceptions of user code into UsageError."""
    try:
        yield
    except SurgeonError:
        raise
    except Exception as problem:
        raise UsageError(what, why=f"{type(problem).__name__}: {problem}", fix="try it in Python alone") from problem


@dataclass(frozen=True)
class Function:
    """The first `limit` samples that a function yields. checksums: one per piece.

    runs: whether each dict is a run of its own: inputs without a batch axis differ between dicts, states are left out,
    or lengths differ. lacks: whether dicts lack states.
    """

    spec: str
    function: Callable[..., Any]
    expected: Expected
    seed: int
    limit: int | None
    count: int = 0
    labelled: bool = False
    checksums: tuple[int, ...] = ()
    runs: bool = False
    lacks: bool = False
    classes = None

    def pieces(self, step: int) -> Iterator[Chunk]:
        """The samples, piece by piece. Raises UsageError if they differ from those that `verify` saw."""
        number, left = -1, self.limit
        for number, piece in enumerate(self._chunks()):
            if self.checksums[number : number + 1] != (_checksum(piece),):
                break
            yield piece if self.runs else piece.part(0, left, self.expected.sampled)
            left = None if left is None else left - piece.count
        else:
            if number + 1 == len(self.checksums):
                return
        raise UsageError(
            f"`data` {self.spec} yields other samples the second time", why=f"dict {number + 1} is the first to differ",
            fix="let it take an argument `seed` and use no other source of randomness",
        )  # fmt: skip

    def verify(self) -> Function:
        """This function with the number and checksums of its samples. Raises UsageError if they don't fit the model."""
        checksums, count, labelled, forms, lacks = list[int](), 0, set[bool](), set[Form](), False
        for piece in self._chunks():
            self.expected.check_numbers(piece.arrays, piece.labels, f"`data` {self.spec}")
            forms.add(self._form(piece))
            lacks |= len(piece.arrays) < len(self.expected.inputs)
            checksums.append(_checksum(piece))
            labelled.add(piece.labels is not None)
            count += piece.count
        if len(labelled) != 1:
            raise UsageError(
                f"`data` {self.spec} yields " + ("no samples" if not labelled else "labels for some dicts only"),
                fix="yield a dict of arrays, or (dict, labels), for each batch",
            )
        runs = lacks or len(forms) > 1
        if not runs and self.limit is not None:
            count = min(count, self.limit)
        return replace(
            self, count=count, labelled=labelled.pop(), checksums=tuple(checksums), runs=runs, lacks=lacks
        )  # fmt: skip

    def _form(self, piece: Chunk) -> Form:
        """What dicts have in common that can be joined: lengths, and inputs without a batch."""
        sampled = self.expected.sampled
        return tuple(
            (name, array.shape[1:], 0) if name in sampled else (name, array.shape, zlib.crc32(array.tobytes()))
            for name, array in sorted(piece.arrays.items())
        )

    def _chunks(self) -> Iterator[Chunk]:
        seeded = "seed" in inspect.signature(self.function).parameters
        left = self.limit
        with explain_errors(f"`data` {self.spec} failed"):
            for found in self.function(seed=self.seed) if seeded else self.function():
                piece = self._chunk(found)
                yield piece
                left = None if left is None else left - piece.count
                if left is not None and left <= 0:
                    return

    def _chunk(self, found: Any) -> Chunk:
        where = f"`data` {self.spec}"
        given, labels = found if isinstance(found, tuple) and len(found) == 2 else (found, None)
        if not isinstance(given, dict):
            raise UsageError(
                f"{where} yields {type(given).__name__}", why="it must yield a dict of arrays, or (dict, labels)",
                fix="yield one per batch; the keys are names of inputs",
            )  # fmt: skip
        by_key = {str(key): np.asarray(value) for key, value in given.items()}
        keys = self.expected.keys_of(by_key, where)
        arrays = {name: by_key[key] for name, key in keys.items()}
        if labels is None and LABELS not in arrays:
            labels = by_key.get(LABELS)
        labels = None if labels is None else np.asarray(labels)
        return Chunk(arrays, labels, self.expected.check_forms(arrays, labels, where))


def _checksum(piece: Chunk) -> int:
    checksum = 0
    for array in (*piece.arrays.values(), *([] if piece.labels is None else [piece.labels])):
        checksum = zlib.crc32(np.ascontiguousarray(array).tobytes(), checksum)
    return checksum
