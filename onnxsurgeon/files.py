"""Files that others made: only regular ones are opened, and archives of arrays only up to a bound."""

from __future__ import annotations

import os
import stat
import struct
import zipfile
import zlib
from math import prod
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

SMALL = 64 * 2**20  # bytes that an archive may unpack to, however small it is
BROKEN = (
    OSError, ValueError, KeyError, EOFError, NotImplementedError, RuntimeError, TypeError, struct.error, zlib.error,
    zipfile.BadZipFile,
)  # fmt: skip  # what broken archives raise


def irregular(path: str | os.PathLike[str]) -> str:
    """What is at `path` if it is neither a regular file nor nothing at all; else an empty text."""
    try:
        mode = Path(path).stat().st_mode
    except (OSError, ValueError):  # opening it will say why
        return ""
    if stat.S_ISREG(mode):
        return ""
    return "it is a directory" if stat.S_ISDIR(mode) else "it is not a regular file but a pipe or a device"


def require_regular(path: str | os.PathLike[str]) -> None:
    """Raises OSError if `path` is a directory, a pipe or a device: reading these hangs, or never ends."""
    if found := irregular(path):
        raise OSError(found)


def arrays_of(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The arrays of an .npz file that fits into memory: unpacked it has at most `SMALL` bytes, or those on disk.

    Raises one of `BROKEN` for any other file.
    """
    import numpy as np

    require_regular(path)
    with zipfile.ZipFile(path) as archive:
        require_bounded(archive, max(SMALL, Path(path).stat().st_size))
        for info in archive.infolist():
            with archive.open(info) as member:
                require_whole(info.filename, *_header(member), info.file_size)
    with np.load(path, allow_pickle=False) as loaded:
        return {name: np.asarray(loaded[name]) for name in loaded.files}


def require_bounded(archive: zipfile.ZipFile, most: int) -> None:
    """Raises ValueError if the members of an archive unpack to more than `most` bytes."""
    total = sum(info.file_size for info in archive.infolist())
    if total > most:
        raise ValueError(f"it would unpack to {total:,} bytes; {most:,} are allowed for its size")


def _header(member: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    import numpy as np

    version = np.lib.format.read_magic(member)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(member)
    return shape, dtype


def require_whole(name: str, shape: tuple[int, ...], dtype: np.dtype[Any], size: int) -> None:
    """Raises ValueError if the array `name` claims more than the `size` bytes that are there."""
    if any(n < 0 for n in shape) or prod(shape) * dtype.itemsize > size:
        raise ValueError(f"{name} claims the shape {shape}, but has only {size:,} bytes")
