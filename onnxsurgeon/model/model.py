"""A model that was read from a file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from onnxsurgeon.model.read import EXTERNAL, read


@dataclass(eq=False)
class Model:
    """A model that was read from `path`."""

    path: Path
    ir: ir.Model

    @property
    def bytes(self) -> int:
        """Size on disk, external data included."""
        return sum(file.stat().st_size for file in (self.path, *self.data))

    @property
    def data(self) -> tuple[Path, ...]:
        """The files beside it that hold weights."""
        return tuple(self.path.parent / name for name in self.ir.graph.meta.get(EXTERNAL, ()))


def load(path: str | os.PathLike[str]) -> Model:
    """The model at `path`; its weights stay in the file. Raises UsageError or ModelError where it can't be read."""
    return Model(Path(path), read(path))
