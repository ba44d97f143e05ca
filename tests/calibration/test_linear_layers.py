"""Laws: rows times matrix equals the operator's output, and a weight can be restored from its matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxsurgeon.calibration.linear_layers import Consumer, consumers
from onnxsurgeon.dependency.facts import constant
from onnxsurgeon.dependency.labels import label

CASES: dict[str, tuple[str, tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "plain": ("Conv", (2, 3, 7, 8), (4, 3, 3, 3), {}),
    "padded": ("Conv", (2, 3, 7, 8), (4, 3, 3, 3), {"pads": [1, 0, 2, 1]}),
    "strided": ("Conv", (2, 3, 9, 8), (4, 3, 3, 2), {"strides": [2, 3]}),
    "dilated": ("Conv", (2, 3, 9, 9), (4, 3, 3, 2), {"dilations": [2, 3], "pads": [1, 1, 1, 1]}),
    "same upper": ("Conv", (2, 3, 8, 7), (4, 3, 3, 4), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    "same lower": ("Conv", (2, 3, 8, 7), (4, 3, 3, 4), {"auto_pad": "SAME_LOWER", "strides": [2, 1]}),
    "grouped": ("Conv", (2, 6, 5, 5), (4, 3, 3, 3), {"group": 2}),
    "depthwise": ("Conv", (2, 6, 5, 5), (6, 1, 3, 3), {"group": 6, "pads": [1, 1, 1, 1]}),
    "one dimension": ("Conv", (2, 3, 9), (4, 3, 5), {}),
    "three dimensions": ("Conv", (2, 3, 4, 5, 6), (4, 3, 2, 3, 2), {"strides": [1, 2, 1]}),
    "gemm": ("Gemm", (5, 6), (6, 4), {}),
    "gemm transposed": ("Gemm", (6, 5), (4, 6), {"transA": 1, "transB": 1, "alpha": 0.5}),
    "matmul": ("MatMul", (2, 5, 6), (6, 4), {}),
}


def _made(case: str) -> tuple[onnx.ModelProto, Consumer]:
    operator, data, weight, attributes = CASES[case]
    array = np.random.default_rng(0).standard_normal(weight).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node(operator, ["x", "w"], ["y"], name="layer", **attributes)], "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, data)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, "w")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (consumer,) = consumers(label(ir.from_proto(model)))
    return model, consumer


@pytest.mark.parametrize("case", CASES)
def test_rows_times_matrix_is_the_operator(case: str) -> None:
    model, consumer = _made(case)
    x = np.random.default_rng(1).standard_normal(CASES[case][1]).astype(np.float32)
    expected = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": x})[
        0
    ]
    count = consumer.linear.positions(consumer.call, x)
    assert count == consumer.linear.count(expected)
    picked = np.random.default_rng(2).permutation(count)[: max(1, count // 2)]
    rows = consumer.linear.rows(consumer.call, x, picked)
    assert rows.shape == (len(picked), len(consumer.inputs), consumer.features)
    found = np.einsum("rgf,gfo->rgo", rows, consumer.matrix())
    assert found == pytest.approx(consumer.linear.outputs(consumer.call, expected, picked), abs=1e-4)


@pytest.mark.parametrize("case", CASES)
def test_a_weight_comes_back_from_its_matrix(case: str) -> None:
    _, consumer = _made(case)
    tensor = constant(consumer.node.inputs[1])
    assert tensor is not None
    weight = consumer.linear.weight_of(consumer.call, consumer.matrix(), tuple(tensor.shape.numpy()))
    assert weight == pytest.approx(tensor.numpy(), rel=1e-6)
