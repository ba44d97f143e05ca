"""Laws: a rewritten graph computes the same at all sizes without unused nodes; its parts are cut independently."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from onnx import helper, numpy_helper, parser

from onnxsurgeon.dependency.labels import Labels, label
from onnxsurgeon.dependency.rewrites import packed
from onnxsurgeon.edit.apply import cut
from onnxsurgeon.model.read import read
from onnxsurgeon.model.write import write
from onnxsurgeon.proof.comparison import tolerance
from onnxsurgeon.proof.of_a_cut import prove
from paths import FIXTURES

HEADS, SIZE, TOKENS = 2, 5, 4
FUSED = FIXTURES / "fused_qkv.onnx"

# where the axis of parts (p) stands in the target, and the Transpose that follows
LAYOUTS = {
    "timm": ("b n p h d", [2, 0, 3, 1, 4]),
    "xcit": ("b n p h d", [2, 0, 3, 4, 1]),
    "inside heads": ("b n h p d", [3, 0, 2, 1, 4]),
    "no heads": ("b n p c", [2, 0, 1, 3]),
    "in place": ("b n p h d", None),
}
# how the parts q0, q1, ... are taken from t along axis {a}; {v} is the part's number
GATHER = "q{v} = Gather<axis={a}>(t, i{v})"
NESTED = (
    "head, kv = Split<axis=0>(t, two) q0 = Squeeze(head, a) q1 = Gather<axis=0>(kv, i0) q2 = Gather<axis=0>(kv, i1)"
)
TAKES: dict[str, tuple[int, str]] = {
    "Gather": (11, GATHER),
    "Split": (13, "q{v} = Squeeze(k{v}, a)"),
    "Gather of one": (13, "k{v} = Gather<axis={a}>(t, l{v}) q{v} = Squeeze(k{v}, a)"),
    "Slice": (13, "k{v} = Slice(t, l{v}, l{n}, a) q{v} = Squeeze(k{v}, a)"),
    "scaled": (13, "s{v} = Mul(k{v}, scale) q{v} = Squeeze(s{v}, a)"),
    "with its axis": (13, "s{v} = Abs(k{v}) m{v} = ReduceMax<axes=[0], keepdims=1>(k{v}) q{v} = Add(s{v}, m{v})"),
}


def model(text: str, opset: int, weights: Mapping[str, np.ndarray], outputs: str = "y") -> onnx.ModelProto:
    """A model with the nodes in `text` on x [batch, TOKENS, 6]; onnx infers its outputs."""
    results = ", ".join(f"float {name}" for name in outputs.split())
    proto = parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : {opset}]> g (float[batch, {TOKENS}, 6] x) => ({results}) {{ {text} }}'
    )
    for output in proto.graph.output:
        output.type.tensor_type.ClearField("shape")
    return complete(proto, weights)


def complete(proto: onnx.ModelProto, weights: Mapping[str, object]) -> onnx.ModelProto:
    """The model with weights, node names and output shapes added."""
    proto.graph.initializer.extend(numpy_helper.from_array(np.asarray(w), name) for name, w in weights.items())
    for number, node in enumerate(proto.graph.node):
        node.name = f"{node.op_type}_{number}"
    known = onnx.shape_inference.infer_shapes(proto, data_prop=True)
    del known.graph.value_info[:]
    return known


def target(layout: str, parts: int, *, computed: bool) -> tuple[str, dict[str, np.ndarray]]:
    """The target shape of the Reshape: a constant, or computed from the dynamic batch."""
    sizes = {"b": 0, "n": TOKENS, "p": parts, "h": HEADS, "d": SIZE, "c": HEADS * SIZE}
    shape = [sizes[axis] for axis in layout.split()]
    if not computed:
        return "", {"target": np.array(shape)}
    text = "all = Shape(x) size = Gather<axis=0>(all, first) target = Concat<axis=0>(size, rest)"
    return text, {"first": np.array([0]), "rest": np.array(shape[1:])}


def packing(
    layout: str, take: str, parts: int, *, opset: int = 17, computed: bool = False, more: str = "",
    outputs: str = "y",
) -> onnx.ModelProto:  # fmt: skip
    """x > MatMul > Reshape > Transpose > t > the parts, each > its own MatMul > their sum y."""
    axes, order = LAYOUTS[layout]
    shape, weights = target(axes, parts, computed=computed)
    at = axes.split().index("p") if order is None else 0
    moved = "t = Identity(r)" if order is None else f"t = Transpose<perm={order}>(r)"
    taken = " ".join(dict.fromkeys(take.format(v=v, n=v + 1, a=at) for v in range(parts)))
    if "k0 =" not in taken and "k0" in taken:
        taken = f"{', '.join(f'k{v}' for v in range(parts))} = Split<axis={at}>(t, ones) {taken}"
    rng = np.random.default_rng(0)
    width = TOKENS if layout == "xcit" else HEADS * SIZE if layout == "no heads" else SIZE
    weights |= {f"w{v}": rng.standard_normal((width, 3)).astype(np.float32) for v in range(parts)}
    weights |= {f"i{v}": np.array(v) for v in range(parts)} | {f"l{v}": np.array([v]) for v in range(parts + 1)}
    weights |= {"a": np.array([at]), "ones": np.ones(parts, np.int64), "two": np.array([1, parts - 1])}
    weights["scale"] = np.array(0.5, np.float32)
    weights["w"] = rng.standard_normal((6, parts * HEADS * SIZE)).astype(np.float32)
    ends = " ".join(f"o{v} = MatMul(q{v}, w{v})" for v in range(parts))
    total = f"y = Sum({', '.join(f'o{v}' for v in range(parts))})"
    text = f"f = MatMul(x, w) {shape} r = Reshape(f, target) {moved} {taken} {ends} {total} {more}"
    used = set(re.findall(r"\w+", text))
    return model(text, opset, {name: weight for name, weight in weights.items() if name in used}, outputs)


def run(proto: onnx.ModelProto, x: np.ndarray) -> list[np.ndarray]:
    session = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, {session.get_inputs()[0].name: x}))


def check_law(proto: onnx.ModelProto, shapes: Sequence[tuple[int, ...]] = ((2, TOKENS, 6), (5, TOKENS, 6))) -> Labels:
    """Labels of `proto`, after a check that its rewritten model is sorted, without unused nodes, and equivalent."""
    labels = label(ir.from_proto(proto))
    assert labels.model is not labels.original
    new = ir.to_proto(labels.model)
    onnx.checker.check_model(new, full_check=True)
    rng = np.random.default_rng(1)
    for shape in shapes:
        x = rng.standard_normal(shape).astype(np.float32)
        for old, other in zip(run(proto, x), run(new, x), strict=True):
            assert old.shape == other.shape
            np.testing.assert_allclose(old, other, rtol=1e-5, atol=1e-5)
    read_by = {name for node in new.graph.node for name in node.input} | {o.name for o in new.graph.output}
    assert all(any(o in read_by for o in node.output) for node in new.graph.node)
    assert {t.name for t in new.graph.initializer} <= read_by
    names = [node.name for node in new.graph.node]
    assert all(names)
    assert len(set(names)) == len(names)
    assert ir.to_proto(labels.original) == ir.to_proto(ir.from_proto(proto))
    for facts in labels.facts:
        assert all(facts[v].shape is not None for node in labels.model.graph for v in node.outputs)
    return labels


def independent(labels: Labels, *names: str) -> bool:
    """Whether the named values share no neurons, and some neurons of each may be cut."""
    values = {v.name: v for node in labels.model.graph for v in node.outputs}
    roots = []
    for name in names:
        ids = np.concatenate([axis for axis in labels.axes[values[name]] if axis is not None])
        roots.append(set(labels.classes.root[ids][~labels.classes.frozen[ids]].tolist()))
    return all(roots) and len(set().union(*roots)) == sum(map(len, roots))


def last_axis(labels: Labels, name: str) -> np.ndarray:
    axis = next(axes for value, axes in labels.axes.items() if value.name == name)[-1]
    assert axis is not None
    return axis


def units(labels: Labels, name: str) -> int:
    """The number of units on the last axis of a value."""
    return len(np.unique(labels.classes.root[last_axis(labels, name)]))


def is_kept(proto: onnx.ModelProto) -> bool:
    labels = label(ir.from_proto(proto))
    return labels.model is labels.original


# --- packed projections ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("computed", [False, True], ids=["constant", "computed"])
@pytest.mark.parametrize("parts", [2, 3])
@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "xcit"])
def test_parts_are_cut_independently(layout: str, parts: int, computed: bool) -> None:  # noqa: FBT001
    labels = check_law(packing(layout, GATHER, parts, computed=computed))
    assert independent(labels, *(f"q{v}" for v in range(parts)))


@pytest.mark.parametrize("take", TAKES)
@pytest.mark.parametrize("opset", [11, 13, 17])
def test_every_way_to_take_a_part(take: str, opset: int) -> None:
    least, line = TAKES[take]
    check_law(packing("timm", line, 3, opset=max(opset, least)))


def test_parts_of_a_part() -> None:
    """Split into [1, 2], then split the second part."""
    proto = packing("timm", NESTED, 3)
    assert independent(check_law(proto), "q0", "q1", "q2")


def test_multihead_attention_of_torch() -> None:
    """[L, B, 3 E] > Reshape [L, B, 3, E] > Unsqueeze 0 > Transpose > Squeeze > Gather: parts need no Reshape at all."""
    text = """f = MatMul(x, w) r = Reshape(f, target) u = Unsqueeze(r, zero) t = Transpose<perm=[3, 1, 2, 0, 4]>(u)
        s = Squeeze(t, three) q0 = Gather<axis=0>(s, i0) q1 = Gather<axis=0>(s, i1) q2 = Gather<axis=0>(s, i2)
        o = Mul(q0, q1) p = Relu(q2) m = Add(o, p) y = MatMul(m, v)"""
    weights = {"w": np.ones((6, 24), np.float32), "v": np.ones((8, 2), np.float32), "target": np.array([0, 0, 3, 8])}
    weights |= {"zero": np.array([0]), "three": np.array([3])} | {f"i{v}": np.array(v) for v in range(3)}
    labels = check_law(model(text, 17, weights))
    assert not any(node.op_type == "Reshape" for node in labels.model.graph)


def test_the_size_of_values_and_that_of_keys_are_independent() -> None:
    labels = label(read(FUSED))
    assert independent(labels, "blocks.0.attn.q", "blocks.0.attn.v")
    assert independent(labels, "blocks.1.attn.q", "blocks.1.attn.v")
    assert not independent(labels, "blocks.0.attn.q", "blocks.0.attn.k")


def test_a_part_may_be_an_output() -> None:
    labels = check_law(packing("timm", GATHER, 3, outputs="y q1"))
    assert [v.name for v in labels.model.graph.outputs] == ["y", "q1"]
    check_law(packing("timm", GATHER, 2, more="q3 = Gather<axis=0>(t, i1)", outputs="y q1 q3"))


@pytest.mark.parametrize(
    ("more", "outputs"),
    [
        ("z = ReduceSum<keepdims=0>(t, i0)", "y z"),
        ("z = Relu(t)", "y t"),
        ("z = Shape(t)", "y"),
        ("z = Slice(t, l1, l3)", "y z"),
    ],
    ids=["sum", "output", "shape", "pair"],
)
def test_what_is_also_read_as_a_whole_stays(more: str, outputs: str) -> None:
    proto = packing("timm", GATHER, 3, more=more, outputs=outputs)
    assert is_kept(proto)


def test_what_is_not_read_in_full_stays() -> None:
    assert is_kept(packing("timm", GATHER.replace("i{v}", "i0"), 3))


def test_a_wrong_rewrite_is_caught(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The reference is made from the rewritten graph, so it agrees with a cut of it. Only the original reveals it."""
    right = packed._parts
    monkeypatch.setattr(packed, "_parts", lambda draft, node, site: right(draft, node, site)[::-1])
    labels = label(read(FUSED))
    keep = np.ones(labels.relations.count, bool)
    keep[labels.classes.root == next(r for r in labels.classes.root if not labels.classes.frozen[r])] = False
    write(cut(labels, keep), tmp_path / "cut.onnx")
    proof = prove(labels, keep, FUSED, tmp_path / "cut.onnx", allowed=tolerance(labels, None, None), device="cpu")
    assert not proof.passed


