"""What a proof can run of a model: all but the nodes that onnxruntime lacks, and bfloat16 in float32.

What such nodes read becomes outputs, so that all before them is compared. What they make becomes inputs, so that what
follows is compared, too; outputs that depend on a result of unknown shape are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx_ir as ir

from onnxsurgeon.dependency.labels import Labels
from onnxsurgeon.model.editor import Editor, add_outputs, copied, remove_dead, withhold
from onnxsurgeon.model.widening import NARROW, widen
from onnxsurgeon.ops.nodes import constant
from onnxsurgeon.runtime.foreign import foreign, known_results


@dataclass(frozen=True)
class Parts:
    """foreign: the nodes that onnxruntime lacks, by their first output: name and operator. made: results that become
    inputs, and their types. widened: whether bfloat16 is computed in float32."""

    foreign: Mapping[str, str]
    made: Mapping[str, ir.DataType]
    widened: bool

    @property
    def whole(self) -> bool:
        """Whether the model runs as it is."""
        return not self.foreign and not self.widened

    def of(self, model: ir.Model) -> ir.Model:
        """A copy of `model` that runs; itself if it does as it is."""
        if self.whole:
            return model
        copy = copied(model)
        self._take_out(copy)
        if self.widened:
            widen(copy)
        return copy

    def notes(self) -> tuple[str, ...]:
        """What the proof does not cover, in words."""
        apart = [
            f"{name} is not run: what it reads is compared, what follows it is proven on random inputs"
            for name in self.foreign.values()
        ]
        return (*apart, *["bfloat16 is computed in float32"] * self.widened)

    def _take_out(self, model: ir.Model) -> None:
        editor = Editor(model)
        nodes = [node for node in model.graph if node.outputs and node.outputs[0].name in self.foreign]
        returned = set(model.graph.outputs)
        read = {
            v.name: v for node in nodes for v in node.inputs if v is not None and v.producer() not in (None, *nodes)
        }
        lost = {v for node in nodes for v in node.outputs if v.name not in self.made}
        unknown = [value for value in model.graph.outputs if depends(value, lost)]
        compared = [read[name] for name in sorted(read, key=str) if constant(read[name]) is None]
        add_outputs(model, [v for v in compared if v not in returned and not depends(v, lost)])
        withhold(model, unknown)
        remove_dead(*unknown)
        for node in nodes:
            withhold(model, [value for value in node.outputs if value.is_graph_output()])
            for value in list(node.outputs):
                if value.name in self.made and value.uses():
                    editor.supply(value, self.made[value.name or ""])
            remove_dead(*node.outputs)


def depends(value: ir.Value, sources: set[ir.Value]) -> bool:
    """Whether a value is one of `sources`, or computed from one."""
    seen, waiting = set[ir.Value](), [value] if sources else []
    while waiting:
        found = waiting.pop()
        if found in sources:
            return True
        producer = found.producer()
        if found not in seen and producer is not None:
            seen.add(found)
            waiting += [v for v in producer.inputs if v is not None]
    return False


def parts_of(labels: Labels) -> Parts:
    """The parts of a model that can run here."""
    facts = labels.facts[0]
    nodes = {
        node.outputs[0].name or "": f"{node.name} ({node.op_type})" for node in foreign(labels.model) if node.outputs
    }
    made = {v.name or "": ir.DataType(facts[v].dtype) for v in known_results(labels)}
    return Parts(nodes, made, any(fact.dtype == NARROW for fact in facts.values()))
