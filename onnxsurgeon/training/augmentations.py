"""Augmentation of pictures while they are trained on: one record each, drawn anew for every batch.

Pictures are scaled as the model takes them; what comes from beyond their edges is 0, the mean of most scalings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from onnxsurgeon.errors import UsageError
from onnxsurgeon.options.parsing import texts, unknown, wrong

if TYPE_CHECKING:
    import numpy as np

    from onnxsurgeon.arrays import Arrays


def _flip(pictures: np.ndarray, rng: np.random.Generator, share: float) -> np.ndarray:
    turned = rng.random(len(pictures)) < share
    pictures[turned] = pictures[turned, :, :, ::-1]
    return pictures


def _shift(pictures: np.ndarray, rng: np.random.Generator, share: float) -> np.ndarray:
    """A window of the picture's size in the padded picture."""
    import numpy as np

    height, width = pictures.shape[2:]
    down, right = (max(1, round(share * n)) for n in (height, width))
    padded = np.pad(pictures, ((0, 0), (0, 0), (down, down), (right, right)))
    tops, lefts = rng.integers(0, 2 * down + 1, len(pictures)), rng.integers(0, 2 * right + 1, len(pictures))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(2, 3))
    return windows[np.arange(len(pictures)), :, tops, lefts]


def _crop(pictures: np.ndarray, rng: np.random.Generator, share: float) -> np.ndarray:
    """A window of at least this share of each side, resized to the whole (Szegedy et al. 2014)."""
    import numpy as np

    for axis in (2, 3):
        whole = pictures.shape[axis]
        size = whole * rng.uniform(share, 1, (len(pictures), 1))
        start = rng.uniform(0, 1, size.shape) * (whole - size)
        pictures = _read_at(pictures, start + (np.arange(whole) + 0.5) * size / whole - 0.5, axis)
    return pictures


def _read_at(pictures: np.ndarray, places: np.ndarray, axis: int) -> np.ndarray:
    """Each picture's values at these places of an axis, shape (samples, length), linearly interpolated."""
    import numpy as np

    shape = [len(pictures), 1, 1, 1]
    shape[axis] = places.shape[1]
    places = places.clip(0, pictures.shape[axis] - 1)
    near = np.floor(places).astype(np.int64).reshape(shape)
    far = np.minimum(near + 1, pictures.shape[axis] - 1)
    part = (places.reshape(shape) - near).astype(pictures.dtype)
    first, second = (np.take_along_axis(pictures, at, axis) for at in (near, far))
    return first + (second - first) * part  # type: ignore[no-any-return]  # pictures


def _colour(pictures: np.ndarray, rng: np.random.Generator, share: float) -> np.ndarray:
    """Each picture's contrast and brightness, relative to its own deviation."""
    shape = (len(pictures), 1, 1, 1)
    mean, deviation = pictures.mean((1, 2, 3), keepdims=True), pictures.std((1, 2, 3), keepdims=True)
    contrast, brightness = (rng.uniform(-share, share, shape).astype(pictures.dtype) for _ in range(2))
    return (pictures - mean) * (1 + contrast) + mean + brightness * deviation  # type: ignore[no-any-return]  # the same


def _cutout(pictures: np.ndarray, rng: np.random.Generator, share: float) -> np.ndarray:
    """DeVries and Taylor 2017: a square around a random place is 0."""
    import numpy as np

    near = []
    for size in pictures.shape[2:]:
        centre = rng.integers(0, size, (len(pictures), 1))
        near.append(np.abs(np.arange(size) - centre) < share * size / 2)
    square = near[0][:, None, :, None] & near[1][:, None, None, :]
    return np.where(square, np.zeros((), pictures.dtype), pictures)


@dataclass(frozen=True)
class Augmentation:
    """change: pictures, shape (samples, colours, height, width), with a strength. strength: the default."""

    help: str
    strength: float
    change: Callable[[np.ndarray, np.random.Generator, float], np.ndarray] | None


