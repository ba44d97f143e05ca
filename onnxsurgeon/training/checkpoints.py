"""Checkpoints: all that a training goes on from, in one .npz file that is replaced as a whole."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from onnxsurgeon.arrays import Arrays
from onnxsurgeon.errors import UsageError
from onnxsurgeon.files import BROKEN
from onnxsurgeon.model.write import write_atomically

ABOUT, PART = "about", "/"  # the entry with JSON, and what ends the name of a part


def save(path: Path, parts: Mapping[str, Arrays], about: Mapping[str, Any]) -> None:
    """parts: arrays of the trainer, of the best epoch, ... about: what else there is, as JSON."""
    arrays: dict[str, Any] = {
        f"{part}{PART}{name}": array for part, found in parts.items() for name, array in found.items()
    }
    arrays[ABOUT] = np.frombuffer(json.dumps(about).encode(), np.uint8)
    with write_atomically(path) as file:
        np.savez(file, **arrays)


def load(path: Path, request: Mapping[str, Any]) -> tuple[dict[str, Arrays], dict[str, Any]]:
    """(parts, about). request: what was asked for, which must be what the checkpoint's training was asked.

    Raises UsageError if it can't be read, or belongs to another training.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        about = json.loads(bytes(arrays.pop(ABOUT)))
    except BROKEN as problem:
        raise UsageError(
            f"`checkpoint` {path} can't be read", why=str(problem), fix="remove it to begin anew"
        ) from None
    before = about["request"]
    changed = [name for name in {**before, **request} if before.get(name) != request.get(name)]
    if changed:
        said = "; ".join(f"{name}: {before.get(name)}, now {request.get(name)}" for name in changed)
        raise UsageError(
            f"`checkpoint` {path} is of another training", why=said, fix="ask for the same, or remove it to begin anew"
        )
    parts: dict[str, Arrays] = {}
    for name, array in arrays.items():
        part, _, own = name.partition(PART)
        parts.setdefault(part, {})[own] = array
    return parts, about
