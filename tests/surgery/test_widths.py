"""Worked cases of changed widths, by sizes and by positions (from 1 here, -1 for a new neuron), each proven.

Their numbers are those of NaiveNASlib's test suite, or follow from integer programs that were solved by hand.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from drawing import Drawing
from onnxsurgeon.errors import InfeasibleError, UsageError
from onnxsurgeon.surgery.find import find
from onnxsurgeon.surgery.network import Network, load
from onnxsurgeon.surgery.width_requests import parse
from onnxsurgeon.surgery.widths import value_axis
from paths import FIXTURES


def positions(network: Network, name: str, inner: int | None = None) -> list[int]:
    """What the last resize did to a node's output, or to axis 1 of its weight."""
    step = network.steps[-1]
    assert step.labels is not None
    assert step.selection is not None
    node = find(step.labels.model, name)
    if inner is None:
        found = value_axis(step.labels, node.outputs[0])
        axis = found[1] if found else step.labels.axes[node.outputs[0]][1]  # type: ignore[assignment]
    else:
        axis = (step.labels.known(node, 1) or ())[inner]  # type: ignore[assignment]
    places = step.selection.positions(axis)
    return [int(p) + 1 if p >= 0 else -1 for p in (range(len(axis)) if places is None else places)]


def widths(network: Network, *names: str) -> tuple[int | None, ...]:
    return tuple(network[name].width for name in names)


def proven(network: Network) -> Network:
    proofs = network.prove(device="cpu")
    assert proofs is not None
    return network


def rising(*names: str, width: int) -> dict[str, Any]:
    return {name: np.arange(1.0, width + 1) for name in names}


def test_the_least_useful_go_and_new_ones_come_last(tmp_path: Path) -> None:
    d = Drawing()
    d.av("v2", d.av("v1", d.input("in", 3), 5), 4)
    net = d.network(tmp_path)
    net["v1"].resize(-2, importance={"v1": np.arange(1.0, 6)})
    assert positions(net, "v1") == positions(net, "v2", 1) == [3, 4, 5]
    net["v1"].resize(+3)
    assert positions(net, "v1") == [1, 2, 3, -1, -1, -1]
    assert net.prove(device="cpu").steps[1].unchanged  # type: ignore[union-attr]


def test_a_width_that_counts_twice(tmp_path: Path) -> None:
    d = Drawing()
    x = d.input("in", 3)
    v1, v2 = d.av("v1", x, 7), d.av("v2", x, 4)
    d.cc("v4", d.cc("v3", v2, v1), v2)
    net = d.network(tmp_path)
    net["v4"].resize(-4, importance="uniform")
    assert widths(net, "v1", "v2", "v4") == (7, 2, 11)
    net["v4"].resize(+6, importance="uniform")
    assert widths(net, "v1", "v2", "v4") == (11, 3, 17)
    proven(net)


def test_a_width_that_can_only_be_a_multiple(tmp_path: Path) -> None:
    d = Drawing()
    v1 = d.av("v1", d.input("in", 3), 4)
    d.cc("c", d.iv("a", v1), d.iv("b", v1), d.iv("e", v1))
    net = d.network(tmp_path)
    with pytest.raises(InfeasibleError, match=r"c=\+2 is impossible[\s\S]*nearest possible widths: c=\+2: 15"):
        net["c"].resize(+2)
    assert not net.steps
    net.resize("c~+2")
    assert widths(net, "c", "v1") == (15, 5)
    proven(net)


def test_an_input_of_the_graph_keeps_its_width(tmp_path: Path) -> None:
    d = Drawing()
    x = d.input("in", 3)
    d.cc("c", x, d.av("v1", x, 5))
    net = d.network(tmp_path)
    net["v1"].resize(-3, importance={"c": np.array([-1.0, -1, -1, 1, 2, 3, 4, 5])})
    assert positions(net, "c") == [1, 2, 3, 7, 8]
    proven(net)


def test_what_is_not_tied_does_not_move(tmp_path: Path) -> None:
    d = Drawing()
    v2 = d.av("v2", d.av("v1", d.input("in", 3), 4), 5)
    d.av("v3", v2, 3)
    d.av("v4", v2, 5)
    net = d.network(tmp_path)
    net["v1"].resize(+2, importance={"v2": np.full(5, -2.0)})
    assert widths(net, "v1", "v2", "v3", "v4") == (6, 5, 3, 5)


