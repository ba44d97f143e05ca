"""The kernels that onnxruntime makes of a graph, and the products of axis lengths that their times follow.

onnxruntime fuses nodes, so that a kernel may stand for several. The profiler calls it by the name of one of them, or of
the value that it writes. Its time follows its work (multiply-accumulates) and the elements that it writes and reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import FloatArray, Mask
from onnxsurgeon.dependency.labels import Labels
from onnxsurgeon.neurons.relations import Axes
from onnxsurgeon.ops.call import Call
from onnxsurgeon.ops.registry import Factors

BLOCKED = "_nchwc"  # behind the name of the value that a kernel writes, channels in blocks
FUSED = "fused "  # before the name of a node whose activation is in its kernel
DEPTH = 4  # nodes that may stand between a product and the output of its kernel
KINDS = ("work", "written", "read")


@dataclass(frozen=True)
class Kernel:
    """The products of axis lengths that the time of a kernel follows: for each of `KINDS`, those that are summed."""

    terms: tuple[tuple[Factors, ...], ...]

    def sizes(self, keep: Mask, block: int) -> FloatArray:
        """The sums of products if the neurons in `keep` stay and widths are rounded up to `block`, shape (kinds,)."""
        return np.array([sum(_product(factors, keep, block) for factors in sums) for sums in self.terms])


def _product(factors: Factors, keep: Mask, block: int) -> float:
    lengths = [size if axis is None else -(-int(keep[axis].sum()) // block) * block for size, axis in factors]
    return float(np.prod(lengths, dtype=np.float64))


class Kernels:
    """Finds the kernel that a name of onnxruntime's profiler means."""

    def __init__(self, labels: Labels) -> None:
        self.labels = labels
        self.nodes = {call.name: node for node, call in labels.calls.items()}
        self.writers = {v.name: node for node in labels.calls for v in node.outputs if v.name}

    def find(self, name: str) -> Kernel | None:
        """The kernel; None if nothing in the graph has that name, or its sizes are not known."""
        value, blocked, _ = name.partition(BLOCKED)
        last = self.writers.get(value) if blocked else None
        if last is not None:
            return self._kernel(self._product_behind(last) or last, last)
        node = self.nodes.get(name.removeprefix(FUSED))
        return None if node is None else self._kernel(node, node)

    def _product_behind(self, last: ir.Node) -> ir.Node | None:
        """The nearest node with multiply-accumulates that the kernel which ends with `last` may hold."""
        waiting = [(last, 0)]
        for node, depth in waiting:
            operator = self.labels.operator(node)
            if operator is not None and operator.macs is not None:
                return node
            fused = operator is not None and (operator.kind in ("activation", "sum") or operator.statistics is not None)
            if fused and depth < DEPTH:
                values = [v for v in node.inputs if v is not None and len(list(v.uses())) == 1]
                waiting += [
                    (p, depth + 1) for v in values if (p := v.producer()) is not None and p in self.labels.calls
                ]
        return None

    def _kernel(self, first: ir.Node, last: ir.Node) -> Kernel | None:
        begins, ends = self.labels.calls[first], self.labels.calls[last]
        operator = self.labels.operator(first)
        work = (
            tuple(operator.macs(begins))
            if operator is not None and operator.macs and begins.results[:1] != [None]
            else ()
        )
        written, read = tuple(_outputs(ends)), tuple(self._inputs(first, begins))
        return Kernel((work, written, read)) if written else None

    def _inputs(self, node: ir.Node, call: Call) -> Iterator[Factors]:
        for index, tensor in enumerate(call.inputs):
            if tensor is not None and not tensor.weight and tensor.shape is not None:
                yield _factors(tensor.shape, self.labels.known(node, index))


def _outputs(call: Call) -> Iterator[Factors]:
    for tensor, axes in zip(call.outputs, call.results, strict=False):
        if tensor.shape is not None:
            yield _factors(tensor.shape, axes)


def _factors(shape: tuple[int, ...], axes: Axes | None) -> Factors:
    return list(zip(shape, axes or (None,) * len(shape), strict=True))
