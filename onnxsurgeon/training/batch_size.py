"""How many samples a batch may have: by the memory that it trains in, and by what the model takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import Array, Arrays, IntArray
from onnxsurgeon.data import inputs_of
from onnxsurgeon.data.model_inputs import Expected
from onnxsurgeon.errors import InfeasibleError, ModelError
from onnxsurgeon.model.editor import Editor, set_input
from onnxsurgeon.ops.nodes import constant, operator_of
from onnxsurgeon.options.shared import Device, OfData
from onnxsurgeon.runtime.partial_runs import Segment, nodes_for, reads, serialise
from onnxsurgeon.runtime.session import Session
from onnxsurgeon.units import size as size_text

ALIKE = 1e-3  # how far outputs may differ, relative to the largest
COPIES = 6  # of the weights: two of them and of two moments each, which runs read and write


def fitting(model: ir.Model, ends: Sequence[ir.Value], one: Arrays, memory: float, most: int) -> int:
    """The largest power of two, up to `most`, that trains within `memory` bytes.

    one: inputs for one sample. Each sample keeps its activations and their gradients. Raises InfeasibleError if not
    even one sample fits.
    """
    nodes, fed = nodes_for(model, ends)
    feed = {value.name or "": one[value.name or ""] for value in fed}
    wanted = [value for node in nodes for value in node.outputs if value.name]
    found = Session(serialise(model, nodes, feed, wanted), "cpu", optimise=False).run(feed)
    sample = 2 * sum(getattr(array, "nbytes", 0) for array in found.values())
    tensors = (constant(value) for value in dict.fromkeys(v for node in nodes for v in reads(node)))
    fixed = COPIES * sum(tensor.nbytes for tensor in tensors if tensor is not None)
    count = int((memory - fixed) // max(sample, 1))
    if count < 1:
        raise InfeasibleError(
            f"`memory` {size_text(int(memory))} is too little to train this model",
            why=f"weights and moments take {size_text(fixed)}, each sample {size_text(sample)}",
            fix="allow more, or freeze some weights",
        )  # fmt: skip
    return int(min(most, 1 << (count.bit_length() - 1)))


def reading(options: OfData, model: ir.Model) -> OfData:
    """The options for reading samples that are trained on: a file that states a batch size is read by it, whatever
    `batch` trains."""
    stated = Expected(inputs_of(model, options.shapes)).size
    return options if stated is None else replace(options, batch=None)


def bound_batch(
    model: ir.Model, ends: Sequence[ir.Value], take: Callable[[IntArray], Arrays], count: int, device: Device
) -> int | None:
    """The batch size to which a model is bound; None if it computes `ends` alike for two batches at once.

    Many exporters state a batch size of 1, and need it at most in shapes that begin with it: there, the batch is
    inferred from now on, in place, and nothing else changes. take: the inputs of some of `count` samples.
    """
    stated = Expected(inputs_of(model)).size
    if stated is None:
        return None
    rows = np.resize(np.arange(count), 2 * stated)
    first = take(rows[:stated])
    _infer_batches(model, ends, stated, first, device)
    segment = Segment(model, ends, device)
    try:
        parts = [segment.run(feed, stated) for feed in (first, take(rows[stated:]))]
        whole = segment.run(take(rows), 2 * stated)
    except ModelError:
        return stated
    pairs = [([np.atleast_1d(part[v.name or ""]) for part in parts], whole[v.name or ""]) for v in ends]
    return None if all(_alike(np.concatenate(few), many) for few, many in pairs) else stated


def _alike(a: Array, b: Array) -> bool:
    return a.shape == b.shape and bool(np.allclose(a, b, ALIKE, ALIKE * float(np.abs(a).max(initial=0))))


def _infer_batches(model: ir.Model, ends: Sequence[ir.Value], stated: int, feed: Arrays, device: Device) -> None:
    """Lets the batch be inferred wherever a constant shape begins with `stated`. feed: one batch."""
    fixed = dict[ir.Node, int]()
    for node in nodes_for(model, ends)[0]:
        operator = operator_of(node)
        index = None if operator is None else operator.inferred
        shape = None if index is None or index >= len(node.inputs) else constant(node.inputs[index])
        if index is not None and shape is not None and list(shape.numpy().ravel()[:1]) == [stated]:
            fixed[node] = index
    if not fixed:
        return
    found = Segment(model, [node.outputs[0] for node in fixed], device).run(feed, stated)
    editor = Editor(model)
    for node, index in fixed.items():
        known = found[node.outputs[0].name or ""].shape
        if known[0] == stated and 0 not in known:
            made = editor.weight(f"{node.name}_shape", np.array([-1, *known[1:]], np.int64))
            set_input(node, index, made)