@pytest.mark.parametrize(
    ("importance", "stay"), [([-1.0, 1, -1, 1, -1, 1], [2, 4, 6]), ([-6.0, -5, -4, -3, -2, -1], [6])]
)
def test_a_free_width_follows_importance(importance: list[float], stay: list[int], tmp_path: Path) -> None:
    d = Drawing()
    d.av("v1", d.input("in", 3), 6)
    net = d.network(tmp_path)
    net.resize("v1=free", importance={"v1": np.array(importance)})
    assert positions(net, "v1") == stay
    proven(net)


def test_a_bound_on_new_neurons(tmp_path: Path) -> None:
    d = Drawing()
    v1 = d.av("v1", d.input("in", 3), 4)
    d.av("v2", v1, 4)
    net = d.network(tmp_path)
    with pytest.raises(InfeasibleError):
        net["v1"].resize(+2, max_new=0)
    net["v1"].resize(+2, max_new={"v2": 0})
    assert widths(net, "v1") == (6,)


@pytest.mark.parametrize("request_", ["v3=+1", "v3~+1"])
def test_what_is_tied_to_an_input_can_not_change(request_: str, tmp_path: Path) -> None:
    d = Drawing()
    x = d.input("in", 3)
    d.iv("v3", d.av("v2", x, 3), d.iv("v1", x))
    net = d.network(tmp_path)
    with pytest.raises(InfeasibleError, match="an input of the graph"):
        net.resize(request_)
    assert widths(net, "v3") == (3,)
    assert not net.steps


def test_several_requests_at_once(tmp_path: Path) -> None:
    d = Drawing()
    d.av("c", d.av("b", d.av("a", d.input("in", 3), 3), 5), 4)
    net = d.network(tmp_path)
    net.resize("b=+3", "c~+2")
    assert widths(net, "a", "b", "c") == (3, 8, 6)
    proven(net)


def test_all_that_a_residual_ties(tmp_path: Path) -> None:
    d = Drawing()
    x = d.input("in", 3)
    v1, v2, v3, v4 = (d.av(f"v{k}", x, 100) for k in (1, 2, 3, 4))
    e2 = d.iv("e2", d.iv("e1", v2, v3), v1)
    d.iv("e3", d.iv("e3a", e2, v4), v2)
    net = d.network(tmp_path)
    for change, width in ((-30, 70), (60, 130)):
        net["v1"].resize(change)
        assert set(widths(net, "v1", "v2", "v3", "v4", "e1", "e2", "e3")) == {width}
    proven(net)


def test_positions_stay_aligned_where_one_branch_loses_and_another_gains(tmp_path: Path) -> None:
    d = Drawing()
    a, b = d.input("in1", 3), d.input("in2", 4)
    m = d.cc("m", d.av("v1", a, 4), d.av("v2", b, 3))
    d.iv("add", d.av("v3", a, 7), m)
    d.av("v4", m, 2)
    net = d.network(tmp_path)
    net.resize("v2=-1", "add=+0", importance={"v2": [10.0, 1, 10]})
    assert positions(net, "v2") == [1, 3]
    assert positions(net, "v4", 1) == positions(net, "v3") == [1, 2, 3, 4, -1, 5, 7]
    proven(net)


def test_the_tutorial_s_block(tmp_path: Path) -> None:
    d = Drawing()
    start = d.av("start", d.input("in", 6), 6)
    split = d.av("split", start, 2)
    d.iv("out", start, d.cc("joined", d.iv("x2", split), d.iv("x3", split), d.iv("x5", split)))
    net = d.network(tmp_path)
    with pytest.raises(InfeasibleError, match="is impossible"):
        net["out"].resize(+2)
    found = net["out"].resize(+2, relax=True)
    assert found.relaxed
    assert widths(net, "out", "start", "split") == (9, 9, 3)
    proven(net)


