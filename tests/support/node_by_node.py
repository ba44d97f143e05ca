"""Graphs that are written node by node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SEQUENCE, PICTURE = ("b", "s", 16), ("b", 16, "h", "w")


class Graph:
    """A graph of one input x, written node by node."""

    def __init__(self, shape: Sequence[str | int] = SEQUENCE) -> None:
        self.shape = shape
        self.rng = np.random.default_rng(0)
        self.count = 0
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.states: list[tuple[str, str, Sequence[str | int]]] = []  # input, output, shape

    def const(self, *numbers: int) -> str:
        return self.hold(np.array(numbers, np.int64))

    def scalar(self, number: int) -> str:
        return self.hold(np.array(number, np.int64))

    def hold(self, array: np.ndarray) -> str:
        self.weights.append(numpy_helper.from_array(array, f"c{len(self.weights)}"))
        return self.weights[-1].name

    def drawn(self, *shape: int) -> str:
        return self.hold(self.rng.standard_normal(shape).astype(np.float32))

    def op(self, kind: str, *inputs: str, **attributes: object) -> str:
        return self.ops(kind, *inputs, count=1, **attributes)[0]

    def ops(self, kind: str, *inputs: str, count: int, **attributes: object) -> list[str]:
        name, self.count = f"{kind.lower()}{self.count}", self.count + 1
        outputs = [f"{name}.{i}" for i in range(count)]
        self.nodes.append(helper.make_node(kind, list(inputs), outputs, name=f"{name}_n", **attributes))
        return outputs

    def linear(self, x: str, i: int, o: int) -> str:
        weight = self.hold((self.rng.standard_normal((i, o)) / np.sqrt(i)).astype(np.float32))
        return self.op("Add", self.op("MatMul", x, weight), self.hold(np.full(o, 0.1, np.float32)))

    def conv(self, x: str, i: int, o: int, kernel: int = 3, **attributes: object) -> str:
        weight = self.hold((self.rng.standard_normal((o, i, kernel, kernel)) / np.sqrt(9 * i)).astype(np.float32))
        return self.op("Conv", x, weight, self.hold(np.full(o, 0.1, np.float32)), **attributes)

    def size(self, x: str, axis: int) -> str:
        return self.op("Gather", self.op("Shape", x), self.const(axis), axis=0)

    def number(self, x: str, axis: int) -> str:
        """The size as a scalar."""
        return self.op("Gather", self.op("Shape", x), self.scalar(axis), axis=0)

    def slice(self, x: str, start: str, end: str, axis: int = 1) -> str:
        return self.op("Slice", x, start, end, self.const(axis))

    def range(self, number: str) -> str:
        """0, 1, ... up to a scalar."""
        return self.op("Range", self.scalar(0), number, self.scalar(1))

    def join(self, *sizes: str) -> str:
        return self.op("Concat", *sizes, axis=0)

    def attention(self, h: str, bias: Callable[[Graph, str], str] | None = None) -> str:
        """Its heads are taken apart by sizes that are computed."""
        n, s = self.size(h, 0), self.size(h, 1)
        heads = self.join(n, s, self.const(4, 8))
        q, k, v = (
            self.op("Transpose", self.op("Reshape", self.linear(h, 32, 32), heads), perm=[0, 2, 1, 3]) for _ in range(3)
        )
        scores = self.op("MatMul", q, self.op("Transpose", k, perm=[0, 1, 3, 2]))
        scores = scores if bias is None else self.op("Add", scores, bias(self, h))
        mixed = self.op("Transpose", self.op("MatMul", self.op("Softmax", scores, axis=-1), v), perm=[0, 2, 1, 3])
        return self.op("Reshape", mixed, self.join(n, s, self.const(32)))

    def branches(self, condition: str, bodies: Sequence[Callable[[Graph], str]]) -> str:
        """An If; each body adds its nodes and names its result."""
        graphs = []
        for k, body in enumerate(bodies):
            outside, self.nodes = self.nodes, []
            result = body(self)
            self.nodes.append(helper.make_node("Identity", [result], [f"{condition}.{k}"], name=f"{condition}.{k}"))
            info = helper.make_tensor_value_info(f"{condition}.{k}", TensorProto.FLOAT, None)
            graphs.append(helper.make_graph(self.nodes, f"body{k}", [], [info]))
            self.nodes = [*outside]
        return self.op("If", condition, then_branch=graphs[0], else_branch=graphs[1])

    def save(self, result: str, path: Path) -> None:
        self.nodes.append(helper.make_node("Identity", [result], ["y"], name="end"))
        info = helper.make_tensor_value_info
        inputs = [info("x", TensorProto.FLOAT, self.shape)]
        outputs = [info("y", TensorProto.FLOAT, None)]
        for begin, end, shape in self.states:
            inputs.append(info(begin, TensorProto.FLOAT, shape))
            outputs.append(info(end, TensorProto.FLOAT, None))
        graph = helper.make_graph(self.nodes, "g", inputs, outputs, self.weights)
        opsets = [helper.make_opsetid("", 17)]
        onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
