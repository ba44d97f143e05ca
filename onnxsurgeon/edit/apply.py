"""Applying a selection to a model: every weight is taken along each axis that changes, every size is put right.

`apply` and `cut` return a new model; the given one stays as it was.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import Array, Mask
from onnxsurgeon.dependency.facts import Facts
from onnxsurgeon.dependency.labels import Labels, Use, Weight
from onnxsurgeon.dependency.rewrites import prune_dead
from onnxsurgeon.edit.growth import NORMAL, Growth
from onnxsurgeon.errors import ModelError, SurgeonError
from onnxsurgeon.model.lazy_weights import Recipe, take
from onnxsurgeon.neurons.selection import Selection, cutting
from onnxsurgeon.ops import Call
from onnxsurgeon.ops.call import Changes, Fact
from onnxsurgeon.ops.nodes import constant


def cut(labels: Labels, keep: Mask, source: ir.Model | None = None) -> ir.Model:
    """`labels.model` without the neurons that `keep`, shape (neurons,), drops; see `apply`."""
    return apply(labels, cutting(labels.classes, keep), source)


def apply(labels: Labels, selection: Selection, source: ir.Model | None = None, growth: Growth = NORMAL) -> ir.Model:
    """`labels.model` after an edit of its neurons. Weights are evaluated while saving.

    Where nothing changes, the result is `labels.original`, as it is spelled.
    source: a model of the same structure to edit instead (other weights). growth: what new neurons are made of. Raises
    SurgeonError where the result would not have the shapes that the selection says; that is a fault of a rule.
    """
    if selection.empty:
        return copied(source or labels.original)
    return _Edit(labels, selection, source or labels.model, growth).run()


def copied(model: ir.Model) -> ir.Model:
    """A copy that shares the weights, and remembers how its file is spelled."""
    copy = model.clone()
    copy.graph.meta.update(model.graph.meta)
    return copy


def with_free_initializers(model: ir.Model) -> ir.Model:
    """`model`; before IR version 4 every initializer had to be an input too, so one that isn't makes it a version 4."""
    if model.ir_version < 4 and any(not value.is_graph_input() for value in model.graph.initializers.values()):
        model.ir_version = 4
    return model


def paired(labels: Labels, model: ir.Model) -> Iterator[tuple[ir.Node, ir.Node]]:
    """The nodes of the labelled model beside those of another with the same structure."""
    return zip(list(labels.model.graph.all_nodes()), list(model.graph.all_nodes()), strict=True)


