"""Worked cases of nodes and edges that come and go, and of kernels; each is proven, each refusal changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from drawing import Drawing
from onnxsurgeon.errors import InfeasibleError, SurgeonError, UsageError
from onnxsurgeon.model.write import write
from onnxsurgeon.surgery.blocks import Activation, BatchNorm, Conv, Pool
from onnxsurgeon.surgery.network import Network, load
from paths import FIXTURES


def widths(network: Network, *names: str) -> tuple[int | None, ...]:
    return tuple(network[name].width for name in names)


def shape(network: Network, name: str) -> tuple[int, ...]:
    """Of a layer's weight."""
    value = network[name].node.inputs[1]
    assert value is not None
    assert value.const_value is not None
    return tuple(value.const_value.shape.numpy())


def weight(network: Network, name: str) -> Any:
    return network[name].node.inputs[1].const_value.numpy()  # type: ignore[union-attr]


def proven(network: Network, *, unchanged: bool | None = None) -> None:
    proofs = network.prove(device="cpu")
    assert proofs is not None
    if unchanged is not None:
        assert proofs.steps[-1].unchanged is unchanged, proofs


@pytest.mark.parametrize("way", ["grow", "shrink"])
def test_removing_a_node_between_two_widths(way: Any, tmp_path: Path) -> None:
    d = Drawing()
    v3 = d.av("v3", d.iv("r", d.av("v1", d.input("in", 3), 2)), 4)
    d.av("v4", v3, 3)
    net = d.network(tmp_path)
    before = weight(net, "v4"), weight(net, "v1")
    rising = {"v1": [1.0, 2], "v3": [1.0, 2, 3, 4]}
    net.remove("v3", align=way, importance=rising)
    assert net.find("v3") == []
    if way == "grow":
        assert np.array_equal(weight(net, "v4"), before[0])
        assert np.array_equal(weight(net, "v1")[:2], before[1])
        assert shape(net, "v1") == (4, 3, 1, 1)
    else:
        assert np.array_equal(weight(net, "v4"), before[0][:, 2:])
        assert np.array_equal(weight(net, "v1"), before[1])
    proven(net)


def test_removing_in_front_of_a_concat(tmp_path: Path) -> None:
    d = Drawing()
    x = d.input("in", 3)
    v3 = d.av("v3", d.av("v1", x, 3), 5)
    d.av("v4", d.cc("c", d.av("v2", x, 4), v3), 2)
    net = d.network(tmp_path)
    before = weight(net, "v1"), weight(net, "v4")
    net.remove("v3")
    assert widths(net, "v1", "v2", "c") == (5, 4, 9)
    assert np.array_equal(weight(net, "v1")[:3], before[0])
    assert np.array_equal(weight(net, "v4"), before[1])
    proven(net)


def test_removing_behind_a_concat_of_one(tmp_path: Path) -> None:
    d = Drawing()
    x = d.input("in", 3)
    v1 = d.av("v1", x, 10)
    d.iv("v5", d.av("v4", d.cc("v3", d.av("v2", x, 3)), 10), v1)
    net = d.network(tmp_path)
    net.remove("v4")
    assert widths(net, "v1", "v2", "v5") == (10, 10, 10)
    proven(net)


def test_a_size_cycle_is_refused(tmp_path: Path) -> None:
    d = Drawing()
    v2 = d.av("v2", d.av("v1", d.input("in", 3), 3), 5)
    v3 = d.iv("v3", v2)
    d.iv("v5", d.cc("v4", d.av("p1", v3, 3), d.av("p2", v3, 2)), v2)
    net = d.network(tmp_path)
    with pytest.raises(InfeasibleError, match="size cycle"):
        net.remove("p1")
    assert not net.steps
    assert widths(net, "v2", "p1") == (5, 3)


def test_connecting(tmp_path: Path) -> None:
    d = Drawing()
    x = d.input("in", 3)
    v1, v2 = d.av("v1", x, 5), d.av("v2", x, 4)
    d.av("w", v2, 2)
    d.av("next", d.cc("c", v1), 2)
    net = d.network(tmp_path)
    old = weight(net, "next")
    net.connect("v2", "c")
    assert shape(net, "next") == (2, 9, 1, 1)
    assert np.array_equal(weight(net, "next")[:, :5], old)
    proven(net, unchanged=True)
    net.connect("v2", "c")  # once more is fine
    assert shape(net, "next") == (2, 13, 1, 1)
    proven(net, unchanged=True)