AUGMENTATIONS: Mapping[str, Augmentation] = {
    "flip": Augmentation("mirrors this share of the pictures", 0.5, _flip),
    "shift": Augmentation("shifts by up to this share of the sides", 0.125, _shift),
    "crop": Augmentation("enlarges a window of at least this share of each side", 0.6, _crop),
    "colour": Augmentation("changes contrast and brightness by up to this share", 0.2, _colour),
    "cutout": Augmentation("blanks a square of this share of the sides", 0.4, _cutout),
    "mixup": Augmentation("mixes pairs of samples, and their labels, by Beta(a, a)", 0.2, None),
}


def read(value: Any, name: str) -> tuple[tuple[str, float], ...]:
    """Words with a strength, from texts like flip or shift:0.2. Raises UsageError for unknown ones."""
    found = []
    for entry in value if isinstance(value, tuple) and all(isinstance(v, tuple) for v in value) else texts(value, name):
        if isinstance(entry, tuple):
            found.append(entry)
            continue
        for part in entry.split(","):
            word, _, strength = part.strip().partition(":")
            if word not in AUGMENTATIONS:
                raise unknown(word, AUGMENTATIONS, name)
            try:
                number = float(strength) if strength else AUGMENTATIONS[word].strength
            except ValueError:
                number = -1.0
            if not 0 < number <= 1:
                raise wrong(part, name, "a strength above 0 and up to 1", f"write it like {word}:0.2")
            found.append((word, number))
    return tuple(found)


def augmented(
    feed: Arrays, targets: Arrays, chosen: Sequence[tuple[str, float]], widths: Mapping[str, int],
    rng: np.random.Generator,
) -> tuple[Arrays, Arrays]:  # fmt: skip
    """The batch, changed. widths: the horizontal axis of each input with pictures, alike for all of them."""
    import numpy as np

    feed, targets = dict(feed), dict(targets)
    for word, strength in chosen:
        change, seed = AUGMENTATIONS[word].change, int(rng.integers(2**63))
        for name, width in widths.items() if change is not None else ():
            assert change is not None
            array = feed[name] if width == 3 else np.moveaxis(feed[name], 3, 1)
            array = change(np.array(array), np.random.default_rng(seed), strength)
            feed[name] = np.ascontiguousarray(array if width == 3 else np.moveaxis(array, 1, 3))
        if change is None:
            feed, targets = _mixed(feed, targets, strength, np.random.default_rng(seed))
    return feed, targets


def _mixed(feed: Arrays, targets: Arrays, strength: float, rng: np.random.Generator) -> tuple[Arrays, Arrays]:
    """Zhang et al. 2017: each sample and another one of the batch."""
    import numpy as np

    size = len(next(iter(targets.values())))
    share, order = np.float32(rng.beta(strength, strength)), rng.permutation(size)

    def mixed(array: np.ndarray) -> np.ndarray:
        fits = array.dtype.kind == "f" and array.shape[:1] == (size,)
        return share * array + (1 - share) * array[order] if fits else array

    return {name: mixed(a) for name, a in feed.items()}, {name: mixed(a) for name, a in targets.items()}


def require_fit(chosen: Sequence[tuple[str, float]], widths: Mapping[str, int], inputs: str, size: int) -> None:
    """Raises UsageError if an augmentation needs pictures and no input holds any, or mixes batches of one sample."""
    for word, _ in chosen:
        mixes = AUGMENTATIONS[word].change is None
        if mixes and size == 1:
            raise UsageError(
                f"`augment={word}` needs batches of several samples", why="a batch holds one sample",
                fix="leave it out, or give a larger `batch`, if the file doesn't state one",
            )  # fmt: skip
        if not mixes and not widths:
            raise UsageError(
                f"`augment={word}` needs images", why=inputs,
                fix="leave it out: no input is [?, 1, 3 or 4 colours, height, width] or [?, height, width, colours]",
            )  # fmt: skip
