"""Updates the running statistics of batch normalisations whose inputs a cut and its compensation changed.

A normalisation right behind a refitted layer stays as it is: the layer reproduces its input. For all others, the means
and variances of the input are measured in both models, and the stored statistics change by the same amount. So they
stay right even if these samples never matched them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import FloatArray, Ids, Mask
from onnxsurgeon.calibration.linear_layers import kept
from onnxsurgeon.compensation.cut_layers import put
from onnxsurgeon.dependency.labels import Labels
from onnxsurgeon.model.editor import Editor
from onnxsurgeon.ops.nodes import constant, operator_of
from onnxsurgeon.ops.registry import ChannelStatistics

SPREAD = 1e-12  # a channel with a smaller variance is constant, so its variance does not change
LIMIT = 100.0  # the largest factor by which a variance changes: a channel that lost more is only noise


@dataclass
class ChannelSums:
    """Running sums per channel: count, sum and sum of squares; both sums have shape (channels,)."""

    count: int = 0
    total: FloatArray = field(default_factory=lambda: np.zeros(()))
    squares: FloatArray = field(default_factory=lambda: np.zeros(()))

    def add(self, array: FloatArray, share: float) -> None:
        """Add `array`, shape (samples, channels, ...), of which the first `share` of the samples count."""
        array = array[: round(len(array) * share)]
        rows = np.moveaxis(array, 1, -1).reshape(-1, array.shape[1]).astype(np.float64)
        self.count += len(rows)
        self.total, self.squares = self.total + rows.sum(axis=0), self.squares + (rows**2).sum(axis=0)

    @property
    def moments(self) -> tuple[FloatArray, FloatArray]:
        """Means and variances, shape (channels,) each."""
        mean = self.total / max(1, self.count)
        return mean, np.maximum(self.squares / max(1, self.count) - mean**2, 0.0)


@dataclass(frozen=True, eq=False)
class Norm:
    """A node of the original that stores means and variances of its input. neurons: those of its channels."""

    node: ir.Node
    statistics: ChannelStatistics
    neurons: Ids

    @property
    def data(self) -> ir.Value:
        value = self.node.inputs[0]
        assert value is not None
        return value

    @property
    def output(self) -> str:
        return self.node.outputs[0].name or ""


def norms(labels: Labels, fitted: Collection[ir.Value]) -> Iterator[Norm]:
    """The normalisations whose input is not an output of a refitted layer (`fitted`), in graph order."""
    for node in labels.model.graph:
        operator, call = operator_of(node), labels.calls.get(node)
        statistics = None if operator is None else operator.statistics
        if statistics is None or call is None or node.inputs[0] in fitted or not statistics.fixed(call.attributes):
            continue
        axes = call.axes(0)
        axis = None if axes is None else axes[statistics.channels]
        known = [constant(node.inputs[index]) for index in (statistics.mean, statistics.variance)]
        if axis is not None and all(tensor is not None and tensor.dtype == ir.DataType.FLOAT for tensor in known):
            yield Norm(node, statistics, axis)


def update_norm(editor: Editor, twin: ir.Node, norm: Norm, keep: Mask, before: ChannelSums, after: ChannelSums) -> None:
    """Update the statistics of `twin`, which is `norm` in the cut model.

    before, after: sums of the inputs of `norm` and `twin`. If their means and variances are m0, v0 and m1, v1, then a
    channel's stored m and v become m1 + (m - m0) sqrt(v1 / v0) and v v1 / v0.
    """
    stays = kept(keep, norm.neurons)
    (mean, variance), (new_mean, new_variance) = (m[stays] for m in before.moments), after.moments
    stored = [constant(twin.inputs[index]) for index in (norm.statistics.mean, norm.statistics.variance)]
    stored_mean, stored_variance = (np.asarray(tensor.numpy(), np.float64) for tensor in stored if tensor is not None)
    varies = (variance > SPREAD) & (new_variance > SPREAD)
    factor = np.divide(new_variance, variance, out=np.ones_like(variance), where=varies).clip(1 / LIMIT, LIMIT)
    put(editor, twin, norm.statistics.mean, new_mean + (stored_mean - mean) * np.sqrt(factor))
    put(editor, twin, norm.statistics.variance, stored_variance * factor)