def test_what_is_connected_is_new_to_its_readers_whatever_new_neurons_are(tmp_path: Path) -> None:
    d = Drawing()
    x = d.input("in", 3)
    d.av("next", d.cc("c", d.av("v1", x, 5), d.av("v2", x, 4)), 2)
    net = d.network(tmp_path)
    net.connect("v1", "c", init="duplicate")
    proven(net, unchanged=True)


@pytest.mark.parametrize("position", [0, 1, 2])
def test_connecting_in_front_of_others_leaves_their_columns(position: int, tmp_path: Path) -> None:
    d = Drawing()
    x = d.input("in", 3)
    d.av("next", d.bn("bn", d.cc("c", d.av("v1", x, 5), d.av("v2", x, 2))), 2)
    d.av("w", d.av("late", x, 4), 2)  # comes after the concat
    net = d.network(tmp_path)
    old = weight(net, "next")
    net.connect("late", "c", position=position)
    at = [0, 5, 7][position]
    assert np.array_equal(np.delete(weight(net, "next"), range(at, at + 4), axis=1), old)
    proven(net, unchanged=True)


def test_connecting_to_a_sum_makes_widths_equal(tmp_path: Path) -> None:
    d = Drawing()
    x = d.input("in", 3)
    v2 = d.av("v2", x, 4)
    d.av("w", v2, 2)
    d.iv("add", d.av("v1", x, 5), d.av("v3", x, 5))
    net = d.network(tmp_path)
    net.connect("v2", "add")
    assert widths(net, "v1", "v2", "v3", "add") == (5, 5, 5, 5)
    proven(net)
    net.connect("in", "add")
    assert widths(net, "v1", "v2", "v3", "add") == (3, 3, 3, 3)
    proven(net)


def test_taking_branches_out_of_a_concat(tmp_path: Path) -> None:
    d = Drawing()
    x = d.input("in", 3)
    d.cc("c", d.av("v1", x, 4), d.av("v2", x, 5), d.av("v3", x, 6))
    net = d.network(tmp_path)
    net.remove("v2")
    assert shape(net, "c_end")[1] == 4 + 3 + 6
    proven(net)
    old = weight(net, "c_end")
    net.disconnect("v1", "c")
    assert np.array_equal(weight(net, "c_end"), old[:, 4:])
    assert net.find("v1") == []
    proven(net)


def test_a_concat_without_its_middle_keeps_exactly_the_rest(tmp_path: Path) -> None:
    d = Drawing()
    x = d.input("in", 3)
    d.cc("c", d.av("a", x, 5), d.av("b", x, 2), d.av("e", x, 5))
    net = d.network(tmp_path)
    old = weight(net, "c_end")
    net.disconnect("b", "c")
    assert np.array_equal(weight(net, "c_end"), np.delete(old, [5, 6], axis=1))
    proven(net)


def test_inserting_an_identity_changes_nothing(tmp_path: Path) -> None:
    d = Drawing()
    d.iv("r", d.av("v1", d.input("in", 3), 5, kernel=3))
    net = d.network(tmp_path)
    for block in (Conv(kernel=3), Conv(kernel=5, groups=5), BatchNorm()):
        net.insert(block, after="v1")
        proven(net, unchanged=True)
    net.insert(Conv(kernel=1), after="r_end")  # behind the output
    proven(net, unchanged=True)
    net.insert(Conv(kernel=3), after="in", init="he")
    net.insert(Pool("Max"), after="r")
    proven(net, unchanged=False)


@pytest.mark.parametrize("pads", [0, 2])
@pytest.mark.parametrize("stride", [1, 2])
def test_kernels(pads: int, stride: int, tmp_path: Path) -> None:
    d = Drawing()
    d.av("v1", d.input("in", 3), 5, kernel=5, pads=[pads] * 4, strides=[stride, stride])
    net = d.network(tmp_path)
    net.kernel("v1", 7)
    assert shape(net, "v1") == (5, 3, 7, 7)
    proven(net, unchanged=True)
    net.kernel("v1", (3, 4))
    assert shape(net, "v1") == (5, 3, 3, 4)
    proven(net)
    net.kernel("v1", (3, 5))
    proven(net, unchanged=True)


