"""The reference of a proof: the original model with the dropped neurons silenced, its weights untouched.

Where an operator sums over neurons, the dropped ones are zero before it; where it normalises along them, it sees the
kept ones alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import Ids, Mask
from onnxsurgeon.dependency.facts import FLOATS
from onnxsurgeon.dependency.labels import Labels
from onnxsurgeon.edit.apply import paired
from onnxsurgeon.model.editor import Editor, feed, set_attribute, set_input, set_tensor
from onnxsurgeon.neurons.relations import Axes, Axis
from onnxsurgeon.neurons.selection import cutting
from onnxsurgeon.ops import Call
from onnxsurgeon.ops.making import along


def reference(labels: Labels, keep: Mask, source: ir.Model | None = None) -> ir.Model:
    """`labels.model` (or `source`, of the same structure) that computes what is left when `keep` drops neurons."""
    return _Reference(labels, keep, source or labels.model).run()


def fixed_size(labels: Labels, keep: Mask) -> bool:
    """Whether the reference only runs at the labelled sizes: neurons are dropped along a dynamic axis."""
    for call in labels.calls.values():
        for index, tensor in enumerate(call.inputs):
            if tensor is not None and any(tensor.dynamic) and not tensor.weight:
                for axis, dynamic in zip(call.axes(index) or (), tensor.dynamic, strict=False):
                    if dynamic and axis is not None and not keep[axis].all():
                        return True
    return False


class _Reference:
    def __init__(self, labels: Labels, keep: Mask, source: ir.Model) -> None:
        self.labels, self.keep, self.editor = labels, keep, Editor(source.clone())

    def run(self) -> ir.Model:
        for node, twin in list(paired(self.labels, self.editor.model)):
            call = self.labels.calls.get(node)
            operator = self.labels.operator(node)
            if call is None or operator is None:
                continue
            if any(self._loses((call.axes(index) or ())[axis]) for index, axis in call.soft):
                self._wrap(node, twin, call)
            elif operator.silence != "none":
                everything = operator.silence == "all" or all(t is None or t.weight for t in call.inputs)
                self._silence(node, twin, call, operator.zeros, everything=everything)
        return self.editor.model

    def _loses(self, ids: Axis) -> bool:
        return ids is not None and not self.keep[ids].all()

    def _dropped(self, axes: Axes | None) -> Iterator[tuple[int, Ids]]:
        """The axes that lose neurons, and the neurons on each."""
        for axis, ids in enumerate(axes or ()):
            if ids is not None and self._loses(ids):
                yield axis, ids

    def _silence(
        self, original: ir.Node, node: ir.Node, call: Call, zeros: Mapping[int, int], *, everything: bool
    ) -> None:
        """Sets the dropped neurons to zero in what the operator reads."""
        for index, tensor in enumerate(call.inputs):
            if tensor is None or (tensor.weight and not everything):
                continue
            for axis, ids in self._dropped(call.axes(index)):
                value = node.inputs[index]
                shape = [1] * len(tensor.shape or ())
                shape[axis] = len(ids)
                mask = self.keep[ids].reshape(shape)
                if call.version < 9 and not original.domain:  # before Where
                    factor = self._constant("silence", mask.astype(self._dtype(original, index).numpy()))
                    self._before(node, index, "Mul", [value, factor])
                else:
                    zero = self._zero(original, node, index, zeros)
                    self._before(node, index, "Where", [self._constant("silence", mask), value, zero])

    def _zero(self, original: ir.Node, node: ir.Node, index: int, zeros: Mapping[int, int]) -> ir.Value:
        """The zero point of a quantised input, else 0 of its type."""
        point = zeros.get(index, len(node.inputs))
        found = node.inputs[point] if point < len(node.inputs) else None
        if found is not None:
            return found
        return self._constant("zero", np.zeros((), self._dtype(original, index).numpy()))

    def _dtype(self, node: ir.Node, index: int) -> ir.DataType:
        value = node.inputs[index]
        assert value is not None
        return ir.DataType(self.labels.evaluator.fact(value, self.labels.facts[0]).dtype)

    def _wrap(self, original: ir.Node, node: ir.Node, call: Call) -> None:
        """Gives the operator the kept neurons alone, and puts its results back in their places."""
        operator = self.labels.operator(original)
        changes = operator.resize(call, cutting(self.labels.classes, self.keep)) if operator and operator.resize else {}
        for index in range(len(call.inputs)):
            for axis, ids in self._dropped(call.axes(index)):
                kept = self._constant("kept", np.flatnonzero(self.keep[ids]))
                self._before(node, index, "Gather", [node.inputs[index], kept], axis)
        for name, new in changes.items():
            if isinstance(name, str):
                set_attribute(node, name, new)
        for value, axes in zip(node.outputs, call.results, strict=False):
            for axis, ids in self._dropped(axes):
                self._after(node, value, axis, ids)

    def _after(self, node: ir.Node, value: ir.Value, axis: int, ids: Ids) -> None:
        """Dropped positions repeat the first kept one: whatever sums over them silences them again."""
        back = self._constant("back", np.where(self.keep[ids], np.cumsum(self.keep[ids]) - 1, 0))
        uses = list(value.uses())
        spread = self.editor.node("Gather", [value, back], along(axis), name=f"{value.name}.spread", after=node)[0]
        feed(uses, spread)
        if value.is_graph_output():
            self.editor.take_over(value, spread, spread.name)

    def _before(
        self, node: ir.Node, index: int, operator: str, inputs: Sequence[ir.Value | None], axis: int | None = None
    ) -> None:
        """Puts a node between another one and its input."""
        attributes = [] if axis is None else along(axis)
        name = f"{node.name or node.outputs[0].name}.input{index}"
        set_input(node, index, self.editor.node(operator, inputs, attributes, name=name, before=node)[0])

    def _constant(self, kind: str, array: np.ndarray) -> ir.Value:
        return self.editor.shared_weight(f"onnxsurgeon_{kind}", array)


def numbers(labels: Labels) -> set[str]:
    """Names of the constants that the arithmetic of sizes is done with: what follows from them is written into cuts."""
    nodes = [node for node in labels.model.graph.all_nodes() if node not in labels.calls]
    return {value.name or "" for node in nodes for value in node.inputs if value is not None}


def perturbed(model: ir.Model, seed: int, spared: Collection[str]) -> ir.Model:
    """A copy in which tiny weights (LayerScale, norms and heads that start at zero) are of ordinary size.

    With them a proof would show nothing. spared: names of weights that stay as they are.
    """
    copy = model.clone()
    for name, value in copy.graph.initializers.items():
        tensor = value.const_value
        if tensor is not None and name not in spared and tensor.dtype in FLOATS:
            array = tensor.numpy()
            limit = 0.05 if _real(array) == 1 else 1e-5
            if array.size and float(np.abs(array).max()) <= limit:
                set_tensor(value, ir.Tensor((array + _noise(array, seed)).astype(array.dtype), name=tensor.name))
    return copy


def _real(array: np.ndarray) -> int:
    """How many axes are longer than 1."""
    return sum(n > 1 for n in array.shape)


def _noise(array: np.ndarray, seed: int) -> np.ndarray:
    rng, real = np.random.default_rng([seed, array.size]), _real(array)
    signs = [-1.0, 1.0] if real else [1.0]  # a scalar may be what keeps a root from being imaginary
    noise = rng.uniform(0.5, 1.0, array.shape) * rng.choice(signs, array.shape)
    return np.asarray(noise * (1.0 if real <= 1 else 1.0 / np.sqrt(array.size / array.shape[0])))
