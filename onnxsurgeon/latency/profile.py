"""A profile: how the latency of a model on a device follows the widths of its layers."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from math import isfinite
from operator import le
from pathlib import Path
from typing import Any

import numpy as np

from onnxsurgeon.dependency.labels import Labels
from onnxsurgeon.dependency.spaces import Measured
from onnxsurgeon.errors import UsageError
from onnxsurgeon.files import require_regular
from onnxsurgeon.latency.bench import Conditions
from onnxsurgeon.latency.kernels import Kernels
from onnxsurgeon.latency.time_tables import TimeTable

SCHEMA = 2


@dataclass(frozen=True)
class Profile:
    """seconds: the measured latency of the whole model. fixed: what no table tells, whatever the widths.

    kernels: the table of each, by the name that onnxruntime's profiler has for it. Equal layers share a table.
    error: by which the profile missed measured latencies that it was not made of, relative, the median.
    """

    seconds: float
    fixed: float
    error: float
    kernels: Mapping[str, str]
    tables: Mapping[str, TimeTable]
    conditions: Conditions

    def parts(self, labels: Labels) -> Iterator[Measured]:
        """The latency as a sum of tables, and of `fixed`: the axes of each, its lengths of these, and seconds."""
        found = Kernels(labels)
        for name, table in self.kernels.items():
            kernel = found.find(name)
            full = [len(axis) for axis in kernel.axes] if kernel is not None else []
            lengths = self.tables[table].lengths
            if kernel is not None and len(full) == len(lengths) and all(map(le, full, (of[-1] for of in lengths))):
                yield kernel.axes, self.tables[table].lengths, self.tables[table].values

    def text(self) -> str:
        """The profile as JSON."""
        return json.dumps({"schema": SCHEMA, **asdict(self)}, indent=1) + "\n"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the profile as JSON, for the option `profile`."""
        Path(path).write_text(self.text(), encoding="utf-8")


def load_profile(path: Path) -> Profile:
    """The profile in a file. Raises UsageError if it is not one."""
    try:
        require_regular(path)
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if found.pop("schema") != SCHEMA:
            raise ValueError("it has another schema")
        tables = {str(name): _table(given) for name, given in found.pop("tables").items()}
        kernels = {str(name): str(table) for name, table in found.pop("kernels").items()}
        profile = Profile(kernels=kernels, tables=tables, conditions=Conditions(**found.pop("conditions")), **found)
        if not all(isinstance(n, int | float) and isfinite(n) for n in (profile.seconds, profile.fixed, profile.error)):
            raise ValueError("`seconds`, `fixed` and `error` must be numbers")
        if profile.seconds <= 0:
            raise ValueError("`seconds` must be more than 0")
        if missing := sorted(set(kernels.values()) - tables.keys()):
            raise ValueError(f"it lacks the table {missing[0]}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
        raise UsageError(
            f"{path} is not a profile",
            why=f"{type(problem).__name__}: {problem}",
            fix="make it with onnxsurgeon profile",
        ) from None
    return profile


def _table(given: Any) -> TimeTable:
    lengths = tuple(tuple(int(n) for n in axis) for axis in given["lengths"])
    values = np.array(given["seconds"], np.float64)
    if values.shape != tuple(map(len, lengths)) or not np.isfinite(values).all() or (values < 0).any():
        raise ValueError("a table needs a time, 0 or more, for each combination of its lengths")
    if not 1 <= len(lengths) <= 2 or not all(axis and all(a < b for a, b in pairwise((0, *axis))) for axis in lengths):
        raise ValueError("a table needs ascending lengths of one or two axes")
    return TimeTable(str(given["operator"]), lengths, _tuples(given["seconds"]))


def _tuples(given: Any) -> Any:
    return tuple(map(_tuples, given)) if isinstance(given, list) else float(given)
