"""Law: what a rule says the gradient is, finite differences of the forward pass say too."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxsurgeon.ops import convolution_gradients
from onnxsurgeon.runtime.session import Session
from squared_error import EXPECTED, LOSS, backward

STEP = 1e-2


@dataclass(frozen=True)
class Case:
    """inputs: shapes of float tensors to differentiate by, and arrays that are constants. opset: of the node."""

    operator: str
    inputs: tuple[Any, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    opset: int = 17
    outputs: int = 1
    positive: bool = False

    def __str__(self) -> str:
        shapes = "x".join(str(i if isinstance(i, tuple) else np.asarray(i).tolist()) for i in self.inputs)
        return f"{self.operator}-{self.opset}-{shapes}-{self.attributes}".replace(" ", "")


def ints(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


def number(value: float) -> np.ndarray:
    return np.float32(value).reshape(())  # type: ignore[no-any-return]


SPOTS = (2, 3, 4)
CONVOLUTIONS = [
    Case("Conv", ((2, 3, 5), (4, 3, 3), (4,))),
    Case("Conv", ((2, 4, 7), (6, 2, 3)), {"group": 2, "strides": [2], "pads": [1, 0]}),
    Case("Conv", ((2, 3, 5, 6), (4, 3, 3, 3), (4,)), {"pads": [1, 1, 1, 1]}),
    Case("Conv", ((1, 2, 6, 7), (2, 2, 3, 2)), {"strides": [2, 3], "pads": [1, 0, 0, 1]}),
    Case("Conv", ((1, 2, 8, 7), (3, 2, 1, 1)), {"strides": [3, 2]}),
    Case("Conv", ((2, 4, 5, 5), (4, 1, 3, 3), (4,)), {"group": 4, "pads": [1, 1, 1, 1], "strides": [2, 2]}),
    Case("Conv", ((1, 3, 4, 4), (6, 1, 3, 3)), {"group": 3, "pads": [2, 1, 1, 2]}),
    Case("Conv", ((1, 4, 7, 6), (2, 2, 2, 3)), {"group": 2, "dilations": [2, 1], "strides": [1, 2]}),
    Case("Conv", ((1, 2, 6, 5), (2, 2, 3, 3)), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    Case("Conv", ((1, 2, 5, 6), (2, 2, 2, 2)), {"auto_pad": "SAME_LOWER"}),
    Case("Conv", ((1, 2, 5, 5), (2, 2, 3, 3)), {"auto_pad": "VALID"}, opset=7),
    Case("Conv", ((1, 2, 3, 4, 3), (2, 2, 2, 3, 2), (2,)), {"pads": [0, 1, 1, 1, 0, 1], "strides": [1, 2, 1]}),
]
POOLS = [
    Case("AveragePool", ((2, 3, 6, 5),), {"kernel_shape": [2, 3], "strides": [2, 1]}),
    Case("AveragePool", ((1, 2, 5, 5),), {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 2]}),
    Case("AveragePool", ((1, 2, 5, 6),), {"kernel_shape": [3, 2], "pads": [1, 0, 1, 1], "count_include_pad": 1}),
    Case("AveragePool", ((1, 2, 7),), {"kernel_shape": [3], "strides": [2], "auto_pad": "SAME_UPPER"}, opset=7),
    Case("AveragePool", ((1, 2, 6, 6),), {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
    Case("MaxPool", ((2, 3, 6, 4),), {"kernel_shape": [2, 2], "strides": [2, 2]}),
    Case("MaxPool", ((1, 2, 7, 5),), {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 2]}),
    Case("MaxPool", ((1, 2, 6, 5),), {"kernel_shape": [3, 2], "pads": [1, 0, 0, 1]}, opset=8),
    Case("MaxPool", ((1, 2, 6, 6),), {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
    Case("MaxPool", ((1, 2, 7, 6),), {"kernel_shape": [2, 2], "dilations": [2, 1]}),
    Case("MaxPool", ((1, 2, 5),), {"kernel_shape": [2], "auto_pad": "SAME_LOWER"}),
    Case("GlobalAveragePool", ((2, 3, 4, 5),)),
    Case("GlobalAveragePool", ((2, 3, 4),)),
]
PRODUCTS = [
    Case("Gemm", ((3, 4), (4, 2), (2,))),
    Case("Gemm", ((3, 4), (2, 4)), {"transB": 1, "alpha": 0.5}),
    Case("Gemm", ((4, 3), (4, 2), (3, 1)), {"transA": 1, "beta": 2.0}),
    Case("Gemm", ((4, 3), (2, 4), ()), {"transA": 1, "transB": 1}, opset=9),
    Case("MatMul", ((3, 4), (4, 2))),
    Case("MatMul", ((2, 3, 4), (4, 2))),
    Case("MatMul", ((2, 3, 4), (2, 4, 2))),
    Case("MatMul", ((2, 1, 3, 4), (3, 4, 2)), opset=9),
    Case("MatMul", ((4,), (4, 2))),
    Case("MatMul", ((2, 3, 4), (4,))),
    Case("MatMul", ((4,), (4,))),
]
ELEMENTS = [
    *(Case(name, (SPOTS,)) for name in "Abs Elu Erf Exp HardSigmoid HardSwish LeakyRelu Neg Relu Sigmoid".split()),
    *(Case(name, (SPOTS,)) for name in "Softplus Tanh Identity Dropout".split()),
    *(Case(name, (SPOTS,), opset=9) for name in "Elu LeakyRelu Relu Sigmoid Tanh".split()),
    *(Case(name, (SPOTS,), positive=True) for name in "Log Reciprocal Sqrt".split()),
    Case("LeakyRelu", (SPOTS,), {"alpha": 0.3}),
    Case("Elu", (SPOTS,), {"alpha": 0.5}),
    Case("HardSigmoid", (SPOTS,), {"alpha": 0.4, "beta": 0.3}),
    Case("Gelu", (SPOTS,), opset=20),
    Case("Gelu", (SPOTS,), {"approximate": "tanh"}, opset=20),
    Case("Cast", (SPOTS,), {"to": TensorProto.FLOAT}),
    Case("Clip", (SPOTS,), {"min": -0.5, "max": 0.7}, opset=7),
    Case("Clip", (SPOTS, number(-0.4), number(0.8))),
    Case("Clip", (SPOTS, number(-0.4))),
    Case("PRelu", (SPOTS, np.array([[0.2], [0.1], [-0.3]], np.float32))),
    Case("Pow", (SPOTS, number(2))),
    Case("Pow", (SPOTS, number(3)), opset=7),
    Case("Pow", (SPOTS, np.array([0.5, 2, 1, 3], np.float32)), positive=True),
    *(Case(name, (SPOTS, (3, 1))) for name in "Add Sub Mul".split()),
    *(Case(name, ((4,), SPOTS), opset=7) for name in "Add Sub Mul".split()),
    *(Case(name, ((2, 1, 4), (3, 1))) for name in "Add Sub Mul Sum".split()),
    Case("Div", (SPOTS, (3, 1)), positive=True),
    Case("Div", ((4,), SPOTS), positive=True, opset=11),
    Case("Sum", (SPOTS, (4,), SPOTS), opset=8),
    Case("Where", (np.array([[True], [False], [True]]), SPOTS, (4,))),
    Case("Where", (np.ones((2, 3, 4), np.bool_), (3, 4), ())),
    Case("Expand", ((3, 1), ints(2, 3, 4))),
    Case("Expand", ((2, 3, 4), ints(1, 4))),
]
AXES = [
    *(Case(name, (SPOTS,), {"axis": axis}) for name in ("Softmax", "LogSoftmax") for axis in (0, 1, -1)),
    *(Case(name, (SPOTS,), {"axis": axis}, opset=11) for name in ("Softmax", "LogSoftmax") for axis in (0, 1)),
    Case("ReduceMean", (SPOTS,), {"axes": [1, -1]}),
    Case("ReduceMean", (SPOTS,), {"axes": [1], "keepdims": 0}),
    Case("ReduceMean", (SPOTS, ints(0, 2)), opset=18),
    Case("ReduceMean", (SPOTS,), {"keepdims": 0}),
    Case("ReduceSum", (SPOTS, ints(-1))),
    Case("ReduceSum", (SPOTS, ints(1)), {"keepdims": 0}),
    Case("ReduceSum", (SPOTS,), {"noop_with_empty_axes": 1}),
    Case("ReduceSum", (SPOTS,), {"axes": [0, 1]}, opset=11),
    Case("LayerNormalization", (SPOTS, np.array([1, 0.5, 2, -1], np.float32), np.ones(4, np.float32))),
    Case("LayerNormalization", (SPOTS, np.full((3, 4), 1.5, np.float32)), {"axis": 1, "epsilon": 1e-2}),
    Case("BatchNormalization", ((2, 3, 2, 2), *(np.array([1, 2, 0.5], np.float32),) * 4)),
    Case("BatchNormalization", ((4, 3), *(np.array([1, 2, 0.5], np.float32),) * 4), {"epsilon": 0.1}, opset=9),
]
MOVES = [
    Case("Reshape", (SPOTS, ints(4, -1))),
    Case("Reshape", (SPOTS, ints(0, 12)), opset=7),
    Case("Flatten", (SPOTS,), {"axis": 2}),
    Case("Transpose", (SPOTS,)),
    Case("Transpose", (SPOTS,), {"perm": [2, 0, 1]}),
    Case("Squeeze", ((2, 1, 3), ints(1))),
    Case("Squeeze", ((2, 1, 3),), {"axes": [1]}, opset=11),
    Case("Unsqueeze", ((2, 3), ints(0, -1))),
    Case("Unsqueeze", ((2, 3),), {"axes": [1]}, opset=9),
    Case("Concat", ((2, 3), (2, 1), (2, 2)), {"axis": 1}),
    Case("Concat", ((2, 3), (1, 3)), {"axis": -2}, opset=7),
    Case("Split", ((2, 6), ints(1, 3, 2)), {"axis": 1}, outputs=3),
    Case("Split", ((4, 3),), outputs=2, opset=11),
    Case("Slice", (SPOTS, ints(1, 0), ints(3, 9), ints(-1, 1))),
    Case("Slice", (SPOTS, ints(3), ints(-9), ints(2), ints(-2))),
    Case("Slice", (SPOTS, ints(0, 0), ints(4, 3), ints(2, 1), ints(2, 2))),
    Case("Slice", (SPOTS, ints(1, 1), ints(2, 3))),
    Case("Slice", (SPOTS,), {"starts": [1], "ends": [-1], "axes": [2]}, opset=9),
    Case("Gather", (SPOTS, ints(2, 0, 2)), {"axis": 1}),
    Case("Gather", (SPOTS, np.array(-1)), {"axis": 2}),
    Case("Gather", (SPOTS, np.array([[1, 1], [0, 1]])), opset=9),
    Case("Pad", (SPOTS, ints(0, 1, 2, 1, 0, 1))),
    Case("Pad", (SPOTS, ints(1, 2), number(0.5), ints(-1)), opset=18),
    Case("Pad", (SPOTS,), {"pads": [0, 1, 2, 1, 0, 1]}, opset=7),
]
CASES = [*CONVOLUTIONS, *POOLS, *PRODUCTS, *ELEMENTS, *AXES, *MOVES]


def model_of(case: Case, rng: np.random.Generator) -> tuple[ir.Model, dict[str, np.ndarray]]:
    """The node with all its inputs as initializers; and those that are to be differentiated by."""
    given, moving = {}, {}
    for index, wanted in enumerate(case.inputs):
        if isinstance(wanted, tuple):  # no two numbers closer than a few steps, none near 0: away from all kinks
            size = int(np.prod(wanted))
            drawn = (rng.permutation(size) - size / 2 + 0.31) * 0.09
            array = (np.abs(drawn) + 0.5 if case.positive else drawn).astype(np.float32).reshape(wanted)
            moving[f"i{index}"] = given[f"i{index}"] = array
        else:
            given[f"i{index}"] = np.asarray(wanted)
    outputs = [f"o{index}" for index in range(case.outputs)]
    node = helper.make_node(case.operator, list(given), outputs, **case.attributes)
    graph = helper.make_graph(
        [node], "case", [], [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in given.items()],
    )  # fmt: skip
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", case.opset)], ir_version=8)
    return ir.from_proto(proto), moving


@pytest.mark.parametrize("case", CASES, ids=str)
def test_gradients_are_those_of_finite_differences(case: Case) -> None:
    rng = np.random.default_rng(0)
    model, moving = model_of(case, rng)
    weights = [model.graph.initializers[name] for name in moving]
    ends = {value: 0.5 + index for index, value in enumerate(model.graph.outputs)}
    made = backward(model, weights, ends, {})
    assert set(made.gradients) == set(moving)
    session = Session(made.model, "cpu")
    forward = _forward(model, moving)
    expected = {name: rng.standard_normal(y.shape).astype(np.float32) for name, y in forward.run(moving).items()}
    found = session.run({**moving, **{EXPECTED + name: y for name, y in expected.items()}})

    def loss(feed: dict[str, np.ndarray]) -> float:
        wrong = {name: y.astype(np.float64) - expected[name] for name, y in forward.run(feed).items()}
        return sum(factor * float((wrong[end.name or ""] ** 2).sum()) for end, factor in ends.items())

    assert float(found[LOSS]) == pytest.approx(loss(moving), rel=1e-5)
    for name, start in moving.items():
        slopes = np.zeros(start.size)
        for position in range(start.size):
            ends_ = []
            for way in (STEP, -STEP):
                moved = start.copy()
                moved.reshape(-1)[position] += np.float32(way)
                ends_.append(loss({**moving, name: moved}))
            slopes[position] = (ends_[0] - ends_[1]) / (2 * STEP)
        gradient = found[made.gradients[name]]
        assert gradient.shape == start.shape
        assert gradient.ravel() == pytest.approx(slopes, rel=5e-3, abs=5e-3 * max(1e-3, float(np.abs(slopes).max())))


def _forward(model: ir.Model, moving: dict[str, np.ndarray]) -> Session:
    proto = ir.to_proto(model)
    kept = [tensor for tensor in proto.graph.initializer if tensor.name not in moving]
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(kept)
    for name, array in moving.items():
        proto.graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, array.shape))
    return Session(proto.SerializeToString(), "cpu")


def test_patches_that_are_too_many_are_taken_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convolution_gradients, "LARGE", 2 * 3 * 5 * 6 * 2)
    test_gradients_are_those_of_finite_differences(CONVOLUTIONS[2])
