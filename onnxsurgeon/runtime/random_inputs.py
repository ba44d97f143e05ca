"""Random inputs that a model accepts."""

from __future__ import annotations

from math import prod

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import Arrays
from onnxsurgeon.dependency.facts import Sizes
from onnxsurgeon.dependency.labels import Labels
from onnxsurgeon.errors import ModelError
from onnxsurgeon.runtime.foreign import known_results

LARGEST_INPUT = 2**27  # elements of an input


def random_inputs(labels: Labels, sizes: Sizes, seed: int, *, positive: bool = False) -> Arrays:
    """Random inputs by name: normal floats, indices within the tables that they look up, ones for other integers.

    What nodes make that onnxruntime lacks is an input, too. sizes: of the dynamic dims. positive: floats above 0, for
    models that take logarithms or roots of them.
    Raises ModelError if an input is not a tensor of known rank.
    """
    rng = np.random.default_rng(seed)
    feed = {}
    made = list(known_results(labels))
    facts = labels.evaluator.run(sizes) if made else {}
    for value in (*labels.model.graph.inputs, *made):
        if value.is_initializer():
            continue
        fact = facts[value] if value.producer() is not None else labels.evaluator.input_fact(value, sizes)
        if fact.shape is None or not fact.dtype:
            raise ModelError(
                f"input {value.name} is not a tensor of known rank",
                why=f"its type is {value.type}",
                fix="use `proof=False`",
            )
        if prod(fact.shape) > LARGEST_INPUT:
            raise ModelError(
                f"input {value.name} would have the shape {list(fact.shape)}",
                why="these sizes are assumed for its dynamic dims, and take too much memory",
                fix="give sizes with `input_shape`, or use `proof=False`",
            )
        wide = ir.DataType.FLOAT if fact.dtype == ir.DataType.BFLOAT16 else ir.DataType(fact.dtype)
        dtype = wide.numpy()  # onnxruntime takes no bfloat16 from numpy
        if np.issubdtype(dtype, np.integer):
            limit = index_limit(labels, value)
            feed[value.name or ""] = (rng.integers(0, limit, fact.shape) if limit else np.ones(fact.shape)).astype(
                dtype
            )
        elif dtype == np.bool_:
            feed[value.name or ""] = np.ones(fact.shape, np.bool_)
        else:
            drawn = rng.standard_normal(fact.shape)
            feed[value.name or ""] = (np.abs(drawn) + 0.1 if positive else drawn).astype(dtype)
    return feed


def index_limit(labels: Labels, value: ir.Value, depth: int = 4) -> int:
    """The length of the smallest table that `value` indexes, through at most `depth` nodes; 0 if it indexes none."""
    limits = []
    for use in value.uses():
        node = use.node
        operator = labels.operator(node)
        table = None if operator is None else operator.looks_up.get(use.idx)
        looked_up = None if table is None else node.inputs[table]
        if operator is not None and looked_up is not None:
            shape = labels.evaluator.fact(looked_up, labels.facts[0]).shape
            if shape:
                limits.append(operator.choices(labels.evaluator.attributes(node), shape))
        elif depth and use.idx == 0:
            limits += [index_limit(labels, out, depth - 1) for out in node.outputs]
    return min((n for n in limits if n), default=0)
