"""Products of matrices: MatMul, Gemm, Einsum, and those of com.microsoft. Quantised ones are in `quantised`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from onnxsurgeon.arrays import FloatArray, IntArray, Shape
from onnxsurgeon.neurons.relations import Axes, Axis
from onnxsurgeon.ops.call import Call, Parameters
from onnxsurgeon.ops.composition import composed
from onnxsurgeon.ops.gradient import GradientCall, back
from onnxsurgeon.ops.linear import LinearForm
from onnxsurgeon.ops.registry import MICROSOFT, Factors, Macs, Operator, add
from onnxsurgeon.ops.rescaling import MULTIPLIED
from onnxsurgeon.ops.shape_inference import Attributes, Infer, ShapeRule, Shapes, like
from onnxsurgeon.ops.signatures import everything, read, signature


def matmul_text(a: int, b: int, columns: Sequence[int] = ()) -> Callable[[Call], str]:
    """Operands `a` and `b` of a matrix product, of rank 1 or more. columns: inputs with one number a column of `b`."""

    def choose(call: Call) -> str:
        ranks = [len(call.shape(i) or (0, 0)) for i in (a, b)]
        left, right = "k" if ranks[0] == 1 else "... i k", "k" if ranks[1] == 1 else "... k j"
        out = " ".join(["..."] * (max(ranks) > 2) + ["i"] * (ranks[0] > 1) + ["j"] * (ranks[1] > 1))
        if max(ranks) <= 2:
            left, right = left.replace("... ", ""), right.replace("... ", "")
        parts = {a: left, b: right} | dict.fromkeys(columns, "j" if ranks[1] > 1 else "")
        return ", ".join(parts.get(i, "") for i in range(max(parts) + 1)) + " -> " + out

    return choose


def product_macs(index: int) -> Macs:
    """Multiply-accumulates of a product whose operand `index` is transposed where `transA` says so."""

    def macs(call: Call) -> list[Factors]:
        factors = everything(call, call.operand(index))
        inner = factors[-2:-1] if call.attributes.get("transA") else factors[-1:]
        return [everything(call, call.result(0)) + inner]

    return macs


def product_shape(a: int, b: int) -> Infer:
    """The shape of a matrix product, with the transpositions that attributes ask for."""

    def infer(attributes: Attributes, shapes: Shapes) -> Sequence[Shape]:
        left, right = shapes[a], shapes[b]
        rows = () if len(left) < 2 else left[-1:] if attributes.get("transA") else left[-2:-1]
        columns = () if len(right) < 2 else right[-2:-1] if attributes.get("transB") else right[-1:]
        return [(*np.broadcast_shapes(left[:-2], right[:-2]), *rows, *columns)]

    return infer


def gemm_text(bias: int, *, first: str = "", second: str = "") -> Callable[[Call], str]:
    """bias: the input that is added. first, second: the symbols of the inputs behind the first and second matrix."""

    def choose(call: Call) -> str:
        left = "k i" if call.attributes.get("transA") else "i k"
        right = "j k" if call.attributes.get("transB") else "k j"
        return f"{left}, {first}{right}, {second}{('', 'j', 'i j')[call.rank(bias)]} -> i j"

    return choose


def _matmul_rows(call: Call, x: FloatArray, picked: IntArray) -> FloatArray:
    rows: FloatArray = x[np.unravel_index(picked, x.shape[:-1])][:, None, :]
    return rows


def _matmul_fits(call: Call) -> bool:
    return call.rank(1) == 2 and call.rank() >= 2


def _gemm_rows(call: Call, x: FloatArray, picked: IntArray) -> FloatArray:
    rows: FloatArray = (x.T if call.attributes.get("transA") else x)[picked]
    return rows[:, None, :]


def _gemm_matrix(call: Call, weight: FloatArray) -> FloatArray:
    alpha = float(call.attributes.get("alpha", 1.0))
    return ((weight.T if call.attributes.get("transB") else weight) * alpha)[None]


def _gemm_weight(call: Call, matrix: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    weight: FloatArray = matrix[0] / float(call.attributes.get("alpha", 1.0))
    return weight.T if call.attributes.get("transB") else weight


def _axis(call: Call, index: int, axis: int) -> Axis:
    axes: Axes | None = call.axes(index)
    return None if axes is None else axes[axis]


MATMUL_ROWS = LinearForm(
    data=0,
    weight=1,
    bias=None,
    channels=-1,
    fits=_matmul_fits,
    positions=lambda call, x: x.size // max(1, x.shape[-1]),
    rows=_matmul_rows,
    matrix=lambda call, weight: weight[None],
    weight_of=lambda call, matrix, shape: matrix[0],
    inputs=lambda call: _axis(call, 0, -1),
)
GEMM_ROWS = LinearForm(
    data=0,
    weight=1,
    bias=2,
    channels=-1,
    fits=lambda call: call.rank(2) < 2 and bool(call.attributes.get("alpha", 1.0)),
    positions=lambda call, x: x.shape[1 if call.attributes.get("transA") else 0],
    rows=_gemm_rows,
    matrix=_gemm_matrix,
    weight_of=_gemm_weight,
    inputs=lambda call: _axis(call, 0, 0 if call.attributes.get("transA") else 1),
    scale=lambda call: float(call.attributes.get("beta", 1.0)),
)


def matmul_gradient(call: GradientCall, index: int) -> str:
    emit = call.emit
    left, right = call.shape(0), call.shape(1)
    rows, columns = (left if len(left) > 1 else (1, *left)), (right if len(right) > 1 else (*right, 1))
    full = (*np.broadcast_shapes(rows[:-2], columns[:-2]), rows[-2], columns[-1])
    a, b = emit.reshaped(call.inputs[0], rows), emit.reshaped(call.inputs[1], columns)
    gradient = emit.reshaped(call.gradient, full)
    if index == 0:
        return emit.reshaped(emit.summed_to(emit.product(gradient, emit.swapped(b)), rows), left)
    if len(columns) == 2:  # all rows at once
        a, gradient = emit.reshaped(a, _flat(rows)), emit.reshaped(gradient, _flat(full))
    return emit.reshaped(emit.summed_to(emit.product(emit.swapped(a), gradient), columns), right)


def _flat(shape: tuple[int, ...]) -> tuple[int, int]:
    return int(np.prod(shape[:-1])), shape[-1]


def gemm_gradient(call: GradientCall, index: int) -> str:
    return _scaled(call, _operand(call, index), "alpha")


def _operand(call: GradientCall, index: int) -> str:
    """The gradient of a matrix of a product, either of which may be turned; no result is turned afterwards."""
    emit, gradient = call.emit, call.gradient
    turned = [bool(call.attributes.get(name)) for name in ("transA", "transB")]
    given = call.inputs[1 - index]
    other, across = (given, emit.swapped(given))[:: -1 if turned[1 - index] else 1]  # as it is multiplied; and turned
    if index == 0:
        return emit.product(other, emit.swapped(gradient)) if turned[0] else emit.product(gradient, across)
    return emit.product(emit.swapped(gradient), other) if turned[1] else emit.product(across, gradient)


def _gemm_bias(call: GradientCall, index: int) -> str:
    return _scaled(call, back(call, call.gradient, 2), "beta")


def _scaled(call: GradientCall, value: str, name: str) -> str:
    factor = float(call.attributes.get(name, 1.0))
    return value if factor == 1 else call.emit("Mul", value, factor)


def fused_matmul_gradient(call: GradientCall, index: int) -> str | None:
    """Of alpha times the product of matrices, either of which may be turned."""
    options = call.attributes
    if options.get("transBatchA") or options.get("transBatchB") or min(len(call.shape(0)), len(call.shape(1))) < 2:
        return None
    return _scaled(call, back(call, _operand(call, index), index), "alpha")


def activated_gemm(call: GradientCall) -> Sequence[str] | None:
    """A Gemm and the activation behind it."""
    options, name = call.attributes, str(call.attributes.get("activation", ""))
    if name not in ("Relu", "Sigmoid", "Tanh"):
        return None
    own = {key: value for key, value in options.items() if not key.startswith("activation")}
    given = [one for one in call.inputs if one]
    return [call.emit(name, call.emit("Gemm", *given, shape=call.result(), **own))]


def einsum_gradient(call: GradientCall, index: int) -> str | None:
    """Another sum over products: of the gradient and all other inputs."""
    parts, _, result = einsum_text(call).replace("...", ".").partition(" -> ")
    terms = [part.split() for part in parts.split(", ")]
    wanted, out = terms[index], result.split()
    others = [term for k, term in enumerate(terms) if k != index]
    if any("." in term for term in [*terms, out]) or any(len(set(t)) < len(t) for t in [*terms, out]):
        return None
    seen = {letter for term in [out, *others] for letter in term}
    left = [letter for letter in wanted if letter in seen]
    text = ",".join("".join(term) for term in [out, *others]) + "->" + "".join(left)
    sizes = dict(zip(wanted, call.shape(index), strict=True))
    given = [call.inputs[k] for k in range(len(terms)) if k != index]
    found = call.emit("Einsum", call.gradient, *given, equation=text, shape=tuple(sizes[n] for n in left))
    apart = call.emit.reshaped(found, tuple(sizes[n] if n in left else 1 for n in wanted))
    return call.emit.spread(apart, call.shape(index))


MATMUL = Operator(signature(matmul_text(0, 1)), silence="data", macs=product_macs(0))
GEMM = Operator(signature(gemm_text(2)), silence="data", macs=product_macs(0), neutral={2: 0.0})

add("MatMul", MATMUL, linear=MATMUL_ROWS, linear_in="each", gradient=(matmul_gradient, matmul_gradient))
add("Gemm", GEMM, linear=GEMM_ROWS, rescaling=MULTIPLIED, gradient=(gemm_gradient, gemm_gradient, _gemm_bias))
add("FusedGemm", GEMM, gradient=composed(activated_gemm), stands_for=("Gemm", 13), domain=MICROSOFT)


def fused_matmul(call: Call) -> Sequence[Axes | None]:
    ranks = [call.rank(i) for i in (0, 1)]
    if call.attributes.get("transBatchA") or call.attributes.get("transBatchB"):
        return call.freeze_all("its batches are transposed")
    if min(ranks) < 2:
        return call.freeze_all("a product with a vector")
    left = "... k i" if call.attributes.get("transA") else "... i k"
    right = "... j k" if call.attributes.get("transB") else "... k j"
    return read(call, f"{left}, {right} -> ... i j")


add(
    "FusedMatMul TransposeMatMul",
    fused_matmul,
    silence="data",
    macs=product_macs(0),
    shape=ShapeRule(product_shape(0, 1)),
    gradient=fused_matmul_gradient,
    domain=MICROSOFT,
)


def einsum_text(call: Parameters) -> str:
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


add("Einsum", signature(einsum_text), macs=einsum_macs, gradient=einsum_gradient)


add("Det", signature("... _ _ -> ..."), silence="none")
add("Inverse", signature("... _ _ -> ... _ _"), silence="none", shape=ShapeRule(like(0)), domain=MICROSOFT)
add(
    "CDist",
    signature("i k, j k -> i j"),
    shape=ShapeRule(lambda attributes, shapes: [(shapes[0][0], shapes[1][0])]),
    domain=MICROSOFT,
)
