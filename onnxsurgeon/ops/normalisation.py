"""Normalisations: their statistics run over axes that may be cut, which is not the same as silencing them."""

from __future__ import annotations

from collections.abc import Sequence

from onnxsurgeon.arrays import Shape
from onnxsurgeon.neurons.relations import Axes
from onnxsurgeon.ops.call import Call
from onnxsurgeon.ops.composition import composed
from onnxsurgeon.ops.normalisation_gradients import (
    batch_norm_gradient,
    embedding_norm,
    grouped_norm,
    layer_norm_gradient,
    local_response_gradient,
    mean_variance_gradient,
    skip_norm,
)
from onnxsurgeon.ops.registry import MICROSOFT, ChannelStatistics, Operator, add
from onnxsurgeon.ops.shape_inference import Attributes, ShapeRule, Shapes, like
from onnxsurgeon.ops.signatures import counted, read
from onnxsurgeon.ops.training_form import BATCH_STATISTICS


def layer_norm(call: Call) -> Sequence[Axes | None]:
    """The statistics run over the axes from `axis` on; outputs 1 and 2 are the statistics."""
    rank, axis = call.rank(), call.axis(call.rank(), -1)
    results = read(call, "..., ..., ... -> ...")
    call.normalises(0, range(axis, rank))
    if results[0] is None:
        return results
    statistics = (*results[0][:axis], *(None,) * (rank - axis))
    return [results[0], *(statistics for _ in results[1:])]


def normalised(attributes: Attributes, shapes: Shapes) -> Sequence[Shape]:
    """The result and its statistics; the last output is input + skip."""
    shape = shapes[0]
    axis = int(attributes.get("axis", -1)) % len(shape)
    statistics = (*shape[:axis], *(1,) * (len(shape) - axis))
    return [shape, statistics, statistics, shape]


LAYER = Operator(layer_norm, scale=1, neutral={1: 1.0}, gradient=layer_norm_gradient(centred=False))

add("LayerNormalization", LAYER, neutral={1: 1.0, 2: 0.0}, gradient=layer_norm_gradient(centred=True))
add("RMSNormalization", LAYER)
add("SimplifiedLayerNormalization", LAYER, shape=ShapeRule(normalised))


def skipped(call: Call) -> Sequence[Axes | None]:
    """input + skip (+ bias), normalised along the last axis; output 3 is the sum."""
    results = read(call, ", ".join(["..."] * len(call.inputs)) + " -> ..., , , ...")
    call.normalises(0, [-1])
    rows = None if results[0] is None else (*results[0][:-1], None)
    return [rows if i in (1, 2) else axes for i, axes in enumerate(results)]


SKIP = Operator(skipped, scale=2, shape=ShapeRule(normalised))

add(
    "SkipLayerNormalization", SKIP, neutral={2: 1.0, 3: 0.0, 4: 0.0}, gradient=skip_norm(centred=True), domain=MICROSOFT
)
add(
    "SkipSimplifiedLayerNormalization",
    SKIP,
    neutral={2: 1.0, 3: 0.0},
    gradient=skip_norm(centred=False),
    domain=MICROSOFT,
)


def embed(call: Call) -> Sequence[Axes | None]:
    """Tables of words, positions and segments, summed and normalised."""
    results = read(call, "_ _, _ _, _ d, _ d, _ d, d, d, _ _, _ _ -> _ _ d, , _ _ d")
    call.normalises(2, [1])
    return results


def embedded(attributes: Attributes, shapes: Shapes) -> Sequence[Shape]:
    """Three tables looked up, summed and normalised; an index of each mask; the sum."""
    ids, words = shapes[0], shapes[2]
    index = (3 * ids[0] + 2,) if attributes.get("mask_index_type") == 2 else ids[:1]
    return [(*ids, words[1]), index, (*ids, words[1])]


add(
    "EmbedLayerNormalization",
    embed,
    looks_up={0: 2, 1: 4},
    scale=5,
    shape=ShapeRule(embedded, ((2,), (0,), (2,))),
    gradient=composed(embedding_norm),
    domain=MICROSOFT,
)


def batch_norm(call: Call) -> Sequence[Axes | None]:
    results = read(call, "n c ..., c, c, c, c -> n c ..., c, c, c, c")
    if call.attributes.get("training_mode"):
        call.normalises(0, [a for a in range(call.rank()) if a != 1])
    return results


def instance_norm(call: Call) -> Sequence[Axes | None]:
    results = read(call, "n c ..., c, c -> n c ...")
    call.normalises(0, range(2, call.rank()))
    return results


def norm_groups(call: Call) -> int:
    return int((call.shape(0) or (1, 1))[1]) // int(call.attributes["num_groups"])


def group_norm(call: Call) -> Sequence[Axes | None]:
    """Before opset 21 scale and shift are per group, from then on per channel."""
    groups = int(call.attributes["num_groups"])
    per = "g" if (call.shape(1) or (0,))[0] == groups and groups != (call.shape(0) or (0, 0))[1] else "(g c)"
    results = read(call, f"n (g c) *, {per}, {per} -> n (g c) *", g=groups)
    call.normalises(0, [1])
    return results


add(
    "BatchNormalization",
    batch_norm,
    silence="none",
    neutral={1: 1.0, 2: 0.0, 3: 0.0, 4: 1.0},
    scale=1,
    statistics=ChannelStatistics(scale=1, shift=2, mean=3, variance=4),
    gradient=batch_norm_gradient,
    training=BATCH_STATISTICS,
)
add(
    "InstanceNormalization",
    instance_norm,
    scale=1,
    neutral={1: 1.0, 2: 0.0},
    gradient=grouped_norm(lambda call: call.shape(0)[1]),
)
add(
    "GroupNormalization",
    group_norm,
    resize=counted("num_groups", 0, 1, norm_groups),
    scale=1,
    shape=ShapeRule(like(0)),
    neutral={1: 1.0, 2: 0.0},
    gradient=grouped_norm(lambda call: int(call.attributes["num_groups"])),
)


def mean_variance(call: Call) -> Sequence[Axes | None]:
    results = read(call, "... -> ...")
    call.normalises(0, [int(a) for a in call.attributes.get("axes") or (0, 2, 3)])
    return results


def local_response(call: Call) -> Sequence[Axes | None]:
    results = read(call, "n c ... -> n c ...")
    call.normalises(0, [1])
    return results


add("MeanVarianceNormalization", mean_variance, shape=ShapeRule(like(0)), gradient=(mean_variance_gradient,))
add("LRN", local_response, gradient=(local_response_gradient,))
