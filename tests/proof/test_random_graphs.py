"""Laws over random graphs: any selection can be cut, the file runs, its proof passes, and so does an independent check.

The check shares no code with the proof's reference: it sets each tensor of the original to zero at dropped neurons. All
outputs must equal those of the written file, at sizes that the tool has not seen.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxsurgeon as osg
from examples import examples
from onnxsurgeon.arrays import Mask
from onnxsurgeon.dependency.facts import constant
from onnxsurgeon.dependency.labels import Labels, label
from onnxsurgeon.edit.apply import cut
from onnxsurgeon.errors import InfeasibleError, ModelError
from onnxsurgeon.model.read import read
from onnxsurgeon.model.write import write
from onnxsurgeon.proof.comparison import tolerance
from onnxsurgeon.proof.of_a_cut import prove
from random_selection import random_selection

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]
BATCH = -1  # in shapes: the dynamic batch
INDEX = {TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL}


class Value(NamedTuple):
    name: str
    shape: Shape

    @property
    def channels(self) -> int:
        return self.shape[1]


class Graph:
    """Grows a random graph. Each operation takes a value from the pool and adds its result to the pool."""

    def __init__(self, seed: int, size: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.opset = int(self.pick((11, 13, 17, 21)))
        self.named, self.dynamic = self.chance(0.7), self.chance(0.7)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, Array] = {}
        self.by_shape: dict[Shape, list[str]] = {}
        self.exposed: list[str] = []  # weights that are inputs of the graph as well
        self.count = 0
        side = int(self.pick((4, 8)))
        self.inputs = [Value("x", (BATCH, int(self.pick((3, 4))), side, side))]
        if self.chance(0.3):
            self.inputs.append(Value("x2", (BATCH, 5)))
        if self.chance(0.3):
            self.inputs.append(Value("x3", (BATCH, 6, 7)))
        self.pool = [self.conv(self.inputs[0])]
        self.pool += [self.linear(v) for v in self.inputs[1:]]
        for _ in range(size):
            self.step()

    # --- drawing and naming ---

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def pick(self, choices: Sequence[Any]) -> Any:
        return choices[int(self.rng.integers(len(choices)))]

    def name(self, kind: str) -> str:
        self.count += 1
        return f"{kind}_{self.count}"

    def node(self, operator: str, inputs: Sequence[str], shape: Shape, **attributes: Any) -> Value:
        return Value(self.several(operator, inputs, 1, **attributes)[0], shape)

    def several(self, operator: str, inputs: Sequence[str], outputs: int, **attributes: Any) -> list[str]:
        names = [self.name(operator.lower()) for _ in range(outputs)]
        own = names[0] if self.named else ""
        self.nodes.append(helper.make_node(operator, list(inputs), names, name=own, **attributes))
        return names

    def held(self, array: Array) -> str:
        """A constant, written in one of the ways of exporters."""
        name = self.name("w")
        if self.chance(0.15):
            value = numpy_helper.from_array(array, name)
            self.nodes.append(helper.make_node("Constant", [], [name], value=value, name=name))
        else:
            self.weights[name] = array
        return name

    def ints(self, *numbers: int) -> str:
        return self.held(np.array(numbers, np.int64))

    def weight(self, *shape: int) -> str:
        """A random tensor: new or shared, directly or behind a Transpose, an Identity or a Cast."""
        if self.by_shape.get(shape) and self.chance(0.2):
            return str(self.pick(self.by_shape[shape]))
        array = (self.rng.standard_normal(shape) / np.sqrt(max(1, np.prod(shape[1:])))).astype(np.float32)
        if len(shape) == 1:
            array = array + np.float32(1)
        kind = self.rng.random()
        if kind < 0.1 and len(shape) == 2:
            name = self.several("Transpose", [self.held(np.ascontiguousarray(array.T))], 1, perm=[1, 0])[0]
        elif kind < 0.15:
            name = self.several("Identity", [self.held(array)], 1)[0]
        elif kind < 0.2:
            name = self.several("Cast", [self.held(array.astype(np.float16))], 1, to=TensorProto.FLOAT)[0]
        else:
            name = self.held(array)
            if name in self.weights and self.chance(0.05):
                self.exposed.append(name)
        self.by_shape.setdefault(shape, []).append(name)
        return name

    def zeros(self, size: int) -> str:
        """A vector of zeros that all nodes share."""
        name = f"zeros_{size}"
        self.weights[name] = np.zeros(size, np.float32)
        return name

    def vector(self, size: int) -> str:
        return self.zeros(size) if self.chance(0.3) else self.weight(size)

    def width(self) -> int:
        return int(self.pick((2, 4, 6, 8, 12)))

    # --- sizes ---

    def axes(self, operator: str, value: Value, axes: Sequence[int], shape: Shape, since: int = 13) -> Value:
        """An operator whose axes are an input from opset `since` on, and an attribute before."""
        if self.opset >= since:
            return self.node(operator, [value.name, self.ints(*axes)], shape)
        return self.node(operator, [value.name], shape, axes=list(axes))

    def reduce(self, operator: str, value: Value, axes: Sequence[int], *, keep: bool) -> Value:
        rank = len(value.shape)
        gone = {a % rank for a in axes}
        shape = tuple(1 if a in gone else n for a, n in enumerate(value.shape) if keep or a not in gone)
        since = 13 if operator == "ReduceSum" else 18
        if self.opset >= since:
            return self.node(operator, [value.name, self.ints(*axes)], shape, keepdims=int(keep))
        return self.node(operator, [value.name], shape, axes=list(axes), keepdims=int(keep))

    def reshape(self, value: Value, shape: Shape) -> Value:
        """A Reshape with the batch first; the target is a constant or computed from the value's shape."""
        if self.chance(0.5) or shape[0] != BATCH:
            spelled = [0 if n == BATCH and self.chance(0.5) and value.shape[0] == BATCH else n for n in shape]
            if spelled[0] == 0 and self.chance(0.3):
                spelled[int(self.rng.integers(1, len(spelled)))] = -1
            return self.node("Reshape", [value.name, self.ints(*spelled)], shape)
        own = self.several("Shape", [value.name], 1)[0]
        parts = []
        for axis, n in enumerate(shape):
            if n == BATCH or (axis < len(value.shape) and n == value.shape[axis] and self.chance(0.5)):
                if self.chance(0.5):
                    parts.append(self.several("Gather", [own, self.ints(axis)], 1, axis=0)[0])
                else:
                    scalar = self.several("Gather", [own, self.held(np.array(axis, np.int64))], 1, axis=0)[0]
                    parts.append(self.axes("Unsqueeze", Value(scalar, ()), [0], (1,)).name)
            else:
                parts.append(self.ints(n))
        target = self.several("Concat", parts, 1, axis=0)[0]
        return self.node("Reshape", [value.name, target], shape)

    def transpose(self, value: Value, *order: int) -> Value:
        return self.node("Transpose", [value.name], tuple(value.shape[a] for a in order), perm=list(order))

    # --- one step ---

    def step(self) -> None:
        value = self.pick(self.pool[-4:] if self.chance(0.8) else self.pool)
        kinds = {2: self.FLAT, 3: self.TOKENS, 4: self.IMAGES}[len(value.shape)]
        operation: Callable[[Graph, Value], Value | None] = self.pick((*kinds, *self.ANY))
        made = operation(self, value)
        if made is not None and np.prod([abs(n) for n in made.shape]) < 4096:
            self.pool.append(made)

    def same_shape(self, value: Value) -> Value:
        """Another value of the same shape, or the value itself."""
        return self.pick([v for v in self.pool if v.shape == value.shape] or [value])

    # --- anywhere ---

    def activate(self, v: Value) -> Value:
        operator = self.pick(("Relu", "Sigmoid", "Tanh", "LeakyRelu", "Elu", "HardSigmoid", "Softplus", "Erf", "Abs"))
        return self.node(operator, [v.name], v.shape)

    def clip(self, v: Value) -> Value:
        low = self.held(np.array(-1, np.float32))
        return self.node("Clip", [v.name, low, self.held(np.array(1.5, np.float32))], v.shape)

    def combine(self, v: Value) -> Value:
        other, operator = self.same_shape(v), self.pick(("Add", "Sub", "Mul", "Max", "Min", "Sum", "Mean"))
        return self.node(operator, [v.name, other.name], v.shape)

    def broadcast(self, v: Value) -> Value:
        """Combined with a constant along one or several axes."""
        axis = int(self.rng.integers(1, len(v.shape)))
        shape = [n if a == axis or (a and self.chance(0.2)) else 1 for a, n in enumerate(v.shape)]
        while shape[0] == 1 and len(shape) > 1 and self.chance(0.7):
            shape = shape[1:]
        pair = [v.name, self.weight(*shape)]
        return self.node(self.pick(("Add", "Mul", "Sub")), pair if self.chance(0.7) else pair[::-1], v.shape)

    def divide(self, v: Value) -> Value:
        one = self.held(np.array(2, np.float32))
        below = self.node("Add", [self.node("Abs", [self.same_shape(v).name], v.shape).name, one], v.shape)
        return self.node("Div", [v.name, below.name], v.shape)

    def choose(self, v: Value) -> Value:
        other, third = self.same_shape(v), self.same_shape(v)
        mask = self.several("Greater", [v.name, other.name], 1)[0]
        if self.chance(0.3):
            mask = self.several("Not", [mask], 1)[0]
        fourth = v.name if self.chance(0.5) else self.held(np.array(0.5, np.float32))
        return self.node("Where", [mask, third.name, fourth], v.shape)

    def join(self, v: Value) -> Value | None:
        others = [o for o in self.pool if len(o.shape) == len(v.shape) and o.shape[2:] == v.shape[2:]]
        parts = [v, *(self.pick(others) for _ in range(int(self.rng.integers(1, 3))))]
        if len(v.shape) == 3:
            parts = [p for p in parts if p.shape[1] == v.shape[1]]
        total = sum(p.channels for p in parts)
        if total > 32 or len(parts) < 2:
            return None
        parts = [parts[i] for i in self.rng.permutation(len(parts))]
        axis = 1 if self.chance(0.7) else 1 - len(v.shape)
        return self.node("Concat", [p.name for p in parts], (v.shape[0], total, *v.shape[2:]), axis=axis)

    def part(self, v: Value) -> Value | None:
        """An axis split into halves or uneven parts, which are concatenated in another order or multiplied (a gate)."""
        axis = self.pick([a for a, n in enumerate(v.shape) if a and n > 2] or [0])
        if not axis:
            return None
        n = v.shape[axis]
        first = n // 2 if self.chance(0.6) else int(self.rng.integers(1, n))
        sizes = [first, n - first]
        if self.opset >= 13:
            a, b = self.several("Split", [v.name, self.ints(*sizes)], 2, axis=axis)
        else:
            a, b = self.several("Split", [v.name], 2, axis=axis, split=sizes)
        if sizes[0] == sizes[1] and self.chance(0.6):
            shape = tuple(first if i == axis else m for i, m in enumerate(v.shape))
            return self.node("Mul", [a, self.several("Sigmoid", [b], 1)[0]], shape)
        return self.node("Concat", [b, a], v.shape, axis=axis)

    def slice(self, v: Value) -> Value | None:
        axis = self.pick([a for a, n in enumerate(v.shape) if a and n > 2] or [0])
        if not axis:
            return None
        n = v.shape[axis]
        low = int(self.rng.integers(0, n - 2))
        high = int(self.rng.integers(low + 2, n + 1))
        spelled = self.pick(((low, high), (low - n, high), (low, high - n if high < n else 2**63 - 1)))
        shape = tuple(high - low if i == axis else m for i, m in enumerate(v.shape))
        return self.node("Slice", [v.name, *(self.ints(b) for b in spelled), self.ints(axis)], shape)

    def gather(self, v: Value) -> Value | None:
        """A Gather with a permutation, a subset, or repetitions."""
        axis = int(self.rng.integers(1, len(v.shape)))
        n = v.shape[axis]
        count = n if self.chance(0.5) else int(self.rng.integers(2, n + 3))
        index = self.rng.permutation(n) if count == n else self.rng.integers(-n, n, count)
        shape = tuple(count if i == axis else m for i, m in enumerate(v.shape))
        return self.node("Gather", [v.name, self.ints(*index.tolist())], shape, axis=axis)

    def pad(self, v: Value) -> Value:
        amounts = np.zeros((2, len(v.shape)), int)
        amounts[:, int(self.rng.integers(1, len(v.shape)))] = self.rng.integers(0, 3, 2)
        shape = (v.shape[0], *(n + int(a) for n, a in zip(v.shape[1:], amounts.sum(0)[1:], strict=True)))
        return self.node(
            "Pad", [v.name, self.ints(*amounts.ravel().tolist()), self.held(np.array(0.5, np.float32))], shape
        )

    def tile(self, v: Value) -> Value:
        axis = int(self.rng.integers(1, len(v.shape)))
        times = [2 if a == axis else 1 for a in range(len(v.shape))]
        shape = tuple(n * t for n, t in zip(v.shape, times, strict=True))
        return self.node("Tile", [v.name, self.ints(*times)], shape)

    def split_axis(self, v: Value) -> Value | None:
        """An axis split into two, which are swapped or scaled, then merged again."""
        axis = self.pick([a for a, n in enumerate(v.shape) if a and n >= 4 and n % 2 == 0] or [0])
        if not axis:
            return None
        n = v.shape[axis]
        outer = int(self.pick([d for d in range(2, n) if n % d == 0]))
        wide = self.reshape(v, (*v.shape[:axis], outer, n // outer, *v.shape[axis + 1 :]))
        if self.chance(0.6):
            order = list(range(len(wide.shape)))
            order[axis], order[axis + 1] = axis + 1, axis
            wide = self.transpose(wide, *order)
        if self.chance(0.4):
            shape = [m if a == axis + self.chance(0.5) else 1 for a, m in enumerate(wide.shape)]
            wide = self.node("Mul", [wide.name, self.weight(*shape)], wide.shape)
        return self.reshape(wide, v.shape)

    def there_and_back(self, v: Value) -> Value:
        axis = int(self.rng.integers(1, len(v.shape) + 1))
        up = self.axes("Unsqueeze", v, [axis], (*v.shape[:axis], 1, *v.shape[axis:]))
        return self.axes("Squeeze", self.activate(up), [axis], v.shape)

    def swap(self, v: Value) -> Value:
        if len(v.shape) == 2:
            return self.activate(v)
        return self.transpose(v, 0, *(int(a) + 1 for a in self.rng.permutation(len(v.shape) - 1)))

    def softmax(self, v: Value) -> Value:
        return self.node("Softmax", [v.name], v.shape, axis=self.pick((1, -1)))

    def centre(self, v: Value) -> Value:
        """The value minus its mean or its maximum."""
        axis = int(self.rng.integers(1, len(v.shape)))
        below = self.reduce(self.pick(("ReduceMean", "ReduceMax", "ReduceSum", "ReduceL2")), v, [axis], keep=True)
        return self.node("Sub", [v.name, below.name], v.shape)

    def norm(self, v: Value) -> Value:
        if self.opset < 17:
            return self.centre(v)
        n = v.shape[-1]
        return self.node("LayerNormalization", [v.name, self.vector(n), self.vector(n)], v.shape, axis=-1)

    def branch(self, v: Value) -> Value:
        """An If whose branches use outer values."""
        if not any(n.name == "condition" for n in self.nodes):
            total = self.several("ReduceSum", [self.inputs[0].name], 1, keepdims=0)[0]
            zero = self.held(np.array(0, np.float32))
            self.nodes.append(helper.make_node("Greater", [total, zero], ["positive"], name="condition"))
        other, graphs = self.same_shape(v), []
        for operator, inputs in (("Add", [v.name, other.name]), ("Mul", [v.name, self.weight(v.shape[-1])])):
            out = self.name("branch")
            info = helper.make_tensor_value_info(out, TensorProto.FLOAT, None)
            graphs.append(helper.make_graph([helper.make_node(operator, inputs, [out])], out, [], [info]))
        return self.node("If", ["positive"], v.shape, then_branch=graphs[0], else_branch=graphs[1])

    def by_size(self, v: Value) -> Value:
        """The value divided by its width, as in a mean that an exporter decomposed."""
        axis = int(self.rng.integers(1, len(v.shape)))
        own = self.several("Shape", [v.name], 1)[0]
        size = self.several("Gather", [own, self.held(np.array(axis, np.int64))], 1, axis=0)[0]
        return self.node("Div", [v.name, self.several("Cast", [size], 1, to=TensorProto.FLOAT)[0]], v.shape)

    # --- pictures: batch, channels, height, width ---

    def conv(self, v: Value) -> Value:
        c, h, w = v.shape[1:]
        kind = self.rng.random()
        k = int(self.pick((1, 3)))
        if kind < 0.2:
            group, out = c, c * int(self.pick((1, 2)))
        elif kind < 0.4 and c % 2 == 0:
            group, out = 2, 2 * self.width()
        elif kind < 0.5 and c % 3 == 0:
            group, out = 3, 3 * self.width()
        else:
            group, out = 1, self.width()
        inputs = [v.name, self.weight(out, c // group, k, k)]
        if self.chance(0.7):
            inputs.append(self.vector(out))
        shape = (v.shape[0], out, h, w)
        return self.node("Conv", inputs, shape, kernel_shape=[k, k], pads=[k // 2] * 4, group=group)

    def deconv(self, v: Value) -> Value | None:
        c, h, w = v.shape[1:]
        if h > 8 or w > 8:
            return None
        group = 2 if c % 2 == 0 and self.chance(0.4) else 1
        out = self.width() // group * group
        weight = self.weight(c, out // group, 2, 2)
        shape = (v.shape[0], out, h * 2, w * 2)
        inputs = [v.name, weight, self.vector(out)]
        return self.node("ConvTranspose", inputs, shape, kernel_shape=[2, 2], strides=[2, 2], group=group)

    def batch_norm(self, v: Value) -> Value:
        n = v.channels
        positive = self.held(np.abs(self.rng.standard_normal(n)).astype(np.float32) + np.float32(0.5))
        vectors = [self.vector(n), self.vector(n), self.vector(n), positive]
        return self.node("BatchNormalization", [v.name, *vectors], v.shape)

    def instance_norm(self, v: Value) -> Value:
        return self.node("InstanceNormalization", [v.name, self.vector(v.channels), self.vector(v.channels)], v.shape)

    def group_norm(self, v: Value) -> Value | None:
        """An operator, or its decomposition by exporters for old opsets."""
        groups = 3 if v.channels % 3 == 0 else 2
        if v.channels % groups:
            return None
        if self.opset >= 21 and self.chance(0.7):
            vectors = [self.vector(v.channels), self.vector(v.channels)]
            return self.node("GroupNormalization", [v.name, *vectors], v.shape, num_groups=groups)
        packed = self.reshape(v, (v.shape[0], groups, int(np.prod(v.shape[1:])) // groups))
        ones = self.held(np.ones(groups, np.float32))
        inner = self.node("InstanceNormalization", [packed.name, ones, self.zeros(groups)], packed.shape)
        return self.node("Mul", [self.reshape(inner, v.shape).name, self.weight(v.channels, 1, 1)], v.shape)

    def pool_(self, v: Value) -> Value | None:
        if min(v.shape[2:]) < 2 or v.shape[2] % 2 or v.shape[3] % 2:
            return None
        shape = (*v.shape[:2], v.shape[2] // 2, v.shape[3] // 2)
        return self.node(self.pick(("MaxPool", "AveragePool")), [v.name], shape, kernel_shape=[2, 2], strides=[2, 2])

    def resize(self, v: Value) -> Value | None:
        if max(v.shape[2:]) > 8:
            return None
        shape = (*v.shape[:2], v.shape[2] * 2, v.shape[3] * 2)
        if self.chance(0.5):
            scales = self.held(np.array([1, 1, 2, 2], np.float32))
            return self.node("Resize", [v.name, self.held(np.zeros(0, np.float32)), scales], shape, mode="nearest")
        own = self.several("Shape", [v.name], 1)[0]
        head = self.several("Slice", [own, self.ints(0), self.ints(2)], 1)[0]
        sizes = self.several("Concat", [head, self.ints(*shape[2:])], 1, axis=0)[0]
        none = self.held(np.zeros(0, np.float32))
        return self.node("Resize", [v.name, none, none, sizes], shape, mode="linear")

    def depth(self, v: Value) -> Value | None:
        n, c, h, w = v.shape
        if c % 4 == 0 and h <= 8 and w <= 8 and self.chance(0.6):
            mode = self.pick(("DCR", "CRD"))
            return self.node("DepthToSpace", [v.name], (n, c // 4, h * 2, w * 2), blocksize=2, mode=mode)
        if h % 2 == 0 and w % 2 == 0 and c <= 8:
            return self.node("SpaceToDepth", [v.name], (n, c * 4, h // 2, w // 2), blocksize=2)
        return None

    def gate(self, v: Value) -> Value:
        """A squeeze-and-excitation block."""
        pooled = self.node("GlobalAveragePool", [v.name], (*v.shape[:2], 1, 1))
        inner = self.width()
        down = self.node("Conv", [pooled.name, self.weight(inner, v.channels, 1, 1)], (v.shape[0], inner, 1, 1))
        up = self.weight(v.channels, inner, 1, 1)
        gate = self.node("Conv", [self.activate(down).name, up], pooled.shape)
        return self.node("Mul", [v.name, self.node("Sigmoid", [gate.name], gate.shape).name], v.shape)

    def prelu(self, v: Value) -> Value:
        return self.node("PRelu", [v.name, self.weight(v.channels, *(1,) * (len(v.shape) - 2))], v.shape)

    def standardised(self, v: Value) -> Value:
        """A convolution whose weight is computed."""
        out = self.width()
        raw = Value(self.weight(out, v.channels, 1, 1), (out, v.channels, 1, 1))
        centred = self.node("Sub", [raw.name, self.reduce("ReduceMean", raw, [1, 2, 3], keep=True).name], raw.shape)
        return self.node("Conv", [v.name, centred.name], (v.shape[0], out, *v.shape[2:]))

    def tokens(self, v: Value) -> Value:
        n, c, h, w = v.shape
        return self.transpose(self.reshape(v, (n, c, h * w)), 0, 2, 1)

    def channels_last(self, v: Value) -> Value:
        """A MatMul over channels between two Transposes."""
        moved, out = self.transpose(v, 0, 2, 3, 1), self.width()
        product = self.node("MatMul", [moved.name, self.weight(v.channels, out)], (*moved.shape[:3], out))
        return self.transpose(product, 0, 3, 1, 2)

    def flatten(self, v: Value) -> Value | None:
        size = int(np.prod(v.shape[1:]))
        if size > 256:
            return None
        if self.chance(0.5):
            return self.node("Flatten", [v.name], (v.shape[0], size))
        return self.reshape(v, (v.shape[0], size))

    def average(self, v: Value) -> Value:
        return self.reduce("ReduceMean", v, [2, 3] if self.chance(0.5) else [-1, -2], keep=False)

    # --- tokens: batch, positions, channels ---

    def linear(self, v: Value) -> Value:
        """A linear layer: MatMul and perhaps Add, or a Gemm if the value is flat."""
        out = self.width()
        shape = (*v.shape[:-1], out)
        if len(v.shape) == 2 and self.chance(0.6):
            turned = self.chance(0.5)
            weight = self.weight(*((out, v.shape[-1]) if turned else (v.shape[-1], out)))
            return self.node("Gemm", [v.name, weight, self.vector(out)], shape, transB=int(turned), alpha=0.5)
        made = self.node("MatMul", [v.name, self.weight(v.shape[-1], out)], shape)
        return self.node("Add", [self.vector(out), made.name], shape) if self.chance(0.6) else made

    def left(self, v: Value) -> Value:
        """A MatMul over positions with the constant on the left."""
        out = self.width()
        return self.node("MatMul", [self.weight(out, v.shape[1]), v.name], (v.shape[0], out, v.shape[2]))

    def einsum(self, v: Value) -> Value:
        out = self.width()
        equation = self.pick(("bnk,kj->bnj", "b n k, k j -> b n j"))
        return self.node("Einsum", [v.name, self.weight(v.shape[-1], out)], (*v.shape[:-1], out), equation=equation)

    def attend(self, v: Value) -> Value:
        heads, size, n = int(self.pick((1, 2, 3))), int(self.pick((2, 4))), v.shape[1]
        sides = []
        if self.chance(0.4):  # packed
            wide = 3 * heads * size
            whole = self.node("MatMul", [v.name, self.weight(v.shape[2], wide)], (BATCH, n, wide))
            spread = self.transpose(self.reshape(whole, (BATCH, n, 3, heads, size)), 2, 0, 3, 1, 4)
            for k in range(3):
                index = self.held(np.array(k, np.int64))
                sides.append(self.node("Gather", [spread.name, index], (BATCH, heads, n, size), axis=0))
        else:
            for _ in range(3):
                side = self.node("MatMul", [v.name, self.weight(v.shape[2], heads * size)], (BATCH, n, heads * size))
                sides.append(self.transpose(self.reshape(side, (BATCH, n, heads, size)), 0, 2, 1, 3))
        q, k, w = sides
        turned = self.transpose(k, 0, 1, 3, 2)
        scores = self.node("MatMul", [q.name, turned.name], (BATCH, heads, n, n))
        scale = self.held(np.array(size**-0.5, np.float32))
        scores = self.node("Mul", [scores.name, scale], scores.shape)
        weights = self.node("Softmax", [scores.name], scores.shape, axis=3 if self.opset < 13 else -1)
        mixed = self.transpose(self.node("MatMul", [weights.name, w.name], q.shape), 0, 2, 1, 3)
        merged = self.reshape(mixed, (BATCH, n, heads * size))
        out = self.node("MatMul", [merged.name, self.weight(heads * size, v.shape[2])], v.shape)
        return self.node("Add", [out.name, v.name], v.shape)

    def recurrent(self, v: Value) -> Value:
        hidden, (operator, gates) = self.width(), self.pick((("LSTM", 4), ("GRU", 3), ("RNN", 1)))
        both = int(self.pick((1, 2)))
        x = self.transpose(v, 1, 0, 2)
        inputs = [x.name, self.weight(both, gates * hidden, v.shape[2]), self.weight(both, gates * hidden, hidden)]
        if self.chance(0.6):
            inputs.append(self.weight(both, 2 * gates * hidden))
        direction = "bidirectional" if both == 2 else "forward"
        shape = (v.shape[1], both, BATCH, hidden)
        y = self.node(operator, inputs, shape, hidden_size=hidden, direction=direction)
        if both == 1:
            return self.transpose(self.axes("Squeeze", y, [1], (v.shape[1], BATCH, hidden)), 1, 0, 2)
        return self.reshape(self.transpose(y, 2, 0, 1, 3), (BATCH, v.shape[1], both * hidden))

    def class_token(self, v: Value) -> Value:
        own = self.several("Shape", [v.name], 1)[0]
        batch = self.several("Gather", [own, self.ints(0)], 1, axis=0)[0]
        target = self.several("Concat", [batch, self.ints(1, 1)], 1, axis=0)[0]
        token = self.node("Expand", [self.weight(1, 1, v.shape[2]), target], (BATCH, 1, v.shape[2]))
        return self.node("Concat", [token.name, v.name], (BATCH, v.shape[1] + 1, v.shape[2]), axis=1)

    def first(self, v: Value) -> Value:
        return self.node("Gather", [v.name, self.held(np.array(0, np.int64))], (v.shape[0], v.shape[2]), axis=1)

    def conv1d(self, v: Value) -> Value:
        out = self.width()
        turned = self.transpose(v, 0, 2, 1)
        made = self.node("Conv", [turned.name, self.weight(out, v.shape[2], 3)], (BATCH, out, v.shape[1]), pads=[1, 1])
        return self.transpose(made, 0, 2, 1)

    def image(self, v: Value) -> Value | None:
        side = int(np.sqrt(v.shape[1]))
        if side * side != v.shape[1] or side < 2:
            return None
        return self.reshape(self.transpose(v, 0, 2, 1), (v.shape[0], v.shape[2], side, side))

    def mean(self, v: Value) -> Value:
        return self.reduce(self.pick(("ReduceMean", "ReduceMax", "ReduceSum")), v, [1], keep=False)

    def outer(self, v: Value) -> Value | None:
        """A MatMul of a value with its own transpose."""
        if v.shape[1] > 16:
            return None
        turned = self.transpose(v, 0, 2, 1)
        return self.node("MatMul", [v.name, turned.name], (v.shape[0], v.shape[1], v.shape[1]))

    # --- flat: batch, channels ---

    def deepen(self, v: Value) -> Value | None:
        divisors = [d for d in range(2, v.shape[1]) if v.shape[1] % d == 0]
        if not divisors or v.shape[1] > 96:
            return None
        d = int(self.pick(divisors))
        return self.reshape(v, (BATCH, d, v.shape[1] // d))

    def turned(self, v: Value) -> Value:
        """A MatMul with the constant on the left and the batch last."""
        out = self.width()
        made = self.node("MatMul", [self.weight(out, v.shape[1]), self.transpose(v, 1, 0).name], (out, BATCH))
        return self.transpose(made, 1, 0)

    def expand(self, v: Value) -> Value:
        up = self.axes("Unsqueeze", v, [1], (BATCH, 1, v.shape[1]))
        return self.node("Expand", [up.name, self.ints(1, 3, 1)], (BATCH, 3, v.shape[1]))

    ANY = (
        activate, activate, clip, combine, combine, combine, broadcast, broadcast, divide, choose, join, join, part,
        slice, gather, pad, tile, split_axis, there_and_back, swap, softmax, centre, norm, branch, by_size,
    )  # fmt: skip
    IMAGES = (
        conv, conv, conv, conv, conv, conv, deconv, batch_norm, batch_norm, instance_norm, group_norm, pool_, resize,
        depth, gate, prelu, standardised, tokens, channels_last, flatten, average,
    )  # fmt: skip
    TOKENS = (
        linear, linear, linear, linear, left, einsum, attend, attend, recurrent, class_token, first, conv1d, image,
        mean, outer, batch_norm, prelu,
    )  # fmt: skip
    FLAT = (linear, linear, linear, linear, linear, linear, deepen, turned, expand, batch_norm)

    # --- the whole ---

    def model(self) -> onnx.ModelProto:
        """Add output layers to some values, so that these may be cut; other values are outputs themselves."""
        outputs: list[tuple[Value, int]] = []
        for value in {v.name: v for v in (self.pool[-1], *(self.pick(self.pool) for _ in range(2)))}.values():
            if self.chance(0.15):
                outputs.append((value, TensorProto.FLOAT))
                continue
            flat = value
            if len(value.shape) > 2 and self.chance(0.7):
                flat = self.reduce("ReduceMean", value, list(range(2, len(value.shape))), keep=False)
            head = self.node("MatMul", [flat.name, self.weight(flat.shape[-1], 3)], (*flat.shape[:-1], 3))
            outputs.append((head, TensorProto.FLOAT))
        if self.chance(0.1) and self.weights:
            name = self.pick(sorted(n for n, a in self.weights.items() if a.dtype == np.float32))
            outputs.append((Value(name, self.weights[name].shape), TensorProto.FLOAT))
        batch: Any = "N" if self.dynamic else 2

        def info(value: Value, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
            return helper.make_tensor_value_info(value.name, kind, [batch if n == BATCH else n for n in value.shape])

        inputs = [info(v) for v in self.inputs]
        inputs += [info(Value(n, self.weights[n].shape)) for n in dict.fromkeys(self.exposed)]
        weights = [numpy_helper.from_array(np.asarray(a), n) for n, a in self.weights.items()]
        graph = helper.make_graph(self.nodes, "random", inputs, [info(*o) for o in outputs], weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=10)


# --- running ---------------------------------------------------------------------------------------------------------


def session(model: onnx.ModelProto | Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def feed(running: ort.InferenceSession, batch: int) -> dict[str, Array]:
    rng = np.random.default_rng(batch)
    shapes = {i.name: [n if isinstance(n, int) else batch for n in i.shape] for i in running.get_inputs()}
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def zeroed(labels: Labels, keep: Mask) -> onnx.ModelProto | None:
    """The labelled model with all tensors set to zero at dropped neurons; None if a node normalises over them, or if
    such a tensor is in a subgraph."""
    for node, call in labels.calls.items():
        inner = [axis for axes in call.results for axis in axes or () if node.graph is not labels.model.graph]
        if any(axis is not None and not keep[axis].all() for axis in inner):
            return None
        for index, axis in call.soft:
            labelled = (call.axes(index) or ())[axis]
            if labelled is not None and not keep[labelled].all():
                return None
    proto = onnx.ModelProto.FromString(ir.to_proto(labels.model).SerializeToString())
    nodes: list[onnx.NodeProto] = []

    def silenced(source: str, result: str, axes: Any, kind: int) -> bool:
        """Add nodes that compute `result` from `source` by setting dropped neurons to zero."""
        mask = np.ones([1] * len(axes), np.bool_)
        for a, axis in enumerate(axes):
            if axis is not None and not keep[axis].all():
                mask = mask & keep[axis].reshape([-1 if i == a else 1 for i in range(len(axes))])
        if mask.all():
            return False
        name, zero = f"mask of {result}", f"zero of {result}"
        proto.graph.initializer.append(numpy_helper.from_array(mask, name))
        if kind == TensorProto.BOOL:
            nodes.append(helper.make_node("And", [name, source], [result]))
        else:
            nothing = np.zeros((), helper.tensor_dtype_to_np_dtype(kind))
            proto.graph.initializer.append(numpy_helper.from_array(nothing, zero))
            nodes.append(helper.make_node("Where", [name, source, zero], [result]))
        return True

    for number, (node, twin) in enumerate(zip(labels.model.graph, proto.graph.node, strict=True)):
        for index, value in enumerate(node.inputs):
            held, axes = constant(value), labels.known(node, index) if node in labels.calls else None
            if held is not None and axes is not None:
                inner = f"input {index} of {number}"
                if silenced(twin.input[index], inner, axes, int(held.dtype)):
                    twin.input[index] = inner
        nodes.append(twin)
        for index, value in enumerate(node.outputs):
            axes, fact = labels.axes.get(value), labels.facts[0].get(value)
            name, whole = value.name or "", f"whole {value.name}"
            if axes is not None and fact is not None and fact.dtype and silenced(whole, name, axes, fact.dtype):
                twin.output[index] = whole
    del proto.graph.node[:], proto.graph.value_info[:]
    proto.graph.node.extend(nodes)
    return proto


def differ(expected: Sequence[Array], found: Sequence[Array]) -> str:
    for a, b in zip(expected, found, strict=True):
        if a.shape != b.shape:
            return f"shapes {a.shape} and {b.shape}"
        x, y = a.astype(np.float64), b.astype(np.float64)
        scale = max(1e-2, float(np.abs(x[np.isfinite(x)]).max(initial=0)))
        if not np.allclose(x, y, rtol=0, atol=2e-3 * scale, equal_nan=True):
            return f"differ by {np.nanmax(np.abs(x - y)) / scale:.3g}"
    return ""


def ports(model: onnx.ModelProto) -> tuple[list[bytes], list[bytes]]:
    held = {t.name for t in model.graph.initializer}
    inputs = [i.SerializeToString() for i in model.graph.input if i.name not in held]
    return inputs, [o.SerializeToString() for o in model.graph.output]


def check(path: Path, written: Path, labels: Labels, keep: Mask) -> None:
    """Assert that the written file has the original's inputs and outputs, and is right at any batch size."""
    before, after = onnx.load(path), onnx.load(written)
    assert ports(before) == ports(after)
    onnx.checker.check_model(after, full_check=True)
    original, edited, silent = session(path), session(written), zeroed(labels, keep)
    quiet = None if silent is None else session(silent)
    for batch in (1, 5) if labels.sizes[0] else (2,):
        inputs = feed(original, batch)
        plain, found = original.run(None, inputs), edited.run(None, inputs)
        assert [a.shape for a in plain] == [b.shape for b in found]
        if quiet is not None:
            assert not differ(quiet.run(None, inputs), found), batch


def parameters(model: onnx.ModelProto) -> int:
    """The number of elements of all weights that a node reads."""
    graphs, total, used = [model.graph], 0, set[str]()
    for graph in graphs:  # grows
        for node in graph.node:
            used.update(node.input)
            graphs += [a.g for a in node.attribute if a.type == onnx.AttributeProto.GRAPH]
    for graph in graphs:
        held = [(t.name, t) for t in graph.initializer]
        held += [(n.output[0], n.attribute[0].t) for n in graph.node if n.op_type == "Constant"]
        total += sum(int(np.prod(t.dims)) for name, t in held if name in used and t.data_type not in INDEX)
    return total


def valid(model: onnx.ModelProto) -> bool:
    """Whether onnxruntime runs the model, with finite outputs."""
    try:
        running = session(model)
        results = running.run(None, feed(running, 2))
    except Exception:  # noqa: BLE001 - it raises many types
        return False
    return all(np.isfinite(r).all() and np.abs(r).max(initial=0) < 1e4 for r in results)


def attempt(seed: int, folder: Path, size: int = 14) -> int:
    """The number of random and requested cuts of a random graph, all checked; -1 if onnxruntime refuses the graph."""
    model = Graph(seed, size).model()
    if not valid(model):
        return -1
    path, written = folder / "random.onnx", folder / "cut.onnx"
    onnx.save(model, path)
    rng, cuts = np.random.default_rng(seed), 0
    free = ("auto", "heads", "head-size")[seed % 3]
    labels = label(read(path), attention=free)  # type: ignore[arg-type]
    if labels.model is not labels.original:
        original, rewritten = session(path), session(ir.to_proto(labels.model))
        inputs = feed(original, 2)
        assert not differ(original.run(None, inputs), rewritten.run(None, inputs))
    for share in (0.3, 0.8):
        keep = random_selection(labels, share, seed)
        write(cut(labels, keep), written, overwrite=True)
        proof = prove(labels, keep, path, written, allowed=tolerance(labels, None, None), device="cpu", seed=seed)
        assert proof.passed, proof
        check(path, written, labels, keep)
        cuts += not keep.all()
    options: dict[str, Any] = {
        "ratio": float(rng.choice([0.05, 0.2, 0.5])),
        "cost": str(rng.choice(["params", "macs", "size"])),
        "importance": str(rng.choice(["l1", "l2", "l2-norm", "bn-scale", "random", "uniform"])),
        "round_to": int(rng.choice([1, 1, 2, 4])),
        "min_keep": float(rng.choice([0.0, 0.0, 0.3])),
        "data": "none",
    }
    try:
        result = osg.prune(osg.load(path), attention=free, time_limit=2.0, **options)  # type: ignore[arg-type]
    except InfeasibleError:
        return cuts
    except ModelError as refused:
        if not refused.what.startswith("nothing in this model"):
            raise
        return cuts
    result.save(written, overwrite=True, device="cpu")
    check(path, written, result.labels, result.keep)
    assert written.stat().st_size == result.after.size
    assert parameters(onnx.load(written)) == result.after.params
    again = osg.inspect(osg.load(written)).whole
    assert again.macs == pytest.approx(result.after.macs)
    assert result.after.of(options["cost"]) <= (1 - options["ratio"]) * result.before.of(options["cost"]) + 1e-6
    return cuts + 1


@pytest.mark.slow
@pytest.mark.parametrize("start", range(0, examples(few=36, many=240), 12))
def test_any_cut_of_a_random_graph_is_right(start: int, tmp_path: Path) -> None:
    cuts = [attempt(seed, tmp_path, 10) for seed in range(start, start + 12)]
    assert sum(c >= 0 for c in cuts) >= 8  # the graphs are mostly valid
    assert sum(c for c in cuts if c > 0) >= 12  # and mostly can be cut


# What was wrong once: (the graph, the shapes of its weights).
FOUND = {
    "a constant index gets shorter": (
        "(float[N, 4] x) => (float[N, 3] y) { a = MatMul(x, v) b = Gather<axis = 1>(a, at) y = MatMul(b, w) }",
        {"v": (4, 8), "w": (6, 3)},
    ),
    "a loop captures a weight before anything else reads it": (
        """(float[N, 8] x) => (float[N, 3] y, float[N, 8] z) {
            z = Loop(two, true, x) <body = inner (int64 i, bool c, float[N, 8] s) => (bool d, float[N, 8] t) {
                d = Identity(c) p = MatMul(s, v) q = MatMul(p, u) t = Tanh(q)
            }>
            a = MatMul(x, v) b = Relu(a) y = MatMul(b, w)
        }""",
        {"v": (8, 6), "u": (6, 8), "w": (6, 3)},
    ),
    "logarithms of what may be negative": (
        "(float[N, 4] x) => (float[N, 3] y) { l = Log(x) a = MatMul(l, v) b = Relu(a) y = MatMul(b, w) }",
        {"v": (4, 8), "w": (8, 3)},
    ),
    "a branch that is scaled by nothing yet": (
        "(float[N, 4] x) => (float[N, 4] y) { a = MatMul(x, v) b = MatMul(a, w) c = Mul(b, no) y = Add(c, x) }",
        {"v": (4, 8), "w": (8, 4)},
    ),
}


@pytest.mark.parametrize("case", FOUND)
def test_graphs_that_failed_once(case: str, tmp_path: Path) -> None:
    text, shapes = FOUND[case]
    model = onnx.parser.parse_model('<ir_version: 8, opset_import: ["" : 17]> g ' + text)
    rng = np.random.default_rng(0)
    held = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    held |= {"at": np.array([0, 0, 3, -1, 5, 2]), "two": np.array(2), "true": np.array(True)}
    held["no"] = np.array(0, np.float32)
    used = {name for node in model.graph.node for name in node.input} | set(shapes)
    model.graph.initializer.extend(numpy_helper.from_array(a, name) for name, a in held.items() if name in used)
    path, written = tmp_path / "case.onnx", tmp_path / "cut.onnx"
    onnx.save(model, path)
    labels = label(read(path))
    keep = random_selection(labels, 0.5, 0)
    write(cut(labels, keep), written)
    proof = prove(labels, keep, path, written, allowed=tolerance(labels, None, None), device="cpu")
    assert proof.passed
    assert keep.all() or proof.moved > 0.01
    check(path, written, labels, keep)


if __name__ == "__main__":  # python tests/test_random_graphs.py FIRST LAST: as many as there is time for
    import tempfile
    import time
    import traceback

    first, last = map(int, sys.argv[1:3])
    seen: dict[str, list[int]] = {}
    invalid = total = 0
    with tempfile.TemporaryDirectory() as name:
        for seed in range(first, last):
            began = time.time()
            try:
                made = attempt(seed, Path(name), 6 + seed % 45)
                invalid, total = invalid + (made < 0), total + max(made, 0)
            except Exception as problem:  # noqa: BLE001 - all are findings
                words = [str(getattr(problem, k, "")) for k in ("what", "why")]
                place = traceback.extract_tb(problem.__traceback__)[-1]
                where = f"{Path(place.filename).name}:{place.lineno}"
                text = f"{type(problem).__name__} {problem} {' | '.join(words)} {where}"
                seen.setdefault(text[:70], []).append(seed)
                if len(seen[text[:70]]) <= 2:
                    sys.stdout.write(f"seed {seed}: {text[:500]}\n")
                    sys.stdout.flush()
            if time.time() - began > 20:
                sys.stdout.write(f"seed {seed}: slow, {time.time() - began:.0f} s\n")
    sys.stdout.write(f"{last - first} graphs, {invalid} invalid, {total} cuts\n")
    for text, seeds in seen.items():
        sys.stdout.write(f"{len(seeds)} x {text} {seeds[:8]}\n")