def test_a_depthwise_layer_s_multiplier(tmp_path: Path) -> None:
    """The multiplier shrinks from 2 to 1 for each input alike, and grows again between the old ones."""
    d = Drawing()
    d.av("v1", d.input("in", 4), 8, groups=4, kernel=3)
    net = d.network(tmp_path)
    net["v1"].resize(-4, importance={"v1": [20.0, 40, 20, 40, 21, 41, 21, 41]})
    assert positions(net, "v1") == [2, 4, 6, 8]
    net["v1"].resize(+4, init="zeros")
    assert positions(net, "v1") == [1, -1, 2, -1, 3, -1, 4, -1]
    assert net.prove(device="cpu").steps[1].unchanged  # type: ignore[union-attr]


def test_growing_before_and_behind_a_depthwise_layer(tmp_path: Path) -> None:
    d = Drawing()
    v1 = d.av("v1", d.input("in", 4), 3)
    d.av("v3", d.av("v2", v1, 6, groups=3, kernel=3), 3)
    net = d.network(tmp_path)
    net.resize("v1=+1", "v2=+2")
    assert widths(net, "v1", "v2") == (4, 8)
    assert net.prove(device="cpu").unchanged  # type: ignore[union-attr]


@pytest.mark.parametrize("free", ["heads", "head-size"])
def test_groups_lose_whole_or_alike(free: Any, tmp_path: Path) -> None:
    d = Drawing()
    v2 = d.av("v2", d.av("v1", d.input("in", 3), 16), 16, groups=4, kernel=3)
    d.av("v3", v2, 4)
    net = d.network(tmp_path)
    with pytest.raises(InfeasibleError):
        net["v2"].resize(-3, attention=free)
    net["v2"].resize(-4, attention=free)
    assert widths(net, "v2") == (12,)
    net["v2"].resize(+4, attention=free)
    assert widths(net, "v2") == (16,)
    proofs = proven(net).prove(device="cpu")
    assert proofs is not None
    assert proofs.steps[1].unchanged


def test_new_neurons_follow_the_place_of_what_goes(tmp_path: Path) -> None:
    """A branch that loses its third neuron and gains one, in front of another branch."""
    d = Drawing()
    x = d.input("in", 3)
    d.av("v", d.cc("c", d.av("a", x, 4), d.av("b", x, 3)), 2)
    net = d.network(tmp_path)
    net.resize("a=4", drop={"a": [2]})
    assert positions(net, "c") == positions(net, "v", 1) == [1, 2, 4, -1, 5, 6, 7]
    proven(net)


def test_new_neurons_in_the_middle_of_three(tmp_path: Path) -> None:
    d = Drawing()
    x = d.input("in", 3)
    d.cc("c", d.av("a", x, 4), d.av("b", x, 3), d.av("d", x, 3))
    net = d.network(tmp_path)
    net.resize("a=-1", "b=+1", drop={"a": [3]})
    assert positions(net, "c") == [1, 2, 3, 5, 6, 7, -1, 8, 9, 10]
    proven(net)


def test_growth_keeps_the_function_and_new_rows_are_not_zero(tmp_path: Path) -> None:
    d = Drawing()
    v1 = d.av("v1", d.input("in", 3), 5, kernel=3)
    d.av("v3", d.av("v2", d.iv("r", d.bn("bn", v1)), 4, kernel=3), 3)
    net = d.network(tmp_path)
    net.resize("v1=+2", "v2=+1")
    proofs = net.prove(device="cpu")
    assert proofs is not None
    assert proofs.unchanged
    for name, rows in (("v1", slice(5, 7)), ("v2", slice(4, 5))):
        weight = find(net.ir, name).inputs[1].const_value.numpy()  # type: ignore[union-attr]
        assert (np.abs(weight[rows][:, : 3 if name == "v1" else 5]) > 0).all()


def test_new_neurons_that_are_copies_share_the_work(tmp_path: Path) -> None:
    d = Drawing()
    d.av("v2", d.iv("r", d.bn("bn", d.av("v1", d.input("in", 3), 5, kernel=3))), 4)
    net = d.network(tmp_path)
    net.resize("v1=+7", init="duplicate")
    proofs = net.prove(device="cpu")
    assert proofs is not None
    assert proofs.unchanged
    weight = find(net.ir, "v1").inputs[1].const_value.numpy()  # type: ignore[union-attr]
    assert len(np.unique(weight, axis=0)) == 5
    net.resize("v1=-3", "v2=+1", init="duplicate")
    proven(net)


