"""Files that appear once they are proven: written beside their target, proven there, then moved into its place."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from onnxsurgeon.errors import UsageError
from onnxsurgeon.files import drafts, move_in
from onnxsurgeon.model.check import require_valid
from onnxsurgeon.model.write import check_target, write
from onnxsurgeon.options.shared import SaveOptions


@dataclass(frozen=True)
class Pending:
    """A file on its way to `target`; it lies at `path` until then."""

    target: Path
    path: Path
    data: Path  # its weights, where they are written beside it
    options: SaveOptions

    def write(self, model: ir.Model) -> None:
        """Writes the model, or writes it anew.

        Raises ProofError if it is not valid; UsageError where it can't be written, or may not replace its weights.
        """
        require_valid(model)
        self.options.announce("write", str(self.target))
        try:
            write(model, self.path, overwrite=True, external=self.options.external, data=self.data.name)
        except UsageError as error:  # of the draft, which its user has not named
            what = error.what.replace(str(self.path), str(self.target))
            raise UsageError(what, why=error.why, fix=error.fix) from error
        if self.data.exists():
            check_target(f"{self.target}.data", overwrite=self.options.overwrite)


@contextmanager
def pending(path: str | os.PathLike[str], options: SaveOptions) -> Iterator[Pending]:
    """A file that is moved to `path` when the block ends, and vanishes when it raises.

    Raises UsageError if `path` exists and may not be overwritten, or nothing can be written there.
    """
    target = check_target(path, overwrite=options.overwrite)
    with drafts(target.parent) as folder:
        taken = target.with_name(f"{target.name}.data").exists()  # the model there may refer to it until it is replaced
        name = f"{target.name}.{secrets.token_hex(4)}.data" if taken else f"{target.name}.data"
        file = Pending(target, Path(folder) / target.name, Path(folder) / name, options)
        yield file
        move_in(file.path, target, name if file.data.exists() else "")
