"""Times kernels one by one: where onnxruntime's profiler says nothing of them, or only when they were launched.

That is so on CUDA, where kernels run on while the host continues. A kernel is cut out of its model, with the values
that it reads there, and runs several times within one run that ends with a synchronisation of the device.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

import numpy as np
import onnx
import onnx_ir as ir

from onnxsurgeon.arrays import Arrays
from onnxsurgeon.errors import ModelError
from onnxsurgeon.latency.kernels import Kernel
from onnxsurgeon.latency.options import Timed
from onnxsurgeon.ops.nodes import constant
from onnxsurgeon.runtime.partial_runs import Segment, piece, reads
from onnxsurgeon.runtime.session import Session

QUIET = 0.05  # the quantile of times that other work on the machine has not slowed
COPIES = 8  # of a kernel in one run, so that what a run itself takes counts little
WARM_UP, LEAST, MOST, SECONDS = 2, 5, 50, 0.05  # runs that don't count; those that do; seconds for these


def timed_alone(model: ir.Model, feed: Arrays, kernels: Iterable[Kernel], options: Timed) -> dict[str, float]:
    """Seconds of each kernel by its name, without those that can't run alone. model: that holds them, maybe cut."""
    producers = {value.name: node for node in model.graph for value in node.outputs}
    groups = {
        kernel.name: [producers[name] for node in kernel.nodes if (name := node.outputs[0].name) in producers]
        for kernel in kernels
    }
    whole = {name: nodes for name, nodes in groups.items() if nodes}
    if not whole:
        return {}
    values = [value for nodes in whole.values() for value in _read(nodes)]
    known = Segment(model, values, options.device).run(feed)
    found = dict[str, float]()
    for name, nodes in whole.items():
        seconds = _seconds(model, nodes, known, options)
        if seconds is not None:
            found[name] = seconds
    return found


def _read(nodes: Sequence[ir.Node]) -> list[ir.Value]:
    """The values that nodes read from before them, without constants."""
    inside = {value for node in nodes for value in node.outputs}
    values = dict.fromkeys(value for node in nodes for value in reads(node) if value not in inside)
    return [value for value in values if constant(value) is None]


def _seconds(model: ir.Model, nodes: Sequence[ir.Node], known: Arrays, options: Timed) -> float | None:
    fed = {value.name or "": known[value.name or ""] for value in _read(nodes)}
    inside = {value for node in nodes for value in node.outputs}
    held = [v.producer() for node in nodes for v in reads(node) if v not in inside and constant(v) is not None]
    makers = dict.fromkeys(node for node in held if node is not None)
    outputs = [value for value in nodes[-1].outputs if value.name]
    try:
        proto, folder = piece(model, [*makers, *nodes], fed, outputs)
        copies = _copied(proto, {node.outputs[0].name or "" for node in makers})
        session = Session(copies.SerializeToString(), options.device, threads=options.threads, folder=folder)
        run = session.bound({f"{name}{k}": array for name, array in fed.items() for k in range(COPIES)})
    except ModelError:  # it takes what can't be given, such as a sequence, or is only a part of a node
        return None
    taken, began = list[float](), time.perf_counter()
    for turn in range(WARM_UP + MOST):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
        if turn >= WARM_UP + LEAST and time.perf_counter() - began > SECONDS:
            break
    return float(np.quantile(taken[WARM_UP:], QUIET)) / COPIES


def _copied(proto: onnx.ModelProto, shared: set[str]) -> onnx.ModelProto:
    """A model with copies of all nodes side by side, each with inputs of its own: equal ones would run once."""
    found, graph = onnx.ModelProto(), proto.graph
    found.CopyFrom(proto)
    for repeated in ("node", "input", "output"):
        del getattr(found.graph, repeated)[:]
    constants = shared | {tensor.name for tensor in graph.initializer} | {""}
    found.graph.node.extend(node for node in graph.node if set(node.output) & shared)
    for copy in range(COPIES):
        for node in graph.node:
            if not set(node.output) & shared:
                made = found.graph.node.add()
                made.CopyFrom(node)
                made.name = f"{node.name}{copy}"
                for values in (made.input, made.output):
                    values[:] = [name if name in constants else f"{name}{copy}" for name in values]
        for repeated in ("input", "output"):
            for value in getattr(graph, repeated):
                made_value = getattr(found.graph, repeated).add()
                made_value.CopyFrom(value)
                made_value.name = f"{value.name}{copy}"
    return found