@pytest.mark.parametrize("operator", ["Conv", "ConvTranspose"])
@pytest.mark.parametrize("space", [1, 2, 3])
@pytest.mark.parametrize("size", [4, 5])
def test_kernels_of_any_rank_grow_without_a_change(operator: str, space: int, size: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    weight_ = rng.standard_normal((4, 4, *[3] * space)).astype(np.float32)
    shapes = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", 4, *[None] * space]) for n in "xy"]
    shapes[0] = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4, *[7] * space])
    node = helper.make_node(operator, ["x", "w"], ["y"], "conv", pads=[1] * 2 * space, strides=[2] * space)
    graph = helper.make_graph([node], "g", shapes[:1], shapes[1:], [numpy_helper.from_array(weight_, "w")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "m.onnx")
    net = load(tmp_path / "m.onnx")
    net.kernel("conv", size)
    assert shape(net, "conv")[2:] == (size,) * space
    proven(net, unchanged=True)
    net.kernel("conv", 3)
    assert np.array_equal(weight(net, "conv"), weight_)
    proven(net, unchanged=True)


def test_what_a_kernel_loses_is_what_weighs_least(tmp_path: Path) -> None:
    d = Drawing()
    d.av("v1", d.input("in", 3), 5, kernel=4, pads=[1, 1, 2, 2])
    net = d.network(tmp_path)
    old = weight(net, "v1")
    energy = np.square(old).sum(axis=(0, 1))
    net.kernel("v1", 3)
    rows, columns = energy.sum(axis=1), energy.sum(axis=0)
    a, b = int(rows[0] < rows[3]), int(columns[0] < columns[3])
    assert np.array_equal(weight(net, "v1"), old[:, :, a : a + 3, b : b + 3])
    proven(net)


def test_a_block_of_several_kinds(tmp_path: Path) -> None:
    d = Drawing()
    x = d.input("in", 3)
    c = d.cc("c", d.bn("bn", d.av("conv", x, 5)), d.av("named", x, 7, kernel=5))
    d.iv("add", d.av("residual", c, 12), c)
    net = d.network(tmp_path)
    net["add"].resize(-3)
    assert widths(net, "add", "residual", "c") == (9, 9, 9)
    assert sum(n or 0 for n in widths(net, "conv", "named")) == 9
    proven(net)
    net.remove("bn")
    assert net.find("bn") == []
    proven(net)


def test_removing_what_is_neutral_changes_nothing(tmp_path: Path) -> None:
    d = Drawing()
    d.bn("bn", d.av("v1", d.input("in", 3), 5), neutral=True)
    net = d.network(tmp_path)
    net.remove("bn")
    proven(net, unchanged=True)


@pytest.mark.parametrize("fixture", ["plain", "residual", "xor"])
def test_the_output_takes_the_width_that_feeds_it_when_the_last_layer_goes(fixture: str, tmp_path: Path) -> None:
    net = load(FIXTURES / f"{fixture}.onnx")
    last = [*net][-1]
    before = net[last.inputs[0]].width
    net.remove(last)
    output = net.ir.graph.outputs[0]
    assert output.name == "output"
    assert [str(dim) for dim in output.shape or ()] == ["batch", str(before)]
    net.save(tmp_path / "m.onnx")
    onnx.checker.check_model(str(tmp_path / "m.onnx"), full_check=True)


def test_an_output_does_not_take_a_width_that_does_not_fit_what_else_feeds_it() -> None:
    """fc2 -> add -> output, reshape (16 channels of 4) -> fc3 -> add."""
    with pytest.raises(InfeasibleError, match=r"reshape \(64 channels\) and fc3 \(10\) can't get the same width"):
        load(FIXTURES / "flatten.onnx").remove("fc3")


def test_what_fails_changes_no_byte(tmp_path: Path) -> None:
    d = Drawing()
    x = d.input("in", 3)
    v2 = d.av("v2", x, 5)
    v3 = d.iv("v3", v2)
    d.iv("v5", d.cc("v4", d.av("p1", v3, 3), d.av("p2", v3, 2)), v2)
    d.av("small", d.av("half", x, 5, strides=[2, 2]), 2)
    net = d.network(tmp_path)
    net["v2"].resize(+1)
    write(net.ir, tmp_path / "before.onnx")
    before = (tmp_path / "before.onnx").read_bytes()
    for attempt in (
        lambda: net.remove("p1"),
        lambda: net.remove("v5"),
        lambda: net.connect("half", "v5"),
        lambda: net.connect("half", "v4"),
        lambda: net.connect("v5", "v4"),
        lambda: net.connect("v2", "v3"),
        lambda: net.disconnect("small", "v4"),
        lambda: net.kernel("v3", 3),
        lambda: net.activation("p1", "Silu"),
        lambda: net.activation("v3", "Nothing"),
        lambda: net["v2"].resize(-10),
        lambda: net.resize("v5=+1", "v2=-1"),
        lambda: net.insert(Conv(groups=4), after="v2"),
    ):
        with pytest.raises((InfeasibleError, UsageError)):
            attempt()
        write(net.ir, tmp_path / "after.onnx", overwrite=True)
        assert (tmp_path / "after.onnx").read_bytes() == before


def test_what_would_not_fit_is_named(tmp_path: Path) -> None:
    d = Drawing()
    x = d.input("in", 3)
    d.iv("add", d.av("v2", d.av("v1", x, 5, strides=[2, 2]), 5), d.av("side", x, 5, strides=[2, 2]))
    net = d.network(tmp_path)
    with pytest.raises(InfeasibleError, match=r"add \(Add\) can't join shapes \[\d+, 5, 6, 6\] and \[\d+, 5, 3, 3\]"):
        net.remove("v1")


def test_a_tensor_that_would_be_empty_is_refused(tmp_path: Path) -> None:
    """What a Slice takes is what a Pad added; no dim is dynamic."""
    numbers = {"pads": [0, 0, 0, 0, 0, 0, 2, 0], "low": [3], "high": [5], "axes": [2]}
    nodes = [
        helper.make_node("Pad", ["x", "pads"], ["p"], name="pad"),
        helper.make_node("Slice", ["p", "low", "high", "axes"], ["c"], name="slice"),
        helper.make_node("ReduceSum", ["c", "axes"], ["y"], name="sum"),
    ]
    graph = helper.make_graph(
        nodes, "net", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 3, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 1, 3])],
        [numpy_helper.from_array(np.array(array), name) for name, array in numbers.items()],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "m.onnx")
    with pytest.raises(InfeasibleError, match="c would be empty"):
        load(tmp_path / "m.onnx").remove("pad")


