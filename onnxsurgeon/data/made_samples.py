"""Samples made from nothing, where no data are given: pictures, signals, token ids and masks, drawn with a seed.

Pictures are kept as bytes; `RANGES` lists how networks may expect them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import isqrt, log2, prod

import numpy as np

from onnxsurgeon.arrays import Shape
from onnxsurgeon.data.model_inputs import Chunk, Expected, Input
from onnxsurgeon.data.pictures import KINDS

SIDE = 8  # the least height and width of a picture
SMALL = 40  # grey pictures of at most this size may hold a digit or a letter


@dataclass(frozen=True)
class Range:
    """How a network expects pictures: (value / 255 - mean) / std, per colour.

    prior: how common it is, where nothing in the file speaks for or against it. centred: whether its mean is near 0.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    prior: float

    @property
    def centred(self) -> bool:
        return self.mean[0] != 0

    def of(self, pixels: np.ndarray, *, last: bool) -> np.ndarray:
        """Bytes as the network expects them, float32. last: whether the last axis holds colours."""
        colours = pixels.shape[-1 if last else 1]
        mean, std = (np.resize(np.array(v, np.float32), colours) for v in (self.mean, self.std))
        if not last:
            mean, std = mean[:, None, None], std[:, None, None]
        return np.asarray((pixels / np.float32(255) - mean) / std, np.float32)


MEAN = (0.485, 0.456, 0.406)
RANGES: Mapping[str, Range] = {
    "0 to 1": Range((0.0,), (1.0,), 0.25),
    "0 to 255": Range((0.0,), (1 / 255,), 0.07),
    "-1 to 1": Range((0.5,), (0.5,), 0.2),
    "normalised": Range(MEAN, (0.229, 0.224, 0.225), 0.4),
    "0 to 255 without the mean": Range(MEAN, (1 / 255,), 0.08),
}


@dataclass(frozen=True)
class MadeInput:
    """The samples of one input. array: shape (samples, ...); of an input without a batch, its only value.

    range: how pixels are scaled, None for what is used as it is. last: whether the last axis holds colours.
    """

    input: Input
    kind: str
    array: np.ndarray
    range: Range | None = None
    last: bool = False

    def rows(self, start: int, stop: int) -> np.ndarray:
        part = self.array[start:stop]
        scaled = part if self.range is None else self.range.of(part, last=self.last)
        shape = (len(part), *(part.shape[axis] if n is None else n for axis, n in enumerate(self.input.shape) if axis))
        return scaled.reshape(shape).astype(self.input.dtype)


@dataclass(frozen=True)
class Made:
    """A source of made samples."""

    inputs: tuple[MadeInput, ...]
    expected: Expected
    count: int
    labelled = runs = lacks = False
    classes = None

    def pieces(self, step: int) -> Iterator[Chunk]:
        whole = {d.input.name: d.array for d in self.inputs if d.input.name not in self.expected.sampled}
        sampled = [d for d in self.inputs if d.input.name not in whole]
        for start in range(0, self.count, step):
            arrays = {drawn.input.name: drawn.rows(start, start + step) for drawn in sampled}
            yield Chunk({**arrays, **whole}, None, min(step, self.count - start))

    def ranged(self, found: Range) -> Made:
        """The same samples, with pictures scaled in another way."""
        return replace(self, inputs=tuple(d if d.range is None else replace(d, range=found) for d in self.inputs))

    @property
    def kinds(self) -> str:
        """What the samples are, in words."""
        words = {found: word for word, found in RANGES.items()}
        said = (d.kind if d.range is None else f"{d.kind}, pixels {words[d.range]}" for d in self.inputs)
        return "; ".join(dict.fromkeys(said))


def draw(
    wanted: Input, shape: Shape, count: int, limit: int, seed: int, *, signs: bool = False
) -> MadeInput:  # fmt: skip
    """`count` samples of an input. shape: of one sample. limit: of indices, 0 if it is no index. signs: small grey
    pictures are digits and letters, not photographs."""
    rng = np.random.default_rng([seed, *wanted.name.encode()])
    if wanted.dtype == np.bool_ or (np.issubdtype(wanted.dtype, np.integer) and not _picture(wanted, shape)):
        high = limit or 1
        drawn = rng.integers(0, high, (count, *shape)) if limit else np.ones((count, *shape))
        return MadeInput(wanted, "token ids" if limit else "masks", drawn.astype(wanted.dtype))
    size = _picture(wanted, shape)
    if size is None:
        return MadeInput(wanted, "signals", _signals(rng, count, shape).astype(wanted.dtype))
    height, width, colours, last = size
    kind = "signs" if signs else "photographs"
    pixels = np.round(KINDS[kind](rng, count, height, width, colours) * 255).astype(np.uint8)
    found = RANGES["0 to 255" if wanted.dtype == np.uint8 else "0 to 1"]
    return MadeInput(wanted, kind, pixels if last else np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)), found, last)


def _picture(wanted: Input, shape: Shape) -> tuple[int, int, int, bool] | None:
    """(height, width, colours, whether colours are the last axis) of an input that takes pictures; else None."""
    if not (np.issubdtype(wanted.dtype, np.floating) or wanted.dtype == np.uint8):
        return None
    if len(shape) == 3:
        for last, (height, width, colours) in ((False, (*shape[1:], shape[0])), (True, shape)):
            if 1 <= colours <= 4 and min(height, width) >= SIDE:
                return height, width, colours, last
    side = isqrt(prod(shape))
    if side >= SIDE and side * side == max(shape, default=0) == prod(shape) and not log2(side).is_integer():
        return side, side, 1, True  # a flattened picture
    return None


def may_be_sign(drawn: MadeInput) -> bool:
    """Whether pictures are so small and grey that they may be of digits or letters."""
    shape = drawn.array.shape[1:]
    return drawn.range is not None and min(shape) == 1 and max(shape) <= SMALL


def _signals(rng: np.random.Generator, count: int, shape: Shape) -> np.ndarray:
    """Noise whose spectrum falls along the longest axis, of various loudness, shape (count, *shape)."""
    drawn = rng.standard_normal((count, *shape))
    if not shape or max(shape) < SIDE:
        return drawn
    axis = 1 + int(np.argmax(shape))
    size = drawn.shape[axis]
    every = [1] * drawn.ndim
    every[axis] = size // 2 + 1
    frequency = (np.arange(size // 2 + 1) + 1.0).reshape(every)
    power = rng.uniform(0, 1.2, (count,) + (1,) * len(shape))
    found = np.fft.irfft(np.fft.rfft(drawn, axis=axis) * frequency**-power, size, axis=axis)
    around = tuple(range(1, drawn.ndim))
    return np.asarray(found / (found.std(axis=around, keepdims=True) + 1e-12) * np.exp(rng.normal(-1, 1, power.shape)))
