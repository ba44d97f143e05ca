"""Test cases of one node with inputs, and functions that run them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from onnxsurgeon.ops.call import Changes

Array = np.ndarray[Any, Any]
Feed = dict[str, Array]


@dataclass(frozen=True)
class Case:
    """One node, and an array for each of its inputs."""

    name: str
    node: onnx.NodeProto
    inputs: Mapping[str, Array]
    imports: Mapping[str, int]

    @property
    def key(self) -> tuple[str, str]:
        return "" if self.node.domain == "ai.onnx" else self.node.domain, self.node.op_type

    @property
    def version(self) -> int:
        return self.imports[self.key[0]]


class NotRunnable(Exception):
    """Raised if no runtime can compute the node."""


def execute(node: onnx.NodeProto, feed: Feed, imports: Mapping[str, int]) -> list[Array]:
    """The outputs of one node, from onnxruntime, or from onnx's reference if it lacks the operator or a type."""
    model = model_of(node, feed, imports, None)
    sized = model_of(node, feed, imports, frozenset())  # some operators want to know their shapes
    session = _session(model.SerializeToString()) or _session(sized.SerializeToString())
    names = [o for o in node.output if o]
    if session is not None:
        try:
            return list(session.run(names, feed))
        except Exception:  # noqa: BLE001 - it raises many types; what it can't run the reference may
            pass
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return [np.asarray(a) for a in ReferenceEvaluator(model).run(names, feed)]
    except Exception as problem:  # likewise
        raise NotRunnable(f"{type(problem).__name__}: {problem}") from problem


@lru_cache(maxsize=256)
def _session(model: bytes) -> ort.InferenceSession | None:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception:  # noqa: BLE001 - it raises many types, for operators and types that it lacks
        return None


def model_of(
    node: onnx.NodeProto, feed: Mapping[str, Array], imports: Mapping[str, int], constants: frozenset[str] | None
) -> onnx.ModelProto:
    """A model of only this node; with dynamic input shapes if `constants` is None."""
    inputs = [
        helper.make_tensor_value_info(
            name,
            helper.np_dtype_to_tensor_dtype(array.dtype),
            [None] * array.ndim if constants is None else array.shape,
        )
        for name, array in feed.items()
        if name not in (constants or ())
    ]
    outputs = [onnx.ValueInfoProto(name=name) for name in node.output if name]
    held = [numpy_helper.from_array(feed[name], name) for name in constants or ()]
    graph = helper.make_graph([node], "law", inputs, outputs, held)
    opsets = [helper.make_opsetid(domain, version) for domain, version in imports.items()]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def changed(case: Case, changes: Changes, feed: Feed) -> tuple[onnx.NodeProto, Feed]:
    """The node and its inputs with the changes of the operator's `resize` applied."""
    node, feed = onnx.NodeProto(), dict(feed)
    node.CopyFrom(case.node)
    for name, new in changes.items():
        if isinstance(name, str):
            kept = [a for a in node.attribute if a.name != name]
            del node.attribute[:]
            node.attribute.extend(kept if new is None else [*kept, helper.make_attribute(name, new)])
        else:
            while len(node.input) <= name:
                node.input.append("")
            node.input[name] = node.input[name] or f"new_{name}"
            feed[node.input[name]] = np.asarray(new)
    return node, feed
