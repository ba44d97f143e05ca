"""Pictures made from nothing, with the statistics of photographs: shapes that occlude each other, textures whose
spectrum falls as 1/f, gradients, and colours that vary together; for grey digits and letters, strokes on black."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from onnxsurgeon.arrays import FloatArray

CANVAS = 2  # textures are this many times as large as a picture, and cropped at random
SMALLEST, LARGEST = 0.03, 0.6  # radii of shapes, relative to the shorter side
POWER = 3.0  # the number of shapes of radius r falls as r^-POWER, as in photographs
LEAVES = 120  # the most shapes on a picture
STROKES = 5  # the most strokes of a sign
HUES, SHADES = np.array([0.05, 0.15, 0.3]), np.array([0.02, 0.08, 0.2])  # how far colours, and textures, vary
FAR: tuple[Callable[[FloatArray, FloatArray], FloatArray], ...] = (  # how far from a shape's middle a place is
    np.hypot,
    lambda u, v: np.maximum(abs(u), abs(v)) * 1.2,
    lambda u, v: abs(u) + abs(v),
)


def photographs(rng: np.random.Generator, count: int, height: int, width: int, colours: int) -> FloatArray:
    """Pictures with natural statistics, from 0 to 1, shape (count, height, width, colours)."""
    textures = np.stack([_texture(rng, CANVAS * height, CANVAS * width) for _ in range(min(count, 8))])
    return np.stack([_photograph(rng, textures, height, width, colours) for _ in range(count)])


def signs(rng: np.random.Generator, count: int, height: int, width: int, colours: int) -> FloatArray:
    """Bright strokes on a black ground, from 0 to 1, shape (count, height, width, colours)."""
    drawn = np.stack([_strokes(rng, height, width) for _ in range(count)])
    return np.repeat(drawn[..., None], colours, axis=-1).astype(np.float32)


KINDS: dict[str, Callable[[np.random.Generator, int, int, int, int], FloatArray]] = {
    "photographs": photographs,
    "signs": signs,
}


def _photograph(rng: np.random.Generator, textures: FloatArray, height: int, width: int, colours: int) -> FloatArray:
    picture = _painted(rng, textures, (height, width), _palette(rng, colours))
    for _ in range(round(np.exp(rng.uniform(0, np.log(LEAVES))))):
        _leaf(rng, textures, picture)
    if rng.random() < 0.5:
        picture = _blurred(picture)
    tint = _texture_crop(rng, textures, height, width)[..., None]  # light that varies over the picture
    picture = picture * (1 + rng.uniform(0, 0.3) * tint) + rng.normal(0, rng.uniform(0, 0.03), picture.shape)
    return _exposed(rng, picture).astype(np.float32)


def _palette(rng: np.random.Generator, colours: int) -> FloatArray:
    """A colour: brightness varies most, then along blue to orange, then green to purple, as in photographs."""
    brightness = rng.uniform(0.05, 0.95)
    if colours == 1:
        return np.array([brightness])
    axes = np.array([[0.7, 0.0, -0.7], [0.4, -0.8, 0.4]])
    hue = rng.normal(0, HUES[rng.integers(3)], 2) * (1, 0.5) @ axes
    return np.resize(brightness + hue, colours)


def _painted(rng: np.random.Generator, textures: FloatArray, size: tuple[int, int], colour: FloatArray) -> FloatArray:
    """A surface of one colour with a texture and a gradient, shape (*size, colours)."""
    height, width = size
    across = _slope(width)[None, :] * rng.normal() + _slope(height)[:, None] * rng.normal()
    shade = SHADES[rng.integers(3)] * _texture_crop(rng, textures, height, width) + rng.uniform(0, 0.15) * across
    spread = 1 + rng.normal(0, 0.2, len(colour))
    return np.asarray(colour + shade[..., None] * spread)


@cache
def _slope(size: int) -> FloatArray:
    return np.linspace(-1, 1, size)


def _leaf(rng: np.random.Generator, textures: FloatArray, picture: FloatArray) -> None:
    """Paint an ellipse, a polygon or a ring over the picture."""
    height, width, colours = picture.shape
    low, high = SMALLEST ** (1 - POWER), LARGEST ** (1 - POWER)
    radius = max(1.0, (low + rng.random() * (high - low)) ** (1 / (1 - POWER)) * min(height, width))
    row, column = rng.uniform(0, height), rng.uniform(0, width)
    top, bottom = max(0, int(row - radius)), min(height, int(row + radius) + 2)
    left, right = max(0, int(column - radius)), min(width, int(column + radius) + 2)
    y, x = np.arange(top, bottom)[:, None] - row, np.arange(left, right)[None, :] - column
    angle, flat = rng.uniform(0, np.pi), rng.uniform(0.25, 1)
    u = (np.cos(angle) * x + np.sin(angle) * y) / radius
    v = (np.cos(angle) * y - np.sin(angle) * x) / (radius * flat)
    far = FAR[rng.integers(3)](u, v)
    inside = np.clip((1 - far) * radius * flat + 0.5, 0, 1)
    if rng.random() < 0.15:
        inside *= far > rng.uniform(0.4, 0.9)
    if inside.size:
        paint = _painted(rng, textures, inside.shape, _palette(rng, colours))
        at = picture[top:bottom, left:right]
        at += inside[..., None] * (paint - at)


def _texture(rng: np.random.Generator, height: int, width: int) -> FloatArray:
    """Noise with an amplitude spectrum of f^-a, with mean 0 and variance 1, shape (height, width)."""
    down, right = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :]
    stretch = np.exp(rng.normal(0, 0.4))
    frequency = np.hypot(down * stretch, right / stretch)
    frequency[0, 0] = np.inf
    noise = np.fft.rfft2(rng.standard_normal((height, width)))
    found = np.fft.irfft2(noise * frequency ** -rng.uniform(0.7, 1.6), (height, width))
    return np.asarray((found - found.mean()) / (found.std() + 1e-12), np.float32)


def _texture_crop(rng: np.random.Generator, textures: FloatArray, height: int, width: int) -> FloatArray:
    texture = textures[rng.integers(len(textures))]
    top, left = rng.integers(texture.shape[0] - height + 1), rng.integers(texture.shape[1] - width + 1)
    crop = texture[top : top + height, left : left + width]
    return np.asarray(crop[:: (-1, 1)[rng.integers(2)], :: (-1, 1)[rng.integers(2)]])


def _blurred(picture: FloatArray) -> FloatArray:
    """Each pixel averaged with its neighbours."""
    for axis in (0, 1):
        pad = [(1, 1) if at == axis else (0, 0) for at in range(picture.ndim)]
        wide = np.pad(picture, pad, mode="edge")
        size = picture.shape[axis]
        first, middle, last = (wide.take(range(by, by + size), axis) for by in range(3))
        picture = 0.25 * first + 0.5 * middle + 0.25 * last
    return picture


def _exposed(rng: np.random.Generator, picture: FloatArray) -> FloatArray:
    """The picture with some contrast and brightness of a photograph, from 0 to 1."""
    mean, deviation = picture.mean(), picture.std() + 1e-6
    wanted = rng.uniform(0.1, 0.3)
    return np.asarray(np.clip((picture - mean) / deviation * wanted + rng.uniform(0.3, 0.6), 0, 1))


def _strokes(rng: np.random.Generator, height: int, width: int) -> FloatArray:
    """A sign of connected curves in the middle of a black ground, shape (height, width)."""
    y, x = np.mgrid[:height, :width]
    size = min(height, width)
    thick = size * rng.uniform(0.03, 0.08) + 0.3
    at = rng.uniform(0.25, 0.75, 2)
    distance = np.full((height, width), np.inf)
    for _ in range(rng.integers(1, STROKES)):
        bends = np.clip(at + np.cumsum(rng.normal(0, 0.28, (3, 2)), axis=0), 0.18, 0.82)
        t = np.linspace(0, 1, 16)[:, None]
        curve = (1 - t) ** 3 * at + 3 * t * (1 - t) ** 2 * bends[0] + 3 * t**2 * (1 - t) * bends[1] + t**3 * bends[2]
        for row, column in curve * (height - 1, width - 1):
            distance = np.minimum(distance, np.hypot(y - row, x - column))
        at = bends[2] if rng.random() < 0.7 else rng.uniform(0.25, 0.75, 2)
    return np.asarray(np.clip((thick - distance) / (0.08 * size) + 0.5, 0, 1) * rng.uniform(0.8, 1))
