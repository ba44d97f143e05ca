"""Files: those that others made are opened within bounds; ours are drafts until they are whole.

A draft lies in a folder, or has a name, that states the process and the machine that make it. What a killed process
left is removed by the next one that writes in the same place.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import secrets
import shutil
import signal
import stat
import struct
import tempfile
import threading
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import prod
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from onnxsurgeon.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

HOST = hashlib.sha256(platform.node().encode()).hexdigest()[:6]
MOVING = "moving"  # in a folder of drafts: the names of a model, of its new data file and of the one that it replaces
WRITTEN: list[Path] = []  # by this process
INTERRUPTS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
SMALL = 64 * 2**20  # bytes that an archive may unpack to, however small it is
BROKEN = (
    OSError, ValueError, KeyError, EOFError, NotImplementedError, RuntimeError, TypeError, struct.error, zlib.error,
    zipfile.BadZipFile,
)  # fmt: skip  # what broken archives raise


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Interrupts that Python handles wait until the block ends. Only the main thread gets any."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came = list[int]()
    handlers = {number: handler for number in INTERRUPTS if callable(handler := signal.getsignal(number))}
    for number in handlers:
        signal.signal(number, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number in came[:1]:
            handlers[number](number, None)


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


def require_place(path: str | os.PathLike[str], *, made: bool = False) -> None:
    """Raises UsageError if no file can be written at `path`. made: whether folders that are missing will be made."""
    folder = Path(path).parent
    while made and not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        raise UsageError(f"can't write {path}", why=f"there is no folder {folder}", fix="create it first")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"can't write {path}", why=f"the folder {folder} is read-only", fix="choose another")


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


_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+):/+(.*)", re.IGNORECASE)


def require_no_address(path: str | os.PathLike[str]) -> None:
    """Raises UsageError if `path` is an address like https://host/model.onnx."""
    found = _ADDRESS.fullmatch(os.fspath(path)) if isinstance(path, str | os.PathLike) else None
    if found is not None and not os.path.lexists(path):
        address = f"{found[1]}://{found[2]}"
        web = found[1].lower().startswith("http")
        raise UsageError(
            f"{address} is an address, not a file", why="nothing is fetched from elsewhere",
            fix=f"download it first, like curl -LO {address}" if web else "copy it to a file first",
        )  # fmt: skip


def drafts(folder: Path | None = None) -> tempfile.TemporaryDirectory[str]:
    """A new folder inside `folder`, by default inside TMPDIR, that vanishes when it is closed.

    What killed processes left in the same place is removed.
    """
    place = Path(tempfile.gettempdir()) if folder is None else folder
    sweep(place)
    return tempfile.TemporaryDirectory(prefix=_prefix(os.getpid()), dir=place)


def draft_of(path: Path) -> Path:
    """A name for a draft beside `path`."""
    return path.with_name(f"{_prefix(os.getpid())}{secrets.token_hex(4)}.tmp")


def _prefix(process: int | str) -> str:
    return f".onnxsurgeon-{process}-{HOST}-"


def sweep(folder: Path) -> None:
    """Removes the drafts in `folder` whose processes are dead; of two files that belong together, one alone."""
    for left in folder.glob(_prefix("*") + "*"):
        process = left.name.split("-")[1]
        if not process.isdecimal() or _alive(int(process)):
            continue
        with suppress(OSError, ValueError):
            if left.is_dir() and not left.is_symlink():
                _settle(left)
                shutil.rmtree(left)
            else:
                left.unlink()


def _alive(process: int) -> bool:
    if os.name == "nt":  # where signal 0 is not harmless
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # of another user
        return True
    return True


def _settle(folder: Path) -> None:
    """Removes the data file that no model refers to, where a process was killed while it moved a model into place."""
    if not (folder / MOVING).is_file():
        return
    model, new, *old = (folder / MOVING).read_text(encoding="utf-8").splitlines()
    for name in [new] if (folder / model).exists() else old:  # the model is moved last
        if re.fullmatch(data_names(model), name):
            (folder.parent / name).unlink(missing_ok=True)


def data_names(model: str) -> str:
    """A pattern of the names of data files of the model of that name."""
    return re.escape(model) + r"(\.[0-9a-f]{8})?\.data"


def move_in(draft: Path, target: Path, data: str = "") -> None:
    """Moves a whole draft to `target` in one step, which no interrupt divides.

    data: the name of its data file, which moves with it. The data files that the model had before are removed.
    """
    with held():
        if data:
            names = re.compile(data_names(target.name))
            old = [p.name for p in target.parent.iterdir() if names.fullmatch(p.name) and p.name != data]
            (draft.parent / MOVING).write_text("\n".join([target.name, data, *old]), encoding="utf-8")
            draft.with_name(data).replace(target.with_name(data))
        draft.replace(target)
        WRITTEN.append(target)
        if data:
            for name in old:
                target.with_name(name).unlink(missing_ok=True)


@contextmanager
def held() -> Iterator[None]:
    """Holds back interrupts until the block ends."""
    came: list[int] = []
    before: dict[int, object] = {}
    try:
        if threading.current_thread() is threading.main_thread():
            for number in INTERRUPTS:
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    before[number] = signal.getsignal(number)
                    signal.signal(number, lambda number, frame: came.append(number))
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what getsignal returned
        if came:
            signal.raise_signal(came[0])
