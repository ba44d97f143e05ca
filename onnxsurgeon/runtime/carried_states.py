"""Samples without states: the model itself makes them, from run to run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from functools import cache, partial

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import Arrays
from onnxsurgeon.data import Batch, Data, opened
from onnxsurgeon.dependency.dynamic_dims import dynamic_dims
from onnxsurgeon.dependency.labels import label
from onnxsurgeon.dependency.states import States
from onnxsurgeon.model.model import Model
from onnxsurgeon.options.shared import Device, OfData, OfStates
from onnxsurgeon.runtime.runnable_file import runnable_file
from onnxsurgeon.runtime.session import Session


def opened_with_states(
    given: str | os.PathLike[str] | Data, model: Model, options: OfData, device: Device = "auto"
) -> Data:
    """The data as they are given, or what a path or `module:function` means to `model`.

    A batch without a state takes it from the run of the batch before; the first one, and a cache that would grow, begin
    with zeros. Raises as `open_data` does.
    """
    stated = (options.carried if isinstance(options, OfStates) else None) or {}
    states = cache(lambda: label(model.ir, shapes=options.shapes, carried=stated).states)
    data = opened(given, model.ir, options, states)
    if isinstance(given, Data) or not data.source.lacks:
        return data
    return data.seen(partial(_carried_on, model=model, states=states(), device=device))


def _carried_on(batches: Iterator[Batch], model: Model, states: States, device: Device) -> Iterator[Batch]:
    with runnable_file(model) as path:
        session, last = Session(path, device), Arrays()
        for batch in batches:
            begin = _begin(model.ir, states, batch)
            fits = {name: last[name] for name in begin if name in last and last[name].shape == begin[name].shape}
            feed = {**begin, **fits, **batch.feed}
            found = session.run(feed)
            last = {name: found[end] for name, end in states.items()}
            yield replace(batch, feed=feed)


def _begin(model: ir.Model, states: States, batch: Batch) -> Arrays:
    """Zeros in the shapes of all states. Dims are shared with other inputs, are the batch, or grow from 0 on."""
    dims = list(dynamic_dims(model))
    sizes = {symbol: batch.feed[name].shape[axis] for name, axis, symbol, _ in dims if name in batch.feed}
    ends = {value.name: value for value in model.graph.outputs}
    found = Arrays()
    for value in model.graph.inputs:
        end = ends.get(states.get(value.name or ""))
        if end is None or value.shape is None or value.dtype is None:
            continue
        named = {axis: symbol for name, axis, symbol, _ in dims if name == value.name}
        shape = []
        for axis, n in enumerate(value.shape):
            grows = end.shape is not None and axis < len(end.shape) and end.shape[axis] != n and _is_named(n)
            if isinstance(n, int):
                shape.append(n)
            else:
                shape.append(sizes.get(named[axis], 0 if grows and axis else batch.size))
        found[value.name or ""] = np.zeros(shape, value.dtype.numpy())
    return found


def _is_named(dim: int | ir.SymbolicDim) -> bool:
    return isinstance(dim, ir.SymbolicDim) and bool(dim.value)
