"""Operators that a signature says all about. See `signature` for the notation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

from onnxsurgeon.arrays import Shape
from onnxsurgeon.errors import InfeasibleError
from onnxsurgeon.neurons.relations import Axes, Axis
from onnxsurgeon.neurons.signature import Operand, Unsolved, parse, relate
from onnxsurgeon.ops.call import Call, Changes, Factors, Keep, Macs, Resize, Rule, blocks, register


def read(call: Call, text: str, **sizes: int) -> list[Axes | None]:
    """Relates the node by a signature; where it doesn't fit, everything is frozen."""
    patterns = parse(text).inputs
    operands = [call.operand(i) if pattern else None for i, pattern in enumerate(patterns)]
    if any(pattern and call.has(i) and operands[i] is None for i, pattern in enumerate(patterns)):
        return call.freeze_all("an input of unknown shape")
    return connect(call, text, operands, sizes)


def connect(
    call: Call,
    text: str,
    operands: Sequence[Operand | None],
    sizes: Mapping[str, int],
    *,
    given: Mapping[int, Shape] | None = None,
) -> list[Axes | None]:
    """Relates operands, parts of the node's inputs, with its outputs; `given`: shapes for those of unknown shape."""
    count = len(parse(text).outputs)
    shapes = [(given or {}).get(i) if t.shape is None else t.shape for i, t in enumerate(call.outputs[:count])]
    try:
        results = relate(text, call.relations, operands, shapes, sizes)
    except Unsolved as problem:
        call.misfit = str(problem)
        return call.freeze_all(call.misfit)
    results += [call.blank(i) for i in range(len(results), len(call.outputs))]
    shapes += [None] * (len(results) - len(shapes))
    return [
        call.blank(i) if axes is None or shape is None else lengthy(axes, shape)
        for i, (axes, shape) in enumerate(zip(results, shapes, strict=True))
    ]


def lengthy(axes: Axes, shape: Shape) -> Axes:
    """`axes` without neurons on those of size 1."""
    return tuple(None if n == 1 else axis for n, axis in zip(shape, axes, strict=True))


def signature(text: str | Callable[[Call], str], **attributes: str) -> Rule:
    """A rule from a signature; `g='group'` reads the size of letter g from the attribute."""

    def rule(call: Call) -> Sequence[Axes | None]:
        sizes = {letter: int(call.attributes.get(name) or 1) for letter, name in attributes.items()}
        return read(call, text if isinstance(text, str) else text(call), **sizes)

    return rule


def counted(attribute: str, index: int, axis: int, share: Callable[[Call], int]) -> Resize:
    """The attribute becomes the number of blocks of `share` neurons on an axis of input `index` that keep a neuron."""

    def resize(call: Call, keep: Keep) -> Changes:
        operand = call.operand(index)
        labels = None if operand is None else operand.axes[axis]
        if labels is None:
            return {}
        count = blocks(keep, labels, share(call))
        return {} if count == len(labels) // share(call) else {attribute: count}

    return resize