def test_copies_of_a_channel_that_is_flattened_are_copies_of_its_pixels() -> None:
    net = load(FIXTURES / "flatten.onnx")
    net.resize("conv1=+5", "conv2=+3", init="duplicate")
    proofs = net.prove(device="cpu")
    assert proofs is not None
    assert proofs.unchanged


def test_an_input_of_the_graph_is_named_as_such(tmp_path: Path) -> None:
    d = Drawing()
    d.av("v1", d.input("in", 3), 5)
    net = d.network(tmp_path)
    with pytest.raises(InfeasibleError, match="an input of the graph"):
        net.resize("in=4")


def test_a_new_head_from_an_old_one(tmp_path: Path) -> None:
    """Outputs of the graph change when they are named; the chosen classes stay in their order."""
    d = Drawing()
    d.av("v1", d.input("in", 3), 5)
    net = d.network(tmp_path)
    net.resize("v1_end=5")
    assert positions(net, "v1_end") == [1, 2, -1, -1, -1]
    net.resize("v1_end=3", keep={"v1_end": [1, 3, 4]})
    assert positions(net, "v1_end") == [2, 4, 5]
    proven(net).save(tmp_path / "out.onnx", device="cpu")
    with pytest.raises(UsageError, match="channel 1 of v1_end can't both stay and go"):
        net.resize("v1_end=2", keep={"v1_end": [2, 1]}, drop={"v1_end": [0, 1]})
    net.resize("v1_end=1")
    with pytest.raises(UsageError, match="no width to change"):
        net.resize("v1_end=3")


def test_requests_are_read_as_they_are_written() -> None:
    assert parse("a.b=-16").amounts[0].size(64) == 48
    assert parse("a=-25%").amounts[0].size(64) == 48
    assert parse("a=64").amounts[0].size(3) == 64
    assert not parse("a~+8").amounts[0].exact
    both = parse("fc.in=512,free,~3")
    assert (both.name, both.inputs, [a.exact for a in both.amounts]) == ("fc", True, [True, True, False])


def test_a_glob_speaks_of_all_layers_that_can_change(tmp_path: Path) -> None:
    d = Drawing()
    v2 = d.av("b.v2", d.iv("b.r", d.av("b.v1", d.input("in", 3), 8)), 4)
    d.av("v3", v2, 6)
    net = d.network(tmp_path)
    found = net.resize("b.*=-25%")
    assert [ask.text for ask in found.asks] == ["b.v1=-25%", "b.v2=-25%"]
    assert (found.before, found.after) == ((8, 4), (6, 3))
    assert widths(net, "b.v1", "b.v2", "v3") == (6, 3, 6)
    net.resize("*=-1")
    assert widths(net, "b.v1", "b.v2", "v3", "v3_end") == (5, 2, 5, 2), "an output changes by its own name alone"
    with pytest.raises(UsageError, match="1 nodes match"):
        net.resize("*_end=+1")
    proven(net)


def test_asking_by_input_speaks_of_what_arrives(tmp_path: Path) -> None:
    d = Drawing()
    x = d.input("in", 3)
    d.cc("c", d.av("a", x, 4), d.av("b", x, 3))
    net = d.network(tmp_path)
    net.resize("c.in=6,free")
    assert widths(net, "a", "b", "c") == (6, 3, 9)
    net.resize("c.in=~-1,=2".replace("=2", "2"))
    assert widths(net, "a", "b") == (5, 2)


def test_a_copy_is_independent_and_a_failed_transaction_is_undone(tmp_path: Path) -> None:
    d = Drawing()
    d.av("v2", d.av("v1", d.input("in", 3), 5), 4)
    net = d.network(tmp_path)
    other = net.copy()
    other["v1"].resize(-2)
    assert (net["v1"].width, other["v1"].width) == (5, 3)

    def twice() -> None:
        with net.transaction():
            net["v1"].resize(-1)
            net["v1"].resize(+200, max_new=0)

    with pytest.raises(InfeasibleError):
        twice()
    assert net["v1"].width == 5
    assert not net.steps


def test_importance_may_be_a_callable_and_what_is_not_finite_goes_first(tmp_path: Path) -> None:
    d = Drawing()
    d.av("v2", d.av("v1", d.input("in", 3), 6), 4)
    net = d.network(tmp_path)
    values = np.array([3.0, np.nan, 5, np.inf, 2, -np.inf])
    net["v1"].resize(-3, importance=lambda name, width: values if (name, width) == ("v1", 6) else None)
    assert positions(net, "v1") == [1, 3, 5]


