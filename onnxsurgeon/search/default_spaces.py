"""What networks are drawn from by default: small convolutional networks for pictures, dense ones for vectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod

import numpy as np

from onnxsurgeon.ops.making import ordered
from onnxsurgeon.search.architectures import Chain, Conditional, Fork, LargerThan, OneOf, Repeat, Residual
from onnxsurgeon.search.data_form import DataForm
from onnxsurgeon.search.drawing import Space, Spot
from onnxsurgeon.search.layer_spaces import ConvSpace, DenseSpace, FlattenSpace, GlobalPoolSpace, PoolSpace

STAGES = 3  # of pictures; each halves them
SMALLEST = 4  # sides of a picture that is not halved any more
FIRST = 16, 24, 32  # widths of the first stage; each further one has up to twice as many
ACTIVATIONS = "Relu", "Elu", "LeakyRelu"


class ChannelsFirst(Space):
    """Pictures with their colours on the last axis become such with colours on axis 1."""

    def grow(self, spot: Spot, rng: np.random.Generator, width: int | None = None) -> Spot:
        place = spot.called("transpose")
        last = len(spot.shape) - 1
        return spot.behind_of(place.add("Transpose", [spot.value], *ordered([0, last, *range(1, last)])))


def pictures(form: DataForm) -> Space:
    """Stages of convolutions, alone, in residuals or in forks, with poolings between them, then a dense layer."""
    parts: list[Space] = [ChannelsFirst()] if form.channels_last else []
    for number in range(STAGES):
        conv = ConvSpace(
            widths=[w * 2**number for w in FIRST], kernels=(3, 3, 5), activations=ACTIVATIONS, batch_norm=True
        )
        block = OneOf([conv, Residual(conv), Fork(conv)], weights=(2, 2, 1))
        stage = Chain([conv, Repeat(block, count=(0, 1, 2))])
        if number:
            stage = Chain([PoolSpace(kernels=2, strides=2), stage])
            parts.append(Conditional(LargerThan(SMALLEST), stage))
        else:
            parts.append(stage)
    head = DenseSpace(widths=[form.outputs], activations=())
    return Chain([*parts, GlobalPoolSpace(), FlattenSpace(), head])


def vectors(form: DataForm) -> Space:
    """One to three dense layers, and one that says the outputs."""
    widths = [min(512, max(8, w)) for w in (prod(form.shape), 2 * prod(form.shape), 64, 128)]
    layer = DenseSpace(widths=sorted(set(widths)), activations=ACTIVATIONS)
    return Chain([FlattenSpace(), Repeat(layer, count=(1, 2, 3)), DenseSpace(widths=[form.outputs], activations=())])


DEFAULTS: Mapping[str, Callable[[DataForm], Space]] = {"pictures": pictures, "vectors": vectors}


def space_for(form: DataForm, word: str) -> Space:
    """The space that a word means; `auto`: by the form of a sample."""
    word = ("pictures" if form.pictures else "vectors") if word == "auto" else word
    return DEFAULTS[word](form)
