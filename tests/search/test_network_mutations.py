"""Laws of mutations of networks: the result runs and has the same interface, the argument stays as it was, and the
function stays where it can."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from drawing import Drawing
from drawn_networks import outputs, sample, saved
from onnxsurgeon import search
from onnxsurgeon.ops.nodes import constant
from onnxsurgeon.search.mutation import Mutated, Mutation
from onnxsurgeon.surgery.network import Network, load
from paths import FIXTURES

STAGE = search.Chain([search.ConvSpace(8, batch_norm=True), search.Residual(search.ConvSpace(batch_norm=True))])
SPACE = search.Chain(
    [
        search.Named("stem", search.ConvSpace(6)),
        search.Named("a", STAGE),
        search.PoolSpace(("Max",)),
        search.Named("b", search.Fork(search.ConvSpace(), 2, widths=(10,))),
        search.Named("c", STAGE),
        search.GlobalPoolSpace(("Average",)),
        search.Named("d", search.Repeat(search.DenseSpace(12), 2)),
        search.Named("head", search.DenseSpace(5, activations=())),
    ]
)
CONV, DENSE = search.ConvSpace(range(3, 9), kernels=(1, 3)), search.DenseSpace(range(3, 9))
ALL: dict[str, Mutation[search.Vertices]] = {
    "width": search.new_width(-0.3, 0.3),
    "kernel": search.new_kernel(),
    "activation": search.new_activation(),
    "global pool": search.new_global_pool(),
    "add conv": search.add_vertex(CONV, suits=search.is_convolution),
    "add dense": search.add_vertex(DENSE, suits=search.is_dense),
    "remove vertex": search.remove_vertex(),
    "add edge": search.add_edge(),
    "remove edge": search.remove_edge(),
    "remove empty": search.remove_empty(),
}
KEEP: dict[str, Mutation[search.Vertices]] = {
    "wider": search.new_width(0.01, 0.5),
    "larger kernel": search.new_kernel((1, 2)),
    "conv": search.add_vertex(search.ConvSpace(4, kernels=(1, 3), batch_norm=True), suits=search.is_convolution),
    "dense": search.add_vertex(search.Chain([DENSE, DENSE]), suits=search.is_dense),
    "fork": search.add_vertex(search.Fork(CONV, (2, 3)), suits=search.is_convolution),
    "residual": search.add_vertex(search.Residual(CONV), suits=search.is_convolution),
    "edge by concat": search.add_edge(("concat",)),
    "edge by sum": search.add_edge(("sum",)),
}


def drawn(seed: int = 0) -> Network:
    return search.draw(SPACE, (3, 8, 8), np.random.default_rng(seed))


def apply(mutation: Mutation[search.Vertices], p: float, network: Network, seed: int) -> Mutated[Network]:
    return search.per_vertex(search.probability(mutation, p))(network, np.random.default_rng(seed))


def done(found: Mutated[Network]) -> list[str]:
    return [note.where for note in found.notes if note.done]


@pytest.mark.parametrize("name", ALL)
def test_a_mutation_changes_a_copy_and_what_it_leaves_runs(name: str) -> None:
    network = drawn()
    before, array = saved(network), sample(network)
    for seed in range(2):
        found = apply(ALL[name], 0.25, network, seed)
        assert saved(network) == before
        assert (found.subject is network) == (not done(found))
        assert not found.subject.steps
        assert found.subject.ir.graph.outputs[0].name == "output"
        assert outputs(found.subject, array).shape == (2, 5)
        assert saved(apply(ALL[name], 0.25, network, seed).subject) == saved(found.subject)


@pytest.mark.parametrize("name", KEEP)
def test_the_function_stays_where_it_can(name: str) -> None:
    network = drawn()
    array, changed = sample(network), 0
    for seed in range(3):
        found = apply(KEEP[name], 0.5, network, seed)
        changed += len(done(found))
        np.testing.assert_allclose(outputs(found.subject, array), outputs(network, array), rtol=1e-3, atol=1e-4)
    assert changed >= 2


@pytest.mark.slow
def test_many_mutations_in_a_row() -> None:
    network, rng, seen = drawn(), np.random.default_rng(1), Counter[str]()
    mutate = search.per_vertex(search.sequence(*(search.probability(m, 0.06) for m in ALL.values())))
    array = sample(network)
    for _ in range(12):
        found = mutate(network, rng)
        network = found.subject
        seen.update(note.kind for note in found.notes if note.done)
        assert np.isfinite(outputs(network, array)).all()
    assert len(seen) >= 8


def test_a_width_changes_by_a_share_of_itself_and_never_by_nothing() -> None:
    network = drawn()
    rng = np.random.default_rng(0)
    for low, high, wanted in ((0.001, 0.01, 13), (-0.01, -0.001, 11), (0.5, 0.5, 18), (-0.5, -0.5, 6)):
        found = search.new_width(low, high)(search.Vertices(network, ("d",)), rng)
        assert found.subject.network["d"].width == wanted
    narrow = found.subject.network
    narrow.resize("d=2")
    found = search.new_width(-0.5, -0.1)(search.Vertices(narrow, ("d",)), rng)
    assert found.subject.network is narrow
    assert [(note.where, note.done, note.why) for note in found.notes] == [
        ("d", False, "its width is at its minimum, 2")
    ]


def test_what_is_tied_follows_and_the_output_stays() -> None:
    network = drawn()
    found = search.new_width(0.2, 0.2)(search.Vertices(network, ("a", "head")), np.random.default_rng(0))
    after = found.subject.network
    assert [after[name].width for name in ("a", "a.conv1", "a.add1", "head")] == [10, 10, 10, 5]
    assert ("head", False) in [(note.where, note.done) for note in found.notes]


def test_an_edge_needs_equal_scales() -> None:
    """conv of stride 2 and pool of stride 2: a quarter. No edge from before them to behind, but from one quarter to
    another."""
    space = search.Chain(
        [
            search.Named("full", search.ConvSpace(4)),
            search.Named("half", search.ConvSpace(4, strides=2)),
            search.PoolSpace(),
            *(search.Named(f"quarter{k}", search.ConvSpace(4)) for k in range(3)),
            search.GlobalPoolSpace(),
            search.Named("head", search.DenseSpace(2, activations=())),
        ]
    )
    network, rng = search.draw(space, (3, 16, 16), np.random.default_rng(0)), np.random.default_rng(0)
    for way in ("concat", "sum"):
        edge = search.add_edge((way,))  # type: ignore[arg-type]
        refused = edge(search.Vertices(network, ("full", "half", "quarter2")), rng)
        assert refused.subject.network is network
        assert len(refused.notes) == 3
        found = edge(search.Vertices(network, ("quarter0",)), rng)
        assert found.notes[0].why == f"to quarter2 by {way}"
        again = edge(search.Vertices(found.subject.network, ("quarter0",)), rng)
        assert again.subject.network is found.subject.network  # it is read already


def test_tokens_have_edges_along_their_stream() -> None:
    network = load(FIXTURES / "attention.onnx")
    array = sample(network)
    found = search.per_vertex(search.add_edge())(network, np.random.default_rng(0))
    assert len(done(found)) >= 2
    np.testing.assert_allclose(outputs(found.subject, array), outputs(network, array), rtol=1e-3, atol=1e-4)


def test_an_edge_comes_and_goes() -> None:
    network, array = drawn(), sample(drawn())
    names = search.Vertices(network, ("c",))
    added = search.add_edge(("sum",))(names, np.random.default_rng(0)).subject.network
    emptied = search.per_vertex(search.remove_empty())(added, np.random.default_rng(0))
    assert len(emptied.subject) == len(network)
    np.testing.assert_allclose(outputs(emptied.subject, array), outputs(network, array), atol=1e-5)
    removed = search.remove_edge()(search.Vertices(network, ("a.add1",)), np.random.default_rng(0)).subject.network
    assert "a.add1" not in removed
    assert outputs(removed, array).shape == (2, 5)


def test_of_equal_edges_one_goes() -> None:
    network = drawn()
    network.connect("a.relu", "a.add1")
    assert network["a.add1"].inputs.count("a.relu") == 2
    shield = search.Shield("a.conv1*")
    found = search.remove_edge()(search.Vertices(network, ("a.add1",), (shield,)), np.random.default_rng(0))
    assert found.subject.network["a.add1"].inputs.count("a.relu") == 1


def test_a_layer_goes_with_what_follows_it() -> None:
    network = drawn()
    found = search.remove_vertex()(
        search.Vertices(network, ("c", "d.linear1", "head", "stem")), np.random.default_rng(0)
    )
    after = found.subject.network
    assert done(found) == ["c", "d.linear1"]  # type: ignore[arg-type]
    assert not {"c", "c.batchnorm", "c.relu", "d.linear1", "d.linear1.relu"} & {node.name for node in after}
    assert {note.why for note in found.notes if not note.done} == {
        "it computes an output of the graph", "it reads the input of the graph",
    }  # fmt: skip


def test_a_size_cycle_stops_a_removal(tmp_path: Path) -> None:
    """v2 av5 -> v3 iv -> p1 av3, p2 av2; v4 cc(p1, p2); v5 = v4 + v2: without p1, v2 would be 2 wider than itself."""
    d = Drawing()
    v2 = d.av("v2", d.av("v1", d.input("x", 3), 3), 5)
    v3 = d.iv("v3", v2)
    d.iv("v5", d.cc("v4", d.av("p1", v3, 3), d.av("p2", v3, 2)), v2)
    network = d.network(tmp_path)
    before = saved(network)
    found = search.remove_vertex()(search.Vertices(network, ("p1",)), np.random.default_rng(0))
    assert found.subject.network is network
    assert [(note.done, "size cycle" in note.why) for note in found.notes] == [(False, True)]
    assert saved(network) == before


def test_a_kernel_stays_within_its_bounds() -> None:
    network, rng = drawn(), np.random.default_rng(0)
    found = search.new_kernel((2,), most=3)(search.Vertices(network, ("stem",)), rng)
    assert found.subject.network is network
    found = search.new_kernel((-2,))(search.Vertices(network, ("stem",)), rng)
    tensor = constant(found.subject.network["stem"].node.inputs[1])
    assert tensor is not None
    assert tuple(tensor.shape.numpy()) == (6, 3, 1, 1)
    assert [note.done for note in search.new_kernel((-2,))(found.subject, rng).notes] == [False]
    for _ in range(6):  # by turns to the side that weighs more: never by a shift of what is read
        network = search.new_kernel((-1, 1))(search.Vertices(network, ("stem", "c")), rng).subject.network
        assert len(network) == len(drawn())


def test_networks_from_files_mutate() -> None:
    for name in ("se", "depthwise"):
        network = load(FIXTURES / f"{name}.onnx")
        array, rng = sample(network), np.random.default_rng(0)
        before = outputs(network, array).shape
        for mutation in ALL.values():
            network = search.per_vertex(search.probability(mutation, 0.15))(network, rng).subject
            assert outputs(network, array).shape == before


def test_an_activation_becomes_another_one_but_not_at_the_output() -> None:
    space = search.Chain([search.DenseSpace(4, activations=("Silu",)), search.DenseSpace(2, activations=("Sigmoid",))])
    network = search.draw(space, (3,), np.random.default_rng(0))
    found = search.per_vertex(search.new_activation(("Silu", "Relu")))(network, np.random.default_rng(0))
    assert [(note.done, note.why) for note in found.notes] == [
        (True, "Sigmoid to Relu"), (False, "it computes an output of the graph"),
    ]  # fmt: skip
    assert [node.operator for node in found.subject] == ["Gemm", "Relu", "Gemm", "Sigmoid"]