def test_a_gated_activation_is_one(tmp_path: Path) -> None:
    """x -> conv -> (sigmoid, times itself) -> y: SiLU as exporters write it becomes a Relu, and its product goes."""
    d = Drawing()
    conv = d.av("conv", d.input("x", 4), 6)
    d.add("Mul", "product", conv, d.add("Sigmoid", "gate", conv))
    net = d.network(tmp_path)
    net.activation("gate", "Relu")
    assert [node.op_type for node in net.ir.graph] == ["Conv", "Relu", "Conv"]
    proven(net, unchanged=False)


@pytest.mark.parametrize("kind", ["Silu", "Gelu", "HardSwish", "Relu6", "LeakyRelu", "PRelu", "Tanh"])
def test_an_activation_becomes_another(kind: str, tmp_path: Path) -> None:
    d = Drawing()
    d.iv("r", d.av("v1", d.input("in", 3), 5))
    net = d.network(tmp_path)
    net.activation("r", kind)
    proven(net, unchanged=False)
    net["v1"].resize(+2)
    proven(net, unchanged=True)


def test_a_convolution_becomes_a_separable_one(tmp_path: Path) -> None:
    """Weights that are a product already are found again."""
    d = Drawing()
    d.av("v1", d.input("in", 4), 6, kernel=3)
    net = d.network(tmp_path)
    deep, point = d.rng.standard_normal((1, 4, 3, 3)), d.rng.standard_normal((6, 4, 1, 1))
    net["v1"].node.inputs[1].const_value = __import__("onnx_ir").Tensor(  # type: ignore[union-attr]
        (deep * point).astype(np.float32), name="v1.weight"
    )
    net.replace("v1", "Separable")
    assert shape(net, "v1.depthwise") == (4, 1, 3, 3)
    proven(net, unchanged=True)


