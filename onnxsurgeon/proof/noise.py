"""Randomness inside a model: both sides of a proof get the same numbers.

What random nodes return in a run of the original becomes an input of the models that are compared, in place of these
nodes. What the nodes read becomes an output, so that all that comes before them is compared, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from onnxsurgeon.arrays import Arrays, Mask
from onnxsurgeon.dependency.facts import FLOATS
from onnxsurgeon.dependency.interface import Positions
from onnxsurgeon.dependency.labels import Labels
from onnxsurgeon.model.editor import Editor
from onnxsurgeon.neurons.selection import cutting
from onnxsurgeon.proof.parts import Parts, parts_of
from onnxsurgeon.proof.probes import with_outputs


@dataclass(frozen=True)
class Noise:
    """The positions that stay of what random nodes make, and of what they read, by name. types: of what they make.

    parts: what can run of the models.
    """

    made: Mapping[str, Positions]
    read: Mapping[str, Positions]
    types: Mapping[str, ir.DataType]
    parts: Parts

    @property
    def alters(self) -> bool:
        """Whether other models run than those in the files."""
        return bool(self.made) or not self.parts.whole

    @property
    def places(self) -> dict[str, Positions]:
        return {**self.made, **self.read}

    def recorded(self, model: ir.Model) -> ir.Model:
        """A copy of `model` that also returns what its random nodes make."""
        model = self.parts.of(model)
        return with_outputs(model.clone(), self._new(model, self.made))

    def replayed(self, model: ir.Model) -> ir.Model:
        """A copy of `model` that takes as inputs what its random nodes make, and returns what they read."""
        model = self.parts.of(model)
        if not self.made:
            return model
        copy = with_outputs(model.clone(), self._new(model, self.read))
        editor = Editor(copy)
        for value in [v for node in copy.graph for v in node.outputs if v.name in self.made]:
            editor.supply(value, self.types[value.name or ""])
        return copy

    def fed(self, feeds: Sequence[Arrays], results: Sequence[Arrays]) -> list[Arrays]:
        """`feeds` with what the random nodes made. results: outputs of the recorded original."""
        return [
            {**feed, **{name: found[name] for name in self.made}} for feed, found in zip(feeds, results, strict=True)
        ]

    def _new(self, model: ir.Model, names: Mapping[str, Positions]) -> dict[str, Positions]:
        """Those of `names` that nodes of `model` compute and it does not return already."""
        returned = {value.name for value in model.graph.outputs}
        made = {value.name for node in model.graph for value in node.outputs}
        return {name: where for name, where in names.items() if name in made - returned}


def noise(labels: Labels, keep: Mask) -> Noise:
    """What random nodes of the main graph make and read."""
    selection = cutting(labels.classes, keep)
    made, read, types = dict[str, Positions](), dict[str, Positions](), dict[str, ir.DataType]()
    for node, call in labels.calls.items():
        operator = labels.operator(node)
        if operator is None or operator.random is None or not operator.random(call):
            continue
        if node.graph is not labels.model.graph:
            continue
        for value in node.outputs:
            fact, axes = labels.facts[0].get(value), labels.axes.get(value)
            if value.name and fact is not None and fact.dtype and (value.uses() or value.is_graph_output()):
                made[value.name] = tuple(selection.positions(axis) for axis in axes or ())
                types[value.name] = ir.DataType(fact.dtype)
        data = node.inputs[0] if node.inputs else None
        computed = data is not None and data.producer() is not None and data in labels.axes
        if data is not None and computed and labels.facts[0][data].dtype in FLOATS:
            read[data.name or ""] = tuple(selection.positions(axis) for axis in labels.axes[data])
    return Noise(made, {name: where for name, where in read.items() if name not in made}, types, parts_of(labels))