# --- a permuted index on a flattened tensor --------------------------------------------------------------------------

STRIDED = """b = Gather<axis=0>(s, first) r = Range(i0, b, i1) m = Mul(r, stride) u = Unsqueeze(m, wide)
    index = Add(u, inner) flat = Reshape(f, minus) g = Gather<axis=0>(flat, index)"""


def strided(inner: np.ndarray, width: int, tail: str = "y = Relu(g)") -> onnx.ModelProto:
    """x > MatMul > f [batch, TOKENS, width] > flat > Gather (batch index * stride + inner) > g."""
    weights = {
        "w": np.random.default_rng(0).standard_normal((6, width)).astype(np.float32),
        "v": np.random.default_rng(1).standard_normal((width, 2)).astype(np.float32),
        "first": np.array(0), "i0": np.array(0), "i1": np.array(1), "stride": np.array(inner.size),
        "wide": np.arange(1, inner.ndim + 1), "inner": inner[None], "minus": np.array([-1]),
    }  # fmt: skip
    used = {name: weight for name, weight in weights.items() if name != "v" or "v)" in tail}
    return model(f"f = MatMul(x, w) s = Shape(x) {STRIDED} {tail}", 17, used)


@pytest.mark.parametrize("width", [8, 512], ids=["small", "large"])
@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["in order", "transposed"])
def test_a_permuted_index_is_a_transpose(width: int, order: tuple[int, ...]) -> None:
    index = np.arange(TOKENS * width).reshape(TOKENS, width).transpose(order)
    back = "h = Transpose<perm=[0, 2, 1]>(g)" if order == (1, 0) else "h = Relu(g)"
    labels = check_law(strided(index, width, f"{back} y = MatMul(h, v)"))
    operators = [node.op_type for node in labels.model.graph]
    assert "Gather" not in operators
    assert operators.count("Transpose") == 2 * (order == (1, 0))
    flat = next(v for node in labels.model.graph for v in node.outputs if v.name == "f")
    assert not all(axis is None or labels.classes.frozen[axis].all() for axis in labels.axes[flat])


