"""The reference of a proof: the original model with the dropped neurons silenced, its weights untouched.

Where an operator sums over neurons, the dropped ones are zero before it; where it normalises along them, it sees the
kept ones alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import Ids, Mask
from onnxsurgeon.dependency.labels import Labels
from onnxsurgeon.edit.apply import attribute, paired
from onnxsurgeon.neurons.selection import cutting
from onnxsurgeon.ops import Call


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
        self.labels, self.keep = labels, keep
        self.model = source.clone()
        self.count = 0
        self.constants: dict[tuple[bytes, str, tuple[int, ...]], ir.Value] = {}

    def run(self) -> ir.Model:
        for node, twin in list(paired(self.labels, self.model)):
            call = self.labels.calls.get(node)
            operator = self.labels.operator(node)
            if call is None or operator is None:
                continue
            if any(self._drops(call, index, axis) for index, axis in call.soft):
                self._wrap(node, twin, call)
            elif operator.silence != "none":
                everything = operator.silence == "all" or all(t is None or t.weight for t in call.inputs)
                self._silence(node, twin, call, operator.zeros, everything=everything)
        return self.model

    def _drops(self, call: Call, index: int, axis: int) -> bool:
        labels = (call.axes(index) or ())[axis]
        return labels is not None and not self.keep[labels].all()

    def _silence(
        self, original: ir.Node, node: ir.Node, call: Call, zeros: Mapping[int, int], *, everything: bool
    ) -> None:
        for index, tensor in enumerate(call.inputs):
            if tensor is None or (tensor.weight and not everything):
                continue
            for axis, labels in enumerate(call.axes(index) or ()):
                if labels is None or self.keep[labels].all():
                    continue
                value = node.inputs[index]
                assert value is not None
                shape = [1] * len(tensor.shape or ())
                shape[axis] = len(labels)
                mask = self.keep[labels].reshape(shape)
                if call.version < 9 and not original.domain:  # before Where
                    factor = self._constant(mask.astype(self._dtype(original, index).numpy()), "silence")
                    self._before(node, index, "Mul", [value, factor])
                else:
                    zero = self._zero(original, node, index, zeros)
                    self._before(node, index, "Where", [self._constant(mask, "silence"), value, zero])

    def _zero(self, original: ir.Node, node: ir.Node, index: int, zeros: Mapping[int, int]) -> ir.Value:
        """What silence is: the zero point of a quantised input, else 0 of its type."""
        point = zeros.get(index, len(node.inputs))
        found = node.inputs[point] if point < len(node.inputs) else None
        if found is not None:
            return found
        return self._constant(np.zeros((), self._dtype(original, index).numpy()), "zero")

    def _dtype(self, node: ir.Node, index: int) -> ir.DataType:
        value = node.inputs[index]
        assert value is not None
        return ir.DataType(self.labels.evaluator.fact(value, self.labels.facts[0]).dtype)

    def _wrap(self, original: ir.Node, node: ir.Node, call: Call) -> None:
        """The operator on the kept neurons alone; afterwards they go back to their places."""
        operator = self.labels.operator(original)
        changes = operator.resize(call, cutting(self.labels.classes, self.keep)) if operator and operator.resize else {}
        for index in range(len(call.inputs)):
            for axis, labels in enumerate(call.axes(index) or ()):
                if labels is not None and not self.keep[labels].all():
                    value = node.inputs[index]
                    assert value is not None
                    kept = self._constant(np.flatnonzero(self.keep[labels]), "kept")
                    self._before(node, index, "Gather", [value, kept], axis)
        for name, new in changes.items():
            if isinstance(name, str):
                node.attributes[name] = attribute(name, new)
        for value, axes in zip(node.outputs, call.results, strict=False):
            for axis, labels in enumerate(axes or ()):
                if labels is not None and not self.keep[labels].all():
                    self._after(node, value, axis, labels)

    def _after(self, node: ir.Node, value: ir.Value, axis: int, labels: Ids) -> None:
        """Dropped positions repeat the first kept one: whatever sums over them silences them again."""
        back = np.where(self.keep[labels], np.cumsum(self.keep[labels]) - 1, 0)
        spread = self._node("Gather", [value, self._constant(back, "back")], axis)
        node.append(spread)  # after the operator
        for use in list(value.uses()):
            if use.node is not spread:
                use.node.replace_input_with(use.idx, spread.outputs[0])
        for number, returned in enumerate(node.graph.outputs if node.graph is not None else ()):
            if returned is value:  # and is called so
                new = spread.outputs[0]
                new.type, new.shape = value.type, value.shape
                new.name, value.name = value.name, new.name
                node.graph.outputs[number] = new  # type: ignore[union-attr]

    def _before(
        self, node: ir.Node, index: int, operator: str, inputs: Sequence[ir.Value], axis: int | None = None
    ) -> None:
        fresh = self._node(operator, inputs, axis)
        node.prepend(fresh)
        node.replace_input_with(index, fresh.outputs[0])

    def _node(self, operator: str, inputs: Sequence[ir.Value], axis: int | None = None) -> ir.Node:
        self.count += 1
        attributes = [] if axis is None else [ir.AttrInt64("axis", axis)]
        fresh = ir.Node("", operator, inputs, attributes, name=f"onnxsurgeon_{self.count}")
        fresh.outputs[0].name = f"onnxsurgeon_{self.count}_out"
        return fresh

    def _constant(self, array: np.ndarray, kind: str) -> ir.Value:
        key = (array.tobytes(), str(array.dtype), array.shape)
        if key not in self.constants:
            name = f"onnxsurgeon_{kind}_{len(self.constants)}"
            tensor = ir.Tensor(array, name=name)
            value = ir.Value(
                name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor
            )
            self.model.graph.initializers[name] = value
            self.constants[key] = value
        return self.constants[key]


def numbers(labels: Labels) -> set[str]:
    """Names of the constants that the arithmetic of sizes is done with: what follows from them is written into cuts."""
    nodes = [node for node in labels.model.graph.all_nodes() if node not in labels.calls]
    return {value.name or "" for node in nodes for value in node.inputs if value is not None}


def perturbed(model: ir.Model, seed: int, spared: Collection[str]) -> ir.Model:
    """A copy whose tiny tensors (LayerScale, norms and heads that start at zero), but for those named in `spared`, are
    of ordinary size, so that a proof shows something."""
    copy = model.clone()
    for name, value in copy.graph.initializers.items():
        tensor = value.const_value
        if (
            tensor is not None
            and name not in spared
            and tensor.dtype in (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE)
        ):
            array = tensor.numpy()
            real = sum(n > 1 for n in array.shape)
            limit = 0.05 if real == 1 else 1e-5
            if array.size and float(np.abs(array).max()) <= limit:
                rng = np.random.default_rng([seed, array.size])
                signs = [-1.0, 1.0] if real else [1.0]  # a scalar may be what keeps a root from being imaginary
                noise = rng.uniform(0.5, 1.0, array.shape) * rng.choice(signs, array.shape)
                scale = 1.0 if real <= 1 else 1.0 / np.sqrt(array.size / array.shape[0])
                value.const_value = ir.Tensor((array + noise * scale).astype(array.dtype), name=tensor.name)
    return copy
