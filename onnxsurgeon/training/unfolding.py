"""Batch normalisation that an exporter folded into convolutions: put back for training, and folded again.

What is put back has the statistics of the convolution's outputs, and their deviation and mean as scale and shift: the
model computes what it did.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import Array, Arrays
from onnxsurgeon.errors import InfeasibleError
from onnxsurgeon.model.editor import Editor, feed
from onnxsurgeon.ops.nodes import constant, convolution_of, operator_of
from onnxsurgeon.options.shared import Device
from onnxsurgeon.runtime.partial_runs import Segment

TINY = 1e-5  # what the operator adds to variances


@dataclass(frozen=True)
class Unfolded:
    """A normalisation that was put back: the names of the convolution's weight and bias, and of its own inputs."""

    weight: str
    bias: str
    scale: str
    shift: str
    mean: str
    variance: str

    def folded(self, arrays: Mapping[str, Array]) -> Arrays:
        """The weight and the bias of the convolution that does both."""
        weight, bias, scale, shift, mean, variance = (np.asarray(arrays[n], np.float64) for n in vars(self).values())
        factor = scale / np.sqrt(variance + TINY)
        wide = factor.reshape(-1, *(1,) * (weight.ndim - 1))
        found = {self.weight: weight * wide, self.bias: (bias - mean) * factor + shift}
        return {name: array.astype(np.float32) for name, array in found.items()}


def unfold(model: ir.Model, nodes: Iterable[ir.Node], feeds: Iterable[Arrays], device: Device) -> list[Unfolded]:
    """Puts normalisations into `model`, behind convolutions with a weight and a bias of their own that no one follows.

    feeds: batches for the statistics. Raises InfeasibleError if there is no such convolution.
    """
    found = [node for node in nodes if _is_folded(node)]
    if not found:
        raise InfeasibleError(
            "there is nothing to unfold", why="no convolution has a bias and no normalisation behind it",
            fix="leave `unfold_bn` out",
        )  # fmt: skip
    piece, editor, made = Segment(model, [node.outputs[0] for node in found], device), Editor(model), list[Unfolded]()
    sums = {node: (0.0, np.zeros(0), np.zeros(0)) for node in found}
    for batch in feeds:
        arrays = piece.run(batch)
        for node, (count, first, second) in sums.items():
            rows = np.moveaxis(np.asarray(arrays[node.outputs[0].name or ""], np.float64), 1, 0)
            rows = rows.reshape(len(rows), -1)
            more = rows.sum(axis=1), (rows**2).sum(axis=1)
            sums[node] = count + rows.shape[1], more[0] + (first if count else 0), more[1] + (second if count else 0)
    for node, (count, first, second) in sums.items():
        mean = first / count
        variance = np.maximum(second / count - mean**2, 0.0)
        name, result = f"{node.name or node.outputs[0].name} norm", node.outputs[0]
        uses = list(result.uses())
        content = {"deviation": np.sqrt(variance + TINY), "shift": mean, "mean": mean, "variance": variance}
        weights = [editor.weight(f"{name} {key}", array.astype(np.float32)) for key, array in content.items()]
        (end,) = editor.node("BatchNormalization", [result, *weights], name=name, after=node)
        end.type, end.shape = result.type, result.shape
        feed(uses, end)
        weight, bias = (value.name or "" for value in _own(node))
        made.append(Unfolded(weight, bias, *(value.name or "" for value in weights)))
    return made


def _own(node: ir.Node) -> list[ir.Value]:
    """The constants among its inputs: the weight and the bias."""
    return [value for value in node.inputs if value is not None and constant(value) is not None]


def _is_folded(node: ir.Node) -> bool:
    convolution, own = convolution_of(node), _own(node)
    if convolution is None or convolution.transposed or len(own) != 2 or len(node.inputs) != 3:
        return False
    followed = [operator_of(user) for user, _ in node.outputs[0].uses()]
    if any(known is not None and known.statistics is not None for known in followed):
        return False
    return not node.outputs[0].is_graph_output() and all(len(list(value.uses())) == 1 for value in own)
