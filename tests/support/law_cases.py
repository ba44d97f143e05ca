"""Cases beside those of the onnx package, whose channels are few: one line each, `op, inputs, attributes`.

An input is an array, a shape to fill with noise, or None where it is absent; an array given twice is read twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from onnx import helper

from operator_case import Array, Case

RNG = np.random.default_rng(0)
LAST = 2**63 - 1


def ints(*values: Any, dtype: Any = np.int64) -> Array:
    return np.array(values, dtype)


def below(limit: int, shape: Sequence[int], dtype: Any = np.int64) -> Array:
    found = RNG.integers(0, limit, shape).astype(dtype)
    return seven_bits(found) if dtype == np.int8 and limit > 128 else found


def seven_bits(weights: Array) -> Array:
    """Signed bytes, halved. Some processors add two products of an unsigned and a signed byte in 16 bits, which
    saturates: what two neurons give together then depends on which ones stay."""
    return weights.astype(np.int8) // np.int8(2)


def floats(*values: float) -> Array:
    return np.array(values, np.float32)


def case(
    operator: str, *given: Any, opset: int = 20, outputs: int | str = 1, domain: str = "", version: int = 1,
    **attributes: Any,
) -> Case:  # fmt: skip
    """A case. outputs: their number, or a pattern: '.+' is an absent output and a used one. version: of `domain`."""
    arrays = [RNG.standard_normal(g).astype(np.float32) if isinstance(g, tuple) else g for g in given]
    arrays = [np.asarray(a) if isinstance(a, np.generic) else a for a in arrays]
    first = {id(a): f"x{i}" for i, a in reversed(list(enumerate(arrays)))}
    names = ["" if a is None else first[id(a)] for a in arrays]
    there = "+" * outputs if isinstance(outputs, int) else outputs
    node = helper.make_node(operator, names, [f"y{i}" if c == "+" else "" for i, c in enumerate(there)], **attributes)
    node.domain = domain
    shapes = [None if a is None else a.shape for a in arrays]
    feed = {name: a for name, a in zip(names, arrays, strict=True) if name}
    imports = {"": opset} | ({domain: version} if domain else {})
    return Case(f"{operator}-{opset} {shapes} {attributes}", node, feed, imports)


def cases() -> Iterator[Case]:
    yield from convolutions()
    yield from products()
    yield from recurrent()
    yield from norms()
    yield from reshaping()
    yield from joining()
    yield from indexing()
    yield from resizing()
    yield from quantised()
    yield from attention()
    yield from classic()


def convolutions() -> Iterator[Case]:
    yield case("Conv", (2, 3, 6, 6), (5, 3, 3, 3), (5,))
    yield case("Conv", (2, 6, 6, 6), (8, 3, 3, 3), (8,), group=2)
    yield case("Conv", (2, 12, 4, 4), (8, 3, 1, 1), group=4)
    yield case("Conv", (1, 6, 6, 6), (6, 1, 3, 3), group=6, pads=[1, 1, 1, 1])
    yield case("Conv", (1, 6, 6, 6), (12, 1, 3, 3), (12,), group=6)
    yield case("Conv", (2, 4, 9), (6, 4, 3), (6,), strides=[2])
    yield case("Conv", (2, 4, 3, 4, 5), (6, 2, 2, 2, 2), group=2)
    yield case("Conv", (2, 5, 4), (6, 5, 1), (6,))
    yield case("Conv", (2, 5, 4, 3), (6, 5, 1, 1), (6,))
    yield case("Conv", (2, 5, 4, 3), (6, 5, 1, 1), strides=[2, 1])
    yield case("Conv", (2, 5, 4, 3), (6, 5, 1, 1), pads=[0, 1, 0, 1])
    yield case("Conv", (2, 5, 5, 5), (6, 5, 3, 3), auto_pad="SAME_UPPER", dilations=[1, 1], opset=1)
    yield case("ConvTranspose", (1, 6, 4, 4), (6, 2, 3, 3), (4,), group=2)
    yield case("ConvTranspose", (2, 4, 5), (4, 3, 3), (3,), strides=[2], output_padding=[1])
    yield case("ConvTranspose", (1, 6, 4, 4), (6, 1, 3, 3), group=6, output_shape=[8, 8], strides=[2, 2])
    yield case("ConvTranspose", (1, 6, 4, 4), (6, 3, 1, 1), group=3, opset=1)
    yield case("DeformConv", (2, 6, 5, 5), (4, 3, 3, 3), (2, 18, 3, 3), (4,), (2, 9, 3, 3), group=2, opset=19)
    yield case("DeformConv", (2, 6, 5, 5), (4, 6, 3, 3), (2, 36, 3, 3), offset_group=2, opset=19)
    yield case("CausalConvWithState", (2, 6, 8), (6, 1, 4), (6,), (2, 6, 3), outputs=2, opset=27)
    yield case("Col2Im", (2, 12, 6), ints(3, 4), ints(2, 2), opset=18)
    yield case("Col2Im", (2, 5, 12), ints(3, 4), ints(1, 1), opset=18)
    for operator in ("AveragePool", "LpPool", "MaxPool"):
        yield case(operator, (2, 5, 6, 6), kernel_shape=[2, 3])
        yield case(operator, (2, 5, 6), kernel_shape=[2], strides=[2], opset=11)
    yield case("AveragePool", (2, 5, 6, 6), kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)
    yield case("MaxPool", (2, 5, 6, 6), kernel_shape=[2, 2], outputs=2)
    yield case(
        "MaxUnpool",
        np.ones((1, 2, 2, 2), np.float32),
        ints([[0, 2], [8, 10]], [[16, 18], [24, 26]])[None],
        kernel_shape=[2, 2],
        strides=[2, 2],
    )
    for operator in ("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"):
        yield case(operator, (2, 5, 3, 3))
        yield case(operator, (2, 5, 3))
    yield case("GridSample", (2, 5, 4, 4), (2, 3, 3, 2))
    yield case("GridSample", (2, 5, 4, 3), (2, 3, 3, 2), opset=16, mode="bicubic")
    for mode in ("linear", "nearest", "cubic"):
        for padding in ("zeros", "border", "reflection"):
            for corners in (0, 1):
                options = {"mode": mode, "padding_mode": padding, "align_corners": corners}
                yield case("GridSample", (2, 5, 4, 3), (2, 3, 3, 2), opset=20, **options)
    yield case("GridSample", (2, 5, 4, 3, 2), (2, 2, 3, 2, 3), opset=20)
    yield case(
        "RoiAlign",
        (2, 5, 6, 6),
        floats(0, 0, 3, 3, 1, 1, 5, 5, 0, 2, 4, 4).reshape(3, 4),
        ints(0, 1, 1),
        output_height=2,
        output_width=2,
        opset=16,
    )
    yield case(
        "MaxRoiPool",
        (2, 5, 6, 6),
        floats(0, 0, 0, 3, 3, 1, 1, 1, 5, 5, 1, 0, 2, 4, 4).reshape(3, 5),
        pooled_shape=[2, 2],
        opset=1,
    )
    yield case("DFT", (2, 5, 6, 1), axis=1, opset=17)
    yield case("DFT", (2, 5, 6, 2), axis=2, inverse=1, opset=17)
    yield case("DFT", (2, 5, 6, 1), None, np.array(-2), onesided=1)
    yield case("DFT", (2, 5, 6, 1), np.array(8), np.array(1))
    yield case("STFT", (3, 32, 1), np.array(8), (16,), np.array(16), onesided=1)


def products() -> Iterator[Case]:
    for a, b in [
        ((4,), (4,)), ((4,), (4, 3)), ((3, 4), (4,)), ((3, 4), (4, 5)), ((2, 3, 4), (4, 5)), ((2, 3, 4), (2, 4, 5)),
        ((2, 1, 3, 4), (5, 4, 6)), ((4,), (2, 4, 3)), ((2, 3, 4), (4,)), ((3, 4), (2, 4, 5)), ((1, 4), (4, 1)),
    ]:  # fmt: skip
        yield case("MatMul", a, b)
    square = RNG.standard_normal((4, 4)).astype(np.float32)
    yield case("MatMul", square, square)
    yield case("Add", square, square)
    yield case("Einsum", square, square, equation="ij,jk->ik")
    for trans_a in (0, 1):
        for trans_b in (0, 1):
            a, b = ((4, 3), (3, 4))[1 - trans_a], ((4, 5), (5, 4))[trans_b]
            for c in (None, (), (5,), (1, 5), (3, 1), (3, 5), (1,)):
                yield case("Gemm", a, b, *([] if c is None else [c]), transA=trans_a, transB=trans_b, alpha=0.5)
    yield case("Gemm", (3, 4), (4, 5), (5,), opset=7)
    for equation, *shapes in [
        ("bij,bjk->bik", (2, 3, 4), (2, 4, 5)), ("ij->ji", (3, 4)), ("ii->i", (4, 4)), ("ij->", (3, 4)),
        ("ij->i", (3, 4)), ("bhqd,bhkd->bhqk", (2, 3, 4, 5), (2, 3, 6, 5)), ("ij,ij->", (3, 4), (3, 4)),
        ("...ij,...jk->...ik", (2, 3, 4), (2, 4, 5)), ("...ij,jk->...ik", (2, 6, 3, 4), (4, 5)),
        ("ij,j", (3, 4), (4,)), ("i,j->ij", (3,), (4,)), ("bhwc,hkc->bhwk", (2, 3, 4, 5), (3, 6, 5)),
        ("ij,jk,kl->il", (2, 3), (3, 4), (4, 5)), ("bi,oi->bo", (2, 4), (6, 4)), ("Ab,bC -> CA", (3, 4), (4, 5)),
    ]:  # fmt: skip
        yield case("Einsum", *shapes, equation=equation)


def recurrent() -> Iterator[Case]:
    s, b, i, h = 5, 3, 4, 6
    for operator, g in (("RNN", 1), ("GRU", 3), ("LSTM", 4)):
        for direction in ("forward", "reverse", "bidirectional"):
            d = 2 if direction == "bidirectional" else 1
            states: list[Any] = [(d, b, h)] * (1 + (g == 4))
            matrices = [(d, g * h, i), (d, g * h, h), (d, 2 * g * h)]
            plain = {"direction": direction, "hidden_size": h}
            yield case(operator, (s, b, i), *matrices[:2], **plain)
            yield case(operator, (s, b, i), *matrices, None, *states, outputs=2 + (g == 4), **plain)
            yield case(operator, (s, b, i), *matrices, ints(5, 3, 4, dtype=np.int32), *states, outputs=".+", **plain)
            yield case(operator, (s, b, i), *matrices[:2], None, None, *states, opset=7, **plain)
            if g == 3:
                yield case(operator, (s, b, i), *matrices, linear_before_reset=1, **plain)
            if g == 4:
                yield case(operator, (s, b, i), *matrices, None, *states, (d, 3 * h), outputs=3, **plain)
                yield case(
                    operator, (s, b, i), *matrices, None, None, None, (d, 3 * h), input_forget=1, clip=1.5, **plain
                )
        matrices = [(1, g * h, i), (1, g * h, h), (1, 2 * g * h)]
        states = [(b, 1, h)] * (1 + (g == 4))
        yield case(operator, (b, s, i), *matrices, layout=1, hidden_size=h, outputs=2 + (g == 4))
        yield case(operator, (b, s, i), *matrices, None, *states, layout=1, hidden_size=h)
    yield case("RNN", (s, b, i), (1, h, i), (1, h, h), activations=["Sigmoid"], hidden_size=h)
    yield case(
        "LSTM", (s, b, i), (1, 4 * h, i), (1, 4 * h, h), activations=["Sigmoid", "Sigmoid", "Relu"], hidden_size=h
    )


def norms() -> Iterator[Case]:
    positive = np.abs(RNG.standard_normal(5)).astype(np.float32) + 0.1
    for opset in (9, 15):
        yield case("BatchNormalization", (2, 5, 3, 3), (5,), (5,), (5,), positive, opset=opset)
        yield case("BatchNormalization", (2, 5), (5,), (5,), (5,), positive, opset=opset)
    yield case("BatchNormalization", (4, 5, 3), (5,), (5,), (5,), positive, training_mode=1, outputs=3, opset=15)
    yield case("InstanceNormalization", (2, 5, 3, 3), (5,), (5,))
    yield case("InstanceNormalization", (2, 5, 7), (5,), (5,), opset=6)
    yield case("GroupNormalization", (2, 6, 3, 3), (3,), (3,), num_groups=3, opset=18)
    yield case("GroupNormalization", (2, 6, 3, 3), (6,), (6,), num_groups=3, opset=21)
    yield case("GroupNormalization", (2, 6, 3, 3), (6,), (6,), num_groups=6, opset=21)
    for axis in (1, 2, -1):
        rest = (2, 3, 4)[axis:]
        yield case("LayerNormalization", (2, 3, 4), rest, rest, axis=axis, outputs=3)
        yield case("RMSNormalization", (2, 3, 4), rest, axis=axis, opset=23)
    yield case("LayerNormalization", (2, 3, 4), (4,))
    yield case("LRN", (2, 7, 3, 3), size=3, alpha=3.0)
    yield case("LRN", (2, 7, 3), size=5, alpha=0.5)
    yield case("MeanVarianceNormalization", (2, 5, 3, 3))
    yield case("MeanVarianceNormalization", (2, 5, 3, 3), axes=[-1])
    for shape in ((5, 1, 1), (1,), (5, 3, 3), (1, 3, 1)):
        yield case("PRelu", (2, 5, 3, 3), shape)
    for operator in ("Softmax", "LogSoftmax", "Hardmax"):
        for opset in (11, 13):
            yield case(operator, (2, 3, 4, 5), axis=2, opset=opset)
            yield case(operator, (2, 3, 4), opset=opset)
    yield case("LpNormalization", (2, 3, 4), axis=1, p=1)
    for operator in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare"):
        x = RNG.uniform(0.5, 1.5, (2, 3, 4)).astype(np.float32)
        for keepdims in (0, 1):
            yield case(f"Reduce{operator}", x, axes=[1], keepdims=keepdims, opset=11)
            yield case(f"Reduce{operator}", x, ints(-1, 0), keepdims=keepdims, opset=18)
        yield case(f"Reduce{operator}", x, noop_with_empty_axes=1, opset=18)
        yield case(f"Reduce{operator}", x, keepdims=0, opset=18)
    for flags in ({}, {"exclusive": 1}, {"reverse": 1}):
        yield case("CumSum", (3, 4, 5), np.array(1), opset=14, **flags)
    for operator in ("ArgMax", "ArgMin"):
        yield case(operator, (3, 4, 5), axis=1, keepdims=0, opset=13)
        yield case(operator, (3, 4, 5), axis=-1, select_last_index=1, opset=13)
    yield case("TopK", (3, 4, 5), k=2, axis=1, outputs=2, opset=1)
    yield case("TopK", (3, 4, 5), ints(2), outputs=2, opset=10)
    yield case("TopK", (3, 4, 5), ints(2), axis=0, largest=0, outputs=2, opset=11)
    yield case("Dropout", (3, 4, 5), outputs=2, opset=7)
    yield case("Dropout", (3, 4, 5), outputs=2, opset=12)
    yield case("Clip", (3, 4, 5), min=-0.5, max=0.5, opset=6)
    yield case("Clip", (3, 4, 5), np.float32(-0.5), np.float32(0.5), opset=13)
    yield case("CastLike", (3, 4, 5), below(9, (7,)), opset=15)
    yield case("CastLike", (3, 4, 5), np.ones(2, np.float16), opset=15)
    yield case("Cast", (3, 4, 5), to=10, opset=13)
    yield case("Cast", np.ones((3, 4), np.float16), to=1, opset=13)
    for operator in ("Max", "Min", "Mean", "Sum"):
        yield case(operator, (2, 3, 4), (3, 1), (4,), (1,), opset=13)
    yield case("Sum", (2, 3, 4), (2, 3, 4), (2, 3, 4), opset=6)
    yield case("Pow", RNG.uniform(0.5, 1.5, (3, 4)).astype(np.float32), (4,), opset=15)
    yield case("Where", below(2, (3, 1), np.bool_), (2, 3, 4), (4,), opset=16)


def reshaping() -> Iterator[Case]:
    for before, target in [
        ((2, 6, 4), (2, 3, 2, 4)), ((2, 6, 4), (2, -1)), ((2, 6, 4), (0, 0, 2, 2)), ((2, 6, 4), (0, -1)),
        ((2, 6, 4), (12, 4)), ((2, 3, 2, 4), (2, 6, 4)), ((2, 3, 2, 4), (0, 0, -1)), ((2, 12), (2, 2, 3, 2)),
        ((4, 6, 2), (2, 0, 4)), ((6, 4), (3, 8)), ((2, 6, 4), (-1,)), ((2, 6, 1, 4), (2, 1, 6, 4)),
        ((2, 3, 4), (2, 3, 4, 1)), ((6, 4), (8, 3)), ((2, 8), (4, 4)), ((2, 5, 12), (0, 0, 3, -1)),
        ((1, 24), (1, 2, 3, 4)), ((2, 3, 4, 5), (6, 20)), ((5, 6), (5, 6)), ((3, 10), (5, 6)),
    ]:  # fmt: skip
        yield case("Reshape", before, ints(*target), opset=14)
    yield case("Reshape", (2, 6, 4), shape=[2, 3, -1], opset=1)
    for axis in (-1, 0, 1, 2, 4):
        yield case("Flatten", (2, 3, 4, 5), axis=axis, opset=13)
    yield case("Squeeze", (1, 3, 1, 4), axes=[0, 2], opset=11)
    yield case("Squeeze", (1, 3, 1, 4), ints(-2), opset=13)
    yield case("Squeeze", (1, 3, 1, 4), opset=13)
    yield case("Unsqueeze", (3, 4), axes=[0, 3], opset=11)
    yield case("Unsqueeze", (3, 4), ints(-1, 1), opset=13)
    yield case("Transpose", (2, 3, 4), opset=13)
    yield case("Transpose", (2, 3, 4), perm=[1, 2, 0], opset=13)
    for mode in ("DCR", "CRD"):
        yield case("DepthToSpace", (2, 12, 2, 3), blocksize=2, mode=mode, opset=13)
    yield case("SpaceToDepth", (2, 3, 4, 6), blocksize=2, opset=13)


def joining() -> Iterator[Case]:
    yield case("Concat", (2, 3, 4), (2, 5, 4), axis=1, opset=4)
    yield case("Concat", (2, 3, 4), (2, 1, 4), (2, 2, 4), axis=-2, opset=13)
    yield case("Concat", (3,), (2,), axis=0, opset=13)
    for opset, extra in ((2, {}), (11, {}), (13, {}), (18, {"num_outputs": 3})):
        yield case("Split", (2, 6, 4), axis=1, outputs=3, opset=opset, **extra)
    yield case("Split", (2, 6, 4), axis=-2, split=[1, 3, 2], outputs=3, opset=2)
    yield case("Split", (2, 6, 4), axis=1, split=[1, 5], outputs=2, opset=11)
    yield case("Split", (2, 6, 4), ints(2, 4), axis=1, outputs=2, opset=13)
    yield case("Split", (2, 6, 4), ints(2, 4), axis=-2, outputs=2, opset=18)
    yield case("Split", (2, 7, 4), axis=1, num_outputs=3, outputs=3, opset=18)
    yield case("Slice", (3, 6, 4), axes=[1], starts=[1], ends=[4], opset=1)
    yield case("Slice", (3, 6, 4), starts=[0, -4], ends=[LAST, -1], opset=1)
    for starts, ends, axes, steps in [
        ([1], [4], [1], None), ([-4], [LAST], [1], None), ([0], [-2], [-2], [1]), ([0, 1], [3, 5], [0, 1], [1, 1]),
        ([0], [LAST], [1], [2]), ([-1], [-LAST], [1], [-1]), ([5], [-7], [1], [-1]), ([4], [1], [1], [-1]),
        ([1], [5], [1], [2]), ([1], [LAST], [1], [2]), ([0], [6], [1], [3]),
        ([2], [-1], [1], [3]), ([-5], [LAST], [1], [2]),
        ([-100], [100], [2], [1]), ([1, 2, 0], [3, 6, 4], None, None), ([3], [4], [1], None),
        ([-2], [-1], [1], [1]),
    ]:  # fmt: skip
        given = [None if v is None else ints(*v) for v in (starts, ends, axes, steps)]
        yield case("Slice", (3, 6, 4), *(given if steps else given[:3] if axes else given[:2]), opset=13)
    yield case("Slice", (3, 6, 4), *(ints(v, dtype=np.int32) for v in (1, 4, 1)), opset=13)


def indexing() -> Iterator[Case]:
    for index in (
        ints(4, 0, 2),
        np.array(3),
        ints([0, 2], [5, 1]),
        ints(-1, -3, 1),
        ints(3),
        ints(1, 1, 4),
        ints(-1, 0, dtype=np.int32),
    ):
        yield case("Gather", (3, 6, 4), index, axis=1, opset=13)
    yield case("Gather", (6, 4), below(6, (2, 3)), opset=1)
    yield case("Gather", (1, 5), ints(0, 0, 0), opset=13)
    yield case("GatherElements", (3, 6, 4), below(6, (3, 2, 4)), axis=1, opset=13)
    yield case("GatherElements", (3, 6, 4), below(6, (2, 6, 3)) - 6, axis=-2, opset=13)
    for operator, opset in (("Scatter", 9), ("ScatterElements", 11), ("ScatterElements", 18)):
        yield case(
            operator, (3, 6, 4), np.tile(RNG.permutation(6)[:2, None], (3, 1, 4)), (3, 2, 4), axis=1, opset=opset
        )
    yield case("ScatterElements", (3, 6, 4), below(6, (2, 3, 4)), (2, 3, 4), axis=1, reduction="add", opset=16)
    yield case("GatherND", (3, 4, 5), ints([0, 1], [2, 3], [1, 1], [0, 0]), opset=13)
    yield case("GatherND", (3, 4, 5, 6), below(4, (3, 2, 1)), batch_dims=1, opset=13)
    yield case("GatherND", (3, 4, 5), ints([2], [0]), opset=11)
    yield case("GatherND", (3, 4, 5), ints(2, 1, 3), opset=11)
    yield case("ScatterND", (4, 5, 6), ints([0], [2]), (2, 5, 6), opset=16)
    yield case("ScatterND", (4, 5, 6), ints([[0, 1], [2, 3]]), (1, 2, 6), reduction="add", opset=16)
    yield case("TensorScatter", (2, 3, 6, 4), (2, 3, 2, 4), ints(1, 3), opset=24)
    yield case("TensorScatter", (2, 6, 4), (2, 2, 4), axis=1, mode="circular", opset=24)
    for axis in (-1, 0, 1):
        yield case("OneHot", below(4, (3, 5)), np.array(4), floats(0, 1), axis=axis, opset=11)
    yield case("Trilu", (2, 3, 4, 4), opset=14)
    yield case("Trilu", (2, 3, 4), np.array(1), upper=0, opset=14)
    yield case("Det", (3, 4, 2, 2), opset=11)
    yield case("Compress", (3, 6, 4), ints(0, 1, 1, 0, 1, 0, dtype=np.bool_), axis=1, opset=11)
    yield case("ReverseSequence", (5, 3, 4), ints(2, 5, 1), batch_axis=1, time_axis=0, opset=10)
    yield case("ReverseSequence", (3, 5, 4), ints(2, 5, 1), batch_axis=0, time_axis=1, opset=10)
    yield case("Unique", (4, 3), axis=0, outputs=4, opset=11)
    yield case("NonZero", below(2, (3, 4), np.float32), opset=13)
    yield case(
        "NonMaxSuppression", np.abs(RNG.standard_normal((1, 4, 4))).astype(np.float32), (1, 3, 4), np.array(2), opset=11
    )
    yield case("AffineGrid", (2, 2, 3), ints(2, 3, 4, 5))
    yield case("EyeLike", (4, 5), opset=9)
    yield case("BitCast", (4, 5), to=6, opset=26)
    yield case("Bernoulli", RNG.uniform(size=(4, 5)).astype(np.float32), opset=15)
    yield case("RandomNormalLike", (4, 5), opset=1)
    yield case("RandomUniformLike", (4, 5), opset=1)
    yield case("Multinomial", (4, 5), sample_size=3, opset=7)
    rows = ints([1], [4], [2])
    yield case("ScatterND", (6, 4, 5), rows, (3, 4, 5))
    channels = np.stack(np.meshgrid(np.arange(2), np.array([1, 2, -1]), indexing="ij"), -1)
    yield case("ScatterND", (2, 6, 5), channels, (2, 3, 5))
    yield case("ScatterND", (2, 6, 5), channels, (2, 3, 5), reduction="add")
    yield case("ScatterND", (6, 4, 5), ints([1, 0], [4, 2], [2, 2]), (3, 5))


def resizing() -> Iterator[Case]:
    for pads in ([0, 1, 0, 0, 2, 0], [0, 0, 1, 0, 0, 1], [1, 2, 0, 0, 0, 3]):
        yield case("Pad", (3, 5, 4), pads=pads, value=2.0, opset=2)
        yield case("Pad", (3, 5, 4), ints(*pads), np.float32(2.0), opset=11)
        for mode in ("reflect", "edge"):
            yield case("Pad", (3, 5, 4), ints(*pads), mode=mode, opset=11)
    yield case("Pad", (3, 5, 4), ints(1, 2), np.float32(0.5), ints(1), opset=18)
    yield case("Pad", (3, 5, 4), ints(1, 0, 2, 0), None, ints(-1, 0), opset=18)
    yield case("Pad", (3, 5, 4), ints(0, -1, 0, 0, -1, 1), opset=11)
    for before, target in [
        ((5, 1), (5, 4)),
        ((5, 1), (3, 1, 4)),
        ((1, 5), (1, 1)),
        ((3, 1, 5), (2, 3, 4, 5)),
        ((5,), (3, 5)),
    ]:
        yield case("Expand", before, ints(*target), opset=13)
    yield case("ConstantOfShape", ints(70, 80), opset=20)
    yield case("Tile", (3, 4), ints(2, 3), opset=13)
    yield case("Tile", (3, 4, 1), ints(1, 2, 3), opset=13)
    none = np.zeros(0, np.float32)
    yield case("Resize", (2, 5, 4, 4), floats(1, 1, 2, 2), opset=10)
    yield case("Resize", (2, 5, 4, 4), none, floats(1, 1, 2, 0.5), mode="linear", opset=11)
    yield case("Resize", (2, 5, 4, 4), none, none, ints(2, 5, 8, 6), opset=11)
    yield case("Resize", (2, 5, 4, 4), None, None, ints(2, 5, 8, 6), mode="linear", opset=13)
    yield case("Resize", (2, 5, 4, 4), None, None, ints(8, 6), axes=[2, 3], mode="cubic", opset=18)
    yield case("Resize", (2, 5, 4, 4), None, None, ints(6, 5), axes=[3, 1], opset=18)
    yield case("Resize", (2, 5, 4, 4), None, floats(1, 1.1, 2, 2), opset=13)
    yield case(
        "Resize", (2, 5, 4, 4), None, None, ints(8, 9), axes=[2, 3], keep_aspect_ratio_policy="not_larger", opset=18
    )
    yield case("Resize", (1, 2, 4, 4), None, None, ints(1, 2, 8, 9), keep_aspect_ratio_policy="not_smaller", opset=18)
    crop = {"coordinate_transformation_mode": "tf_crop_and_resize", "mode": "linear"}
    yield case("Resize", (1, 4, 4, 4), floats(0, 0.5, 0, 0, 1, 1, 1, 1), None, ints(1, 4, 8, 8), opset=13, **crop)
    yield case("Upsample", (2, 5, 4, 4), scales=[1.0, 1.0, 2.0, 2.0], opset=7)
    yield case("Upsample", (2, 5, 4, 4), floats(1, 1, 2, 3), opset=9)
    yield case("CenterCropPad", (5, 6, 4), ints(3, 6, 8), opset=18)
    yield case("CenterCropPad", (5, 6, 4), ints(4, 6, 3), axes=[2, 1, 0], opset=18)
    yield case("CenterCropPad", (5, 6, 4), ints(6), axes=[1], opset=18)


def quantised() -> Iterator[Case]:
    x, w = below(256, (2, 4, 5, 5), np.uint8), below(256, (6, 2, 3, 3), np.uint8)
    byte, scale = np.array(7, np.uint8), np.float32(0.02)
    yield case("ConvInteger", x, w, byte, group=2, opset=10)
    yield case("ConvInteger", x, below(256, (6, 4, 3, 3), np.uint8), byte, byte, opset=10)
    signed = below(256, (6, 2, 3, 3), np.int8)
    per = [RNG.uniform(0.01, 0.02, 6).astype(np.float32), np.zeros(6, np.int8)]
    bias = below(1000, (6,), np.int32)
    yield case("QLinearConv", x, scale, byte, signed, *per, np.float32(1.5), byte, bias, group=2, opset=10)
    yield case("QLinearConv", x, scale, byte, w, scale, byte, np.float32(1.5), byte, group=2, opset=10)
    a, b = below(256, (3, 4), np.uint8), below(256, (4, 5), np.uint8)
    columns = below(9, (5,), np.uint8)
    yield case("MatMulInteger", a, b, byte, byte, opset=10)
    yield case("MatMulInteger", a, b, byte, columns, opset=10)
    yield case("MatMulInteger", below(256, (2, 3, 4), np.uint8), b, opset=10)
    scales = RNG.uniform(0.01, 0.02, 5).astype(np.float32)
    yield case("QLinearMatMul", a, scale, byte, b, scale, byte, np.float32(1.5), byte, opset=10)
    yield case(
        "QLinearMatMul",
        a,
        scale,
        byte,
        seven_bits(b),
        scales,
        np.zeros(5, np.int8),
        np.float32(1.5),
        byte,
        opset=10,
    )
    for axis, size in ((0, 3), (1, 4), (-1, 5)):
        scales, points = RNG.uniform(0.5, 1.5, size).astype(np.float32), below(9, (size,), np.uint8)
        yield case("QuantizeLinear", (3, 4, 5), scales, points, axis=axis, opset=13)
        yield case("DequantizeLinear", below(256, (3, 4, 5), np.uint8), scales, points, axis=axis, opset=13)
    blocks = RNG.uniform(0.5, 1.5, (3, 2, 5)).astype(np.float32)
    yield case("QuantizeLinear", (3, 4, 5), blocks, below(9, (3, 2, 5), np.uint8), axis=1, block_size=2, opset=21)
    yield case("DequantizeLinear", below(256, (3, 4, 5), np.uint8), blocks, axis=1, block_size=2, opset=21)
    yield case("QuantizeLinear", (3, 4, 5), np.float32(0.1), np.array(3, np.int8), opset=10)
    yield case("DynamicQuantizeLinear", (3, 4), outputs=3, opset=11)
    for axis, scales in ((0, (3, 8)), (1, (12, 2))):
        blocks = RNG.uniform(0.01, 0.02, scales).astype(np.float32)
        yield case("DequantizeLinear", below(9, (12, 8), np.int8), blocks, axis=axis, block_size=4, opset=21)
        yield case("QuantizeLinear", (12, 8), blocks, np.zeros(scales, np.int8), axis=axis, block_size=4, opset=21)


def attention() -> Iterator[Case]:
    b, q, kv, s, t, d, e = 2, 6, 3, 4, 5, 4, 6
    plain = {"opset": 23, "scale": 0.3}
    packed = {"q_num_heads": q, "kv_num_heads": kv}
    yield case("Attention", (b, q, s, d), (b, q, t, d), (b, q, t, e), **plain)
    yield case("Attention", (b, q, s, d), (b, kv, t, d), (b, kv, t, e), (b, q, s, t), **plain)
    yield case("Attention", (b, q, s, d), (b, kv, t, d), (b, kv, t, e), (b, 1, s, t), softcap=2.0, **plain)
    yield case("Attention", (b, q, s, d), (b, 1, t, d), (b, 1, t, e), (s, t), **plain)
    yield case("Attention", (b, q, s, d), (b, kv, s, d), (b, kv, s, e), is_causal=1, opset=23)
    cache = [(b, kv, 3, d), (b, kv, 3, e)]
    yield case("Attention", (b, q, s, d), (b, kv, t, d), (b, kv, t, e), None, *cache, outputs=3, **plain)
    yield case("Attention", (b, s, q * d), (b, t, q * d), (b, t, q * e), q_num_heads=q, kv_num_heads=q, **plain)
    yield case("Attention", (b, s, q * d), (b, t, kv * d), (b, t, kv * e), (q, s, t), **packed, **plain)
    yield case("Attention", (b, s, q * d), (b, t, kv * d), (b, t, kv * e), None, *cache, outputs=4, **packed, **plain)
    yield case("Attention", (b, s, q * d), (b, t, kv * d), (b, t, kv * e), opset=23, **packed)
    yield case("Attention", (b, s, q * d), (b, t, d), (b, t, e), q_num_heads=q, kv_num_heads=1, **plain)
    shared = {"opset": 23}
    for interleaved in (0, 1):
        for rotated in (0, 4, 8):
            c = (rotated or 8) // 2
            extra = {"interleaved": interleaved, "rotary_embedding_dim": rotated}
            ids = below(10, (2, 3))
            yield case("RotaryEmbedding", (2, 4, 3, 8), (10, c), (10, c), ids, **extra, **shared)
            yield case("RotaryEmbedding", (2, 4, 3, 8), (2, 3, c), (2, 3, c), **extra, **shared)
            yield case("RotaryEmbedding", (2, 3, 32), (10, c), (10, c), ids, num_heads=4, **extra, **shared)
    linear = {"q_num_heads": 6, "kv_num_heads": 3, "outputs": 2, "opset": 27, "scale": 0.5}
    state, gate, rate = (2, 3, 4, 5), (2, 4, 12), (2, 4, 3)
    yield case("LinearAttention", (2, 4, 24), (2, 4, 12), (2, 4, 15), state, update_rule="linear", **linear)
    yield case("LinearAttention", (2, 4, 24), (2, 4, 12), (2, 4, 15), state, gate, update_rule="gated", **linear)
    yield case("LinearAttention", (2, 4, 24), (2, 4, 12), (2, 4, 15), state, rate, update_rule="gated", **linear)
    yield case("LinearAttention", (2, 4, 24), (2, 4, 12), (2, 4, 15), state, None, rate, update_rule="delta", **linear)
    yield case("LinearAttention", (2, 4, 24), (2, 4, 12), (2, 4, 15), None, gate, (2, 4, 1), **linear)


def classic() -> Iterator[Case]:
    scale, shift = [1.0, 2.0, 0.5, -1.0, 3.0], [0.1, 0.2, 0.3, 0.4, 0.5]
    ml = {"domain": "ai.onnx.ml", "opset": 17}
    yield case("Scaler", (3, 5), scale=scale, offset=shift, **ml)
    yield case("Scaler", (3, 5), scale=[2.0], offset=[1.0], **ml)
    yield case("Scaler", (3, 5), scale=scale, offset=[1.0], **ml)
    yield case("Imputer", floats(1, 0, 2, 0, 3, 4, 5, 0).reshape(2, 4), imputed_value_floats=scale[:4], **ml)
    yield case("Imputer", floats(1, 0, 2, 0).reshape(1, 4), imputed_value_floats=[7.0], **ml)
    yield case("Binarizer", (3, 5), threshold=0.1, **ml)
    for norm in ("MAX", "L1", "L2"):
        yield case("Normalizer", (3, 5), norm=norm, **ml)
    labels = {"keys_int64s": [0, 1, 2], "values_floats": [0.5, 1.5, -2.0], "default_float": 9.0}
    yield case("LabelEncoder", below(4, (3, 5)), version=2, **labels, **ml)