def test_axes_of_size_one_stay_where_they_are() -> None:
    index = np.arange(TOKENS * 8).reshape(TOKENS, 8).T.reshape(1, 8, 1, TOKENS)
    check_law(strided(index, 8))


@pytest.mark.parametrize("change", ["reversed", "overlapping", "shifted"])
def test_another_index_stays(change: str) -> None:
    index = np.arange(TOKENS * 8).reshape(TOKENS, 8)
    other = {"reversed": index[:, ::-1], "overlapping": index * 0 + index[:1], "shifted": np.roll(index, 1)}[change]
    assert is_kept(strided(np.ascontiguousarray(other), 8))


def test_two_dynamic_dims() -> None:
    """[a, 6, b] -> [a, b, 6], with all elements."""
    proto = parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]> g (float[a, 6, b] x) => (float[a, b, 4] y) {
            s = Shape(x) n = Gather<axis=0>(s, i0) m = Gather<axis=0>(s, i2) all = Size(x) row = Div(all, n)
            ra = Range(i0, n, i1) rb = Range(i0, m, i1) rc = Range(i0, six, i1)
            sa = Mul(ra, row) sc = Mul(rc, m) ua = Unsqueeze(sa, last) ub = Unsqueeze(rb, one) uc = Unsqueeze(sc, none)
            p = Add(ua, ub) index = Add(p, uc) flat = Reshape(x, minus) g = Gather<axis=0>(flat, index)
            y = MatMul(g, v)
        }"""
    )
    weights: dict[str, object] = {"i0": 0, "i1": 1, "i2": 2, "six": 6, "last": [1, 2], "one": [0, 2], "none": [0, 1]}
    weights |= {"minus": [-1], "v": np.ones((6, 4), np.float32)}
    check_law(complete(proto, weights), [(2, 6, 3), (7, 6, 1)])


# --- branches that are always taken ----------------------------------------------------------------------------------

# x > MatMul > f > If (the last dim is 8) { If (the rank is 3) { Squeeze of one axis } else f } else f > MatMul > y
BRANCHES = """f = MatMul(x, w) s = Shape(f) {condition} g = If(yes) <
        then_branch = taken () => (float g1) <float[1] two = {{2}}> {{
            rank = Size(s) is3 = Equal(rank, three)
            g0 = If(is3) <then_branch = a () => (float a1) {{ a0 = Unsqueeze(f, axis) a1 = Squeeze(a0, axis) }},
                          else_branch = b () => (float b1) {{ b0 = ReduceMax<keepdims=0>(f) b1 = Unsqueeze(b0, axis) }}>
            g1 = Mul(g0, two)
        }},
        else_branch = other () => (float h1) {{ h0 = MatMul(f, u) h1 = ReduceMax<keepdims = 0, axes = [0]>(h0) }}
    > y = MatMul(g, v)"""


def branching(condition: str) -> onnx.ModelProto:
    weights: dict[str, np.ndarray] = {
        "w": np.random.default_rng(0).standard_normal((6, 8)).astype(np.float32),
        "u": np.ones((8, 8), np.float32), "v": np.ones((8, 3), np.float32), "axis": np.array([0]),
        "three": np.array(3), "last": np.array(2), "first": np.array(0), "eight": np.array(8), "one": np.array(1),
    }  # fmt: skip
    text = BRANCHES.format(condition=condition)
    used = set(re.findall(r"\w+", text))
    proto = model(text, 13, {name: array for name, array in weights.items() if name in used})
    proto.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", 1, ["batch", TOKENS, 3]))
    for number, graph in enumerate(inside(proto.graph)):
        del graph.value_info[:]
        for info in graph.output:
            info.type.tensor_type.ClearField("shape")
        for k, node in enumerate(graph.node):
            node.name = f"inner_{number}_{k}"
    return proto


def inside(graph: onnx.GraphProto) -> list[onnx.GraphProto]:
    found = [a.g for node in graph.node for a in node.attribute if a.type == onnx.AttributeProto.GRAPH]
    return found + [inner for graph in found for inner in inside(graph)]


def test_a_branch_that_is_always_taken_takes_the_place_of_its_node() -> None:
    labels = check_law(branching("n = Gather<axis = 0>(s, last) yes = Equal(n, eight)"))
    operators = [node.op_type for node in labels.model.graph.all_nodes()]
    assert "If" not in operators
    assert operators.count("MatMul") == 2
    assert "u" not in labels.model.graph.initializers
    assert units(labels, "f") == 8
    assert not any(labels.classes.frozen[axis].any() for axis in [last_axis(labels, "f")])


@pytest.mark.parametrize("compared", ["one", "eight"])
def test_a_condition_that_depends_on_a_dynamic_dim_stays(compared: str) -> None:
    """The condition is equal at both samples of the batch, 2 and 3; the inner branch is always taken."""
    labels = label(ir.from_proto(branching(f"n = Gather<axis = 0>(s, first) yes = Equal(n, {compared})")))
    assert [node.op_type for node in labels.model.graph.all_nodes()].count("If") == 1


def test_branches_that_share_names_keep_their_own_values() -> None:
    """x > If { x * 2 } > If { x * 3 }: both call their weight w and their result m."""
    bodies = [
        f"then_branch = b{n} () => (float r{n}) <float[1] w = {{{n}}}> {{ m = Mul({x}, w) r{n} = Neg(m) }}"
        for n, x in ((2, "x"), (3, "a"))
    ]
    bodies = [f"{body}, {body.replace('then', 'else')}" for body in bodies]
    proto = model(f"a = If(yes) <{bodies[0]}> y = If(yes) <{bodies[1]}>", 13, {"yes": np.array(True)})
    labels = label(ir.from_proto(proto))
    rewritten = ir.to_proto(labels.model)
    onnx.checker.check_model(rewritten)
    scales = {node.input[1]: node for node in rewritten.graph.node if node.op_type == "Mul"}
    held = {t.name: float(numpy_helper.to_array(t)[0]) for t in rewritten.graph.initializer if t.name in scales}
    assert sorted(held.values()) == [2.0, 3.0]


# --- channels in another order ---------------------------------------------------------------------------------------


def shuffling(last: str, *, computed: bool = False) -> onnx.ModelProto:
    """x > MatMul > f [batch, TOKENS, 8] > two groups, interleaved > MatMul > y"""
    weights = {"w": np.ones((6, 8), np.float32), "v": np.ones((8, 3), np.float32), "minus": np.array([-1])}
    weights |= {"first": np.array([0]), "split": np.array([0, 0, 2, 4]), "merge": np.array([0, 0, 8])}
    weights |= {"four": np.array([TOKENS, 2, 4])}
    size = "all = Shape(f) b = Gather<axis=0>(all, first) target = Concat<axis=0>(b, four)" if computed else ""
    text = f"""f = MatMul(x, w) {size} r = Reshape(f, {"target" if computed else "split"})
        t = Transpose<perm=[0, 1, 3, 2]>(r) {last} y = MatMul(s, v)"""
    used = set(re.findall(r"\w+", text))
    return model(text, 17, {name: weight for name, weight in weights.items() if name in used})


@pytest.mark.parametrize("computed", [False, True], ids=["constant", "computed"])
def test_groups_that_are_shuffled_are_cut_independently(computed: bool) -> None:  # noqa: FBT001
    labels = check_law(shuffling("s = Reshape(t, merge)", computed=computed))
    assert units(labels, "f") == 8
    assert not any(node.op_type == "Transpose" for node in labels.model.graph)


@pytest.mark.parametrize("joined", ["u0, u1", "u1, u0"])
def test_what_is_interleaved_is_cut_independently(joined: str) -> None:
    text = f"""a = MatMul(x, w0) b = MatMul(x, w1) u0 = Unsqueeze(a, two) u1 = Unsqueeze(b, two)
        c = Concat<axis=2>({joined}) t = Transpose<perm=[0, 1, 3, 2]>(c) s = Reshape(t, merge) y = MatMul(s, v)"""
    rng = np.random.default_rng(0)
    weights = {f"w{i}": rng.standard_normal((6, 5)).astype(np.float32) for i in range(2)}
    weights |= {"two": np.array([2]), "merge": np.array([0, 0, 10]), "v": np.ones((10, 3), np.float32)}
    assert independent(check_law(model(text, 17, weights)), "a", "b")


@pytest.mark.parametrize("last", ["s = Reshape(t, merge) o = Relu(t)", "s0 = Relu(t) s = Reshape(s0, merge)"])
def test_a_shuffle_that_is_more_than_that_stays(last: str) -> None:
    assert is_kept(shuffling(last))


def test_a_constant_prepared_for_several_layers_ties_none_of_them() -> None:
    #  x > Conv > Relu > Conv > y, both biases the same DequantizeLinear of zeros
    model = parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]>
        g (float[N, 3, 6, 6] x) => (float[N, 4, 6, 6] y) <float s = {0.1}, int32 p = {0}> {
            z = DequantizeLinear(q, s, p)
            a = Conv(x, w1, z)
            b = Relu(a)
            c = Conv(b, w2, z)
            y = Conv(c, w3)
        }"""
    )
    for name, array in {
        "w1": np.ones((8, 3, 1, 1), np.float32),
        "w2": np.ones((8, 8, 1, 1), np.float32),
        "w3": np.ones((4, 8, 1, 1), np.float32),
        "q": np.zeros(8, np.int32),
    }.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    labels = label(ir.from_proto(model))
    w2 = next(w for w in labels.weights() if w.value.name == "w2")
    root = labels.classes.root
    assert not np.intersect1d(root[w2.axes[0]], root[w2.axes[1]]).size