class _Edit:
    def __init__(self, labels: Labels, selection: Selection, source: ir.Model, growth: Growth) -> None:
        self.labels, self.selection, self.growth = labels, selection, growth
        self.model = copied(source)
        self.twin = dict(paired(labels, self.model))
        self.facts: Facts = {}
        graph = self.model.graph
        self.names = {v.name for node in graph.all_nodes() for v in (*node.inputs, *node.outputs) if v}
        self.names |= {v.name for v in (*graph.inputs, *graph.initializers.values())}

    def run(self) -> ir.Model:
        self._slice_weights()
        evaluator = self.labels.evaluator
        self.facts = evaluator.input_facts(self.model, self.labels.sizes[0])
        changed = {node: self._changes(node, call) for node, call in self.labels.calls.items()}
        self._drop_stale_shapes()
        self._walk(self.labels.model.graph, changed)
        return with_free_initializers(self.model)

    def _changes(self, node: ir.Node, call: Call) -> Changes:
        operator = self.labels.operator(node)
        if operator is None or operator.resize is None or not any(call.results):
            return {}
        return operator.resize(call, self.selection)

    # --- weights ---

    def _slice_weights(self) -> None:
        by_value: dict[ir.Value, list[Weight]] = {}
        for weight in self.labels.weights():
            if weight.uses:
                by_value.setdefault(weight.value, []).extend(self._by_reader(weight))
        recipes = self.growth.recipes(self.labels, self.selection)
        for value, weights in by_value.items():
            made: dict[bytes, tuple[Recipe | None, list[Use]]] = {}
            for weight in weights:
                recipe = None if self.selection.stays(weight.axes) else recipes(weight)
                made.setdefault(pickle.dumps(recipe), (recipe, []))[1].extend(weight.uses)
            self._place(value, list(made.values()))

    def _by_reader(self, weight: Weight) -> list[Weight]:
        """One for each node that reads it where it grows: what makes a new neuron there may sum over it here."""
        readers = [use for use in weight.uses if use[0] in self.labels.calls]
        if not self.selection.grows or len(weight.uses) < 2 or not readers:
            return [weight]
        rest = tuple(use for use in weight.uses if use not in readers)  # that ask for its size
        return [replace(weight, uses=(use, *(rest if use is readers[0] else ()))) for use in readers]

    def _place(self, value: ir.Value, groups: list[tuple[Recipe | None, list[Use]]]) -> None:
        """One tensor per group of uses that change alike: the first takes the name, the others get copies."""
        first, at = groups[0][1][0]
        tensor = constant(self.twin[first].inputs[at])
        assert tensor is not None
        covered = sum(len(uses) for _, uses in groups)
        whole = any(recipe is None for recipe, _ in groups)
        in_place = not whole and covered >= len(value.uses()) + value.is_graph_output()
        for recipe, uses in groups:
            if recipe is None:
                continue
            node, index = uses[0]
            old = self.twin[node].inputs[index]
            if in_place and old is not None:
                self._replace(old, take(tensor, recipe))
                in_place = False
                continue
            fresh = self._initializer(value.name or "weight", take(tensor, recipe))
            for user, i in uses:
                self.twin[user].replace_input_with(i, fresh)

    def _replace(self, value: ir.Value, tensor: ir.TensorProtocol) -> None:
        producer = value.producer()
        if producer is None:
            value.const_value = tensor
            value.shape = ir.Shape(tensor.shape.numpy())
        else:
            for name in list(producer.attributes):
                del producer.attributes[name]
            producer.attributes["value"] = ir.AttrTensor("value", tensor)

    def _initializer(self, name: str, tensor: ir.TensorProtocol) -> ir.Value:
        """A new weight of the outermost graph, which every graph inside sees."""
        unique = self._unique(name)
        if tensor.name != unique:
            tensor = take(tensor, (None,) * len(tensor.shape), unique)
        value = ir.Value(
            name=unique, shape=ir.Shape(tensor.shape.numpy()), type=ir.TensorType(tensor.dtype), const_value=tensor
        )
        self.model.graph.initializers[unique] = value
        return value

    # --- sizes ---

    def _walk(self, graph: ir.Graph, changed: dict[ir.Node, Changes]) -> None:
        """Evaluates the cut graph in order; where a size isn't what the selection says, it is written in."""
        for node in graph:
            call = self.labels.calls.get(node)
            if call is None:
                if node in self.twin:
                    self._visit(node)
                continue
            changes = changed[node]
            for name, new in changes.items():
                if isinstance(name, str):
                    self._set_attribute(self.twin[node], name, new)
            for index in range(max([len(call.inputs), *(i + 1 for i in changes if isinstance(i, int))])):
                self._settle(node, call, index, changes.get(index))
            self.labels.evaluator.enter(self.twin[node], self.facts)
            for attribute in node.attributes.values():
                if attribute.type == ir.AttributeType.GRAPH:
                    self._walk(attribute.value, changed)
            self._visit(node)
            self._check(node, call)

    def _visit(self, node: ir.Node) -> None:
        self.labels.evaluator.visit(self.twin[node], self.facts)

    def _settle(self, node: ir.Node, call: Call, index: int, wanted: Array | None) -> None:
        """Sees to it that input `index`, a size, has the value `wanted`, or the value that it had."""
        twin = self.twin[node]
        tensor = call.inputs[index] if index < len(call.inputs) else None
        if wanted is None and (tensor is None or tensor.weight or tensor.value is None):
            return
        required = np.asarray(tensor.value if wanted is None and tensor is not None else wanted)
        current = self._value(twin, index)
        if current is not None and np.array_equal(current, required):
            return
        known = np.ones(1, np.bool_) if tensor is None or tensor.known is None else tensor.known
        if known.all():  # an index may get shorter
            self._write_in(twin, index, required)
            return
        known = np.broadcast_to(known, required.shape)
        if self._may_infer(node, index) and (~known).sum() == 1 and not (required[known] == -1).any():
            self._write_in(twin, index, np.where(known, required, -1))
        elif current is not None and np.array_equal(current[~known], required[~known]):
            self._write_part(twin, index, required, known)
        else:
            raise ModelError(
                f"{call.name} ({call.operator}) needs a size that depends on several dynamic dims",
                why=f"input {index} must be {required.tolist()}, is {None if current is None else current.tolist()}",
                fix=f"give the input shape with --input-shape, or keep the node whole with --exclude '{call.name}'",
            )

    def _may_infer(self, node: ir.Node, index: int) -> bool:
        operator = self.labels.operator(node)
        return operator is not None and operator.inferred == index

    def _value(self, node: ir.Node, index: int) -> Array | None:
        value = node.inputs[index] if index < len(node.inputs) else None
        return None if value is None else self.labels.evaluator.fact(value, self.facts).value

    def _write_in(self, node: ir.Node, index: int, value: Array) -> None:
        old = node.inputs[index] if index < len(node.inputs) else None
        if old is not None and constant(old) is not None and len(old.uses()) == 1 and not old.is_graph_output():
            self._replace(old, ir.Tensor(np.ascontiguousarray(value), name=old.name))
            self.labels.evaluator.forget(old)
            self.facts.pop(old, None)
            return
        name = old.name if old is not None and old.name else f"{node.name}_{index}"
        fresh = self._initializer(name, ir.Tensor(np.ascontiguousarray(value), name=name))
        if index >= len(node.inputs):
            node.resize_inputs(index + 1)
        node.replace_input_with(index, fresh)
        if old is not None:
            prune_dead(old)

    def _write_part(self, node: ir.Node, index: int, value: Array, known: Mask) -> None:
        """The static elements of a size are written in, the dynamic ones stay computed."""
        old = node.inputs[index]
        assert old is not None
        static = self._initializer(f"{node.name}_static", ir.Tensor(known, name=f"{node.name}_static"))
        sizes = self._initializer(f"{node.name}_sizes", ir.Tensor(value, name=f"{node.name}_sizes"))
        name = self._unique(f"{node.name}_size")
        choice = ir.Node("", "Where", [static, sizes, old], name=name)
        choice.outputs[0].name = name
        node.prepend(choice)
        node.replace_input_with(index, choice.outputs[0])
        self.labels.evaluator.visit(choice, self.facts)

    def _unique(self, name: str) -> str:
        unique, number = name, 1
        while unique in self.names:
            unique, number = f"{name}_{number}", number + 1
        self.names.add(unique)
        return unique

    def _set_attribute(self, node: ir.Node, name: str, value: Any) -> None:
        if value is None:
            node.attributes.pop(name, None)
        else:
            node.attributes[name] = attribute(name, value)

    def _check(self, node: ir.Node, call: Call) -> None:
        """The shapes of the cut node are those that the selection says."""
        for value, old, new in zip(node.outputs, call.outputs, self.twin[node].outputs, strict=False):
            fact, axes = self.facts.get(new, Fact()), self.labels.axes.get(value)
            if axes is None or old.shape is None or fact.shape is None:
                continue
            expected = self.selection.shape(axes, old.shape)
            if fact.shape != expected:
                raise SurgeonError(
                    f"the rule of {call.operator} is wrong for {call.name}",
                    why=f"{new.name} was to be {list(expected)}, but would be {list(fact.shape)}",
                    fix=f"keep it whole with --exclude '{call.name}', and report this model",
                )

    def _drop_stale_shapes(self) -> None:
        """Intermediate shapes that no longer hold are forgotten; inputs and outputs have theirs."""
        for node in self.labels.model.graph.all_nodes():
            twin = self.twin[node]
            pairs = list(zip(node.outputs, twin.outputs, strict=True))
            for name, body in self.labels.evaluator.info(node).bodies.items():
                pairs += zip(body.inputs, twin.attributes[name].value.inputs, strict=True)
            for old, new in pairs:
                axes = self.labels.axes.get(old)
                if not axes or self.selection.stays(axes):
                    continue
                if new.is_graph_output() and new.shape is not None:
                    sizes = [
                        self.selection.width(n, axis) if isinstance(n, int) else n
                        for n, axis in zip(new.shape, axes, strict=True)
                    ]
                    new.shape = ir.Shape(sizes)
                else:
                    new.shape = None


def attribute(name: str, value: Any) -> ir.Attr:
    """An attribute of numbers: whole ones or floats, one or several."""
    array = np.asarray(value)
    if array.dtype.kind == "f":
        return ir.AttrFloat32(name, float(array)) if array.ndim == 0 else ir.AttrFloat32s(name, array.tolist())
    return ir.AttrInt64(name, int(array)) if array.ndim == 0 else ir.AttrInt64s(name, array.tolist())
