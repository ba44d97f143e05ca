"""The proof of a cut in bounded memory: a few stages of the models run at once, and all values inside are compared.

For models whose weights don't fit in memory. The original, the reference and the cut model are read stage by stage, and
what later stages read lies on disk. The cut model never runs as a whole: each of its stages is given the reference's
values, so that all of them agree is as much as equal outputs.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

import numpy as np

from onnxsurgeon.arrays import Arrays, Mask
from onnxsurgeon.dependency.interface import positions
from onnxsurgeon.dependency.labels import Labels
from onnxsurgeon.errors import ModelError
from onnxsurgeon.model.read import read
from onnxsurgeon.options.shared import Device
from onnxsurgeon.proof.comparison import Comparison, Tolerance, compare
from onnxsurgeon.proof.feeds import Given, Outcome, runnable, unusual_sizes
from onnxsurgeon.proof.layers import Layers
from onnxsurgeon.proof.noise import Noise
from onnxsurgeon.proof.probes import at_kept
from onnxsurgeon.proof.reference import fixed_size, reference
from onnxsurgeon.runtime.random_inputs import random_inputs


def compare_in_stages(
    labels: Labels, keep: Mask, edited: str | os.PathLike[str], allowed: Tolerance, random: Noise, *, memory: float,
    device: Device, seed: int, optimise: bool, samples: Given | None = None,
) -> tuple[Comparison, Comparison, list[Arrays], int]:  # fmt: skip
    """(result, moved, before, layers): the worst difference of a value inside or an output, how far the reference
    moved from the original, the original's outputs, and how many values inside were compared.

    memory: bytes. Raises ModelError if the original does not run, or a stage of another model.
    """
    by_layer = partial(
        Layers, labels, allowed=allowed, memory=memory, dense=True, device=device, optimise=optimise
    )  # fmt: skip
    every = np.ones_like(keep)
    recorded = by_layer(every, random.recorded(labels.original), labels.model)

    def run(path: object, feeds: Sequence[Arrays]) -> Outcome:
        return recorded.run(feeds, 0)[0], recorded.provider

    feeds, before = runnable(labels, keep, "", run, seed, samples)
    for sizes in () if fixed_size(labels, keep) else unusual_sizes(labels):
        feed = random_inputs(labels, sizes, seed)
        with suppress(ModelError):
            before += run("", [feed])[0]
            feeds.append(feed)
    same = by_layer(every, random.replayed(labels.original), random.replayed(labels.model))
    if random.made:
        feeds = random.fed(feeds, before)
        before, _ = same.run(feeds, 0)
    pair = by_layer(keep, random.replayed(reference(labels, keep)), random.replayed(read(edited)))
    expected, result = pair.prove(feeds)
    if labels.model is not labels.original:
        result = max(result, same.prove(feeds)[1], key=lambda c: c.margin)
    at = partial(at_kept, names={**positions(labels, keep), **random.places})
    moved = compare(at(before), at(expected), allowed, result.provider)
    return replace(result, samples=len(feeds)), moved, before, len(pair.points)
