"""Builds small graphs: `av` is a layer that chooses its width (1x1 Conv), `iv` a Relu or an Add of several values, `cc`
a Concat. Values that nothing reads get one more layer, whose name ends in `_end`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from onnxsurgeon.surgery.network import Network, load


class Drawing:
    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[Any] = []
        self.inputs: list[Any] = []
        self.weights: list[Any] = []
        self.width: dict[str, int] = {}

    def input(self, name: str, width: int) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", width, 6, 6]))
        self.width[name] = width
        return name

    def weight(self, name: str, shape: tuple[int, ...]) -> str:
        self.weights.append(numpy_helper.from_array(self.rng.standard_normal(shape).astype(np.float32), name))
        return name

    def add(self, operator: str, name: str, *inputs: str, width: int | None = None, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [name], name, **attributes))
        self.width[name] = self.width[inputs[0]] if width is None else width
        return name

    def av(self, name: str, x: str, width: int, *, kernel: int = 1, groups: int = 1, **attributes: Any) -> str:
        w = self.weight(f"{name}.weight", (width, self.width[x] // groups, kernel, kernel))
        b = self.weight(f"{name}.bias", (width,))
        pads = attributes.pop("pads", [kernel // 2] * 4)
        return self.add("Conv", name, x, w, b, width=width, group=groups, pads=pads, **attributes)

    def bn(self, name: str, x: str, *, neutral: bool = False) -> str:
        n = self.width[x]
        values = {"scale": np.ones(n), "shift": np.zeros(n), "mean": np.zeros(n), "var": np.ones(n) - 1e-5}
        if not neutral:
            values = {key: self.rng.uniform(0.5, 1.5, n) for key in values}
        for key, value in values.items():
            self.weights.append(numpy_helper.from_array(value.astype(np.float32), f"{name}.{key}"))
        return self.add("BatchNormalization", name, x, *(f"{name}.{key}" for key in values))

    def iv(self, name: str, *inputs: str) -> str:
        return self.add("Relu" if len(inputs) == 1 else "Add", name, *inputs)

    def cc(self, name: str, *inputs: str) -> str:
        return self.add("Concat", name, *inputs, axis=1, width=sum(self.width[i] for i in inputs))

    def network(self, folder: Path, *, opset: int = 17) -> Network:
        read = {i for node in self.nodes for i in node.input}
        ends = [self.av(f"{n.name}_end", n.output[0], 2) for n in list(self.nodes) if n.output[0] not in read]
        outputs = [helper.make_tensor_value_info(e, TensorProto.FLOAT, ["N", 2, None, None]) for e in ends]
        graph = helper.make_graph(self.nodes, "drawn", self.inputs, outputs, self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        onnx.checker.check_model(model, full_check=True)
        path = folder / "drawn.onnx"
        onnx.save(model, path)
        return load(path)
