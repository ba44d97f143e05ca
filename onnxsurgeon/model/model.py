"""A model, wherever it comes from."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import onnx
import onnx_ir as ir

from onnxsurgeon.errors import UsageError
from onnxsurgeon.files import drafts
from onnxsurgeon.model.read import EXTERNAL, IN_MEMORY, parse, read
from onnxsurgeon.model.write import size, write
from onnxsurgeon.notebook import Shown
from onnxsurgeon.units import size as size_text


@dataclass(eq=False, repr=False)
class Model(Shown):
    """A model. path: of the file that it was read from. in_file: whether it is in that file, as it was read."""

    path: Path
    ir: ir.Model
    in_file: bool = True

    def line(self) -> str:
        return f"{self.path}: {len(self.ir.graph)} nodes, {size_text(self.bytes)}"

    def table(self) -> Iterator[Sequence[object]]:
        """A row per node, heads first."""
        yield "node", "operator"
        yield from ((node.name or "", node.op_type) for node in self.ir.graph)

    @property
    def written(self) -> bool:
        """Whether the file holds the model as it is now."""
        return self.in_file

    @property
    def bytes(self) -> int:
        """Size on disk, external data included; of one that is in no file, what it would be."""
        return sum(file.stat().st_size for file in (self.path, *self.data)) if self.written else size(self.ir)

    @property
    def data(self) -> tuple[Path, ...]:
        """The files beside it that hold weights."""
        return tuple(self.path.parent / name for name in self.ir.graph.meta.get(EXTERNAL, ()))


class HasModel(Protocol):
    """What holds a model, as the result of a pruning does."""

    @property
    def model(self) -> Model: ...


Source = str | os.PathLike[str] | onnx.ModelProto | Model | HasModel


def load(path: str | os.PathLike[str]) -> Model:
    """The model at `path`; its weights stay in the file. Raises UsageError or ModelError where it can't be read."""
    return Model(Path(path), read(path))


def as_model(source: Source) -> Model:
    """The model of a path, an onnx.ModelProto, a model of ours, or what holds one.

    Raises UsageError for anything else, or where no file is there; ModelError where the model can't be read.
    """
    if isinstance(source, Model):
        return source
    if isinstance(source, onnx.ModelProto):
        return Model(IN_MEMORY, parse(source), in_file=False)
    if isinstance(source, str | os.PathLike):
        return load(source)
    model = getattr(source, "model", None)
    if isinstance(model, Model):
        return model
    raise UsageError(
        f"{type(source).__name__} is not a kind of model",
        why="wanted: a path, an onnx.ModelProto, or a Model, Network or Result of onnxsurgeon",
        fix="give one of these",
    )


def named(source: Source) -> str:
    """What a report calls a model."""
    return str(source if isinstance(source, str | os.PathLike) else as_model(source).path)


@contextmanager
def on_disk(source: Source) -> Iterator[Path]:
    """A file of the model as it is: its own, or one that is deleted when the block ends."""
    if isinstance(source, str | os.PathLike):
        yield Path(source)
        return
    model = as_model(source)
    if model.written:
        yield model.path
        return
    with drafts() as folder:
        path = Path(folder) / "model.onnx"
        write(model.ir, path)
        yield path