def test_copies_share_the_work_of_what_they_copy(tmp_path: Path) -> None:
    d = Drawing()
    d.av("v3", d.iv("r", d.bn("bn", d.av("v1", d.input("in", 3), 5, kernel=3))), 4)
    net = d.network(tmp_path)
    net["v1"].resize(+3, init="duplicate")
    proofs = net.prove(device="cpu")
    assert proofs is not None
    assert proofs.unchanged
    weight = find(net.ir, "v3").inputs[1].const_value.numpy()  # type: ignore[union-attr]
    assert (np.abs(weight) > 0).all()


def test_copies_of_neurons_that_were_drawn_share_their_work_too(tmp_path: Path) -> None:
    d = Drawing()
    d.av("v3", d.av("v2", d.av("v1", d.input("in", 3), 5), 4), 2)
    net = d.network(tmp_path)
    net.resize("v1=+2", "v2=+2")
    net["v1"].resize(+7, init="duplicate")
    net["v2"].resize(+6, init="duplicate")
    proofs = net.prove(device="cpu")
    assert proofs is not None
    assert proofs.unchanged


def through(d: Drawing, name: str, x: str, width: int, weight: str) -> str:
    """A layer whose weight is what other nodes make of a constant."""
    return d.add("Conv", name, x, weight, width=width)


def test_copies_share_the_work_of_a_weight_that_is_reshaped_first(tmp_path: Path) -> None:
    """w(5x4) -> Transpose -> Reshape -> weight of v2(4x5x1x1)"""
    d = Drawing()
    v1 = d.av("v1", d.input("in", 3), 5)
    d.weights.append(numpy_helper.from_array(np.array([4, 5, 1, 1]), "shape"))
    d.width["w"] = 0
    d.add("Transpose", "turned", d.weight("w", (5, 4)), perm=[1, 0])
    through(d, "v2", v1, 4, d.add("Reshape", "weight", "turned", "shape"))
    net = d.network(tmp_path)
    net["v1"].resize(+7, init="duplicate")
    proofs = net.prove(device="cpu")
    assert proofs is not None
    assert proofs.unchanged
    assert find(net.ir, "turned").inputs[0].shape == (12, 4)  # type: ignore[union-attr]


def quantised(tmp_path: Path, *points: int) -> Network:
    """v1 -> v2, whose weight is dequantised: one zero point, or one for each output."""
    d = Drawing()
    v1 = d.av("v1", d.input("in", 3), 5)
    per = (len(points),) if len(points) > 1 else ()
    array = d.rng.integers(-90, 90, (4, 5, 1, 1)).astype(np.int8)
    d.weights.append(numpy_helper.from_array(array, "w"))
    d.weights.append(numpy_helper.from_array(np.full(per, 0.01, np.float32), "scale"))
    d.weights.append(numpy_helper.from_array(np.reshape(points, per).astype(np.int8), "point"))
    d.width["w"] = 0
    through(d, "v2", v1, 4, d.add("DequantizeLinear", "weight", "w", "scale", "point", axis=0))
    return d.network(tmp_path)


def test_quantised_weights_multiply_what_is_new_by_their_zero_point(tmp_path: Path) -> None:
    net = quantised(tmp_path, 3)
    net["v1"].resize(+2)
    proofs = net.prove(device="cpu")
    assert proofs is not None
    assert proofs.unchanged
    weight = find(net.ir, "weight").inputs[0].const_value.numpy()  # type: ignore[union-attr]
    assert (weight[:, 5:] == 3).all()
    net["v2"].resize(+2)
    assert (find(net.ir, "v1").inputs[1].const_value.numpy()[5:] != 0).all()  # type: ignore[union-attr]
    proven(net)


def test_what_quantised_weights_can_not_do_is_refused(tmp_path: Path) -> None:
    net = quantised(tmp_path, 3)
    with pytest.raises(InfeasibleError, match=r"shared among copies[\s\S]*quantised"):
        net["v1"].resize(+2, init="duplicate")
    several = quantised(tmp_path, 3, 4, 5, 6)
    with pytest.raises(InfeasibleError, match="several zero points"):
        several["v1"].resize(+2)
    assert not net.steps
    assert not several.steps


