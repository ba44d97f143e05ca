"""Synthetic samples fit the inputs that they are made for, and are the same each time."""

from __future__ import annotations

import numpy as np
import pytest

from onnxsurgeon.data import Data
from onnxsurgeon.data.made_samples import RANGES, Made, draw
from onnxsurgeon.data.model_inputs import Expected, Input
from onnxsurgeon.data.pictures import KINDS

FLOAT, BYTE, INDEX, MASK = (np.dtype(t) for t in (np.float32, np.uint8, np.int64, np.bool_))
INPUTS = [
    (Input("x", FLOAT, (None, 3, 24, 20)), "photographs"),
    (Input("x", FLOAT, (1, 24, 20, 1)), "photographs"),
    (Input("x", BYTE, (None, 24, 20, 3)), "photographs"),
    (Input("x", FLOAT, (None, 144, 1)), "photographs"),  # 12 x 12, flattened
    (Input("x", FLOAT, (None, 700)), "signals"),
    (Input("x", FLOAT, (None, 5)), "signals"),
    (Input("x", INDEX, (None, 16)), "token ids"),
    (Input("x", MASK, (None, 16)), "masks"),
]


@pytest.mark.parametrize(("wanted", "kind"), INPUTS, ids=str)
def test_samples_have_the_form_of_the_input_and_are_the_same_each_time(wanted: Input, kind: str) -> None:
    expected = Expected((wanted,))
    shape = tuple(n or 1 for n in wanted.shape[1:])
    first, again = (draw(wanted, shape, 6, 50 if kind == "token ids" else 0, 3) for _ in range(2))
    assert first.kind == kind
    data = Data("synthetic", expected, Made((first,), expected, 6), expected.size or 4)
    batches = list(data.batches())
    assert sum(batch.count for batch in batches) == 6
    for batch in batches:
        assert expected.check_forms(batch.feed, None, "here") == batch.size
        expected.check_numbers(batch.feed, None, "here")
    assert np.array_equal(first.array, again.array)
    assert not np.array_equal(first.array, draw(wanted, shape, 6, 50, 4).array) or kind == "masks"


def test_token_ids_are_below_the_vocabulary() -> None:
    drawn = draw(Input("ids", INDEX, (None, 16)), (16,), 200, 30, 0).array
    assert drawn.min() == 0
    assert drawn.max() == 29


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_have_the_spectrum_of_photographs(kind: str) -> None:
    """Neighbouring pixels are alike, and power falls with frequency."""
    pictures = KINDS[kind](np.random.default_rng(0), 24, 32, 32, 3)
    assert pictures.min() >= 0
    assert pictures.max() <= 1
    grey = pictures.mean(axis=-1)
    power = (np.abs(np.fft.fft2(grey - grey.mean(axis=(1, 2), keepdims=True))) ** 2).mean(axis=0)
    assert power[1:3, 1:3].mean() > 10 * power[8:16, 8:16].mean()


@pytest.mark.parametrize("word", RANGES)
@pytest.mark.parametrize("last", [True, False])
def test_a_range_scales_each_colour(word: str, last: bool) -> None:  # noqa: FBT001 - pytest gives it by name
    pixels = np.random.default_rng(0).integers(0, 256, (2, 5, 5, 3)).astype(np.uint8)
    found = RANGES[word].of(pixels if last else pixels.transpose(0, 3, 1, 2), last=last)
    found = found if last else found.transpose(0, 2, 3, 1)
    mean, std = (np.resize(v, 3) for v in (RANGES[word].mean, RANGES[word].std))
    assert np.allclose(found, (pixels / 255 - mean) / std, atol=1e-4)
