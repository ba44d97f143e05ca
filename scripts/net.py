"""Builds ONNX graphs layer by layer."""

from __future__ import annotations

import math
import zlib
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, checker, helper, numpy_helper

Array = np.ndarray[Any, Any]

OPSET = 17
IR_VERSION = 8


class Net:
    """A graph under construction: a method adds nodes and returns the name of the value that they compute.

    `width[value]` is the length of its channel axis (its last axis in a sequence), so that layers need no input size.
    A node, the value that it computes and the stem of its parameters' names are all the same word.
    """

    def __init__(self, name: str, shape: tuple[int | str, ...], *, width: int = 3, dtype: int = TensorProto.FLOAT):
        self.name = name
        self.rng = np.random.default_rng(zlib.crc32(name.encode()))
        self.input = helper.make_tensor_value_info("input", dtype, shape)
        self.nodes: list[NodeProto] = []
        self.params: dict[str, Array] = {}
        self.width = {"input": width}

    # Parameters

    def constant(self, name: str, value: Any, dtype: type = np.int64) -> str:
        """Name of a new initializer."""
        self.params[name] = np.asarray(value, dtype)
        return name

    def normal(self, name: str, shape: tuple[int, ...], *, scale: float, mean: float = 0.0) -> str:
        """Name of a new normally distributed initializer."""
        return self.constant(name, mean + scale * self.rng.standard_normal(shape), np.float32)

    def he(self, name: str, shape: tuple[int, ...], *, fan_in: int) -> str:
        """Name of a new initializer with He's scale."""
        return self.normal(name, shape, scale=math.sqrt(2 / fan_in))

    # Layers

    def add(self, op: str, name: str, *inputs: str, width: int | None = None, **attributes: Any) -> str:
        """Value of a node with one output, which has the width of its first input by default."""
        return self.add_many(op, name, *inputs, outputs=[name], width=width, **attributes)[0]

    def add_many(
        self, op: str, name: str, *inputs: str, outputs: list[str], width: int | None = None, **attributes: Any
    ) -> list[str]:
        """Values of one node; an output named "" is left out."""
        self.nodes.append(helper.make_node(op, inputs, outputs, name, **attributes))
        width = width or next((self.width[i] for i in inputs if i in self.width), 0)
        self.width.update(dict.fromkeys(outputs, width))
        return outputs

    def concat(self, name: str, *inputs: str) -> str:
        return self.add("Concat", name, *inputs, axis=1, width=sum(self.width[i] for i in inputs))

    def conv(
        self, x: str, name: str, out: int, k: int = 3, *, stride: int = 1, groups: int = 1, bias: bool = False
    ) -> str:
        per_group = self.width[x] // groups
        weight = self.he(f"{name}.weight", (out, per_group, k, k), fan_in=per_group * k * k)
        biases = [self.normal(f"{name}.bias", (out,), scale=0.1)] if bias else []
        return self.add(
            "Conv", name, x, weight, *biases, width=out,
            kernel_shape=[k, k], strides=[stride, stride], pads=[k // 2] * 4, group=groups,
        )  # fmt: skip

    def bn(self, x: str, name: str) -> str:
        shape = (self.width[x],)
        scale = self.normal(f"{name}.weight", shape, scale=0.15, mean=1)
        bias = self.normal(f"{name}.bias", shape, scale=0.1)
        mean = self.normal(f"{name}.running_mean", shape, scale=0.2)
        var = self.constant(f"{name}.running_var", self.rng.uniform(0.5, 1.5, shape), np.float32)
        return self.add("BatchNormalization", name, x, scale, bias, mean, var, epsilon=1e-5)

    def conv_bn(self, x: str, name: str, out: int, k: int = 3, **sizes: Any) -> str:
        """conv > bn, both with the same number: `conv1`, `bn1`."""
        x = self.conv(x, name, out, k, **sizes)
        return self.bn(x, name.replace("conv", "bn") if "conv" in name else f"{name}.bn")

    def conv_bn_relu(self, x: str, name: str, out: int, k: int = 3, **sizes: Any) -> str:
        x = self.conv_bn(x, name, out, k, **sizes)
        return self.add("Relu", name.replace("conv", "relu") if "conv" in name else f"{name}.relu", x)

    def gemm(self, x: str, name: str, out: int) -> str:
        weight = self.he(f"{name}.weight", (out, self.width[x]), fan_in=self.width[x])
        return self.add("Gemm", name, x, weight, self.normal(f"{name}.bias", (out,), scale=0.1), width=out, transB=1)

    def linear(self, x: str, name: str, out: int) -> str:
        """MatMul > Add, over the last axis."""
        weight = self.normal(f"{name}.weight", (self.width[x], out), scale=math.sqrt(1 / self.width[x]))
        x = self.add("MatMul", f"{name}.matmul", x, weight, width=out)
        return self.add("Add", name, x, self.normal(f"{name}.bias", (out,), scale=0.1))

    def layer_norm(self, x: str, name: str) -> str:
        scale = self.normal(f"{name}.weight", (self.width[x],), scale=0.15, mean=1)
        bias = self.normal(f"{name}.bias", (self.width[x],), scale=0.1)
        return self.add("LayerNormalization", name, x, scale, bias, axis=-1, epsilon=1e-5)

    def reshape(self, x: str, name: str, shape: list[int], *, width: int | None = None) -> str:
        return self.add("Reshape", name, x, self.constant(f"{name}.shape", shape), width=width)

    def transpose(self, x: str, name: str, *perm: int) -> str:
        return self.add("Transpose", name, x, perm=perm)

    def finish(self, x: str, shape: tuple[int | str, ...]) -> Net:
        """The net, with the value x as its output; "batch" is the dynamic batch of the input."""
        batch = self.input.type.tensor_type.shape.dim[0]
        shape = (batch.dim_param or batch.dim_value, *shape[1:])
        self.output = helper.make_tensor_value_info("output", TensorProto.FLOAT, shape)
        producer = next(node for node in self.nodes if x in node.output)
        producer.output[list(producer.output).index(x)] = "output"
        return self

    def model(self, *, check: bool = True) -> ModelProto:
        """The model, checked unless it is too large for the checker."""
        weights = [numpy_helper.from_array(array, name) for name, array in self.params.items()]
        graph = helper.make_graph(self.nodes, self.name, [self.input], [self.output], weights)
        opset = helper.make_opsetid("", OPSET)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name="make_fixtures")
        if check:
            checker.check_model(model, full_check=True)
        return model