def test_a_weight_that_is_read_in_two_ways_grows_in_each_as_it_must(tmp_path: Path) -> None:
    """w(5x3x1x1) makes v1, and, transposed, is summed over in v2: afterwards there are two."""
    d = Drawing()
    w = d.weight("w", (5, 3, 1, 1))
    d.width["w"] = 0
    v1 = d.add("Conv", "v1", d.input("in", 3), w, width=5)
    v2 = through(d, "v2", d.iv("r", v1), 3, d.add("Transpose", "turned", w, perm=[1, 0, 2, 3]))
    d.av("v3", v2, 4)
    for init in ("normal", "duplicate"):
        net = d.network(tmp_path)
        net["v1"].resize(+3, init=init)
        proofs = net.prove(device="cpu")
        assert proofs is not None
        assert proofs.unchanged


def test_copies_beside_what_goes(tmp_path: Path) -> None:
    """What is left is copied; where nothing is, nothing can be."""
    d = Drawing()
    d.av("v2", d.iv("r", d.av("v1", d.input("in", 3), 5)), 4)
    net = d.network(tmp_path)
    dropped = net.copy()
    dropped.resize("v1=-2", drop={"v1": [0, 3]})
    net.resize("v1=+3", drop={"v1": [0, 3]}, init="duplicate")
    proven(net)
    weight = find(net.ir, "v1").inputs[1].const_value.numpy()  # type: ignore[union-attr]
    kept = find(dropped.ir, "v1").inputs[1].const_value.numpy()  # type: ignore[union-attr]
    assert np.array_equal(np.unique(weight, axis=0), np.unique(kept, axis=0))
    with pytest.raises(InfeasibleError):
        net.resize("v1=+1", drop={"v1": list(range(8))}, init="duplicate")


@pytest.mark.parametrize("change", [+2, -2])
def test_the_classes_of_a_head_that_are_normalised(change: int, tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 17]>
        drawn (float[n, 3] x) => (float[n, 5] y) {
            logits = MatMul (x, w)
            y = Softmax <axis = -1> (logits)
        }"""
    model = onnx.parser.parse_model(text)
    weight = np.random.default_rng(0).standard_normal((3, 5)).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(weight, "w"))
    onnx.save(model, tmp_path / "head.onnx")
    net = load(tmp_path / "head.onnx")
    net["logits"].resize(change)
    proven(net)


def test_groups_are_as_many_in_what_is_read_as_in_what_is_given(tmp_path: Path) -> None:
    """All outputs of v1 are tied (each is added to the next), its inputs are those of the graph."""
    d = Drawing()
    v1 = d.av("v1", d.input("in", 8), 8, groups=4)
    d.weights.append(numpy_helper.from_array(np.roll(np.arange(8), 1), "next"))
    d.av("v2", d.iv("sum", v1, d.add("Gather", "rolled", v1, "next", axis=1)), 3)
    net = d.network(tmp_path)
    with pytest.raises(InfeasibleError, match="groups"):
        net["v1"].resize(+8)
    assert not net.steps


@pytest.mark.parametrize("init", ["normal", "duplicate"])
def test_a_weight_whose_size_is_asked_for(init: Any, tmp_path: Path) -> None:
    """Shape(w) -> the channels of a Reshape of what w makes"""
    text = """<ir_version: 8, opset_import: ["": 17]>
        drawn (float[n, 3, 4, 4] x) => (float[n, 2, 16] y)
        <int64[1] zero = {0}, int64[1] one = {1}, int64[1] rest = {-1}> {
            made = Conv (x, w)
            sizes = Shape (w)
            out = Slice (sizes, zero, one)
            target = Concat <axis = 0> (zero, out, rest)
            flat = Reshape (made, target)
            y = Conv (flat, v)
        }"""
    model = onnx.parser.parse_model(text)
    for name, shape in (("w", (5, 3, 1, 1)), ("v", (2, 5, 1))):
        array = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    onnx.save(model, tmp_path / "size.onnx")
    net = load(tmp_path / "size.onnx")
    net["made"].resize(+3, init=init)
    proofs = net.prove(device="cpu")
    assert proofs is not None
    assert proofs.unchanged