SEQUENCES = {
    "of one size": "s = SplitToSequence<axis=2>(f, five) a = SequenceAt(s, i0) b = SequenceAt(s, i1) h = Mul(a, b)",
    "stated sizes": "s = SplitToSequence<axis=2>(f, twos) a = SequenceAt(s, i0) b = SequenceAt(s, im) h = Mul(a, b)",
    "constructed": "g = Neg(f) s = SequenceConstruct(f, g) a = SequenceAt(s, i1) b = SequenceAt(s, im) h = Add(a, b)",
    "joined": "g = Neg(f) s = SequenceConstruct(f, g) h = ConcatFromSequence<axis=2>(s)",
    "stacked": "g = Neg(f) s = SequenceConstruct(f, g) c = ConcatFromSequence<axis=0, new_axis=1>(s) "
    "h = ReduceSum<keepdims=0>(c, i0)",
    "inserted and erased": "e = SequenceEmpty() g = Neg(f) r = Relu(f) s1 = SequenceInsert(e, f) "
    "s2 = SequenceInsert(s1, g, i0) s3 = SequenceInsert(s2, r, i1) s = SequenceErase(s3, i0) "
    "h = ConcatFromSequence<axis=-1>(s)",
    "split and joined": "s = SplitToSequence<axis=2>(f, five) h = ConcatFromSequence<axis=2>(s)",
    "steps": "s = SplitToSequence<axis=1, keepdims=0>(f) a = SequenceAt(s, i0) b = SequenceAt(s, im) h = Sub(a, b)",
}


