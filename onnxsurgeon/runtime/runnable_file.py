"""Files of models that onnxruntime can run here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from onnxsurgeon.files import drafts
from onnxsurgeon.model.editor import copied
from onnxsurgeon.model.model import Source, as_model, on_disk
from onnxsurgeon.model.widening import is_narrow, widen
from onnxsurgeon.model.write import write


@contextmanager
def runnable_file(source: Source) -> Iterator[Path]:
    """A file of the model, in which bfloat16 is computed in float32: numpy has no such type, and onnxruntime few
    kernels. It is deleted when the block ends, unless it is the model's own."""
    model = as_model(source).ir
    if not is_narrow(model.graph):
        with on_disk(source) as path:
            yield path
        return
    wide = copied(model)
    widen(wide)
    with drafts() as folder:
        write(wide, path := Path(folder) / "model.onnx", external=True)
        yield path
