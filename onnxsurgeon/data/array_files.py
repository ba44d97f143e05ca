"""Samples in .npz and .npy files, memory-mapped, so that only used samples are read."""

from __future__ import annotations

import errno
import os
import shutil
import struct
import tempfile
import weakref
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from onnxsurgeon.data.model_inputs import LABELS, Chunk, Expected, choose
from onnxsurgeon.errors import ModelError
from onnxsurgeon.files import BROKEN, require_bounded, require_regular, require_whole

HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
LOCAL = 30  # bytes of a zip member's own header, before its name
ENCRYPTED = 1  # among the flags of a zip member
UNPACKED, RATIO = 2**30, 200  # bytes that an archive may unpack to on disk: in all, or for each of its own


@dataclass(frozen=True)
class ArrayOnDisk:
    """An array in a file. It is mapped only while it is read, because pages stay in memory as long as their mapping."""

    file: Any  # a path, or an open file
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool

    def read(self, rows: np.ndarray | None = None) -> np.ndarray:
        """A copy of the array, or of some rows."""
        if 0 in self.shape:
            return np.empty(self.shape, self.dtype)
        mapped = np.memmap(self.file, self.dtype, "r", self.offset, self.shape, "F" if self.fortran else "C")
        return np.array(mapped if rows is None else mapped[rows])


@dataclass(frozen=True)
class ArrayFile:
    """The samples of a file of arrays. rows: indices of the chosen ones, ascending, shape (samples,)."""

    expected: Expected
    arrays: Mapping[str, ArrayOnDisk]
    labels: ArrayOnDisk | None
    rows: np.ndarray
    classes = None
    runs = False

    @property
    def lacks(self) -> bool:
        return len(self.arrays) < len(self.expected.inputs)

    @property
    def count(self) -> int:
        return len(self.rows)

    @property
    def labelled(self) -> bool:
        return self.labels is not None

    def pieces(self, step: int) -> Iterator[Chunk]:
        for start in range(0, self.count, step):
            rows = self.rows[start : start + step]
            arrays = {n: a.read(rows if n in self.expected.sampled else None) for n, a in self.arrays.items()}
            yield Chunk(arrays, None if self.labels is None else self.labels.read(rows), len(rows))


def open_arrays(path: Path, expected: Expected, samples: int | None, seed: int, step: int) -> ArrayFile:
    """The samples of an .npz or .npy file, or some of them, checked for the model.

    step: number of samples to check at a time. Raises ModelError if the file can't be read, UsageError if its arrays
    don't fit the model.
    """
    by_key = _arrays(path)
    keys = expected.keys_of(by_key, str(path))
    arrays = {name: by_key[key] for name, key in keys.items()}
    labels = by_key.get(LABELS) if LABELS not in arrays else None
    count = expected.check_forms(arrays, labels, str(path))
    source = ArrayFile(expected, arrays, labels, choose(count, samples, seed))
    for piece in source.pieces(step):
        expected.check_numbers(piece.arrays, piece.labels, str(path))
    return source


def forms(path: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of the arrays in an .npz or .npy file, where one array has no name. Raises as `open_arrays` does."""
    return {name: array.shape for name, array in _arrays(path).items()}


def _arrays(path: Path) -> dict[str, ArrayOnDisk]:
    try:
        require_regular(path)
        return {"": _single(path)} if path.suffix == ".npy" else _members(path)
    except BROKEN as problem:
        if isinstance(problem, OSError) and problem.errno == errno.ENOSPC:  # no space to unpack the archive
            raise
        raise ModelError(
            f"{path} can't be read as {path.suffix}", why=str(problem),
            fix="write it with numpy.savez or numpy.save, without pickled objects",
        ) from None  # fmt: skip


def _members(path: Path) -> dict[str, ArrayOnDisk]:
    with zipfile.ZipFile(path) as archive:
        require_bounded(archive, max(UNPACKED, RATIO * path.stat().st_size))
        return {info.filename.removesuffix(".npy"): _member(archive, info, path) for info in archive.infolist()}


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> ArrayOnDisk:
    """An array of an archive: in the archive itself, or unpacked to an anonymous temporary file if compressed."""
    if info.flag_bits & ENCRYPTED:
        raise ValueError(f"{info.filename} is encrypted")
    if info.compress_type == zipfile.ZIP_STORED:
        with path.open("rb") as file:
            file.seek(info.header_offset)
            name, extra = struct.unpack("<26x2H", file.read(LOCAL))
            file.seek(name + extra, 1)
            return _array(file, path)
    unpacked = tempfile.TemporaryFile()  # noqa: SIM115  a finalizer closes it together with the array
    try:
        with archive.open(info) as packed:
            shutil.copyfileobj(packed, unpacked)
        unpacked.seek(0)
        array = _array(unpacked, unpacked)
    except BaseException:
        unpacked.close()
        raise
    weakref.finalize(array, unpacked.close)
    return array


def _single(path: Path) -> ArrayOnDisk:
    with path.open("rb") as file:
        return _array(file, path)


def _array(file: IO[bytes], source: Any) -> ArrayOnDisk:
    """The array in .npy format at the current position of `file`, to be read from `source`."""
    shape, fortran, dtype = HEADERS[np.lib.format.read_magic(file)](file)
    if dtype.hasobject:
        raise ValueError("it contains Python objects")
    require_whole("it", shape, dtype, os.fstat(file.fileno()).st_size - file.tell())
    array = ArrayOnDisk(source, file.tell(), shape, dtype, fortran)
    array.read(np.arange(0) if shape else None)  # raises if the file is truncated
    return array
