"""Operators that need all of what they read, each with the reason."""

from __future__ import annotations

from collections.abc import Sequence

from onnxsurgeon.neurons.relations import Axes
from onnxsurgeon.ops.call import Call, register

WHOLE = {
    "AffineGrid": "a grid's coordinates depend on its sizes",
    "Compress": "how many elements it picks depends on data",
    "EyeLike": "where its ones are depends on both sizes",
    "ImageDecoder": "a picture's bytes",
    "MaxUnpool": "its indices count over all channels",
    "Multinomial": "its samples are positions",
    "NegativeLogLikelihoodLoss": "its targets are positions",
    "NonMaxSuppression": "which boxes it picks depends on all of them",
    "NonZero": "what it returns are positions",
    "SoftmaxCrossEntropyLoss": "its targets are positions",
    "TfIdfVectorizer": "it counts n-grams in all of its input",
    "Unique": "which elements it returns depends on all of them",
}


@register(" ".join(WHOLE))
def whole(call: Call) -> Sequence[Axes | None]:
    return call.freeze_all(WHOLE[call.operator])


# What onnxruntime writes for the processor that it runs on: weights in blocks of as many channels as that takes at
# once, which the file doesn't say.
NCHWC = "com.microsoft.nchwc"


@register(
    "AveragePool Conv GlobalAveragePool GlobalMaxPool MaxPool ReorderInput ReorderOutput Upsample",
    domain=NCHWC,
)
def blocked(call: Call) -> Sequence[Axes | None]:
    return call.freeze_all("laid out for one kind of processor: optimise to the level extended, not all")
