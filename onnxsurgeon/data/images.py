"""Samples in folders of images, decoded a batch at a time and scaled by a preset."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onnxsurgeon.data.model_inputs import Chunk, Expected, Input, choose
from onnxsurgeon.errors import ModelError, UsageError
from onnxsurgeon.files import require_regular
from onnxsurgeon.install import install_hint

SUFFIXES = frozenset(".bmp .gif .jpeg .jpg .pgm .png .ppm .tif .tiff .webp".split())


@dataclass(frozen=True)
class Scaling:
    """The preprocessing of an image: (value / 255 - mean) / std, after a centre crop to `share` of its shorter side."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    share: float = 1.0


PRESETS: dict[str, Scaling] = {
    "imagenet": Scaling((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 224 / 256),
    "cifar": Scaling((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "unit": Scaling((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}


@dataclass(frozen=True)
class Layout:
    """Height, width and number of colours of an input."""

    height: int
    width: int
    colours: int
    last: bool  # colours are the last axis


@dataclass(frozen=True)
class ImageFolder:
    """The images of a folder. labels: shape (files,), or None. classes: the number of named class folders, if any."""

    files: tuple[Path, ...]
    labels: np.ndarray | None
    classes: int | None
    input: Input
    layout: Layout
    scaling: Scaling
    runs = lacks = False

    @property
    def count(self) -> int:
        return len(self.files)

    @property
    def labelled(self) -> bool:
        return self.labels is not None

    def pieces(self, step: int) -> Iterator[Chunk]:
        for start in range(0, len(self.files), step):
            files = self.files[start : start + step]
            array = np.stack([self._decode(path) for path in files])
            labels = None if self.labels is None else self.labels[start : start + step]
            yield Chunk({self.input.name: array}, labels, len(files))

    def _decode(self, path: Path) -> np.ndarray:
        """One image, resized by its shorter side, cropped to the centre and scaled, in the layout of the model."""
        layout = self.layout
        with _open(path) as image:
            picture = image.convert("RGB" if layout.colours == 3 else "L")
        width, height = picture.size
        scale = max(layout.height / height, layout.width / width) / self.scaling.share
        size = max(layout.width, round(width * scale)), max(layout.height, round(height * scale))
        if size != picture.size:
            picture = picture.resize(size, 2)  # bilinear
        left, top = (size[0] - layout.width) // 2, (size[1] - layout.height) // 2
        pixels = np.asarray(picture.crop((left, top, left + layout.width, top + layout.height)), np.float32)
        pixels = pixels.reshape(layout.height, layout.width, layout.colours)
        mean, std = (np.array(v[: layout.colours], np.float32) for v in (self.scaling.mean, self.scaling.std))
        scaled = ((pixels / 255 - mean) / std).astype(self.input.dtype)
        return scaled if layout.last else np.ascontiguousarray(scaled.transpose(2, 0, 1))


def open_images(
    folder: Path, expected: Expected, preprocess: str | None, samples: int | None, seed: int
) -> ImageFolder:  # fmt: skip
    """The images of a folder, or some of them, after a check of their headers.

    Raises UsageError if they don't fit the model, ModelError if one can't be read.
    """
    if preprocess is None or preprocess not in PRESETS:
        raise UsageError(
            f"`data` {folder} is a folder of images, and `preprocess` is "
            + ("missing" if preprocess is None else f"{preprocess!r}"),
            why=f"the presets are {', '.join(PRESETS)}", fix="choose the preset that the model was trained with",
        )  # fmt: skip
    scaling = PRESETS[preprocess]
    layout = _layout(expected, scaling)
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    if not files:
        raise UsageError(
            f"`data` {folder} has no images in it", why=f"no file ends in {', '.join(sorted(SUFFIXES))}",
            fix="name another folder",
        )  # fmt: skip
    labels, classes = _labels(folder, files)
    rows = choose(len(files), samples, seed)
    for row in rows:
        with _open(files[row]) as image:
            image.verify()
    picked = tuple(files[row] for row in rows)
    return ImageFolder(picked, None if labels is None else labels[rows], classes, expected.inputs[0], layout, scaling)


def _layout(expected: Expected, scaling: Scaling) -> Layout:
    """The layout of the model's input. Raises UsageError unless its only input takes images as floats."""
    wanted = expected.inputs[0] if len(expected.inputs) == 1 else None
    if wanted is not None and len(wanted.shape) == 4 and np.issubdtype(wanted.dtype, np.floating):
        sizes = {False: (*wanted.shape[2:], wanted.shape[1]), True: wanted.shape[1:]}
        for last, (height, width, colours) in sizes.items():
            if height and width and (colours == 3 or (colours == 1 and len(set(scaling.mean)) == 1)):
                return Layout(height, width, colours, last)
    raise UsageError(
        "a folder of images does not fit the model's inputs", why="; ".join(map(str, expected.inputs)),
        fix="use it for one input of floats, [?, 3, height, width] or [?, height, width, 3] (1 colour with "
        "`preprocess=unit`); state dynamic sizes with `input_shape`, or give arrays or a function",
    )  # fmt: skip


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    """An open image. Raises ModelError if opening or using it fails."""
    try:
        from PIL import Image
    except ImportError:
        raise UsageError("images need Pillow", why="it is not installed", fix=install_hint("images")) from None
    try:
        require_regular(path)
        with Image.open(path) as image:
            yield image
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as problem:
        why = str(problem).replace(repr(str(path)), "it")
        raise ModelError(f"{path} can't be read as an image", why=why, fix="repair or remove it") from None


def _labels(folder: Path, files: Sequence[Path]) -> tuple[np.ndarray | None, int | None]:
    """(a label per file, number of named class folders), from labels.csv, labels.txt or the folder of each file.

    Folders named by numbers are these classes; other folders are numbered in the order of their names.
    """
    for name, delimiter in (("labels.csv", ","), ("labels.txt", " ")):
        if (folder / name).is_file():
            return _read_labels(folder, folder / name, delimiter, files), None
    parts = [path.relative_to(folder).parts for path in files]
    if all(len(part) == 1 for part in parts):
        return None, None
    if any(len(part) == 1 for part in parts):
        alone = next(path for path, part in zip(files, parts, strict=True) if len(part) == 1)
        raise UsageError(
            f"{alone} has no label", why="other images are in a folder for their class",
            fix="move it into one, or write labels.csv: file,number",
        )  # fmt: skip
    names = sorted({part[0] for part in parts})
    if all(name.isdecimal() and len(name) < 10 for name in names):
        return np.array([int(part[0]) for part in parts]), None
    return np.array([names.index(part[0]) for part in parts]), len(names)


def _read_labels(folder: Path, path: Path, delimiter: str, files: Sequence[Path]) -> np.ndarray:
    try:
        with path.open(encoding="utf-8", newline="") as lines:
            rows = [row for row in csv.reader(lines, delimiter=delimiter, skipinitialspace=True) if row]
        if rows and not rows[0][-1].strip().isdecimal():
            rows = rows[1:]  # names of columns
        known = {row[0].strip(): int(row[-1]) for row in rows}
        if any(abs(number) >= 2**31 for number in known.values()):
            raise ValueError("a number is too large for a class")
    except (OSError, ValueError, csv.Error) as problem:
        raise ModelError(
            f"{path} can't be read", why=str(problem), fix=f"write lines of the form file{delimiter}number"
        ) from None
    missing = [name for name in (p.relative_to(folder).as_posix() for p in files) if name not in known]
    if missing:
        raise UsageError(
            f"{path} has no label for {missing[0]}", why=f"{len(missing)} of {len(files)} images are missing",
            fix="write a line for each: the path below the folder, and the number of the class",
        )  # fmt: skip
    return np.array([known[p.relative_to(folder).as_posix()] for p in files])