def groups(weight: int, axis: int, share: Callable[[Call], int]) -> Resize:
    """The number of groups of a convolution, which what it reads and what it gives must agree on."""
    resize = counted("group", weight, axis, share)

    def resized(call: Call, keep: Keep) -> Changes:
        changes, group = resize(call, keep), int(call.attributes.get("group") or 1)
        channels = -1 if call.operator == "NhwcConv" or call.attributes.get("channels_last") else 1
        for operand in (call.operand(0), call.result(0)) if group > 1 else ():
            labels = operand.axes[channels] if operand is not None and len(operand.axes) > 1 else None
            if labels is None or len(labels) % group:
                continue
            if blocks(keep, labels, len(labels) // group) != changes.get("group", group):
                raise InfeasibleError(
                    f"{call.name} ({call.operator}) can't change so",
                    why="what it reads and what it gives would be in different numbers of groups",
                    fix="ask for another width, or change another node",
                )
        return changes

    return resized


def everything(call: Call, *operands: Any) -> Factors:
    return [(n, axis) for operand in operands if operand for n, axis in zip(operand.shape, operand.axes, strict=True)]


# --- elementwise -----------------------------------------------------------------------------------------------------

UNARY = """
    Abs Acos Acosh Asin Asinh Atan Atanh Cast Ceil Celu Clip Cos Cosh Dropout Elu Erf Exp Floor Gelu HardSigmoid
    HardSwish Identity IsInf IsNaN LeakyRelu Log Mish Neg Not Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin Sinh
    Softplus Softsign Sqrt Swish Tan Tanh ThresholdedRelu BitwiseNot CastLike
"""
NARY = """
    Add Sub Mul Div Pow Max Min Mean Sum Mod And Or Xor Equal Greater GreaterOrEqual Less LessOrEqual PRelu Where
    BitShift BitwiseAnd BitwiseOr BitwiseXor SwiGLU
"""
register(UNARY, silence="none", ignores=(1,))(signature("... -> ..., ..."))

register("BitCast Bernoulli RandomNormalLike RandomUniformLike", silence="none")(signature("... -> ..."))


@register(NARY, silence="none")
def elementwise(call: Call) -> Sequence[Axes | None]:
    return read(call, ", ".join(["..."] * len(call.inputs)) + " -> ...")


# --- contractions ----------------------------------------------------------------------------------------------------


def conv_macs(weight: int) -> Macs:
    """Multiply-accumulates of a convolution: every output element x the weights behind it."""

    def macs(call: Call) -> list[Factors]:
        kernel = call.operand(weight)
        return [everything(call, call.result(0)) + everything(call, kernel)[1:]]

    return macs


def transposed_macs(call: Call) -> list[Factors]:
    return [everything(call, call.operand(0)) + everything(call, call.operand(1))[1:]]


def conv(text: str) -> Callable[[Call], str]:
    """A pointwise convolution lets labels through its spatial axes; any other works along them."""

    def choose(call: Call) -> str:
        kernel = call.shape(3 if call.operator == "QLinearConv" else 1) or (0, 0, 2)
        plain = all(set(call.attributes.get(key) or [good]) == {good} for key, good in (("strides", 1), ("pads", 0)))
        pointwise = (
            plain and set(kernel[2:]) == {1} and call.attributes.get("auto_pad", "NOTSET") in ("NOTSET", "VALID")
        )
        return text.replace("n (g i) *", "n (g i) ...").replace("n (g o) *", "n (g o) ...") if pointwise else text

    return choose


def group_share(weight: int) -> Callable[[Call], int]:
    def share(call: Call) -> int:
        return int((call.shape(weight) or (1,))[0]) // int(call.attributes.get("group") or 1)

    return share


def input_share(call: Call) -> int:
    return int((call.shape(0) or (1, 1))[1]) // int(call.attributes.get("group") or 1)


register("Conv", silence="data", resize=groups(1, 0, group_share(1)), macs=conv_macs(1))(
    signature(conv("n (g i) *, (g o) i *, (g o) -> n (g o) *"), g="group")
)
register("ConvInteger", zeros={0: 2}, resize=groups(1, 0, group_share(1)), macs=conv_macs(1))(
    signature(conv("n (g i) *, (g o) i *, , (g o) -> n (g o) *"), g="group")
)
register("QLinearConv", zeros={0: 2}, resize=groups(3, 0, group_share(3)), macs=conv_macs(3))(
    signature(conv("n (g i) *, , , (g o) i *, (g o), (g o), , , (g o) -> n (g o) *"), g="group")
)
register("ConvTranspose", silence="data", resize=groups(0, 1, input_share), macs=transposed_macs)(
    signature("n (g i) *, (g i) o *, (g o) -> n (g o) *", g="group")
)


def matmul_text(a: int, b: int) -> Callable[[Call], str]:
    """Operands `a` and `b` of a matrix product, of rank 1 or more, and the per-column scales between them."""

    def choose(call: Call) -> str:
        ranks = [len(call.shape(i) or (0, 0)) for i in (a, b)]
        left, right = "k" if ranks[0] == 1 else "... i k", "k" if ranks[1] == 1 else "... k j"
        out = " ".join(["..."] * (max(ranks) > 2) + ["i"] * (ranks[0] > 1) + ["j"] * (ranks[1] > 1))
        if max(ranks) <= 2:
            left, right = left.replace("... ", ""), right.replace("... ", "")
        column = "j" if ranks[1] > 1 else ""
        parts = {a: left, b: right}
        if call.operator == "QLinearMatMul":
            parts |= {4: column, 5: column}
        elif call.operator == "MatMulInteger":
            parts |= {3: column}
        return ", ".join(parts.get(i, "") for i in range(max(parts) + 1)) + " -> " + out

    return choose


def matmul_macs(index: int) -> Macs:
    def macs(call: Call) -> list[Factors]:
        return [everything(call, call.result(0)) + everything(call, call.operand(index))[-1:]]

    return macs


# Inputs that quantise matrix A or the result, for all rows alike.
QUANTISERS = {"MatMulInteger": (2,), "QLinearMatMul": (1, 2, 6, 7)}


def matmul(a: int, b: int) -> Rule:
    related = signature(matmul_text(a, b))

    def rule(call: Call) -> Sequence[Axes | None]:
        if any(prod(call.shape(i) or ()) > 1 for i in QUANTISERS.get(call.operator, ())):
            return call.freeze_all("quantised by row")
        return related(call)

    return rule


register("MatMul", silence="data", macs=matmul_macs(0))(matmul(0, 1))
register("MatMulInteger", zeros={0: 2}, macs=matmul_macs(0))(matmul(0, 1))
register("QLinearMatMul", zeros={0: 2}, macs=matmul_macs(0))(matmul(0, 3))


def gemm_text(call: Call) -> str:
    left = "k i" if call.attributes.get("transA") else "i k"
    right = "j k" if call.attributes.get("transB") else "k j"
    bias = {0: "", 1: "j", 2: "i j"}[len(call.shape(2) or ())]
    return f"{left}, {right}, {bias} -> i j"


def gemm_macs(call: Call) -> list[Factors]:
    inner = 0 if call.attributes.get("transA") else 1
    return [everything(call, call.result(0)) + everything(call, call.operand(0))[inner : inner + 1]]


register("Gemm", silence="data", macs=gemm_macs)(signature(gemm_text))


def einsum_text(call: Call) -> str:
    equation = str(call.attributes["equation"]).replace(" ", "")
    left, arrow, right = equation.partition("->")
    if not arrow:
        letters = [c for c in left if c.isalpha()]
        right = "..." * ("..." in left) + "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    spaced = [" ".join(part.replace("...", "\0")).replace("\0", "...") for part in (*left.split(","), right)]
    return ", ".join(spaced[:-1]) + " -> " + spaced[-1]


def einsum_macs(call: Call) -> list[Factors]:
    """All letters multiplied: one factor for each, from whichever operand has it."""
    left = einsum_text(call).partition("->")[0].split(",")
    if len(left) < 2 or any("..." in part for part in left):
        return [everything(call, call.result(0))]
    factors: dict[str, tuple[int, Axis]] = {}
    for index, part in enumerate(left):
        factors.update(zip(part.split(), everything(call, call.operand(index)), strict=False))
    return [list(factors.values())]


register("Einsum", macs=einsum_macs)(signature(einsum_text))


# --- recurrent -------------------------------------------------------------------------------------------------------


def recurrent(gates: int) -> Callable[[Call], str]:
    def choose(call: Call) -> str:
        batch_first = bool(call.attributes.get("layout"))
        x, h = ("b _ i", "b _ h") if batch_first else ("_ b i", "_ b h")
        y = "b _ _ h" if batch_first else "_ _ b h"
        states = f"{h}, {h}, _ (3 h)" if gates == 4 else h
        matrix = f"({gates} h)" if gates > 1 else "h"
        return f"{x}, _ {matrix} i, _ {matrix} h, _ ({2 * gates} h), b, {states} -> {y}, {h}, {h}"

    return choose


def recurrent_macs(call: Call) -> list[Factors]:
    steps = everything(call, call.operand(0))[:2]
    return [steps + everything(call, call.operand(1)), steps + everything(call, call.operand(2))]


for _name, _gates in (("RNN", 1), ("GRU", 3), ("LSTM", 4)):
    register(_name, resize=counted("hidden_size", 2, 2, lambda call: 1), macs=recurrent_macs)(
        signature(recurrent(_gates))
    )


# --- channels as the second axis -------------------------------------------------------------------------------------

register("GlobalAveragePool GlobalMaxPool GlobalLpPool AveragePool LpPool", silence="none")(signature("n c * -> n c *"))
register("GridSample", silence="none")(signature("n c *, n * -> n c *"))
register("RoiAlign", silence="none")(signature("_ c *, r _, r -> r c *"))
register("MaxRoiPool", silence="none")(signature("_ c *, r _ -> r c *"))
register("CausalConvWithState", macs=conv_macs(1))(signature("n c _, c _ _, c, n c _ -> n c _, n c _"))
register("Det", silence="none")(signature("... _ _ -> ..."))
register("Trilu", silence="none")(signature("... _ _ -> ... _ _"))
register("STFT", silence="none")(signature("n _ _, , _ -> n _ _ _"))


@register("MaxPool", silence="none")
def max_pool(call: Call) -> Sequence[Axes | None]:
    if any(indices.used for indices in call.outputs[1:]):
        return call.freeze_all("its indices count over all channels")
    return read(call, "n c * -> n c *, n c *")


@register("Col2Im", silence="none")
def columns(call: Call) -> Sequence[Axes | None]:
    block = call.static(2)
    if block is None:
        return call.freeze_all("a block of unknown size")
    return read(call, f"n (c {prod(block.tolist())}) _ -> n c *")


@register("DeformConv", silence="data", resize=groups(1, 0, group_share(1)), macs=conv_macs(1))
def deformable(call: Call) -> Sequence[Axes | None]:
    if int(call.attributes.get("offset_group") or 1) > 1:
        return call.freeze_all("its channels share offsets in groups")
    return read(call, "n (g i) *, (g o) i *, n *, (g o), n * -> n (g o) *", g=int(call.attributes.get("group") or 1))


@register("DFT", silence="none")
def fourier(call: Call) -> Sequence[Axes | None]:
    rank, axis = len(call.shape(0) or ()), call.parameter("axis", 2)
    if call.has(2) and axis is None:
        return call.freeze_all("transformed along an axis that is not known")
    along = int(axis) if axis is not None else -2
    own = ["_" if a in (along % max(rank, 1), rank - 1) else f"x{a}" for a in range(rank)]
    return read(call, f"{' '.join(own)} -> {' '.join(own)}")


# --- made from sizes and numbers -------------------------------------------------------------------------------------


@register("Shape Size", silence="none", ignores=(0,))
@register(
    "Range Constant RandomNormal RandomUniform MelWeightMatrix HannWindow HammingWindow BlackmanWindow", silence="none"
)
def unlabelled(call: Call) -> Sequence[Axes | None]:
    return [call.blank(i) for i in range(len(call.outputs))]
