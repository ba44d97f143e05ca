"""Operators that freeze their inputs, each with the reason."""

from __future__ import annotations

import numpy as np

from onnxsurgeon.arrays import Array
from onnxsurgeon.ops.call import ValueCall
from onnxsurgeon.ops.registry import add, always
from onnxsurgeon.ops.signatures import frozen

WHOLE = {
    "AffineGrid": "a grid's coordinates depend on its sizes",
    "Compress": "how many elements it picks depends on data",
    "EyeLike": "where its ones are depends on both sizes",
    "ImageDecoder": "a picture's bytes",
    "MaxUnpool": "its indices count over all channels",
    "NegativeLogLikelihoodLoss": "its targets are positions",
    "NonMaxSuppression": "which boxes it picks depends on all of them",
    "Multinomial": "its samples are positions",
    "NonZero": "it returns positions",
    "SoftmaxCrossEntropyLoss": "its targets are positions",
    "TfIdfVectorizer": "it counts n-grams in all of its input",
    "Unique": "which elements it returns depends on all of them",
}


def _nonzero(call: ValueCall) -> Array:
    return np.asarray(np.nonzero(call.inputs[0]), np.int64)


COUNTS = ("Compress", "NonMaxSuppression", "NonZero", "Unique")

for _name, _why in WHOLE.items():
    add(
        _name, frozen(_why), value=_nonzero if _name == "NonZero" else None, counts=_name in COUNTS,
        random=always if _name == "Multinomial" else None,
    )  # fmt: skip


# What onnxruntime writes for the processor that it runs on: weights in blocks of as many channels as that takes at
# once, which the file doesn't say.
NCHWC = "com.microsoft.nchwc"

add(
    "AveragePool Conv GlobalAveragePool GlobalMaxPool MaxPool ReorderInput ReorderOutput Upsample",
    frozen("laid out for one kind of processor: optimise to the level extended, not all"),
    domain=NCHWC,
)
