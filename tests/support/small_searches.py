"""A search that takes a second: classes of points, and what of its folder must be the same each time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from onnxsurgeon.search.fitting import Found, fit

ASKED: dict[str, Any] = {
    "population": 4, "elites": 1, "generations": 3, "batches": 4, "batch": 16, "seed": 5, "mutation": 1.0,
}  # fmt: skip


def points(count: int = 240, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Points around three corners, shape (count, 6), and the corner of each."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(3, size=count)
    corners = np.random.default_rng(1).normal(size=(3, 6)) * 2
    return (corners[labels] + rng.normal(size=(count, 6)) * 0.4).astype(np.float32), labels


def data(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    samples, labels = points()
    np.savez(folder / "points.npz", input=samples, labels=labels)
    return folder / "points.npz"


def searched(path: Path, folder: Path, **more: Any) -> Found:
    return fit(path, None, **{"executor": "here", **ASKED, **more, "dir": folder})


def came(folder: Path) -> tuple[list[Any], dict[str, bytes]]:
    """(every candidate of every generation but for times, the bytes of the last models)."""
    rows = [json.loads(line) for line in (folder / "candidates.jsonl").read_text("utf-8").splitlines()]
    for row in rows:
        del row["measured"]["seconds"]
    models = {path.name: path.read_bytes() for path in sorted((folder / "candidates").glob("*.onnx"))}
    return rows, models
