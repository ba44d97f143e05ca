"""Samples in .npz and .npy files, mapped into memory: what is not looked at is not read."""

from __future__ import annotations

import shutil
import struct
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from onnxsurgeon.data.expected import LABELS, Expected, Piece, chosen
from onnxsurgeon.errors import ModelError

HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
LOCAL = 30  # bytes of a zip member's own header, before its name


@dataclass(frozen=True)
class ArrayFile:
    """The samples of a file of arrays. rows: those that were chosen, ascending, shape (samples,)."""

    expected: Expected
    arrays: Mapping[str, np.ndarray]
    labels: np.ndarray | None
    rows: np.ndarray
    classes = None

    @property
    def count(self) -> int:
        return len(self.rows)

    @property
    def labelled(self) -> bool:
        return self.labels is not None

    def pieces(self, step: int) -> Iterator[Piece]:
        for start in range(0, self.count, step):
            rows = self.rows[start : start + step]
            arrays = {n: np.asarray(a[rows] if n in self.expected.sampled else a) for n, a in self.arrays.items()}
            yield Piece(arrays, None if self.labels is None else np.asarray(self.labels[rows]), len(rows))


def open_arrays(path: Path, expected: Expected, samples: int | None, seed: int, step: int) -> ArrayFile:
    """The samples of an .npz or .npy file, or some of them; all are as the model takes them.

    Raises ModelError where it can't be read, UsageError where it is not what the model takes. step: samples to look
    at together.
    """
    try:
        found = {"": _mapped(path)} if path.suffix == ".npy" else _members(path)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, struct.error) as problem:
        raise ModelError(
            f"{path} can't be read as {path.suffix}", why=str(problem),
            fix="write it with numpy.savez or numpy.save, without pickled objects",
        ) from None  # fmt: skip
    keys = expected.named(found, str(path))
    arrays = {name: found[key] for name, key in keys.items()}
    labels = found.get(LABELS) if LABELS not in arrays else None
    count = expected.check_forms(arrays, labels, str(path))
    source = ArrayFile(expected, arrays, labels, chosen(count, samples, seed))
    for piece in source.pieces(step):
        expected.check_numbers(piece.arrays, piece.labels, str(path))
    return source


def _members(path: Path) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        return {info.filename.removesuffix(".npy"): _member(archive, info, path) for info in archive.infolist()}


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> np.ndarray:
    """An array of an archive: mapped where it lies, or from a nameless file that it is unpacked to."""
    if info.compress_type == zipfile.ZIP_STORED:
        with path.open("rb") as file:
            file.seek(info.header_offset)
            name, extra = struct.unpack("<26x2H", file.read(LOCAL))
            file.seek(name + extra, 1)
            return _array(file, path)
    with tempfile.TemporaryFile() as unpacked, archive.open(info) as packed:
        shutil.copyfileobj(packed, unpacked)
        unpacked.seek(0)
        return _array(unpacked, unpacked)


def _mapped(path: Path) -> np.ndarray:
    with path.open("rb") as file:
        return _array(file, path)


def _array(file: IO[bytes], source: Any) -> np.ndarray:
    """The array whose .npy form begins where `file` stands, in `source`."""
    version = np.lib.format.read_magic(file)
    shape, fortran, dtype = HEADERS[version](file)
    if dtype.hasobject:
        raise ValueError("it has Python objects in it")
    if 0 in shape:
        return np.empty(shape, dtype)
    return np.memmap(source, dtype, "r", file.tell(), shape, "F" if fortran else "C")
