"""Networks that a search draws and mutates: run in onnxruntime on few threads."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import onnxruntime

from onnxsurgeon.surgery.network import Network

OPTIONS = onnxruntime.SessionOptions()
OPTIONS.intra_op_num_threads = OPTIONS.inter_op_num_threads = 1
OPTIONS.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
OPTIONS.log_severity_level = 3


def sample(network: Network, batch: int = 2, seed: int = 0) -> np.ndarray:
    """Random numbers in the shape of the network's input."""
    shape = [n if isinstance(n, int) else batch for n in network.ir.graph.inputs[0].shape or ()]
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def outputs(network: Network, array: np.ndarray) -> np.ndarray:
    """What the network computes from its only input."""
    session = onnxruntime.InferenceSession(
        ir.to_proto(network.ir).SerializeToString(), OPTIONS, providers=["CPUExecutionProvider"]
    )
    found: np.ndarray = session.run(None, {session.get_inputs()[0].name: array})[0]
    return found


def saved(network: Network) -> bytes:
    """The bytes of its file."""
    found: bytes = ir.to_proto(network.ir).SerializeToString()
    return found
