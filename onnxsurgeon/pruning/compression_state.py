"""The state of a compression in a folder: what it was asked, its steps, and their models.

`state.json` is replaced as a whole when a cut is written and when a step is over; models are written before it. So a
run that is killed goes on from the last of these, or from the checkpoint of the training that was under way.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from onnxsurgeon.errors import UsageError
from onnxsurgeon.model.write import write_atomically

FILE = "state.json"


@dataclass(frozen=True)
class CutModel:
    """A cut whose model is written. left: shares of the original's costs, by cost. costs: its costs. trainings: how
    many it had so far, with their epochs and seconds in all."""

    number: int
    left: Mapping[str, float]
    costs: Mapping[str, float]
    trainings: int = 0
    epochs: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class CompressionStep:
    """A step that is over. ratio: the share of the cost that is gone. left, costs: as of `CutModel`. score: of its
    model. drop: how much worse that is than the original's. passed: whether it is good enough. epochs: of training.
    kept: the one whose weights it has, 0 for those of the cut. stopped: why the training ended early, if it did."""

    number: int
    ratio: float
    left: Mapping[str, float]
    costs: Mapping[str, float]
    score: float
    drop: float
    passed: bool
    epochs: int
    kept: int
    stopped: str
    seconds: float


@dataclass(frozen=True)
class CompressionState:
    """request: what must be the same for a run to go on. before: the original's score. cut: that of the step under way,
    if its model is written."""

    folder: Path
    request: Mapping[str, Any]
    before: float | None = None
    steps: tuple[CompressionStep, ...] = field(default=())
    cut: CutModel | None = None

    def model(self, number: int) -> Path:
        """The file with the model of a step."""
        return self.folder / f"step-{number}.onnx"

    def cut_model(self, number: int, training: int = 0) -> Path:
        """The file with the model of a step before one of its trainings."""
        return self.folder / f"step-{number}.cut-{training}.onnx"

    def checkpoint(self, number: int, training: int = 0) -> Path:
        return self.folder / f"step-{number}.cut-{training}.npz"

    def saved(self, **changes: Any) -> CompressionState:
        """The state with these changes, once it is written."""
        new = replace(self, **changes)
        content = {
            "request": new.request, "before": new.before, "steps": [asdict(step) for step in new.steps],
            "cut": None if new.cut is None else asdict(new.cut),
        }  # fmt: skip
        with write_atomically(new.folder / FILE) as file:
            file.write(json.dumps(content, indent=1).encode())
        return new


def begun(folder: Path, request: Mapping[str, Any], *, resume: bool) -> CompressionState:
    """The state in a folder, or a new one. Raises UsageError if there is one that may not go on."""
    path = folder / FILE
    folder.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        return CompressionState(folder, request)
    if not resume:
        raise UsageError(
            f"`folder` {folder} holds a compression", why="it would be lost", fix="go on with `resume`, or name another"
        )
    try:
        found = json.loads(path.read_bytes())
        steps = tuple(CompressionStep(**step) for step in found["steps"])
        cut = None if found["cut"] is None else CutModel(**found["cut"])
        before, was = found["before"], found["request"]
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise UsageError(f"{path} can't be read", why=str(problem), fix="name another `folder`") from None
    changed = [name for name in {**was, **request} if was.get(name) != request.get(name)]
    if changed:
        said = "; ".join(f"{name}: {was.get(name)}, now {request.get(name)}" for name in changed)
        raise UsageError(
            f"`folder` {folder} holds another compression", why=said, fix="ask for the same, or name another"
        )
    return CompressionState(folder, request, before, steps, cut)
