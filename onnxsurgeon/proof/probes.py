"""Inner values beside the outputs of a proof, for models whose outputs hardly show what is silenced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import Arrays, Ids, Mask
from onnxsurgeon.dependency.labels import Labels
from onnxsurgeon.neurons.selection import cutting

Positions = tuple[Ids | None, ...]  # per axis: those that stay, None for all
MOST = 24  # values
FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE)


def inner(labels: Labels, keep: Mask) -> dict[str, Positions]:
    """Results of layers, evenly over the graph: by name, the positions of each that stay along each axis."""
    found: dict[str, Positions] = {}
    selection = cutting(labels.classes, keep)
    for node, call in labels.calls.items():
        operator, value = labels.operator(node), node.outputs[0] if node.outputs else None
        if operator is None or operator.macs is None or call.soft or value is None or not call.results:
            continue
        axes, fact = call.results[0], labels.facts[0].get(value)
        plain = node.graph is labels.model.graph and not value.is_graph_output() and value.name
        if plain and axes is not None and fact is not None and fact.dtype in FLOATS:
            found[value.name or ""] = tuple(selection.positions(axis) for axis in axes)
    chosen = np.unique(np.linspace(0, len(found) - 1, min(MOST, len(found))).round().astype(int))
    return {name: found[name] for name in np.array(list(found))[chosen].tolist()} if found else {}


def shown(model: ir.Model, names: Mapping[str, Positions]) -> ir.Model:
    """`model`, with these values among its outputs."""
    by_name = {value.name: value for node in model.graph for value in node.outputs}
    for name in names:
        model.graph.outputs.append(by_name[name])
    return model


def taken(outputs: Sequence[Arrays], names: Mapping[str, Positions]) -> list[Arrays]:
    """`outputs` of an uncut model at the positions that stay: those of layers are not silenced themselves."""
    result = [dict(arrays) for arrays in outputs]
    for arrays in result:
        for name, where in names.items():
            for axis, kept in enumerate(where):
                if kept is not None:
                    arrays[name] = np.take(arrays[name], kept, axis)
    return result