@pytest.mark.parametrize("opset", [11, 17])
@pytest.mark.parametrize("kind", SEQUENCES)
def test_channels_pass_through_a_sequence_at_static_positions(kind: str, opset: int) -> None:
    if opset < 13 and kind == "stacked":
        pytest.skip("axes of ReduceSum are an attribute there")
    text = f"f = MatMul(x, w) {SEQUENCES[kind]} y = MatMul(h, wo)"
    rng = np.random.default_rng(0)
    weights: dict[str, np.ndarray] = {
        "w": rng.standard_normal((6, 10)).astype(np.float32), "five": np.array(5), "twos": np.array([5, 5]),
        "i0": np.array([0] if kind == "stacked" else 0), "i1": np.array(1), "im": np.array(-1),
    }  # fmt: skip
    width = {"of one size": 5, "stated sizes": 5, "joined": 20, "inserted and erased": 20}.get(kind, 10)
    weights["wo"] = rng.standard_normal((width, 3)).astype(np.float32)
    used = set(re.findall(r"\w+", text))
    proto = model(text, opset, {name: w for name, w in weights.items() if name in used})
    rows = [] if kind == "steps" else [TOKENS]
    proto.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", 1, ["batch", *rows, 3]))
    labels = check_law(proto)
    assert not any("Sequence" in node.op_type for node in labels.model.graph)
    assert not labels.unknown
    axis = next(v for node in labels.model.graph for v in node.outputs if v.name == "f")
    assert not labels.classes.frozen[labels.axes[axis][2]].any()


def test_a_sequence_at_a_position_that_depends_on_data_freezes() -> None:
    text = "f = MatMul(x, w) m = ReduceMax<keepdims=0>(x) p = Cast<to=7>(m) s = SplitToSequence<axis=2>(f, five) "
    proto = model(
        text + "h = SequenceAt(s, p) y = MatMul(h, wo)", 17,
        {"w": np.ones((6, 10), np.float32), "five": np.array(5), "wo": np.ones((5, 3), np.float32)},
    )  # fmt: skip
    labels = label(ir.from_proto(proto))
    f = next(v for node in labels.model.graph for v in node.outputs if v.name == "f")
    assert labels.classes.frozen[labels.axes[f][2]].all()
