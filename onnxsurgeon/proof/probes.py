"""Inner values that a proof compares in addition, for models whose outputs hardly react to silenced neurons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import Arrays, Mask
from onnxsurgeon.dependency.facts import FLOATS
from onnxsurgeon.dependency.interface import Positions, taken
from onnxsurgeon.dependency.labels import Labels
from onnxsurgeon.model.editor import add_outputs
from onnxsurgeon.neurons.selection import cutting

MOST = 24  # the largest number of inner values


def inner_values(labels: Labels, keep: Mask) -> dict[str, Positions]:
    """Up to `MOST` layer outputs, evenly spread over the graph: by name, the positions that stay along each axis."""
    candidates: dict[str, Positions] = {}
    selection = cutting(labels.classes, keep)
    for node, call in labels.calls.items():
        operator, value = labels.operator(node), node.outputs[0] if node.outputs else None
        if operator is None or operator.macs is None or call.soft or value is None or not call.results:
            continue
        axes, fact = call.results[0], labels.facts[0].get(value)
        plain = node.graph is labels.model.graph and not value.is_graph_output() and value.name
        if plain and axes is not None and fact is not None and fact.dtype in FLOATS:
            candidates[value.name or ""] = tuple(selection.positions(axis) for axis in axes)
    chosen = np.unique(np.linspace(0, len(candidates) - 1, min(MOST, len(candidates))).round().astype(int))
    return {name: candidates[name] for name in np.array(list(candidates))[chosen].tolist()} if candidates else {}


def with_outputs(model: ir.Model, names: Mapping[str, Positions]) -> ir.Model:
    """`model` with these values added to its outputs (in place)."""
    by_name = {value.name: value for node in model.graph for value in node.outputs}
    add_outputs(model, [by_name[name] for name in names])
    return model


def at_kept(outputs: Sequence[Arrays], names: Mapping[str, Positions]) -> list[Arrays]:
    """`outputs` of an uncut model, with inner values and states reduced to positions that stay: others are not
    silenced."""
    return [taken(arrays, names) for arrays in outputs]