def test_a_sub_graph_of_another_file(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    a, b = Drawing(), Drawing(1)
    a.iv("r", a.av("v1", a.input("in", 3), 6))
    b.iv("r", b.av("v2", b.av("v1", b.input("in", 4), 5), 7))
    host, guest = a.network(tmp_path), b.network(tmp_path / "a")
    host.splice(guest, after="v1", exit="v2")
    assert host.find("spliced.*") == ["spliced.v1", "spliced.v2"]
    assert host["v1"].width == host["spliced.v2"].width
    proven(host)
    host.save(tmp_path / "out.onnx", device="cpu")
    onnx.checker.check_model(onnx.load(tmp_path / "out.onnx"), full_check=True)


def test_a_sub_graph_between_nodes_inside_another_file(tmp_path: Path) -> None:
    """Its shapes need not be stated in the file."""
    (tmp_path / "a").mkdir()
    a, b = Drawing(), Drawing(1)
    a.iv("r", a.av("v1", a.input("in", 3), 6))
    b.iv("r", b.av("v3", b.av("v2", b.av("v1", b.input("in", 4), 5), 7), 8))
    host, guest = a.network(tmp_path), b.network(tmp_path / "a")
    host.splice(guest, after="v1", entry="v1", exit="v3")
    assert host.find("spliced.*") == ["spliced.v2", "spliced.v3"]
    proven(host)
    with pytest.raises(UsageError, match="nearest names: v3"):
        host.splice(guest, after="v1", entry="v33")


def test_replacing_a_layer_by_a_fresh_one(tmp_path: Path) -> None:
    d = Drawing()
    d.iv("r", d.av("v2", d.av("v1", d.input("in", 3), 5), 5, kernel=3))
    net = d.network(tmp_path)
    net.replace("v2", Conv(kernel=1))
    assert shape(net, "v2") == (5, 5, 1, 1)
    net.replace("r", Activation("Elu"))
    proven(net)


def test_looking_around(tmp_path: Path) -> None:
    d = Drawing()
    x = d.input("in", 3)
    d.iv("add", d.iv("layer1.r", d.av("layer1.conv", x, 5)), d.av("other", x, 5))
    net = d.network(tmp_path)
    assert net.find("layer1.*") == ["layer1.conv", "layer1.r"]
    assert net.ancestors("add") == ["layer1.conv", "layer1.r", "other"]
    assert net["add"].inputs == ["layer1.r", "other"]
    assert net["layer1.conv"].readers == ["layer1.r"]
    assert "layer1.conv" in net.summary()
    with pytest.raises(SurgeonError, match="nearest names"):
        net["layer1.con"]


def test_what_a_branch_gives_keeps_its_rank_at_all_sizes(tmp_path: Path) -> None:
    """c(kernel 16, stride 16) -> If one is left: squeezed, else as it is. Without c, one would never be left of 17."""
    text = """<ir_version: 8, opset_import: ["": 17]>
        drawn (float[1,3,n] x) => (float y) <int64[1] last = {2}, int64 two = {2}, int64 one = {1}> {
            c = Conv <kernel_shape = [16], strides = [16]> (x, w)
            sizes = Shape (c)
            left = Gather (sizes, two)
            alone = Equal (left, one)
            chosen = If (alone) <
                then_branch = yes () => (squeezed) { squeezed = Squeeze (c, last) },
                else_branch = no () => (same) { same = Identity (c) }
            >
            y = ReduceMean <keepdims = 0> (chosen)
        }"""
    model = onnx.parser.parse_model(text)
    weight = np.random.default_rng(0).standard_normal((3, 3, 16)).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(weight, "w"))
    onnx.save(model, tmp_path / "branch.onnx")
    net = load(tmp_path / "branch.onnx")
    with pytest.raises(InfeasibleError, match="instead of"):
        net.remove("c")
