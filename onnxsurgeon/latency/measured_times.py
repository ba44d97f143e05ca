"""Measured kernel times on disk, which models and runs share: kernels of one kind are measured once.

A file per kind lies in the user's cache folder ($XDG_CACHE_HOME/onnxsurgeon/latency): its lengths, and the seconds that
were measured at these. The name of a file is a hash of the kind and of what times hold for: processor, provider,
threads, batch and the version of onnxruntime. A machine is faster in one minute than in the next: what was measured in
another run counts relative to what both have measured.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import astuple
from pathlib import Path
from statistics import median
from typing import Any

from onnxsurgeon.files import draft_of
from onnxsurgeon.latency.bench import Conditions
from onnxsurgeon.latency.time_tables import Lengths, Points

SCHEMA = 1
MOST = 8  # times that are kept for the same lengths: the newest


def place() -> Path:
    """The folder of the measurements."""
    base = os.environ.get("XDG_CACHE_HOME") or (
        os.environ.get("LOCALAPPDATA") if os.name == "nt" else None  # where Windows has it
    )
    return (Path(base) if base else Path.home() / ".cache") / "onnxsurgeon" / "latency"


def table_name(kind: str) -> str:
    """A short name for a kind of kernel."""
    return hashlib.sha256(kind.encode()).hexdigest()[:12]


class MeasuredTimes:
    """Seconds by kind and lengths: those on disk, and new ones."""

    def __init__(self, conditions: Conditions, *, fresh: bool = False) -> None:
        self._scope = json.dumps([SCHEMA, processor(), *astuple(conditions)])
        self._fresh = fresh
        self._points: dict[str, dict[Lengths, list[float]]] = {}
        self._new: set[str] = set()
        self._pace = 1.0  # what kernels take now, relative to what they took

    def of(self, kind: str) -> Points:
        """What was measured of a kind."""
        if kind not in self._points:
            self._points[kind] = {} if self._fresh else _multiplied(self._read(kind), self._pace)
        return self._points[kind]

    def adjust(self, now: Iterable[tuple[str, Lengths, float]]) -> None:
        """Multiplies what was measured before, so that it agrees with what is measured now: kinds, lengths, seconds."""
        before = [(self.of(kind).get(lengths), seconds) for kind, lengths, seconds in now]
        ratios = [seconds / median(known) for known, seconds in before if known]
        self._pace = median(ratios) if ratios else 1.0
        self._points.clear()

    def add(self, kind: str, lengths: Lengths, seconds: float) -> None:
        self.of(kind)
        times = self._points[kind].setdefault(lengths, [])
        times.append(seconds)
        del times[:-MOST]
        self._new.add(kind)

    def save(self) -> None:
        """Writes what is new. A cache that can't be written is none."""
        with suppress(OSError):
            place().mkdir(parents=True, exist_ok=True)
            for kind in self._new:
                points = _multiplied(self._points[kind], 1 / self._pace)
                rows = [[list(lengths), times] for lengths, times in points.items()]
                path = self._path(kind)
                draft = draft_of(path)
                draft.write_text(json.dumps({"kind": kind, "scope": self._scope, "times": rows}), encoding="utf-8")
                draft.replace(path)
        self._new.clear()

    def _path(self, kind: str) -> Path:
        return place() / f"{hashlib.sha256((self._scope + kind).encode()).hexdigest()[:32]}.json"

    def _read(self, kind: str) -> dict[Lengths, list[float]]:
        try:
            found: dict[str, Any] = json.loads(self._path(kind).read_text(encoding="utf-8"))
            if found["kind"] != kind or found["scope"] != self._scope:
                return {}
            return dict(_checked(found["times"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):  # none, or a broken one: measured again
            return {}


def _multiplied(points: Points, by: float) -> dict[Lengths, list[float]]:
    return {lengths: [seconds * by for seconds in times] for lengths, times in points.items()}


def _checked(rows: Any) -> Iterable[tuple[Lengths, list[float]]]:
    for lengths, times in rows:
        taken = [float(t) for t in times]
        if not taken or not all(0 < t < 1e6 for t in taken):
            raise ValueError("times are more than 0")
        yield tuple(int(n) for n in lengths), taken


def processor() -> str:
    """The machine: its name and that of its processor."""
    named = platform.processor()
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        named = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), named)
    return f"{platform.node()} {named} {os.cpu_count()}"
